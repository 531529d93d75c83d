"""The shipped subjects of `aging-tiny`: drawn test people, trained like a visitor's subject.

Ten pictures of about one age each; preset `tiny` of core/training/dreambooth.py and its seed. Scoring uses `usual` too,
for other people.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import data, hub, latent, subjects
from core import faces_v3 as faces
from core.training.dreambooth import PRESETS, Teacher

PICTURES = 10           # per person
SPREAD = 3.0            # years, largest distance from the person's usual age
SIZE = 128              # pixels
OLDEST = faces.ATTRIBUTES["age"].high


@dataclass(frozen=True)
class Person:
    """A shipped subject. name: displayed. number: in the test split. token: its rare token."""

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
    """PICTURES looks at about the person's usual age, with random pose, light, expression and hair."""
    return [look(number, index, faces.person(number, split).usual_age, SPREAD, split) for index in range(PICTURES)]


def look(number: int, index: int, age: float, spread: float = 0.0, split: str = "test") -> faces.Face:
    """One look of a person within `spread` years of an age."""
    person, seed = faces.person(number, split), data.look_seed(split, number, index, seed=2)
    moved = age + spread * np.random.default_rng(seed).uniform(-1, 1)
    return faces.Face(person, faces.look(person, seed, age=float(np.clip(moved, 0, OLDEST))))


def train_all(folder: Path, command: str, tell: Callable[[str], None] = print) -> list[Path]:
    """Train all of PEOPLE and write their adapters and manifest rows into a folder; returns the paths."""
    return [train_one(name, person, folder, command, tell) for name, person in PEOPLE.items()]


def train_one(name: str, person: Person, folder: Path, command: str, tell: Callable[[str], None]) -> Path:
    """Train one person; returns the path of the adapter."""
    from core.hub import manifest
    from core.images import from_uint8

    Path(folder).mkdir(parents=True, exist_ok=True)
    base, row = latent.load("tiny"), hub.row(latent.CHOICES["tiny"].unet)
    drawn = np.stack([faces.draw(face, size=SIZE, view="aligned") for face in usual(person.number)])
    teacher = Teacher(base, from_uint8(drawn).to(base.device), person.token, PRESETS["tiny"],
                      hub.load("embedder-tiny-v3", base.device), latent.prior(), row.sha256,
                      judge=hub.load("judge-tiny-v3", base.device))
    for lesson in teacher.lessons():
        if lesson.losses and lesson.step % 50 == 0:
            tell(f"{person.name}: step {lesson.step} of {lesson.steps}")
    path = subjects.write(teacher.subject(person.name), Path(folder) / f"{name}.safetensors")
    about = (f"{person.name}, drawn person {person.number} of the test split, trained from {PICTURES} pictures; "
             f"token {person.token}. For {row.name}.")
    return manifest.enter(path, name, command, about)
