"""What people ask for, checked: a slider lets NaN through, and an API anything at all."""

from typing import Any

from core.errors import SettingsError


def number(value: Any, name: str, low: float, high: float) -> float:
    """A finite number in [low, high]. Raises SettingsError that names the setting and its range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:   # NaN fails too
        raise SettingsError(f"{name} can't be {_shown(value)}.", f"Choose a number from {low:g} to {high:g}.")
    return float(value)


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high]; 3.0 is one. Raises SettingsError that names the setting and its range."""
    if number(value, name, low, high) != int(value):
        raise SettingsError(f"{name} can't be {_shown(value)}.", f"Choose a whole number from {low:,} to {high:,}.")
    return int(value)


def square(size: tuple[int, int], x: float, y: float, side: float) -> tuple[int, int, int, int]:
    """The square (left, top, right, bottom) in pixels, moved inside a picture of this (width, height) if need be.

    x, y: its middle, parts of width and height in [0, 1]. side: parts of the shorter side of the picture in [0.05, 1].
    """
    x, y = number(x, "x", 0, 1), number(y, "y", 0, 1)
    width = max(1, round(number(side, "size", 0.05, 1) * min(size)))
    left, top = (min(max(0, round(at * whole - width / 2)), whole - width)
                 for at, whole in zip((x, y), size, strict=True))
    return left, top, left + width, top + width


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:27]}..."
