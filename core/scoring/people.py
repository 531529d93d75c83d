"""The people that aging is scored on: drawn test people, unseen by all networks, and pictures of them.

    usual   training pictures, as for the shipped subjects: PICTURES at the person's usual age ± SPREAD years, with
            random pose, light, expression, hair and hats
    later   real pictures at the six ages: EACH further pictures per age, with years spread over the group

Subjects are numbers 0 to 19, strangers those after them. Pictures depend only on the number.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from core import data
from core import faces_v3 as faces
from core.cache import cache_dir
from core.hub.files import replacing
from core.training.people import OLDEST, PICTURES, SIZE, SPREAD, look, usual
from core.words import GROUPS

__all__ = ["EACH", "FEW", "PICTURES", "SIZE", "SPREAD", "STRANGERS", "SUBJECTS", "later", "pictures", "usual"]

SUBJECTS, FEW = 20, 3   # trained people; with `quick`
STRANGERS = 40          # untrained people, for impostor pairs
EACH = 4                # real pictures per age


def later(number: int) -> list[faces.Face]:
    """The six ages, youngest first, EACH looks at each."""
    years, young = [], 0.0
    for below in GROUPS.values():
        span = min(below, OLDEST) - young
        years += [young + span * (index + 0.5) / EACH for index in range(EACH)]
        young = below
    return [look(number, PICTURES + index, age) for index, age in enumerate(years)]


def pictures(kind: Callable[[int], list[faces.Face]], numbers: Sequence[int],
             tell: Callable[[str], None] = print) -> np.ndarray:
    """`usual` or `later` pictures of people: (P, K, SIZE, SIZE, 3) uint8, aligned, drawn once and cached on disk.

    An interrupted call is resumed by the next one.
    """
    missing = [number for number in numbers if not _file(kind, number).exists()]
    drawn = faces.draw_many((face for number in missing for face in kind(number)), SIZE, "aligned")
    for done, number in enumerate(missing):
        if done % 10 == 0:
            tell(f"drawing pictures of test people, {done} of {len(missing)}")
        stacked = np.stack(list(islice(drawn, len(kind(number)))))
        with replacing(_file(kind, number)) as part, part.open("wb") as file:
            np.save(file, stacked)
    return np.stack([np.load(_file(kind, number)) for number in numbers])


def _file(kind: Callable[[int], list[faces.Face]], number: int) -> Path:
    """Cache file of one person's pictures."""
    key = data.key_of(version=faces.VERSION, kind=kind.__name__, number=number, size=SIZE, pictures=PICTURES,
                      spread=SPREAD, each=EACH)
    return cache_dir("scored") / f"{kind.__name__}-{number}-{key}.npy"
