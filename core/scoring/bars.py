"""A bar: one measured value and its goal."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A measured value with a goal such as ">= 0.97" or "0.6 to 1.3"; "reported" means no goal, which is always met.

    value: None where the measure is missing; its goal is then not met.
    """

    name: str
    value: float | None
    goal: str
    met: bool


def bar(name: str, value: float, goal: str) -> Bar:
    """Compare a measured value with its goal."""
    sign, limit = goal.split()
    return _held(name, value, goal, value >= float(limit) if sign == ">=" else value <= float(limit))


def bar_between(name: str, value: float, low: float, high: float) -> Bar:
    """A measured value that must lie between two numbers."""
    return _held(name, value, f"{low} to {high}", low <= value <= high)


def reported(name: str, value: float) -> Bar:
    """A measured value without a goal."""
    return Bar(name, _rounded(value), "reported", True)


def _held(name: str, value: float, goal: str, met: bool) -> Bar:
    return Bar(name, _rounded(value), goal, met and math.isfinite(value))


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
