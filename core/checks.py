"""Numbers from outside, checked: a slider lets NaN through, and an API anything at all."""

import math
from numbers import Real
from typing import Any

from core.errors import SettingsError


def number(value: Any, name: str, low: float, high: float) -> float:
    """A number in [low, high]. Raises SettingsError that names the argument, its value and its range."""
    _raise(name, value, allowed_number(value, low, high))
    return float(value)


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high]; 3.0 is one. Raises SettingsError that names the argument, its value and range."""
    _raise(name, value, allowed_whole(value, low, high))
    return int(value)


def allowed_number(value: Any, low: float, high: float) -> str | None:
    """None for a number in [low, high], else a sentence on what is allowed."""
    return None if is_number(value, low, high) else f"Choose a number from {low:g} to {high:g}."


def allowed_whole(value: Any, low: float, high: float) -> str | None:
    """None for a whole number in [low, high], else a sentence on what is allowed."""
    fine = is_number(value, low, high) and value == int(value)
    return None if fine else f"Choose a whole number from {low:,.0f} to {high:,.0f}."


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is a number in [low, high]; NaN is in no range, and True is no number."""
    return isinstance(value, Real) and not isinstance(value, bool) and bool(low <= value <= high)


def shown(value: Any) -> str:
    """A value from outside, short enough for a sentence."""
    if isinstance(value, int) and abs(value) > 10**30:
        return "a very large number"
    value = repr(value)
    return value if len(value) <= 30 else f"{value[:27]}..."


def _raise(name: str, value: Any, allowed: str | None) -> None:
    if allowed:
        raise SettingsError(f"{name} can't be {shown(value)}.", allowed)
