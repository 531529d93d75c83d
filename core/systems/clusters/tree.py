"""Groups at several k as a tree: which group splits into which.

k-means runs on its own at each k, so that nothing forces the groups to nest. The share of a group's faces that come
from its parent says how cleanly it splits off.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError

if TYPE_CHECKING:
    from core.systems.clusters.discovery import Discovery

LEVELS = 6      # values of k in one tree, at most


@dataclass(frozen=True)
class Node:
    """A group in the tree. k: of its level. group, size, words: as in `discovery.Group`.

    parent: number of the group at the next smaller k that most of its faces come from; None at the smallest k.
    share_from_parent: the share of its faces that come from there.
    """

    k: int
    group: int
    size: int
    words: str
    parent: int | None
    share_from_parent: float


def tree_of(levels: "Sequence[Discovery]") -> list[list[Node]]:
    """The levels of a tree, smallest k first. levels: discoveries of the same faces."""
    levels = sorted(levels, key=lambda level: level.k)
    rows = [[Node(levels[0].k, group.number, group.size, group.words, None, 1.0) for group in levels[0].groups]]
    for coarse, fine in pairwise(levels):
        both = fine.clusters.labels * coarse.k + coarse.clusters.labels
        table = both.bincount(minlength=fine.k * coarse.k).view(fine.k, coarse.k)
        rows.append([Node(fine.k, group.number, group.size, group.words, int(table[group.number].argmax()),
                          float(table[group.number].max()) / max(group.size, 1)) for group in fine.groups])
    return rows


def as_dict(tree: list[list[Node]]) -> dict[str, Any]:
    """The tree for a JSON file: levels of groups, each with its parent's number at the level before."""
    return {"levels": [{"k": level[0].k, "groups": [asdict(node) for node in level]} for level in tree]}


def levels_in(text: str, k: int, most: int) -> tuple[int, ...]:
    """The values of k that a text such as "10, 20, 50" names, and k itself, smallest first; () for an empty text.

    most: the largest k. Raises SettingsError.
    """
    if not text.strip():
        return ()
    try:
        levels = sorted({*map(int, text.replace(",", " ").split()), k})
    except ValueError as error:
        raise SettingsError(f"tree can't be {text[:30]!r}.", "Give whole numbers, like 10, 20, 50.") from error
    if not 2 <= levels[0] <= levels[-1] <= most or len(levels) > LEVELS:
        raise SettingsError(f"tree can't be {text[:30]!r}.",
                            f"Give at most {LEVELS - 1} whole numbers from 2 to {most}, like 10, 20, 50.")
    return tuple(levels)
