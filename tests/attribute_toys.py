"""Small random networks in the place of those of `attributes`: a checkout where the system is there."""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core import faces, hub, systems
from core.cache import LRUCache
from core.faces import jit  # noqa: F401  compiled code stays in the cache of the run, wherever a test puts its own
from core.faces.head import load_head
from core.hub import manifest
from core.models import NETWORKS, autoencoder, build, e4e, iresnet, judge, l2m_gan, stylegan2
from core.systems import attributes
from core.systems.attributes.networks import Networks

REAL = manifest.CHECKPOINTS
ROWS = {row.name: row for row in hub.rows()}        # of the real manifest
TINY, FFHQ = attributes.CHOICES
SIZE = 64
CHECKS = ("judge-check-tiny", "embedder-check-tiny")
TOYS = {
    "stylegan2": replace(stylegan2.PRESETS["tiny"], channels=(16, 16, 16, 8, 8)),
    "e4e": replace(e4e.PRESETS["tiny"], size=SIZE, widths=(8, 8, 16, 16), features=16, head=8),
    "judge": replace(judge.PRESETS["tiny"], widths=(8, 8, 16, 16, 16), pooled=32),
    "iresnet": replace(iresnet.PRESETS["tiny"], widths=(16, 16, 16, 16), depths=(1, 1, 1, 1)),
    "l2m_gan": replace(l2m_gan.PRESETS["tiny"], width=8, max_width=16),
    "autoencoder": replace(autoencoder.PRESETS["tiny"], widths=(8, 8, 8, 8), groups=4),
}
SHIPPED = {     # checkpoint: network and preset
    TINY.generator: ("stylegan2", "toy"), TINY.mapper: ("latent-to-latent", "tiny"),
    TINY.directions: ("directions", "tiny"), TINY.encoder: ("e4e", "toy"), TINY.judge: ("judge", "toy"),
    TINY.embedder: ("iresnet", "toy"), TINY.features: ("autoencoder", "toy"), TINY.l2m: ("l2m_gan", "toy"),
    CHECKS[0]: ("judge", "toy"),
    CHECKS[1]: ("iresnet", "toy"),
}


def toy(network: str, preset: str, seed: int = 0) -> torch.nn.Module:
    """A network with weights from a seed, such that edits are seen."""
    torch.manual_seed(seed)
    made = build(network, preset).eval().requires_grad_(False)
    if network == "stylegan2":
        for layer in (made.to_rgb1, *made.to_rgbs):
            layer.conv.weight.mul_(0.3)
    if network == "latent-to-latent":
        made.out.weight.mul_(10)
    if network == "directions":
        made.normals.copy_(torch.nn.functional.normalize(torch.randn(35, made.config.style)))
        made.components.copy_(torch.linalg.qr(torch.randn(made.config.style, made.config.style))[0])
        made.chosen.copy_(torch.arange(35))
        made.slopes.fill_(4)
        made.chosen_slopes.fill_(4)
    return made


@contextmanager
def toy_checkout(folder: Path):
    """A folder of checkpoints with toys in it, and the detector of drawn faces as it ships."""
    load_head()     # the renderer's own file, checked against the real manifest
    with pytest.MonkeyPatch.context() as patch:
        for network, config in TOYS.items():
            patch.setitem(NETWORKS[network].presets, "toy", config)
        patch.setattr(manifest, "CHECKPOINTS", folder)
        patch.setattr(hub, "_networks", LRUCache(99))
        patch.setattr(systems, "_pipelines", LRUCache(9))
        folder.mkdir(parents=True)
        shutil.copy(REAL / ROWS["landmarks-tiny"].file, folder)
        for name in ("landmarks-tiny", "yunet", *FFHQ.files(), *FFHQ.files(extra=True), FFHQ.l2m):
            manifest.put(ROWS[name], folder)
        assert not attributes.SYSTEM.is_shipped
        for seed, (name, (network, preset)) in enumerate(SHIPPED.items()):
            hub.save(toy(network, preset, seed), name, network=network, preset=preset, recipe="", about="a toy")
        patch.setitem(systems.SYSTEMS, "attributes", attributes.SYSTEM)
        yield


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def shown(result, kind: str) -> list[np.ndarray]:
    return [pixels(path) for path, kept in zip(result.images, result.settings, strict=True) if kept["shown"] == kind]


def replace_choice(system, **changes) -> Networks:
    """Networks of a changed choice; those that it shares with the other are loaded already."""
    return Networks(replace(system.choice, **changes, drawn=False))


def photo(folder: Path, face: bool = True) -> str:
    """The path of an upload: a portrait of a drawn person, or a grey picture."""
    path = folder / "photo.png"
    picture = faces.draw(faces.frontal(3), 256, "portrait") if face else np.full((96, 96, 3), 120, np.uint8)
    Image.fromarray(picture).save(path)
    return str(path)
