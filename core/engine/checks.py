"""What people ask for, checked: a slider lets NaN through, and an API anything at all."""

from typing import Any

from core.errors import SettingsError


def number(value: Any, name: str, low: float, high: float) -> float:
    """A finite number in [low, high]. Raises SettingsError that names the setting and its range."""
    if not _within(value, low, high):
        raise SettingsError(f"{name} can't be {_shown(value)}.", f"Choose a number from {low:g} to {high:g}.")
    return float(value)


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high]; 3.0 is one. Raises SettingsError that names the setting and its range."""
    if not _within(value, low, high) or value != int(value):
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


def crop_of(text: str) -> tuple[float, float, float]:
    """A crop as people write it, "0.5,0.4,0.3": middle across, middle down, size. Raises SettingsError."""
    try:
        x, y, size = map(float, text.split(","))
    except ValueError as error:
        raise SettingsError(f"crop can't be {text[:30]!r}.",
                            "Give three numbers: middle across, middle down, size, like 0.5,0.4,0.3") from error
    return x, y, size


def _within(value: Any, low: float, high: float) -> bool:
    """Whether it is a number in [low, high]; NaN is in no range, and True is no number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 30 else f"{text[:27]}..."
