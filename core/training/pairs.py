"""Ideal pairs: drawn faces before and after the renderer's own edit of one attribute, which changes nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import data, faces
from core.cache import cache_dir
from core.faces import ATTRIBUTES, NAMES
from core.hub.files import locked, replacing

SIZE = 128
OPPOSITES = {"age": (25.0, 70.0), "yaw": (-30.0, 30.0), "pitch": (-15.0, 15.0), "roll": (-15.0, 15.0),
             "hair_length": (0.2, 0.9), "exposure": (-0.6, 0.6), "blur": (0.0, 0.35), "light_side": (-0.8, 0.8)}


@dataclass(frozen=True)
class Person:
    """One person before and after each edit. pictures: (1 + A, S, S, 3) uint8, the unedited one first.

    truth: (1 + A, 35), in the unit of each attribute. A: the attributes, in the order that was asked for.
    """

    pictures: np.ndarray
    truth: np.ndarray


def opposite(name: str, value: float) -> float:
    """Another value of an attribute: no for yes, and of a measure the end of OPPOSITES that is farther away."""
    low, high = OPPOSITES.get(name, (ATTRIBUTES[name].low, ATTRIBUTES[name].high))
    return high if value < (low + high) / 2 else low


def face_of(number: int, split: str, seed: int = 0) -> faces.Face:
    """A look of a person from the ordinary mixture, the same for the same numbers."""
    identity = faces.person(number, split)
    return faces.Face(identity, faces.look(identity, data.look_seed(split, number, 0, seed), "ordinary"))


def ideal_pairs(people: int, split: str, names: tuple[str, ...] = NAMES, size: int = SIZE, seed: int = 0,
                workers: int | None = None) -> Iterator[Person]:
    """The first `people` persons of a split, each with one edit of every named attribute, to its `opposite`.

    Aligned pictures, drawn once and cached; an interrupted call is continued by the next one. workers: of `draw_many`.
    """
    home = cache_dir("pairs", data.key_of(version=faces.VERSION, split=split, names=names, size=size, seed=seed,
                                          opposites=OPPOSITES))
    with locked(home):
        missing = [number for number in range(people) if not _file(home, number).exists()]
        drawn = faces.draw_many((face for number in missing for face in _edits(number, split, names, seed)), size,
                                "aligned", workers)
        for number in missing:
            pictures = np.stack([next(drawn) for _ in range(1 + len(names))])
            with replacing(_file(home, number)) as part, part.open("wb") as file:
                np.save(file, pictures)
    for number in range(people):
        truth = np.stack([faces.truth(face) for face in _edits(number, split, names, seed)])
        yield Person(np.load(_file(home, number)), truth)


def _edits(number: int, split: str, names: tuple[str, ...], seed: int) -> list[faces.Face]:
    face = face_of(number, split, seed)
    return [face, *(faces.edit(face, name, opposite(name, getattr(face.look, name))) for name in names)]


def _file(home: Path, number: int) -> Path:
    return home / f"{number:06d}.npy"
