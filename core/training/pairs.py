"""Ideal pairs: drawn faces before and after the renderer's own edit, which changes nothing else.

    ideal_pairs(60, "test")                         each attribute alone, to its opposite
    in_every_domain(2000, "train", ("smile",))      all combinations of yes/no attributes
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from core import data, faces
from core.cache import cache_dir
from core.faces import ATTRIBUTES, NAMES
from core.hub.files import locked, replacing

SIZE = 128
FRAMES = faces.Frames(0, (0.02, 0.02, 0.022), 0.014)    # of glasses that are put on: dark, with broad lenses
MOVING = ("gender",)    # attributes that change the whole head, so that it is aligned anew
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


@dataclass(frozen=True)
class Domains:
    """Drawn faces, each in every combination of some yes/no attributes: a domain, of which bit i is attribute i.

    paths: of P files (D, S, S, 3) uint8, a picture for each domain. own: (P,), the domain that a face is drawn in
    before any edit.
    """

    paths: tuple[Path, ...]
    own: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def pictures(self, numbers: Sequence[int], domains: Sequence[int]) -> np.ndarray:
        """The faces with these numbers, each in a domain: (N, S, S, 3) uint8."""
        return np.stack([np.load(self.paths[number], mmap_mode="r")[domain]
                         for number, domain in zip(numbers, domains, strict=True)])


def face_of(number: int, split: str, seed: int = 0, mixture: str = "ordinary") -> faces.Face:
    """A look of a person, the same for the same numbers."""
    identity = faces.person(number, split)
    return faces.Face(identity, faces.look(identity, data.look_seed(split, number, 0, seed), mixture))


def ideal_pairs(people: int, split: str, names: tuple[str, ...] = NAMES, size: int = SIZE, seed: int = 0,
                workers: int | None = None, one_camera: bool = False) -> Iterator[Person]:
    """The first `people` persons of a split, each with one edit of every named attribute, to its `opposite`.

    Aligned pictures, drawn once and cached; an interrupted call is continued by the next one. workers: of `draw_many`.
    one_camera: all pictures of a person have the first one's camera; otherwise each is aligned anew, which moves the
    whole face a little.
    """
    edits = partial(_edits, split=split, names=names, seed=seed)
    facts = dict(split=split, names=names, size=size, seed=seed, opposites=OPPOSITES)
    facts |= {"camera": "one"} if one_camera else {}
    for number, path in enumerate(_drawn(range(people), edits, facts, size, workers, _first if one_camera else None)):
        yield Person(np.load(path), np.stack([faces.truth(face) for face in edits(number)]))


def in_every_domain(people: int, split: str, attributes: tuple[str, ...], size: int = SIZE, seed: int = 0,
                    workers: int | None = None) -> Domains:
    """The first `people` persons of a split, each with every combination of yes/no attributes; drawn once and cached.

    Their looks are of the balanced mixture. A face that is drawn without glasses before any edit gets FRAMES, since
    nothing in its picture tells which frames the person would wear. Pictures that differ in no attribute of MOVING
    have one camera, so that a smile moves the corners of the mouth and not the whole face. workers: of `draw_many`.
    """
    combined = partial(_combined, split=split, attributes=attributes, seed=seed)
    facts = dict(split=split, attributes=attributes, size=size, seed=seed, moving=MOVING, frames=asdict(FRAMES))
    own = [_domain(face_of(number, split, seed, "balanced"), attributes) for number in range(people)]
    return Domains(tuple(_drawn(range(people), combined, facts, size, workers, partial(_alike, attributes))),
                   np.array(own))


def _combined(number: int, split: str, attributes: tuple[str, ...], seed: int) -> list[faces.Face]:
    """A face in every domain; attributes that it has already stay as they are."""
    face = face_of(number, split, seed, "balanced")
    if not face.look.glasses:
        face = replace(face, frames=FRAMES)
    own, found = _domain(face, attributes), []
    for domain in range(2 ** len(attributes)):
        edited = face
        for bit, name in enumerate(attributes):
            if (domain ^ own) >> bit & 1:
                edited = faces.edit(edited, name, float(domain >> bit & 1))
        found.append(edited)
    return found


def _alike(attributes: tuple[str, ...], combined: list[faces.Face]) -> list[faces.Face]:
    """For each face in its domain, the one whose camera it has: the first that differs in no attribute of MOVING."""
    bits = sum(1 << bit for bit, name in enumerate(attributes) if name in MOVING)
    return [combined[domain & bits] for domain in range(len(combined))]


def _first(edited: list[faces.Face]) -> list[faces.Face]:
    return [edited[0]] * len(edited)


def _domain(face: faces.Face, attributes: tuple[str, ...]) -> int:
    truth = faces.truth(face)
    return sum(int(truth[NAMES.index(name)] > 0.5) << bit for bit, name in enumerate(attributes))


def _drawn(numbers: Iterable[int], edits: Callable[[int], list[faces.Face]], facts: dict, size: int,
           workers: int | None, cameras: Callable[[list[faces.Face]], list[faces.Face]] | None = None) -> list[Path]:
    """The files of people, drawn where they are missing.

    edits: the faces of a person. facts: what they depend on. cameras: of these faces, the ones whose camera they have.
    """
    home = cache_dir("pairs", data.key_of(version=faces.VERSION, **facts))
    files = {number: _file(home, number) for number in numbers}
    with locked(home):
        missing = [number for number, path in files.items() if not path.exists()]
        edited = [edits(number) for number in missing]
        likes = chain.from_iterable(map(cameras, edited)) if cameras else None
        drawn = faces.draw_many(chain.from_iterable(edited), size, "aligned", workers, likes)
        for number, row in zip(missing, edited, strict=True):
            pictures = np.stack([next(drawn) for _ in row])
            with replacing(files[number]) as part, part.open("wb") as file:
                np.save(file, pictures)
    return [*files.values()]


def _edits(number: int, split: str, names: tuple[str, ...], seed: int) -> list[faces.Face]:
    face = face_of(number, split, seed)
    return [face, *(faces.edit(face, name, opposite(name, getattr(face.look, name))) for name in names)]


def _file(home: Path, number: int) -> Path:
    return home / f"{number:06d}.npy"
