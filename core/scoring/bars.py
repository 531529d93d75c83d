"""A bar: one measured value and its goal."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A measured value with a goal such as ">= 0.97" or "<= 6"; "reported" means no goal, which is always met."""

    name: str
    value: float
    goal: str
    met: bool


def bar(name: str, value: float, goal: str) -> Bar:
    """Compare a measured value with its goal."""
    sign, limit = goal.split()
    return Bar(name, round(value, 4), goal, value >= float(limit) if sign == ">=" else value <= float(limit))


def reported(name: str, value: float) -> Bar:
    """A measured value without a goal."""
    return Bar(name, round(value, 4), "reported", True)
