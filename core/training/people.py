"""The people who ship with `aging-tiny`: drawn people whom no network saw, taught as a visitor's would be.

Ten pictures of one time of life each; preset `tiny` of core/training/dreambooth.py. Time: four lessons. Seed: the
preset's. `usual` is also how the people are pictured on whom aging is scored; those are others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import data, hub, latent, subjects
from core import faces_v3 as faces
from core.training.dreambooth import PRESETS, Teacher

PICTURES = 10           # that a person is taught from
SPREAD = 3.0            # years between them and the person's usual age, at most
SIZE = 128              # pixels
OLDEST = faces.ATTRIBUTES["age"].high


@dataclass(frozen=True)
class Person:
    """Somebody who ships. name: shown. number: of the test split. token: that stands for them."""

    name: str
    number: int
    token: str


PEOPLE = {
    "aging-person-1": Person("Ida", 207, "wzx"),
    "aging-person-2": Person("Omar", 252, "sks"),
    "aging-person-3": Person("Vera", 239, "ams"),
    "aging-person-4": Person("Kofi", 257, "ukj"),
}


def usual(number: int, split: str = "test") -> list[faces.Face]:
    """PICTURES looks of one time of life, the person's usual age; pose, light, expression and hair as they come."""
    return [look(number, index, faces.person(number, split).usual_age, SPREAD, split) for index in range(PICTURES)]


def look(number: int, index: int, age: float, spread: float = 0.0, split: str = "test") -> faces.Face:
    """One look of a person at about this age: `spread` years off it at most."""
    person, seed = faces.person(number, split), data.look_seed(split, number, index, seed=2)
    moved = age + spread * np.random.default_rng(seed).uniform(-1, 1)
    return faces.Face(person, faces.look(person, seed, age=float(np.clip(moved, 0, OLDEST))))


def teach(folder: Path, command: str, tell: Callable[[str], None] = print) -> list[Path]:
    """Teach everybody in PEOPLE and write their adapters, with manifest rows, into a folder; returns their paths."""
    return [taught(name, person, folder, command, tell) for name, person in PEOPLE.items()]


def taught(name: str, person: Person, folder: Path, command: str, tell: Callable[[str], None]) -> Path:
    """One of them; returns the path of the adapter."""
    from core.hub import manifest
    from core.images import from_uint8

    Path(folder).mkdir(parents=True, exist_ok=True)
    base, row = latent.load("tiny"), hub.row(latent.CHOICES["tiny"].unet)
    drawn = np.stack([faces.draw(face, size=SIZE, view="aligned") for face in usual(person.number)])
    teacher = Teacher(base, from_uint8(drawn).to(base.device), person.token, PRESETS["tiny"],
                      hub.load("embedder-tiny", base.device), latent.prior(), row.sha256,
                      judge=hub.load("judge-tiny", base.device))
    for lesson in teacher.lessons():
        if lesson.losses and lesson.step % 50 == 0:
            tell(f"{person.name}: step {lesson.step} of {lesson.steps}")
    path = subjects.write(teacher.subject(person.name), Path(folder) / f"{name}.safetensors")
    about = (f"{person.name}, drawn person {person.number} of the test split, taught from {PICTURES} pictures; the "
             f"token is {person.token}. Goes with {row.name}.")
    return manifest.enter(path, name, command, about)
