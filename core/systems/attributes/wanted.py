"""A request as the methods take it: units of all 35 attributes, of which some are asked for and some are frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.faces import ATTRIBUTES, NAMES
from core.models.judge import scores_at
from core.models.latent_to_latent import complete

NOTICED = 0.2


@dataclass(frozen=True)
class Wanted:
    """Requests for N faces.

    current, units: (N, 35), what they have and what is wanted, from 0 to 1. asked: (N, 35) bool. frozen: (35,) bool.
    turn: degrees by which the pictures are turned, positive clockwise.
    """

    current: Tensor
    units: Tensor
    asked: Tensor
    frozen: Tensor
    turn: float = 0.0

    @property
    def change(self) -> Tensor:
        """Wanted minus current units, (N, 35): exactly 0 for what is to stay."""
        return self.units - self.current

    @property
    def score_change(self) -> Tensor:
        """The same on the scale of scores (`core.models.judge.scores_of`): exactly 0 for what is to stay."""
        moved = scores_at(self.units) - scores_at(self.current)
        return torch.where(self.change == 0, torch.zeros_like(moved), moved)


def wanted_of(current: Tensor, asked: Mapping[str, float], kept: Sequence[str]) -> Wanted:
    """A request in the attributes' own units for faces with these current units (N, 35).

    An attribute that no face has together with an asked one gives way, unless it is frozen. An aligned face is upright:
    for roll the picture is turned, and the latent stays.
    """
    chosen = torch.tensor([name in asked and name != "roll" for name in NAMES], device=current.device)
    values = torch.tensor([unit(name, asked.get(name, 0.0)) for name in NAMES], device=current.device)
    frozen = torch.tensor([name in kept for name in NAMES], device=current.device)
    chosen = chosen.expand_as(current)
    completed = complete(torch.where(chosen, values, current), chosen)
    return Wanted(current, torch.where(frozen, current, completed), chosen, frozen, asked.get("roll", 0.0))


def given_way(wanted: Wanted) -> list[str]:
    """The attributes of the first face that were not asked for and change by NOTICED units or more."""
    return [name for name, change, asked in zip(NAMES, wanted.change[0], wanted.asked[0], strict=True)
            if abs(change) >= NOTICED and not asked]


def unit(name: str, value: float) -> float:
    """A value in the attribute's own unit -> 0 to 1 over its range."""
    row = ATTRIBUTES[name]
    return (value - row.low) / (row.high - row.low)


def value_of(name: str, units: float) -> float:
    """The reverse of `unit`."""
    row = ATTRIBUTES[name]
    return row.low + units * (row.high - row.low)
