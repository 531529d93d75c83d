"""The renderer's own numbers of drawn faces, whitened: what a generator can be given as z.

A drawn face is identity, look and what no attribute names (backdrop, clothes, gaze, light). Together they say what the
picture shows, so a generator fed with them learns from pairs. Whitened by principal components their numbers are
uncorrelated with mean 0 and spread 1, much like the normal z that StyleGAN2 expects.
"""

import os
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from core import data, faces
from core.cache import cache_dir
from core.faces.looks import Unnamed

KINDS = {"tied": ("bun", "ponytail"), "short": ("short", "sidepart", "slick"), "frame_shape": (0, 1, 2)}


@dataclass(frozen=True)
class Whitening:
    """mean, spread: (M,) of the raw numbers. components: (M, Z), such that whitened numbers have unit covariance."""

    mean: np.ndarray
    spread: np.ndarray
    components: np.ndarray

    def apply(self, numbers: np.ndarray) -> np.ndarray:
        """Raw numbers (N, M) -> z (N, Z), float32."""
        return (((numbers - self.mean) / self.spread) @ self.components).astype(np.float32)


def fit_whitening(numbers: np.ndarray, size: int) -> Whitening:
    """The first `size` principal components of raw numbers (N, M); zeros fill up where there are fewer."""
    mean, spread = numbers.mean(0), numbers.std(0) + 1e-6
    standard = (numbers - mean) / spread
    values, rows = np.linalg.eigh(standard.T @ standard / len(standard))
    values, rows = values[::-1][:size], rows[:, ::-1][:, :size]
    kept = values > 1e-3 * values[0]
    components = np.zeros((numbers.shape[1], size))
    components[:, : len(values)] = np.where(kept, rows / np.sqrt(np.where(kept, values, 1)), 0)
    return Whitening(mean, spread, components)


def numbers_of(split: str, people: int, looks: int, seed: int = 0, mixture: str = "balanced") -> np.ndarray:
    """The raw numbers of the faces of `data.drawn_set` with these arguments (version 4), in its order: (N, M) float32.

    Computed once, at some 200 faces a second, and kept beside the drawn sets.
    """
    from filelock import FileLock

    key = data.key_of(version=faces.VERSION, split=split, people=people, looks=looks, seed=seed, mixture=mixture,
                      layout=1)
    path = cache_dir("numbers") / f"{split}-{key}.npy"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            found = np.array([_numbers(_face(split, number, index, seed, mixture))
                              for number in range(people) for index in range(looks)], np.float32)
            with open(f"{path}.new", "wb") as file:
                np.save(file, found)
            os.replace(f"{path}.new", path)
    return np.load(path)


def _face(split: str, number: int, index: int, seed: int, mixture: str) -> faces.Face:
    identity = _person(split, number)
    return faces.Face(identity, faces.look(identity, data.look_seed(split, number, index, seed), mixture=mixture))


@lru_cache(maxsize=4)
def _person(split: str, number: int) -> faces.Identity:
    """Looks come person by person, so the last one is asked for again."""
    return faces.person(number, split=split)


def _numbers(face: faces.Face) -> list[float]:
    """All numbers of a face, in a fixed order."""
    identity, unnamed = face.identity, face.unnamed
    own = [getattr(identity, field.name) for field in fields(identity) if field.type is float]
    own += [*identity.shape, *identity.origin, *identity.iris, *_one_hot(identity.hair, ("black", "brown", "blond"))]
    look = [getattr(face.look, name) for name in faces.NAMES]
    free = [value for field in fields(Unnamed) if field.name not in KINDS
            for value in np.ravel(getattr(unnamed, field.name))]
    kinds = [value for name, known in KINDS.items() for value in _one_hot(getattr(unnamed, name), known)]
    return [*map(float, own + look + free), *kinds]


def _one_hot(value: object, kinds: tuple) -> list[float]:
    return [float(value == kind) for kind in kinds]
