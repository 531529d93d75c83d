"""A bar: one measured number and the goal that it is held against."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One number that must be reached. goal: ">= 0.97" or "<= 6"; "reported" where there is none, and it is met."""

    name: str
    value: float
    goal: str
    met: bool


def bar(name: str, value: float, goal: str) -> Bar:
    """A measured value held against its goal."""
    sign, limit = goal.split()
    return Bar(name, round(value, 4), goal, value >= float(limit) if sign == ">=" else value <= float(limit))


def reported(name: str, value: float) -> Bar:
    """A measured value without a goal."""
    return Bar(name, round(value, 4), "reported", True)
