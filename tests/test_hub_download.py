"""Files from the Hub, through the real client: fetched, cut, refused, killed, offline, unpickled; and what is said."""

import argparse
import hashlib
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import hub_place
import huggingface_hub
import pytest
import torch
import typer
from hub_place import DATA, REPO, edit, forbid, in_a_process, incomplete, point_at, seeded, ship, wait_for
from hub_server import COMMIT, HubServer
from huggingface_hub import constants
from safetensors.torch import load_file

from core import hub
from core.cache import LRUCache
from core.commands import hub as commands
from core.errors import CheckpointError
from core.hub import download, manifest, pins, weights
from core.hub.manifest import Row

the_server, server, place = hub_place.the_server, hub_place.server, hub_place.place     # the fixtures


def test_a_download_arrives_once_and_is_noted(place, server):
    told = []
    path = hub.file("plain", progress=lambda done, text: told.append((done, text)))
    assert path.read_bytes() == DATA
    fractions = [done for done, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "plain" in told[-1][1]
    asked = len(server.log)
    assert hub.file("plain") == path
    assert len(server.log) == asked
    assert hub.row("plain").revision == COMMIT


def test_a_file_of_unknown_hash_is_held_to_what_came_first(place, server):
    edit("plain", sha256=None, bytes=None)
    path = hub.file("plain")
    assert hub.row("plain").bytes == len(DATA)
    path.resolve().write_bytes(DATA[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"(?s)expected sha256.*python -m core fetch plain"):
        hub.file("plain")


def test_an_open_row_says_so_and_verify_holds_the_machine_to_its_pin(place, server, capsys):
    edit("plain", sha256=None, bytes=None)
    commands.fetch(["plain"])
    said = capsys.readouterr().out
    assert f"{hashlib.sha256(DATA).hexdigest()[:12]}…) is pinned in {pins.pins_path()}" in said
    assert pins.read_pins()["plain"] == {"repo": REPO, "file": "deep/plain.bin", "revision": COMMIT, "bytes": len(DATA),
                                         "sha256": hashlib.sha256(DATA).hexdigest()}
    commands.fetch(["plain"])
    assert "pinned" not in capsys.readouterr().out         # only the first time
    commands.verify()
    assert capsys.readouterr().out.split(maxsplit=1) == ["plain", "ok (pinned at the first fetch)\n"]
    hub.file("plain").resolve().write_bytes(DATA[:-1] + b"x")
    with pytest.raises(typer.Exit):
        commands.verify()
    assert "expected sha256" in capsys.readouterr().out


def test_a_file_put_there_by_hand_is_pinned_too(place, server):
    edit("plain", sha256=None, bytes=None)
    by_hand = hub.row("plain").shipped
    by_hand.write_bytes(DATA)
    assert hub.file("plain") == by_hand and hub.row("plain").sha256 == hashlib.sha256(DATA).hexdigest()
    by_hand.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(CheckpointError, match="expected sha256"):
        hub.file("plain")


@pytest.mark.parametrize("text", ["{", "[1]", '{"plain": {"sha256": 1}}', '{"plain": 7}'])
def test_a_damaged_lock_file_is_named_and_trusts_nothing(place, server, text):
    edit("plain", sha256=None)
    pins.pins_path().write_text(text)
    with pytest.raises(CheckpointError, match=r"pins\.json is damaged"):
        hub.file("plain")
    assert server.log == []
    ship()
    assert hub.load("toy-tiny", "cpu")      # what the manifest pins needs no lock file


def test_pins_made_at_once_are_all_there(place):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: pins.pin(f"row{number}", dict.fromkeys(
            ("repo", "file", "revision", "sha256", "bytes"), number)), range(8)))
    assert len(pins.read_pins()) == 8 and pins.unpin("row3") and not pins.unpin("row3")
    assert len(pins.read_pins()) == 7


def test_a_revision_that_vanished_is_asked_for_anew(place, server):
    download.drop(hub.file("plain"))
    server.commit = 40 * "b"
    with pytest.raises(CheckpointError, match=f"Revision {COMMIT} of {REPO} is gone"):
        hub.file("plain")
    assert hub.file("plain").read_bytes() == DATA
    assert hub.row("plain").revision == 40 * "b"


def test_what_another_client_fetched_is_used_and_noted(place, server, monkeypatch):
    edit("plain", sha256=None, bytes=None)
    path = Path(huggingface_hub.hf_hub_download(REPO, "deep/plain.bin"))
    monkeypatch.setenv("FACET_OFFLINE", "1")
    assert hub.file("plain") == path
    assert (hub.row("plain").revision, hub.row("plain").bytes) == (COMMIT, len(DATA))


