"""Faces that groups are found in: the drawn crowd that ships, or pictures of a visitor, which stay in memory."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from core.cache import LRUCache
from core.systems.clusters.words import traits_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.features import Space
    from core.training.crowd import Groups

QUALITY = 95    # of the JPEG files in memory
KEPT = 16       # discoveries in memory
SET_NAME = 24   # letters shown of a folder's name


@dataclass(frozen=True, eq=False)
class Faces:
    """N aligned faces. names: one each. files: JPEG or WebP files. table: (N, 35), what the judge sees.

    features: by space, (N, D) as the network gives them. vectors: by space, (N, K) after PCA. Both grow as spaces are
    asked for, so that another k takes no time. found: the last discoveries, by space, k and seed.
    """

    names: tuple[str, ...]
    files: tuple[bytes, ...]
    table: "Tensor"
    features: "dict[str, Tensor]" = field(default_factory=dict)
    vectors: "dict[str, Tensor]" = field(default_factory=dict)
    found: LRUCache = field(default_factory=lambda: LRUCache(KEPT))

    def __getstate__(self) -> dict:
        """For another process: all but the last discoveries, whose cache has locks."""
        return {name: value for name, value in vars(self).items() if name != "found"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, found=LRUCache(KEPT))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def key(self) -> str:
        """A short hash of the faces."""
        return hashlib.sha256(b"".join(self.files)).hexdigest()[:12]

    @cached_property
    def sets(self) -> "tuple[tuple[str, str], Tensor] | None":
        """Two sets side by side: the names of the two folders that all pictures lie in, in one line and cut, and 0 or 1
        for each picture, (N,). None for pictures in other places.
        """
        import torch

        paths = [PurePosixPath(name.replace("\\", "/")).parts[:-1] for name in self.names]
        shared = len([*takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))])
        folders = [path[shared] if len(path) > shared else "" for path in paths]
        both = tuple(sorted(set(folders)))
        if len(both) != 2 or not all(both):
            return None
        return tuple(" ".join(name.split())[:SET_NAME] for name in both), torch.tensor(
            [both.index(folder) for folder in folders])

    @property
    def traits(self) -> "Tensor":
        """Which of `words.TRAITS` each face has, (N, T) bool."""
        return traits_of(self.table)

    def picture(self, row: int) -> Image.Image:
        """One face."""
        return Image.open(io.BytesIO(self.files[row])).convert("RGB")

    def images(self, rows: Sequence[int] | None = None) -> np.ndarray:
        """Some faces, or all: (M, S, S, 3) uint8."""
        return np.stack([np.asarray(self.picture(row)) for row in (range(len(self)) if rows is None else rows)])

    def extract(self, space: "Space", network: "nn.Module") -> Iterator[int]:
        """Compute the features of a space unless they are here; yields how many faces are done."""
        import torch

        from core.features import BATCH, compute

        if space.name in self.features:
            return
        parts, done = [], 0
        while done < len(self):
            rows = range(done, min(done + BATCH, len(self)))
            parts += compute(space, network, self.images(rows))
            done += len(rows)
            yield done
        self.features[space.name] = torch.cat(parts)

    def vectors_in(self, space: str) -> "Tensor":
        """Vectors (N, K) of a space whose features are here: length 1, then the faces' own principal components."""
        from core.clustering import PCA, unit

        if space not in self.vectors:
            features = unit(self.features[space])
            self.vectors[space] = PCA.fit(features).apply(features)
        return self.vectors[space]


def faces_of(names: Sequence[str], images: np.ndarray, table: "Tensor") -> Faces:
    """Faces (N, S, S, 3) of a visitor."""
    return Faces(tuple(names), tuple(_encoded(image) for image in images), table)


def _encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def shipped_crowd(name: str) -> "tuple[Faces, Groups]":
    """The faces and the translator's groups in a crowd file; see `core.training.crowd`. Raises CheckpointError."""
    from core import hub
    from core.errors import CheckpointError
    from core.hub import weights
    from core.training.crowd import groups_in

    facts, stored = weights.opened(hub.file(name))
    groups = groups_in(facts, stored)
    try:
        content, ends = stored["pictures"].numpy().tobytes(), stored["ends"].tolist()
        vectors = {key.removeprefix("vectors."): value.float() for key, value in stored.items()
                   if key.startswith("vectors.")}
        table = stored["table"].float()
    except KeyError as error:
        raise CheckpointError(f"{name} lacks {error.args[0]}.", hub.row(name).mend) from error
    files = tuple(content[start:end] for start, end in zip([0, *ends], ends, strict=False))
    return Faces(tuple(f"drawn face {row}" for row in range(len(files))), files, table, vectors=vectors), groups
