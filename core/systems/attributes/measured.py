"""What an edit achieved, by the steering judge and embedder: asked, achieved and leaked values, and similarity."""

from dataclasses import dataclass

from torch import Tensor

from core.faces import NAMES, TIED
from core.metrics import cosine
from core.models.judge import scores_at
from core.systems.attributes.networks import Seen
from core.systems.attributes.wanted import Wanted, value_of

SHOWN = 0.5         # standard deviations of a leak that is named
LEAST = 1e-3        # units: a smaller change is not measured


@dataclass(frozen=True)
class Measured:
    """asked, achieved: attribute to value in its own unit. reached: share of the asked change that was made, 1 is all;
    None if nothing was asked. leaked: attribute to change in standard deviations, of those of SHOWN and more. leakage:
    the mean over all others, without sign. similarity: cosine of both pictures' face vectors.
    """

    asked: dict[str, float]
    achieved: dict[str, float]
    reached: float | None
    leaked: dict[str, float]
    leakage: float
    similarity: float


def measure(wanted: Wanted, before: Seen, after: Seen, spread: Tensor, turn: float = 0.0) -> Measured:
    """Compare two pictures of one face. spread: (35,) standard deviations of scores. turn: made by the request."""
    asked = {name: value_of(name, float(units)) for name, units, chosen in zip(
        NAMES, wanted.units[0], wanted.asked[0], strict=True) if chosen}
    achieved = {name: value_of(name, float(after.units[0, NAMES.index(name)])) for name in asked}
    moved = ((after.scores - before.scores) / spread)[0]                        # (35,)
    tied = {other for name in asked for other in TIED[name]}
    others = [name for name in NAMES if name not in asked and name not in tied and name != "roll"]
    leaks = {name: float(moved[NAMES.index(name)]) for name in others}
    leaked = dict(sorted(((name, round(value, 3)) for name, value in leaks.items() if abs(value) >= SHOWN),
                         key=lambda leak: -abs(leak[1])))
    turned = {"roll": turn} if turn else {}
    return Measured(asked | turned, achieved | turned, reached(wanted, before, after), leaked,
                    sum(map(abs, leaks.values())) / max(len(leaks), 1), float(cosine(before.vector, after.vector)))


def reached(wanted: Wanted, before: Seen, after: Seen) -> float | None:
    """The mean share of the asked changes that was made, each from 0 to 1; None where nothing was asked."""
    start, goal, found = (scores_at(units)[0] for units in (before.units, wanted.units, after.units))
    rows = [row for row in wanted.asked[0].nonzero()[:, 0].tolist() if abs(goal[row] - start[row]) > LEAST]
    if not rows:
        return None
    shares = [float((found[row] - start[row]) / (goal[row] - start[row])) for row in rows]
    return sum(min(max(share, 0.0), 1.0) for share in shares) / len(shares)
