"""The cache in memory, the cache folder, one name per device; pipelines that come and go."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hub_place
import pytest
import torch
from hub_place import ship

from core import cache, hub, systems
from core.cache import LRUCache, cache_dir, device_name
from core.engine.files import Files
from core.errors import OutputError, SettingsError

the_server, server, place = hub_place.the_server, hub_place.server, hub_place.place     # the fixtures


class Thing:
    """An object whose copies can be told apart."""


def made(kept: LRUCache, key: object, size: int = 1) -> Thing:
    def make() -> Thing:
        thing = Thing()
        thing.size = size
        return thing

    return kept.get(key, make)


def test_the_least_recently_used_goes_first():
    kept = LRUCache(2)
    made(kept, "a"), made(kept, "b"), made(kept, "a"), made(kept, "c")
    gc.collect()
    assert [key for key in "abc" if kept.has(key)] == ["a", "c"] and kept.keys() == ["a", "c"]


def test_sizes_are_bounded_and_the_latest_stays():
    kept = LRUCache(10, size=lambda thing: thing.size)
    made(kept, "a", 6), made(kept, "b", 5)
    gc.collect()
    assert kept.keys() == ["b"]
    made(kept, "huge", 11)
    gc.collect()
    assert kept.keys() == ["huge"]


def test_what_is_in_use_is_never_made_twice():
    kept = LRUCache(1)
    mine = made(kept, "a")
    made(kept, "b")
    assert made(kept, "a") is mine and kept.has("a")
    assert LRUCache(1).get("list", lambda: [1]) == [1]       # what can't be watched is just made again
    kept.drop("a")
    assert made(kept, "a") is not mine


def test_only_callers_of_the_same_key_wait():
    kept, begun, go, count = LRUCache(9), threading.Event(), threading.Event(), []

    def slow() -> Thing:
        begun.set()
        assert go.wait(60)
        count.append(1)
        return Thing()

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(kept.get, "slow", slow) for _ in range(3)]
        assert begun.wait(60)
        assert isinstance(made(kept, "quick"), Thing)
        go.set()
        assert len({id(each.result(60)) for each in waiting}) == len(count) == 1
    gc.collect()
    assert len(kept._making) == 0       # nothing is left of keys that visitors asked for once


def test_an_error_is_not_kept():
    kept = LRUCache(9)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 / 0)
    assert not kept.has("a") and kept.get("a", lambda: 2) == 2


# ------------------------------------------------------------------------------------------------------- devices

def test_a_device_has_one_name(monkeypatch):
    assert {device_name(each) for each in ("cpu", "cpu:0", torch.device("cpu"))} == {"cpu"}
    assert device_name("cuda") == "cuda:0" and device_name("cuda:1") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert device_name("cuda") == device_name(torch.device("cuda:3")) == "cuda:3"
    with pytest.raises(SettingsError, match="warp"):
        device_name("warp")


def test_a_network_is_loaded_once_under_any_name_of_its_device(place):
    ship()
    network = hub.load("toy-tiny", "cpu")
    assert all(hub.load("toy-tiny", each) is network for each in ("cpu:0", torch.device("cpu", 0), None))


def test_a_wrong_device_in_the_environment_is_named(place, monkeypatch):
    monkeypatch.setenv("FACET_DEVICE", "cuda:99")
    with pytest.raises(SettingsError, match="FACET_DEVICE"):
        hub.default_device()


# ------------------------------------------------------------------------------------------------ pipelines, folder

def test_a_pipeline_that_is_dropped_leaves_its_pictures(monkeypatch, tmp_path):
    class Pipeline(Files):
        def picture(self) -> Path:
            path = self._new_folder() / "a.png"
            path.write_text("picture")
            return path

    monkeypatch.setattr(systems, "_pipelines", LRUCache(1))
    monkeypatch.setattr(systems, "make", lambda *key: Pipeline())
    path = systems.load("vectors").picture()
    systems.load("vectors", "base")
    gc.collect()
    assert systems._pipelines.keys() == [("vectors", "base")]
    systems.tidy()
    assert path.exists()
    monkeypatch.setattr("core.engine.files.KEPT", -1.0)
    systems.tidy()
    assert not path.parent.parent.exists()          # the folder too: it is empty, and its pipeline is gone
    assert systems.load("vectors", "base").folder.exists()


def test_a_cache_folder_that_can_not_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match=str(tmp_path)) as error:
        cache_dir()
    assert "FACET_CACHE" in error.value.next_step
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "cache"))
    assert cache.cache_dir("a", "b") == tmp_path / "cache" / "a" / "b" and (tmp_path / "cache" / "a" / "b").is_dir()
