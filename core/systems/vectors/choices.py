"""Which checkpoints `vectors` can be made of: the small ones that ship, or the published Vec2Face."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from core import hub
from core.engine.choices import require
from core.errors import CheckpointError, VectorError

if TYPE_CHECKING:
    from core.sampling import People

FITTED = 20_000         # features that people are fitted to, at most: more move nothing and take memory


@dataclass(frozen=True)
class Quality:
    """The unit in which steering reads quality, counted from 0.

    most: the most that can be asked for. usual: the default. tolerance: of
    acceptance. weight: what one unit weighs against a degree of yaw.
    """

    most: float
    usual: float
    tolerance: float
    weight: float


@dataclass(frozen=True)
class Choice:
    """Checkpoints that belong together, by name: one draws, one takes vectors, a file says where people lie among
    these, and two read yaw and quality off pictures when faces are steered; one network may do both.

    turned: degrees of yaw that acceptance forgives. similarity: the cosine to its source that a steered face must keep,
    unless asked otherwise. beyond: a face is drawn to its source until it is this much more like it than it must; None,
    as in the paper, draws it all the way.
    """

    name: str
    label: str
    generator: str
    embedder: str
    people: str
    yaw_reader: str
    quality_reader: str
    quality: Quality
    turned: float
    similarity: float
    beyond: float | None
    does: ClassVar[tuple[str, str]] = ("draw", "steer")     # what its two sets of files are for

    def files(self, extra: bool = False) -> tuple[str, ...]:
        """The checkpoints that drawing takes; with `extra` those that steering takes besides."""
        names = (self.yaw_reader, self.quality_reader) if extra else (self.generator, self.embedder, self.people)
        return tuple(dict.fromkeys(names))


CHOICES = (     # the first ships with the project
    Choice("tiny", "Facet's own, trained on drawn people", "vectors-tiny", "embedder-tiny", "vectors-people-tiny",
           "judge-tiny", "judge-tiny",
           Quality(most=1, usual=0.7, tolerance=0.02, weight=50),       # poor to sharp counts like half a turn
           turned=0.5,              # another network's reading is two or three degrees away
           similarity=0.6, beyond=0.05),    # different people are below 0.4
    Choice("base", "Published Vec2Face, trained on photos", "vec2face-base", "arcface-r100", "vec2face-people",
           "6drepnet", "magface-r100",
           Quality(most=60, usual=27, tolerance=1, weight=1),
           turned=5, similarity=0.7, beyond=None),      # the paper's, all of them
)


def people(choice: Choice) -> "People":
    """Where the people of a choice lie among its vectors. Raises CheckpointError; nothing is fetched."""
    from core.hub import weights
    from core.sampling import People

    require(choice)
    row, path = hub.row(choice.people), hub.file(choice.people)
    return fitted(path, row) if path.suffix == ".npy" else People.from_dict(weights.read(path, row))


def fitted(path: Path, row: hub.Row) -> "People":
    """People fitted to the features in a `.npy` file: (N, 512) finite numbers of different people, N at least 2.

    Of more than FITTED every second, third … is taken. Nothing in the file is executed. Raises CheckpointError.
    """
    import numpy as np
    import torch

    from core.sampling import WIDTH, People
    from core.systems.vectors import numbers

    wrong = f"{path.name} does not hold the features of people"
    try:
        stored = numbers.header_first(path)
        if stored.ndim != 2 or stored.shape[1] != WIDTH or stored.dtype.kind != "f":
            raise CheckpointError(f"{wrong}, (N, {WIDTH}), but {stored.dtype} numbers of the shape {stored.shape}.",
                                  row.mend)
        step = max(1, math.ceil(len(stored) / FITTED))
        return People.fit(torch.from_numpy(np.array(stored[::step], np.float32)))
    except (ValueError, VectorError) as error:
        raise CheckpointError(f"{wrong}, finite and different.", row.mend) from error