def test_a_manifest_that_moved_on_overrules_the_note(place, server):
    hub.file("plain")
    server.commit = 40 * "b"
    edit("plain", sha256=server.put(REPO, "deep/plain.bin", DATA[::-1]))
    assert hub.row("plain").revision is None
    with pytest.raises(CheckpointError, match="expected sha256"):
        hub.file("plain")
    assert hub.fetch("plain").read_bytes() == DATA[::-1]


def test_large_files_come_by_way_of_the_cdn(place, server):
    server.put(REPO, "deep/plain.bin", DATA, large=True)
    assert hub.file("plain").read_bytes() == DATA
    assert ("GET", f"/cdn/{REPO}/resolve/main/deep/plain.bin", None) in server.log
    assert constants.HF_HUB_DISABLE_XET is True         # or a stop would not stop, and a cut not resume


def test_a_file_that_was_replaced_is_refused_before_a_byte_is_fetched(place, server):
    server.put(REPO, "deep/plain.bin", DATA[::-1], large=True)
    with pytest.raises(CheckpointError, match="holds another"):
        hub.file("plain")
    assert server.bytes_asked() == 0


def test_a_cut_connection_resumes(place, server, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)      # the step in which the client keeps bytes
    server.fault = "cut"
    told = []
    assert hub.file("plain", progress=lambda done, _: told.append(done)).read_bytes() == DATA
    assert ("GET", f"/{REPO}/resolve/main/deep/plain.bin", f"bytes={len(DATA) // 2}-") in server.log
    assert max(told) == 1.0


def test_a_reset_connection_starts_again(place, server):
    server.fault = "reset"
    assert hub.file("plain").read_bytes() == DATA
    assert server.bytes_asked() == 2


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds that the client wants to wait between attempts; it does not wait them."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize(("fault", "said"), [
    ("gated", r"is gated.*Accept them at http.*hf auth login"),
    ("gated-403", r"is gated.*Accept them at http"),
    ("private", r"does not exist on http.* or is private.*hf auth login"),
    ("gone", r"does not exist on http.* or is private"),
    ("no-login", r"answered 401.*hf auth login"),
    ("bad-token", r"answered 401.*hf auth login"),
    ("forbidden", r"answered 403.*hf auth login"),
    ("no-revision", r"Revision .* gone"),
    ("no-file", r"exists but holds no deep/plain.bin"),
    ("busy", r"answered 429.*Wait a few minutes"),
    ("down", r"answered 500.*Wait a few minutes"),
    ("portal", r"not as a Hub would"),
    ("wrong", r"another file.* than the manifest describes.*thrown away"),
])
def test_what_is_said_when_the_hub_says_no(place, server, fault, said, waits):
    server.fault = fault
    with pytest.raises(CheckpointError, match=f"(?s){said}") as caught:
        hub.file("plain")
    assert sum(waits) < 15                      # the client alone waits 23 seconds
    assert "python -m core fetch plain" in caught.value.next_step
    server.fault = None
    assert hub.file("plain").read_bytes() == DATA       # and nothing bad stayed behind
    assert incomplete(place) == []


