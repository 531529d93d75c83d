"""The crowd that `clusters` opens with, and the groups that its translator is trained on: `python -m core build crowd`.

One file holds both, so that the tab, both translators and `score clusters` mean the same groups:

    pictures, ends      WebP files one after another, (bytes,) uint8, and where each ends, (N,)
    table               the judge's answers for each, (N, 35), in the order of core.faces.NAMES
    vectors.<space>     their vectors in each feature space, (N, 256) at most
    pca.*, centres, mean, variance      the groups, see `Groups`

Time: the features of 36,000 pictures, three minutes on one core. The pictures are drawn training people.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import data, hub
from core.clustering import PCA, k_means, nearest, unit
from core.errors import CheckpointError
from core.features import SPACES, compute, network_of, remember, space_of
from core.hub import weights
from core.models.judge import attribute_table
from core.models.xploregan import GroupStatistics

CROWD = "clusters-crowd-tiny"
PICTURE, QUALITY = 96, 85       # pixels of a stored face, and its WebP quality
TYPICAL = 4                     # faces nearest to each centre that are always among the crowd
SHOWN = ("texture", "shape", "persons")     # feature spaces whose vectors are stored


@dataclass(frozen=True)
class Groups:
    """Groups that a translator is trained on. space: name of the feature space. pca: of its features at length 1.

    centres: (k, K). statistics: of the vectors that `pca` gives, K = 256 numbers each.
    """

    space: str
    pca: PCA
    centres: Tensor
    statistics: GroupStatistics

    def vectors(self, features: Tensor) -> Tensor:
        """Features (N, D) of the space's network -> vectors (N, K)."""
        return self.pca.apply(unit(features))

    def assign(self, vectors: Tensor) -> Tensor:
        """The group of each vector (N, K): (N,) int64."""
        return nearest(vectors, self.centres)[0]

    def tensors(self) -> dict[str, Tensor]:
        """The arrays by name, as stored: the components in half precision."""
        return {"pca.mean": self.pca.mean, "pca.components": self.pca.components.half(), "pca.scale": self.pca.scale,
                "centres": self.centres, "mean": self.statistics.mean, "variance": self.statistics.variance}

    @classmethod
    def from_tensors(cls, space: str, stored: dict[str, Tensor]) -> "Groups":
        """Inverse of `tensors`. Raises KeyError for a missing array."""
        pca = PCA(*(stored[f"pca.{name}"].float() for name in ("mean", "components", "scale")))
        return cls(space, pca, stored["centres"], GroupStatistics(stored["mean"], stored["variance"]))


def find_groups(space: str, features: Tensor, k: int, seed: int) -> tuple[Groups, Tensor]:
    """The groups of features (N, D), and the vectors (N, K)."""
    pca = PCA.fit(unit(features))
    vectors = pca.apply(unit(features))
    found = k_means(vectors, k, seed)
    return Groups(space, pca, found.centres, GroupStatistics.of(vectors, found.labels, k)), vectors


def read_groups(name: str = CROWD) -> Groups:
    """The groups of a crowd file. Raises CheckpointError."""
    if not hub.known(name):
        raise CheckpointError(f"There is no crowd {name} yet.",
                              f"Build it:  python -m core build crowd --name {name}")
    return groups_in(*weights.opened(hub.file(name)))


def groups_in(facts: dict[str, str], stored: dict[str, Tensor]) -> Groups:
    """The groups among the facts and arrays of a crowd file. Raises CheckpointError for another file."""
    try:
        return Groups.from_tensors(facts["space"], stored)
    except KeyError as error:
        raise CheckpointError(f"This is no crowd file: it lacks {error.args[0]}.",
                              "Build one:  python -m core build crowd") from error


def build_crowd(space: str, k: int, seed: int, people: int, looks: int, count: int, name: str, folder: Path,
                command: str) -> Path:
    """Find k groups of drawn training people, and write them with `count` of the faces; returns the path.

    people × looks: the faces that the groups are found in. Raises SettingsError, CheckpointError.
    """
    drawn = data.drawn_set("train", people, looks, size=128, version=4)
    groups, vectors = find_groups(space, remember(space_of(space), drawn.images, set_facts("train", people, looks)), k,
                                  seed)
    rows = chosen_rows(groups, vectors, count)
    sample = drawn.take(rows)
    stored = groups.tensors() | {"table": attribute_table(data.outputs(hub.load("judge-tiny"), sample)).half()}
    for other in dict.fromkeys((space, *SHOWN)):
        stored[f"vectors.{other}"] = (vectors[rows] if other == space else vectors_of(other, sample.images)).half()
    files = [encoded(picture) for picture in sample.images]
    stored["pictures"] = torch.from_numpy(np.frombuffer(b"".join(files), np.uint8).copy())
    stored["ends"] = torch.tensor(np.cumsum([len(file) for file in files]))
    facts = {"space": space, "k": k, "seed": seed, "networks": {
        each: hub.row(SPACES[each].checkpoint).sha256 for each in dict.fromkeys((space, *SHOWN))}}
    about = (f"{len(rows)} drawn training people, and {k} groups of {len(drawn)} in the feature space {space}, "
             f"seed {seed}; no labels were used to find them.")
    return write(stored, facts, name, folder, command, about)


def set_facts(split: str, people: int, looks: int) -> dict[str, object]:
    """What an aligned drawn set of 128 pixels was drawn from, for `core.features.remember`."""
    return {"split": split, "people": people, "looks": looks, "size": 128, "version": data.renderer(4).VERSION}


def chosen_rows(groups: Groups, vectors: Tensor, count: int) -> np.ndarray:
    """Rows of the crowd: the TYPICAL ones of every group, and evenly spaced ones; at least `count` where there are."""
    apart = torch.cdist(groups.centres, vectors)                                                    # (k, N)
    typical = apart.topk(min(TYPICAL, len(vectors)), largest=False).indices.flatten().numpy()
    return np.unique(np.concatenate([typical, np.linspace(0, len(vectors) - 1, min(count, len(vectors))).astype(int)]))


def vectors_of(space: str, images: np.ndarray) -> Tensor:
    """Vectors of pictures in a space of their own: features, length 1, principal components."""
    row = space_of(space)
    features = unit(torch.cat([*compute(row, network_of(row), images)]))
    return PCA.fit(features).apply(features)


def encoded(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) as a WebP file of PICTURE × PICTURE pixels."""
    from PIL import Image

    file = io.BytesIO()
    small = Image.fromarray(picture).resize((PICTURE, PICTURE), Image.Resampling.LANCZOS)
    small.save(file, "WEBP", quality=QUALITY, method=6)
    return file.getvalue()


def write(stored: dict[str, Tensor], facts: dict, name: str, folder: Path, command: str, about: str) -> Path:
    """Write <folder>/<name>.safetensors, with a manifest row; returns its path."""
    from safetensors.torch import save_file

    from core.hub import manifest
    from core.hub.files import replacing

    path = Path(folder) / f"{name}.safetensors"
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    with replacing(path) as part:
        save_file({key: value.contiguous() for key, value in stored.items()}, part, metadata=metadata)
    return manifest.enter(path, name, command, about)
