"""Checkpoints: found, fetched through the real client, checked, loaded strictly; and what is said when that fails."""

import argparse
import hashlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import huggingface_hub
import pytest
import torch
from hub_server import COMMIT, HubServer
from huggingface_hub import constants
from safetensors.torch import load_file, safe_open
from safetensors.torch import save as save_tensors
from torch import nn

from core import hub, models
from core.commands import hub as commands
from core.errors import CheckpointError, FacetError, SettingsError
from core.hub import download, files, manifest
from core.hub.manifest import Row

ROOT = Path(__file__).parents[1]
REPO, DATA = "someone/things", bytes(range(256)) * 4096     # 1 MiB


@dataclass(frozen=True)
class ToyConfig:
    """Sizes of the toy."""

    width: int


class Toy(nn.Module):
    """A network with everything that is awkward to load: a batch norm, a renamed key, an integer buffer."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.width)
        self.norm = nn.BatchNorm1d(config.width)
        self.register_buffer("order", torch.arange(config.width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.inner(x))


@pytest.fixture(scope="module")
def the_server():
    with HubServer() as server:
        yield server


@pytest.fixture
def server(the_server):
    the_server.reset()
    yield the_server
    the_server.fault = None


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What HF_ENDPOINT does, for a client that is already imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def place(tmp_path, monkeypatch, server):
    """A checkout with one row of every kind, an empty cache, and the server as its Hub."""
    for name in ("FACET_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "FACET_DEVICE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "facet"))
    point_at(monkeypatch, server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "_forced_offline", False)
    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(hub, "_networks", {})
    toy = ModuleType("core.models.toy")
    toy.Toy, toy.PRESETS, toy.UNUSED = Toy, {"small": ToyConfig(4)}, frozenset({"teacher.weight"})
    toy.rename = lambda key: key.replace("body.", "inner.")
    monkeypatch.setitem(sys.modules, "core.models.toy", toy)
    monkeypatch.setitem(models.NETWORKS, "toy", models.Network("toy", "Toy"))
    manifest.put(Row("plain", "deep/plain.bin", origin="hub", repo=REPO, about="a plain file",
                     sha256=server.put(REPO, "deep/plain.bin", DATA), bytes=len(DATA), licence="MIT"),
                 manifest.CHECKPOINTS)
    return tmp_path


def edit(name: str, **changes) -> None:
    row = {row.name: row for row in manifest.rows()}[name]
    manifest.put(replace(row, **changes), manifest.CHECKPOINTS)


def seeded() -> Toy:
    torch.manual_seed(0)
    network = Toy(ToyConfig(4))
    network.norm.running_mean.normal_()
    return network


def ship(name: str = "toy-tiny") -> Path:
    return hub.save(seeded(), name, network="toy", preset="small", recipe="none", about="a toy")


def incomplete(place: Path) -> list[Path]:
    return list((place / "hf").rglob("*.incomplete"))


# --- shipped files

def test_a_shipped_network_comes_back(place):
    ship()
    network, x = hub.load("toy-tiny", "cpu"), torch.randn(3, 4)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert network.inner.weight.dtype == torch.float32
    torch.testing.assert_close(network(x), seeded().eval()(x), rtol=1e-2, atol=2e-3)
    assert network.order.tolist() == [0, 1, 2, 3]


def test_it_is_loaded_and_hashed_once(place, monkeypatch):
    read, digest = [], hashlib.file_digest
    monkeypatch.setattr(files.hashlib, "file_digest", lambda *args: (read.append(1), digest(*args))[1])
    ship()
    first = hub.load("toy-tiny", "cpu")
    hub.file("toy-tiny")
    assert hub.load("toy-tiny", torch.device("cpu")) is first
    assert len(read) == 1


def test_many_visitors_share_one_network(place, monkeypatch):
    ship()
    built = []
    slow = hub.weights.fit
    monkeypatch.setattr(hub.weights, "fit", lambda *args: (built.append(1), time.sleep(0.1), slow(*args))[2])
    with ThreadPoolExecutor(8) as pool:
        networks = set(pool.map(lambda _: hub.load("toy-tiny", "cpu"), range(8)))
    assert len(networks) == len(built) == 1


def test_a_new_version_replaces_the_loaded_one(place):
    ship()
    old = hub.load("toy-tiny", "cpu")
    ship()
    assert hub.load("toy-tiny", "cpu") is not old
    assert [row.name for row in hub.rows()] == ["plain", "toy-tiny"]


@pytest.mark.parametrize(("damage", "said"), [
    (lambda path: path.unlink(), "is missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:-7]), "bytes instead of"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"), "expected sha256"),
])
def test_a_damaged_shipped_file(place, damage, said):
    damage(ship())
    with pytest.raises(CheckpointError, match=said) as caught:
        hub.load("toy-tiny", "cpu")
    assert "git restore -- checkpoints/toy-tiny.safetensors" in caught.value.next_step


def test_a_file_that_fits_its_row_but_is_no_safetensors(place):
    path = ship()
    path.write_bytes(b"\x10" * 100)
    edit("toy-tiny", sha256=None, bytes=None)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        hub.load("toy-tiny", "cpu")


def test_an_unknown_name_lists_the_known_ones(place):
    ship()
    with pytest.raises(CheckpointError, match=r"(?s)'toy-tinny'.*did you mean toy-tiny\?.*plain, toy-tiny"):
        hub.load("toy-tinny")


def test_a_plain_file_is_no_network(place):
    with pytest.raises(CheckpointError, match=r"(?s)plain file.*hub\.file\('plain'\)"):
        hub.load("plain")


@pytest.mark.parametrize("text", ["", "[]", '{"checkpoints": [{"name": "x"}]}', '{"checkpoints": [{"nome": "x"}]}'])
def test_a_broken_manifest(place, text):
    (manifest.CHECKPOINTS / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"git restore -- checkpoints/manifest\.json"):
        hub.rows()


# --- the network

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


def test_a_revision_that_vanished_is_asked_for_anew(place, server):
    download.drop(hub.file("plain"))
    server.commit = 40 * "b"
    with pytest.raises(CheckpointError, match=f"revision {COMMIT} of {REPO} is gone"):
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
    assert constants.HF_HUB_DISABLE_XET is False


def test_a_file_that_was_replaced_is_refused_before_a_byte_is_fetched(place, server):
    server.put(REPO, "deep/plain.bin", DATA[::-1], large=True)
    with pytest.raises(CheckpointError, match="now holds another"):
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


@pytest.mark.parametrize(("fault", "said"), [
    ("gated", r"is gated.*accept them at http.*hf auth login"),
    ("gated-403", r"is gated.*accept them at http"),
    ("private", r"does not exist on http.* or is private.*hf auth login"),
    ("gone", r"does not exist on http.* or is private"),
    ("no-login", r"answered 401.*hf auth login"),
    ("bad-token", r"answered 401.*hf auth login"),
    ("forbidden", r"answered 403.*hf auth login"),
    ("no-revision", r"revision .* gone"),
    ("no-file", r"exists but holds no deep/plain.bin"),
    ("busy", r"answered 429.*wait a few minutes"),
    ("down", r"answered 500.*wait a few minutes"),
    ("portal", r"not as a Hub would"),
    ("wrong", r"is not the file the manifest describes.*thrown away"),
])
def test_what_is_said_when_the_hub_says_no(place, server, fault, said):
    server.fault = fault
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=f"(?s){said}") as caught:
        hub.file("plain")
    assert time.monotonic() - start < 15        # the client alone takes 23
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


def test_an_unreachable_hub_is_known_at_once(place, monkeypatch):
    point_at(monkeypatch, f"http://127.0.0.1:{closed_port()}")
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=r"(?s)can't be reached.*python -m core fetch plain"):
        hub.file("plain")
    assert time.monotonic() - start < 15        # the client alone takes 23


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_stop_in_the_callback_stops_the_download(place, server):
    def stop(done: float, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.file("plain", progress=stop)
    assert incomplete(place) == []
    assert hub.file("plain").read_bytes() == DATA


def test_a_cache_that_can_not_be_written(place, monkeypatch):
    (place / "hf").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"(?s)can't be stored.*set HF_HOME"):
        hub.file("plain")


# --- offline

def forbid(*args) -> None:
    raise AssertionError("the network was touched")


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

def in_a_process(place: Path, server: HubServer, code: str) -> subprocess.Popen:
    """Run code in a process whose checkout, caches and Hub are the test's."""
    start = f"from pathlib import Path; from core import hub; from core.hub import manifest\n" \
            f"manifest.CHECKPOINTS = Path({str(manifest.CHECKPOINTS)!r})\n"
    environ = {**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": str(place / "hf")}
    return subprocess.Popen([sys.executable, "-c", start + textwrap.dedent(code)], cwd=ROOT, env=environ, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(what, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


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
    assert "CheckpointError: the disk is too full for plain" in said
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
    monkeypatch.setattr(hub, "_networks", {})
    monkeypatch.setattr(torch, "load", forbid)
    assert hub.load("toy", "cpu")                       # from the twin, without the pickle


def test_a_damaged_twin_is_made_again(place, server, monkeypatch):
    pickled(place, server, published())
    hub.load("toy", "cpu")
    (twin,) = (place / "facet" / "converted").iterdir()
    twin.write_bytes(twin.read_bytes()[:-9])
    monkeypatch.setattr(hub, "_networks", {})
    assert hub.load("toy", "cpu")


def test_nothing_in_a_pickle_is_executed(place, server, monkeypatch):
    monkeypatch.chdir(place)
    pickled(place, server, published(bomb=Bomb()))
    with pytest.raises(CheckpointError, match="holds more than weights"):
        hub.load("toy", "cpu")
    assert not Path("exploded").exists()
    pickle.loads(pickle.dumps(Bomb()))                  # it would have gone off
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


def test_two_processes_convert_at_once(place, server):
    pickled(place, server, published())
    both = [in_a_process(place, server, "print(hub.fetch('toy'))") for _ in range(2)]
    results = [process.communicate(timeout=300) for process in both]
    paths = {out.strip() for out, _ in results}
    assert len(paths) == 1, results
    assert load_file(paths.pop()).keys() >= {"body.weight"}


# --- onto networks

@pytest.mark.parametrize(("change", "said"), [
    (lambda state: state.pop("inner.bias"), "missing inner.bias"),
    (lambda state: state.update(extra=torch.zeros(1)), "unexpected extra"),
    (lambda state: state.update({"inner.bias": torch.zeros(5)}), "of another shape inner.bias"),
])
def test_weights_that_do_not_fit(place, change, said):
    state = seeded().state_dict()
    change(state)
    with pytest.raises(CheckpointError, match=f"those of toy small: {said}"):
        hub.from_published("toy", state, "small")


def test_the_state_dict_is_left_as_it_was(place):
    state = published()["network"]
    before = dict(state)
    hub.from_published("toy", state, "small")
    assert state.keys() == before.keys()
    assert all(state[key] is before[key] for key in state)


def test_a_buffer_left_on_meta_is_noticed(place, monkeypatch):
    class Forgetful(Toy):
        def __init__(self, config):
            super().__init__(config)
            self.register_buffer("table", torch.ones(3), persistent=False)

    monkeypatch.setattr(sys.modules["core.models.toy"], "Toy", Forgetful)
    with pytest.raises(CheckpointError, match="no value for table"):
        hub.from_published("toy", seeded().state_dict(), "small")


def test_half_precision_becomes_float32(place):
    state = {key: value.half() if value.is_floating_point() else value for key, value in seeded().state_dict().items()}
    assert {value.dtype for value in hub.from_published("toy", state, "small").parameters()} == {torch.float32}


@pytest.mark.parametrize(("network", "preset"), [("toy", "huge"), ("tyo", "small")])
def test_an_unknown_network_or_preset(place, network, preset):
    with pytest.raises(SettingsError, match="choose from"):
        hub.from_published(network, {}, preset)


# --- saving

def test_what_is_written(place):
    path = ship()
    with safe_open(path, "pt") as stream:
        facts = stream.metadata()
    assert facts == {"format": "pt", "name": "toy-tiny", "network": "toy", "preset": "small", "recipe": "none",
                     "about": "a toy", "licence": "Apache-2.0"}
    tensors = load_file(path)
    assert tensors["inner.weight"].dtype == torch.float16
    assert tensors["norm.running_var"].dtype == torch.float32
    row = hub.row("toy-tiny")
    assert (row.file, row.bytes, row.origin) == (path.name, path.stat().st_size, "shipped")
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, "manifest.json"}


def test_a_tied_channels_last_network_with_a_large_weight(place):
    network = nn.ModuleDict({"a": nn.Conv2d(3, 3, 3), "b": nn.Conv2d(3, 3, 3)}).to(memory_format=torch.channels_last)
    network["b"].weight = network["a"].weight
    network["a"].bias.data[0] = 1e6
    path = hub.save(network, "odd", network="toy", preset="small", recipe="", about="", folder=place / "out")
    tensors = load_file(path)
    torch.testing.assert_close(tensors["b.weight"].float(), network["a"].weight.data, rtol=1e-3, atol=1e-4)
    assert tensors["a.bias"][0] == 1e6
    assert manifest.rows(place / "out")[0].name == "odd"


def test_a_diverged_network_is_not_saved(place):
    network = seeded()
    network.inner.bias.data[1] = float("nan")
    with pytest.raises(CheckpointError, match=r"inner\.bias.*not finite"):
        hub.save(network, "bad", network="toy", preset="small", recipe="", about="")
    assert not (manifest.CHECKPOINTS / "bad.safetensors").exists()
    assert "bad" not in {row.name for row in hub.rows()}


def test_rows_put_at_once_are_all_there(place):
    names = [f"row-{number:02}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: manifest.put(Row(name, name), manifest.CHECKPOINTS), names))
    assert sorted(row.name for row in hub.rows()) == ["plain", *names]


# --- as a repository

def test_a_checkpoint_travels_as_a_repository(place, server):
    ship()
    (manifest.CHECKPOINTS / "cards").mkdir()
    (manifest.CHECKPOINTS / "cards" / "toy-tiny.md").write_text("# Toy\n")
    hub.portable("toy-tiny").save_pretrained(place / "out")
    text = (place / "out" / "README.md").read_text()
    assert "license: apache-2.0" in text
    assert text.endswith("# Toy\n")
    for path in (place / "out").iterdir():
        server.put("you/toy", path.name, path.read_bytes())
    from core.hub.repository import Portable

    back, x = Portable.from_pretrained("you/toy"), torch.randn(3, 4)
    assert not back.training
    torch.testing.assert_close(back(x), hub.load("toy-tiny", "cpu")(x))
    server.commit = 40 * "b"
    server.put("you/toy", "model.safetensors", save_tensors({"network.inner.bias": torch.zeros(4)}))
    with pytest.raises(RuntimeError, match=r"network\.inner\.weight"):
        Portable.from_pretrained("you/toy")


def test_what_others_published_is_not_pushed_again(place):
    with pytest.raises(CheckpointError, match=r"(?s)published by others.*huggingface\.co/someone/things"):
        hub.portable("plain")


# --- the command line

def test_terms_are_shown_and_must_be_agreed_to(place, server, capsys):
    edit("plain", agreement="Research only.", licence="non-commercial")
    with pytest.raises(CheckpointError, match=r"(?s)Research only\..*fetch plain --yes-i-agree"):
        commands.fetch(["plain"])
    assert server.log == []
    assert "licence: non-commercial" in capsys.readouterr().err
    commands.fetch(["plain"], yes=True)
    assert "checked" in capsys.readouterr().out
    assert hub.file("plain")                            # here now: nobody is asked again


def test_fetch_mends_a_damaged_copy(place, server):
    path = hub.file("plain")
    path.resolve().write_bytes(b"x" * len(DATA))
    with pytest.raises(CheckpointError, match="python -m core fetch plain"):
        hub.file("plain")
    commands.fetch(["plain"])
    assert hub.file("plain").read_bytes() == DATA


def test_a_file_put_there_by_hand(place, server):
    (manifest.CHECKPOINTS / "plain.bin").write_bytes(DATA)
    assert hub.file("plain") == manifest.CHECKPOINTS / "plain.bin"
    (manifest.CHECKPOINTS / "plain.bin").write_bytes(DATA[1:])
    with pytest.raises(CheckpointError, match=r"(?s)bytes instead of.*remove .*plain\.bin, then:"):
        hub.file("plain")
    assert server.log == []


def test_fetch_needs_a_known_name_before_it_fetches_anything(place, server):
    with pytest.raises(CheckpointError, match="fetch plain"):
        commands.fetch([])
    with pytest.raises(CheckpointError, match="no checkpoint called 'plane'"):
        commands.fetch(["plain", "plane"])
    assert server.log == []


def test_list_says_where_things_are(place, capsys):
    ship()
    commands.list_()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["plain", "on", "Hub", "1.0", "MB"]
    assert lines[2].split()[:2] == ["toy-tiny", "here"]
    hub.file("plain")
    commands.list_()
    assert capsys.readouterr().out.split()[:2] == ["plain", "cached"]


def test_verify(place, capsys):
    path = ship()
    commands.verify()
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["plain", "not fetched"], ["toy-tiny", "ok"]]
    (path.parent / "stray.safetensors").write_bytes(b"")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(Exception) as caught:        # noqa: PT011 (typer.Exit has its own code)
        commands.verify()
    assert caught.value.exit_code == 1
    out = capsys.readouterr().out
    assert "expected sha256" in out
    assert "stray.safetensors" in out


def test_the_command_line_ends_in_one_sentence(place):
    run = subprocess.run([sys.executable, "-m", "core", "fetch", "nobody"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("CheckpointError: there is no checkpoint called 'nobody'")
    assert "Traceback" not in run.stderr


# --- what the project really ships

PUBLISHED = {
    "vec2face-base": "03aa57b408d5ce946bf1f7fc4713fb945bd7beab4f377611bffd6f7257cdffce",
    "arcface-r100": "2820bafd66fcfa23891b7297368376266930bf19b09336b3053fd44e8300f6d6",
    "magface-r100": "254f0b55b9e25786e476c18ca43e4b2ed836c4baf364403bd9719ccc7e23df83",
}


def test_the_published_rows():
    rows = {row.name: row for row in hub.rows()}
    assert {name: rows[name].sha256 for name in PUBLISHED} == PUBLISHED
    for row in rows.values():
        if row.network:
            assert row.preset in models.NETWORKS[row.network].presets
        assert row.licence
        assert row.about
        if row.origin == "hub":
            assert row.revision or "open here" in row.about
        if "non-commercial" in row.licence:
            assert "non-commercial" in row.agreement


@pytest.mark.parametrize("row", [row for row in hub.rows() if row.origin == "shipped"], ids=lambda row: row.name)
def test_every_shipped_file_is_the_one_its_row_describes(row):
    assert row.sha256
    assert row.bytes
    assert hub.file(row.name) == manifest.CHECKPOINTS / row.file
    assert hub.load(row.name, "cpu")


def test_importing_the_hub_is_cheap():
    code = "import sys, core.commands.hub; print({'torch', 'safetensors', 'huggingface_hub'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "set()"


def test_errors_keep_sentence_and_step():
    error = pickle.loads(pickle.dumps(CheckpointError("It is gone", "fetch it")))
    assert (error.message, error.next_step, str(error)) == ("It is gone", "fetch it", "It is gone\n  fetch it")
    assert isinstance(error, FacetError)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(hub, "_chosen", None)
    with pytest.raises(SettingsError, match="no device called 'abacus'"):
        hub.set_device("abacus")
    hub.set_device("cpu")
    assert hub.default_device() == "cpu"


def test_a_manifest_is_plain_json(place):
    ship()
    rows = json.loads((manifest.CHECKPOINTS / "manifest.json").read_text())["checkpoints"]
    assert set(rows[1]) == {"name", "file", "network", "preset", "origin", "repo", "revision", "wrapper_key", "sha256",
                            "bytes", "licence", "recipe", "about"}
