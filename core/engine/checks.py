"""Parts of a picture that people mark, checked."""

from core.checks import number
from core.errors import SettingsError


def square(size: tuple[int, int], x: float, y: float, side: float) -> tuple[int, int, int, int]:
    """The square (left, top, right, bottom) in pixels, moved inside a picture of this (width, height) if need be.

    x, y: its middle, parts of width and height in [0, 1]. side: parts of the shorter side of the picture in [0.05, 1].
    """
    x, y = number(x, "x", 0, 1), number(y, "y", 0, 1)
    width = max(1, round(number(side, "size", 0.05, 1) * min(size)))
    left, top = (min(max(0, round(at * length - width / 2)), length - width)
                 for at, length in zip((x, y), size, strict=True))
    return left, top, left + width, top + width


def crop_of(text: str) -> tuple[float, float, float]:
    """A crop as people write it, "0.5,0.4,0.3": middle across, middle down, size. Raises SettingsError."""
    try:
        x, y, size = map(float, text.split(","))
    except ValueError as error:
        raise SettingsError(f"crop can't be {text[:30]!r}.",
                            "Give three numbers: middle across, middle down, size, like 0.5,0.4,0.3") from error
    return x, y, size
