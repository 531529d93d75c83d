"""A checkout with an empty cache and a Hub of its own: the fixtures `place` and `server`, and what tests do there."""

import os
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hub_server import HubServer
from huggingface_hub import constants
from torch import nn

from core import hub, models
from core.cache import LRUCache
from core.hub import download, manifest
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
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
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


def forbid(*args) -> None:
    raise AssertionError("the network was touched")
