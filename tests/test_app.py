"""app.py: its options and its page."""

import contextlib
import inspect
import re
import socket
import sys
import threading
import time
import urllib.request
from urllib.parse import unquote

import gradio as gr
import pytest
from app_server import PATIENCE, serving

import app
from core import systems
from core.engine import choices, files
from core.errors import CheckpointError
from core.systems.vectors.pipeline import OPENING
from spaces import vectors, widgets


@pytest.fixture(scope="module")
def page():
    return app.page()


def test_the_options():
    asked = app.options(["--host", "0.0.0.0", "--port", "8000", "--share", "--offline", "--device", "cpu"])
    assert vars(asked) == {"host": "0.0.0.0", "port": 8000, "share": True, "offline": True, "device": "cpu"}
    assert vars(app.options([])) == {"host": None, "port": None, "share": False, "offline": False, "device": None}


def test_offline_and_share_are_not_for_one_another():
    with pytest.raises(SystemExit, match="Leave one of them out"):
        app.main(["--offline", "--share"])


def test_a_port_that_is_taken_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} is taken"):
            app.main(["--port", str(port)])


def test_the_help_says_what_they_are(capsys):
    with pytest.raises(SystemExit):
        app.options(["--help"])
    said = capsys.readouterr().out
    assert all(option in said for option in ("--host", "--port", "--share", "--offline", "--device"))


def test_a_tab_is_named_after_its_system(page):
    assert {name.lower() for name in app.tabs()} == set(systems.SYSTEMS)
    assert {block.label for block in page.blocks.values() if type(block).__name__ == "Tab"} == set(app.tabs())


def test_listeners_are_public_by_name_or_private(page):
    public = {fn.api_name for fn in page.fns.values() if fn.api_visibility == "public"}
    assert "vectors_draw" in public
    assert not {name for name in public if not name or name.startswith(("false", "lambda"))}
    assert all(fn.api_visibility in ("public", "private") for fn in page.fns.values())


def test_the_look_comes_from_nowhere_else():
    text = widgets.STYLE.read_text() + unquote(widgets.HEAD) + widgets.MARK
    assert set(re.findall(r"https?://[^\s'\"<>)]+", text)) == {"http://www.w3.org/2000/svg"}


def test_what_a_handler_said_is_said_again_until_it_says_something_else():
    """A page that is behind would not show it otherwise; see `repeating`."""
    gallery, words, picture = gr.Gallery(render=False), gr.Label(render=False), gr.Image(render=False)
    seed, kept, notice = gr.Number(render=False), gr.State(render=False), gr.HTML(render=False)
    closed = []

    def handler():
        try:
            yield {gallery: gr.update(value=["a"], visible=True), seed: 3, kept: "x", notice: ""}
            yield {words: "…", picture: gr.skip()}
            yield {gallery: gr.skip(), words: "done", picture: "p.png"}
            yield {gallery: ["a", "b"]}
            yield {words: "never"}
        finally:
            closed.append(True)

    changes, seen = widgets.repeating(handler)(), []
    for _ in range(4):
        change = next(changes)
        seen.append({widget: dict(value) if isinstance(value, dict) else value for widget, value in change.items()})
        for value in change.values():
            value.clear() if isinstance(value, dict) else None      # as gradio does
    changes.close()
    shows = gr.update(value=["a"], visible=True)
    assert seen == [{gallery: shows, seed: 3, kept: "x", notice: ""},
                    {gallery: shows, words: "…", picture: gr.skip()},
                    {gallery: shows, words: "done", picture: "p.png"},
                    {gallery: ["a", "b"], words: "done", picture: "p.png"}]
    assert closed == [True]


def test_every_handler_that_yields_is_such_a_one(page):
    private = [fn.fn for fn in page.fns.values() if fn.api_visibility == "private"]
    yielding = [task for task in private if inspect.isgeneratorfunction(task)]
    assert len(yielding) >= 4
    assert {fn.__code__ for fn in yielding} == {widgets.repeating(lambda: iter(())).__code__}


def test_a_sentence_can_not_carry_markup():
    said = widgets.sentence(CheckpointError("<img src=x onerror=alert(1)> is missing.", "Fetch <it>."))
    assert "<img" not in said
    assert "&lt;it&gt;" in said


