"""Small random networks in the place of those of `clusters`: a checkout in which groups are found and worn at once."""

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from core import data, hub, systems
from core.cache import LRUCache
from core.faces import jit  # noqa: F401  compiled code stays in the cache of the run, wherever a test puts its own
from core.faces.head import load_head
from core.hub import manifest
from core.models import NETWORKS, build, xploregan
from core.systems import clusters
from core.training import crowd

REAL = manifest.CHECKPOINTS
ROWS = {row.name: row for row in hub.rows()}        # of the real manifest
READERS = ("embedder-tiny", "judge-tiny", "landmarks-tiny")
FACES, GROUPS = 40, 6
TOY = replace(xploregan.PRESETS["tiny"], width=16, blocks=1, clusters=GROUPS, hidden=32, critic_width=16,
              features=FACES // 4)      # as many principal components as so few faces have


@cache
def made_up(count: int = FACES, size: int = 128) -> np.ndarray:
    """Smooth pictures of four colours, (N, size, size, 3) uint8, each different."""
    draw = np.random.default_rng(0)
    colours = np.array([(220, 60, 60), (60, 200, 60), (60, 60, 220), (210, 210, 80)])[np.arange(count) % 4]
    rough = torch.from_numpy(colours[:, :, None, None] + draw.normal(0, 25, (count, 3, 5, 5)))
    smooth = torch.nn.functional.interpolate(rough, size, mode="bicubic").clamp(0, 255)
    return smooth.permute(0, 2, 3, 1).byte().numpy()


def networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both feature networks, the translator and its twin, with random weights."""
    monkeypatch.setitem(NETWORKS["xploregan"].presets, "toy", TOY)
    monkeypatch.setitem(NETWORKS["xploregan"].presets, "toy-adain", replace(TOY, norm="adain"))
    for seed, (name, network, preset) in enumerate((
            ("clusters-texture-tiny", "bagnet", "tiny"), ("clusters-shape-tiny", "resnet", "tiny"),
            ("clusters-asin-tiny", "xploregan", "toy"), ("clusters-adain-tiny", "xploregan", "toy-adain"))):
        torch.manual_seed(seed)
        hub.save(build(network, preset), name, network=network, preset=preset, recipe="", about="a toy", folder=folder)


def drawn_toys(*args, **settings) -> data.DrawnSet:
    """What `data.drawn_set` gives in its place."""
    images = made_up()
    truth = np.random.default_rng(1).random((len(images), 35)).astype(np.float32)
    return data.DrawnSet(images, truth, np.arange(len(images)) // 2, np.zeros((len(images), 5, 2), np.float32))


def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch, readers: tuple[str, ...] = READERS) -> None:
    """A folder of checkpoints with toys as everything that `clusters` ships, and the system in the registry."""
    load_head()     # the renderer's own file, checked against the real manifest
    monkeypatch.setattr(manifest, "CHECKPOINTS", folder)
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
    monkeypatch.setattr(systems, "_pipelines", LRUCache(9))
    monkeypatch.setattr(data, "drawn_set", drawn_toys)
    monkeypatch.setenv("FACET_CACHE", str(folder.parent / "cache"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in readers:
        shutil.copy(REAL / ROWS[name].file, folder)
    for name in (*readers, "dinov2-small", "bagnet17", "resnet50-sin", "yunet"):
        manifest.put(ROWS[name], folder)
    networks(folder, monkeypatch)
    assert not clusters.SYSTEM.is_shipped       # the crowd is missing
    crowd.build_crowd("texture", GROUPS, 0, 20, 2, 30, crowd.CROWD, folder, "")
    assert clusters.SYSTEM.is_shipped
    monkeypatch.setitem(systems.SYSTEMS, "clusters", clusters.SYSTEM)