def test_a_connection_that_never_holds(place, server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    server.fault = "always-cut"
    with pytest.raises(CheckpointError, match=r"(?s)broke off.*python -m core fetch plain"):
        hub.file("plain")
    assert incomplete(place) == []


def test_an_unreachable_hub_is_known_at_once(place, monkeypatch, waits):
    point_at(monkeypatch, f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(CheckpointError, match=r"(?s)can't be reached.*python -m core fetch plain"):
        hub.file("plain")
    assert sum(waits) < 15


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_address_without_its_scheme_is_named(place, monkeypatch):
    point_at(monkeypatch, "hf-mirror.example")
    with pytest.raises(CheckpointError, match="HF_ENDPOINT is") as caught:
        hub.file("plain")
    assert "HF_ENDPOINT=https://hf-mirror.example" in caught.value.next_step


def test_a_stop_in_the_callback_stops_the_download(place, server):
    def stop(done: float, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.file("plain", progress=stop)
    assert incomplete(place) == []
    assert hub.file("plain").read_bytes() == DATA


def test_a_cache_that_can_not_be_written(place, monkeypatch):
    (place / "hf").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"(?s)can't be stored.*Set HF_HOME"):
        hub.file("plain")


# --- offline

@pytest.mark.parametrize("how", ["FACET_OFFLINE", "HF_HUB_OFFLINE", "set_offline"])
def test_offline_never_touches_the_network(place, server, monkeypatch, how):
    monkeypatch.setattr(socket, "create_connection", forbid)
    monkeypatch.setattr(socket.socket, "connect", forbid)
    monkeypatch.setattr(socket, "getaddrinfo", forbid)
    if how == "set_offline":
        hub.set_offline()
    else:
        monkeypatch.setenv(how, "1")
    ship()
    assert hub.load("toy-tiny", "cpu")
    with pytest.raises(CheckpointError, match=r"(?s)offline.*python -m core fetch plain"):
        hub.file("plain")
    assert server.log == []
    assert constants.HF_HUB_OFFLINE is (how == "set_offline")


def test_offline_what_was_fetched_is_there(place, server, monkeypatch):
    path = hub.file("plain")
    monkeypatch.setenv("FACET_OFFLINE", "1")
    asked = len(server.log)
    assert hub.file("plain") == path
    assert len(server.log) == asked


# --- other processes

def test_a_killed_download_leaves_nothing_that_hurts(place, server):
    server.fault = "stall"
    process = in_a_process(place, server, "hub.file('plain')")
    wait_for(lambda: incomplete(place) and server.bytes_asked())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.fault = None
    (left,) = incomplete(place)
    os.utime(left, (0, 0))                              # an hour later and more
    assert hub.file("plain").read_bytes() == DATA
    assert incomplete(place) == []


def test_two_processes_at_once(place, server):
    server.fault = "slow"
    both = [in_a_process(place, server, "print(hub.file('plain').stat().st_size)") for _ in range(2)]
    results = [process.communicate(timeout=300) for process in both]
    assert [out.strip() for out, _ in results] == [str(len(DATA))] * 2, results
    assert server.bytes_asked() == 1, (server.log, results)                    # the second waited for the first
    assert hub.file("plain").read_bytes() == DATA


def test_a_full_disk(place, server):
    process = in_a_process(place, server, """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
        hub.file('plain')
    """)
    _, said = process.communicate(timeout=300)
    assert "CheckpointError: The disk is too full for plain" in said
    assert "set HF_HOME" in said
    assert incomplete(place) == []


# --- pickles

class Bomb:
    """Executed by a careless reader."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def published(**extra) -> dict:
    """A state dict in the dress of a published file: other names, unused keys, no counters, DataParallel's prefix."""
    state = seeded().state_dict() | {"teacher.weight": torch.zeros(9)}
    state = {key.replace("inner.", "body."): value for key, value in state.items() if "num_batches" not in key}
    return {"network": {f"module.{key}": value for key, value in state.items()},
            "args": argparse.Namespace(lr=0.1, out="runs"), "epoch": 3, **extra}


def pickled(tmp_path: Path, server: HubServer, content: object, **changes) -> None:
    torch.save(content, tmp_path / "toy.pth")
    row = Row("toy", "toy.pth", "toy", "small", "hub", REPO, wrapper_key="network",
              sha256=server.put(REPO, "toy.pth", (tmp_path / "toy.pth").read_bytes(), large=True))
    manifest.put(replace(row, **changes), manifest.CHECKPOINTS)


def test_a_published_pickle_is_converted_once(place, server, monkeypatch):
    pickled(place, server, published())
    x = torch.randn(3, 4)
    torch.testing.assert_close(hub.load("toy", "cpu")(x), seeded().eval()(x))
    (twin,) = (place / "facet" / "converted").iterdir()
    assert set(load_file(twin)) == {"body.weight", "body.bias", "norm.weight", "norm.bias", "norm.running_mean",
                                    "norm.running_var", "order", "teacher.weight"}
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
    monkeypatch.setattr(torch, "load", forbid)
    assert hub.load("toy", "cpu")                       # from the twin, without the pickle


def test_a_damaged_twin_is_made_again(place, server, monkeypatch):
    pickled(place, server, published())
    hub.load("toy", "cpu")
    (twin,) = (place / "facet" / "converted").iterdir()
    twin.write_bytes(twin.read_bytes()[:-9])
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
    assert hub.load("toy", "cpu")


def test_nothing_in_a_pickle_is_executed(place, server, monkeypatch):
    monkeypatch.chdir(place)
    pickled(place, server, published(bomb=Bomb()))
    with pytest.raises(CheckpointError, match="no file of weights alone"):
        hub.load("toy", "cpu")
    assert not Path("exploded").exists()
    task, given = Bomb().__reduce__()
    task(*given)                                        # what a careless reader would have done
    assert Path("exploded").exists()


@pytest.mark.parametrize(("content", "said"), [
    ({"weights": {}, "epoch": 1}, r"has no 'network' inside; it holds: weights, epoch"),
    ([1, 2], r"has no 'network' inside; it holds: list"),
    ({"network": {"a": 1}}, r"does not hold a plain table of tensors"),
])
def test_a_pickle_of_something_else(place, server, content, said):
    pickled(place, server, content)
    with pytest.raises(CheckpointError, match=said):
        hub.load("toy", "cpu")


def test_two_that_convert_at_once_write_the_same(place, server):
    pickled(place, server, published())
    path, row = hub.file("toy"), hub.row("toy")
    with ThreadPoolExecutor(8) as pool:
        twins = set(pool.map(lambda _: weights.convert(path, row), range(32)))
    assert twins == set((place / "facet" / "converted").iterdir())      # one, and no half-written file beside it
    assert load_file(twins.pop()).keys() >= {"body.weight"}