def test_a_network_that_is_missing_ends_the_warm_up_with_a_line(monkeypatch, capsys):
    def missing(system: str, checkpoint: str | None = None):
        raise CheckpointError("vectors-tiny is missing.", "Bring it back.")

    monkeypatch.setattr(systems, "load", missing)
    monkeypatch.setattr(app.time, "sleep", lambda seconds: sys.exit())
    with pytest.raises(SystemExit):
        app.warm()
    assert "vectors-tiny is missing." in capsys.readouterr().err


def test_warming_up_survives_any_error_in_one_line(monkeypatch, capsys):
    def broken(*asked):
        raise RuntimeError("CUDA out of memory.\n  Tried to allocate 2 GiB.")

    monkeypatch.setattr(systems, "load", broken)
    monkeypatch.setattr(systems, "warm_more", broken)
    monkeypatch.setattr(app, "WARMUP_PAUSE_S", 0)
    app.warm()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(app.tabs()) + 1 and all("out of memory" in line for line in lines)


def test_what_was_looked_at_leaves_with_its_drawing():
    """Else "More like this" would vary whoever has its place in the new one. It is said once: who looks at a face that
    is there already keeps it.
    """
    with vectors.gr.Blocks():
        tab = vectors.Tab()
        values = {name: widget.value for name, widget in tab.inputs.items()} | {"count": 4}
        said = list(widgets.repeating(tab.draw)("run", checkpoint="tiny", request=None, **values))
    looked = [(each.get(tab.index), each[tab.detail]["visible"]) if tab.detail in each else None for each in said]
    assert looked == [None, (0, False), None, (0, True)]        # beginning, one face, four, the end


def test_a_checkpoint_is_not_changed_while_one_is_fetched(monkeypatch):
    monkeypatch.setattr(choices, "fetch", lambda *asked: iter([(0.5, "half"), (1.0, "all")]))
    with vectors.gr.Blocks():
        network = vectors.Tab().network
        network.uses = lambda choice: {}
        news = list(network.get("tiny", True, False))
    told = [each[network.choice]["interactive"] for each in news if network.choice in each]
    assert told == [False, True] and network.choice in news[0] and network.choice in news[-1]


def test_what_the_page_opens_with_is_kept():
    with vectors.gr.Blocks():
        tab = vectors.Tab()
        assert (tab.seed.value, tab.count.value, tab.moves.threshold.value) == OPENING


def test_same_again_and_surprise_me():
    assert widgets.next_seed(widgets.FIXED_SEED, 7) == 7
    assert len({widgets.next_seed(widgets.RANDOM_SEED, 7) for _ in range(20)}) > 15
    assert widgets.next_seed(widgets.FIXED_SEED, None) is not None


def test_a_device_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(systems, "_device", "cuda:99")
    with pytest.raises(Exception, match="no device called 'cuda:99'"):
        systems.make("vectors")


def test_the_page_answers_before_the_networks_are_loaded():
    never = "import threading; from core import systems; systems.load = lambda *asked: threading.Event().wait()"
    proxy = "127.0.0.1:9"
    broken = {"SSL_CERT_FILE": "/nonexistent.pem", "ALL_PROXY": f"socks5://{proxy}", "HTTP_PROXY": f"http://{proxy}"}
    with serving("--offline", "--device", "cpu", first=never, **broken) as url, \
            urllib.request.urlopen(f"{url}/config") as answer:
        assert answer.status == 200


def test_what_visitors_left_goes_when_the_app_is_ended(tmp_path):
    with serving("--offline", "--device", "cpu", TMPDIR=str(tmp_path)):
        until = time.monotonic() + PATIENCE
        while not (there := list(tmp_path.glob("facet-*"))) and time.monotonic() < until:
            time.sleep(0.2)
        assert there
    assert not list(tmp_path.glob("facet-*"))       # the signal is SIGTERM, as a service manager's


def test_a_folder_goes_while_another_thread_still_writes_into_it(tmp_path):
    (folder := tmp_path / "facet-1").mkdir()
    writing = threading.Event()

    def write():
        with contextlib.suppress(OSError):      # as soon as the folder is gone
            for number in range(4000):
                (folder / f"{number}.png").write_bytes(b"picture")
                writing.set()

    thread = threading.Thread(target=write)
    thread.start()
    writing.wait()
    files._remove(folder)
    thread.join()
    assert not folder.exists()
