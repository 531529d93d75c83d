"""A stream that is the same for everybody."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from types import SimpleNamespace

import pytest

from core.engine.replay import Opening, Shared


def test_each_item_is_computed_once_however_many_ask():
    begun = []

    def slowly() -> Iterator[int]:
        begun.append(True)
        for number in range(5):
            time.sleep(0.01)
            yield number

    shared = Shared(slowly)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: list(shared), range(8))) == [[0, 1, 2, 3, 4]] * 8
    assert begun == [True]


def test_who_waits_has_an_item_as_soon_as_it_is_there():
    """Not only when whoever computes is through with all."""
    go, seen = Event(), Event()

    def first_then_wait() -> Iterator[int]:
        yield 1
        assert go.wait(30)
        yield 2

    shared = Shared(first_then_wait)
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(list, shared)
        behind = pool.submit(lambda: (next(iter(shared)), seen.set()))
        assert seen.wait(30)
        go.set()
        assert ahead.result(30) == [1, 2]
        behind.result(30)


def test_what_is_ready_can_be_closed_like_what_is_not(tmp_path):
    (tmp_path / "a.png").write_text("x")
    opening = Opening(lambda: iter([SimpleNamespace(images=(str(tmp_path / "a.png"),), previews=())]))
    for _ in range(2):
        with closing(iter(opening)) as results:
            assert len(list(results)) == 1


def test_what_was_left_early_is_drawn_anew_when_its_files_are_gone(tmp_path):
    """Or nobody would ever get beyond the first of them again."""
    drawings = []

    def draw() -> Iterator[SimpleNamespace]:
        folder = tmp_path / str(len(drawings))
        folder.mkdir()
        drawings.append(folder)
        for name in ("preview", "a"):
            (folder / name).write_text("x")
        yield SimpleNamespace(images=(), previews=(str(folder / "preview"),))
        yield SimpleNamespace(images=(str(folder / "a"),), previews=())

    opening = Opening(draw)
    next(iter(opening)), next(iter(opening))        # both leave after the preview
    assert len(drawings) == 1
    (drawings[0] / "preview").unlink()
    assert [len(result.images) for result in opening] == [0, 1] and len(drawings) == 2
    assert [result.images for result in opening] == [(str(drawings[1] / "a"),)]
    (drawings[1] / "a").unlink()
    assert len(list(opening)) == 2 and len(drawings) == 3


def test_leaving_early_stops_nobody_else():
    shared = Shared(lambda: iter(range(3)))
    early = iter(shared)
    assert next(early) == 0
    early.close()
    assert list(shared) == list(shared) == [0, 1, 2]


def test_after_an_error_it_goes_on_where_it_broke_off():
    broken = [True]

    def fails_once() -> Iterator[int]:
        yield 1
        if broken.pop():
            raise OSError("no space")
        yield 2

    shared, broken[:] = Shared(fails_once), [False, True]
    with pytest.raises(OSError, match="no space"):
        list(shared)
    assert list(shared) == [1, 2]
