"""What the pipeline `vectors` takes and gives: where a face starts from, pictures made, what a picture remembers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("people", "drawn", "photo", "vector")
MAX_SIGMA = 1.5         # beyond about 0.9 the person is lost


@dataclass(frozen=True)
class Source:
    """A face to start from: its 512 numbers, and the picture they were taken from, if any.

    kind: one of KINDS. vector: (512,) float32. picture: path of a 112 × 112 PNG. person: number of the drawn person.
    """

    kind: str
    vector: np.ndarray
    picture: str | None = None
    person: int | None = None
    label: str = ""


@dataclass(frozen=True)
class Result:
    """The pictures made so far. A stream of results grows until there are `total` of them.

    images: PNG paths, 112 × 112. settings: one dictionary a picture, as stored inside it. vectors: (N, 512), what each
    picture was made from. similarity: cosine between the source's vector and the embedding of the picture, in [-1, 1].
    """

    images: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: tuple[dict[str, Any], ...]
    vectors: np.ndarray
    similarity: tuple[float, ...]
    total: int


@dataclass(frozen=True)
class Restored:
    """What a picture made here remembers: enough to make it again as the first of a set, or as the first after the
    source itself where that is varied.

    checkpoint: name of the choice that made it, as in core.engine.choices; None when it is none of today's.
    threshold: how alike new people might be. whole: whether this is all of it; of a face that was walked to, edited or
    turned only the numbers come back, from which it is drawn again.
    """

    source: Source
    sigma: float
    count: int
    seed: int
    checkpoint: str | None
    threshold: float
    whole: bool


@dataclass(frozen=True)
class Steered(Result):
    """Faces on their way to the asked pose and quality: each the best of its own so far, in a file that is replaced
    when there is a better one.

    yaw: degrees, positive towards the right of the picture. quality: in the unit of the checkpoint choice.
    Both as its readers see them.
    missed: for each face which of "similarity", "yaw" and "quality" is not as asked; () is done. iteration: steps made,
    of `limit` at most.
    """

    yaw: tuple[float, ...]
    quality: tuple[float, ...]
    missed: tuple[tuple[str, ...], ...]
    iteration: int
    limit: int


BULKY = frozenset({"vector", "walk_from", "walk_to", "edit_from", "origin_vector"})    # 512 numbers each, in settings


def file_name(kept: dict[str, Any]) -> str:
    """What a picture with these settings is called."""
    asked = "".join(f"-{name}{kept[f'{name}_target']:g}" for name in ("yaw", "quality")
                    if kept.get(f"{name}_target") is not None)
    if "move" in kept:
        return f"facet-{kept['move']}-{kept['step']:02d}-of-{kept['steps']:02d}.png"
    who = f"{kept.get('origin', kept['source'])}{kept.get('origin_person', kept.get('person', ''))}"
    return f"facet-{who}-seed{kept['seed']}-sigma{kept['sigma']:g}{asked}.png"
