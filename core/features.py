"""Feature spaces: faces -> feature vectors that groups are found in. None of the networks has seen an attribute label.

    SPACES["texture"]                   a row: which checkpoint, what pictures it takes, what its groups share
    compute(space, network, images)     features batch by batch; closing the iterator stops it
    remember(space, images, facts)      the same for a drawn set, kept on disk
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from core.errors import CheckpointError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

BATCH = 64      # pictures at a time


@dataclass(frozen=True)
class Space:
    """A feature space. checkpoint: manifest row of its network. size: input pixels. finds: what its groups share.

    imagenet: whether pictures are normalised like ImageNet's; otherwise they stay in [-1, 1]. method: of the network.
    learned: the task that it was trained on. cells: the last map is averaged in cells × cells parts of the picture, so
    that features say where something is; 1, as in the paper, averages all of it.
    """

    name: str
    label: str
    checkpoint: str
    size: int
    finds: str
    learned: str
    imagenet: bool = True
    method: str = "features"
    cells: int = 1


SPACES = {space.name: space for space in (
    Space("texture", "Texture", "clusters-texture-tiny", 64, "colours and textures: hair, skin, age, light",
          "removing noise from drawn faces, and telling where a piece of a face belongs, in patches of 9 pixels",
          cells=3),
    Space("shape", "Shape", "clusters-shape-tiny", 64, "shapes: pose, expression, outlines",
          "removing noise from drawn faces with changed colours, and telling how they are rotated"),
    Space("persons", "Persons", "embedder-tiny", 112, "the person",
          "recognising drawn people", imagenet=False, method="forward"),
    Space("dinov2", "DINOv2", "dinov2-small", 224, "what photos show: hair, glasses, hats, background",
          "matching views of 142 million unlabelled pictures"),
    Space("bagnet17", "BagNet-17", "bagnet17", 224, "textures and colours, in patches of 17 pixels",
          "ImageNet's classes"),
    Space("resnet50-sin", "ResNet-50, Stylized-ImageNet", "resnet50-sin", 224, "shapes: expression and pose",
          "ImageNet's classes, in pictures whose textures were exchanged"),
)}


def space_of(name: str) -> Space:
    """The row of a space. Raises SettingsError that lists those there are."""
    if name not in SPACES:
        raise SettingsError(f"There is no feature space called {name[:40]!r}.", f"Choose from: {', '.join(SPACES)}.")
    return SPACES[name]


def network_of(space: Space, device: Any = None) -> "nn.Module":
    """The network of a space. Raises CheckpointError that names the command which brings it."""
    from core import hub

    if not hub.known(space.checkpoint):
        raise CheckpointError(f"The feature space {space.name} has no network yet.",
                              f"Train it:  python -m core train features --preset {space.name} --ship checkpoints")
    return hub.load(space.checkpoint, device)


def compute(space: Space, network: "nn.Module", images: "np.ndarray", batch: int = BATCH) -> "Iterator[Tensor]":
    """Features of aligned faces (N, H, W, 3) uint8, `batch` at a time: (batch, D) float32 on the CPU."""
    import numpy as np
    import torch

    from core.images import from_uint8, imagenet

    device = next(network.parameters()).device
    extract = getattr(network, space.method) if space.cells == 1 else partial(in_cells, network, space.cells)
    for start in range(0, len(images), batch):
        with torch.inference_mode():
            picture = from_uint8(np.ascontiguousarray(images[start:start + batch])).to(device)
            picture = resized(picture, space.size)
            found = extract(imagenet(picture) if space.imagenet else picture).float().cpu()
        yield found.clone()     # leaves inference mode


def in_cells(network: "nn.Module", cells: int, x: "Tensor") -> "Tensor":
    """Means of the network's last map of pictures (N, 3, H, W) in cells × cells parts: (N, D · cells²)."""
    from torch.nn import functional as F

    return F.adaptive_avg_pool2d(network.maps(x)[-1], cells).flatten(1)


def resized(picture: "Tensor", size: int) -> "Tensor":
    """Pictures (N, 3, H, W) at size × size, with area averaging when they shrink."""
    from torch.nn import functional as F

    if picture.shape[-2:] == (size, size):
        return picture
    return F.interpolate(picture, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def remember(space: Space, images: "np.ndarray", facts: Mapping[str, Any]) -> "Tensor":
    """Features (N, D) of a drawn set, computed once per set and network, and kept in the cache folder.

    facts: what the set was drawn from, such as split, people and looks.
    """
    import numpy as np
    import torch
    from filelock import FileLock

    from core import hub
    from core.cache import cache_dir
    from core.hub.files import replacing, sha256

    network = network_of(space)
    key = {"set": dict(facts), "count": len(images), "network": sha256(hub.file(space.checkpoint)), "size": space.size,
           "cells": space.cells}
    path = cache_dir("features") / f"{space.name}-{_hash(key)}.npy"
    path.parent.mkdir(exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            found = torch.cat([*compute(space, network, images)]).numpy()
            with replacing(path) as part, part.open("wb") as file:
                np.save(file, found)
    return torch.from_numpy(np.load(path))


def _hash(facts: Mapping[str, Any]) -> str:
    import hashlib
    import json

    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
