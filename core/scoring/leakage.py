"""The leakage of every attribute into every other, as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.output import save_picture
from core.scoring.confusion import INK, PAPER, tint

if TYPE_CHECKING:
    from PIL import Image

CELL, MARGIN = 18, 120      # pixels: cell size, margin for names
FULL = 1.0                  # standard deviations that get the full colour
NOTHING = (236, 234, 229)   # colour of pairs that are left out


def picture(names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> "Image.Image":
    """The matrix as a picture: changed attributes in rows, the others in columns; None is left out."""
    from PIL import Image, ImageDraw

    side = CELL * len(names)
    image = Image.new("RGB", (MARGIN + side + 8, MARGIN + side + 8), PAPER)
    image.paste(_labels(names, "rm", MARGIN - 8), (0, MARGIN))
    image.paste(_labels(names, "lm", 8).transpose(Image.Transpose.ROTATE_90), (MARGIN, 0))
    pen = ImageDraw.Draw(image)
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            x, y = MARGIN + column * CELL, MARGIN + row * CELL
            colour = NOTHING if value is None else tint(min(max(value, 0) / FULL, 1))
            pen.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=colour)
    return image


def _labels(names: Sequence[str], anchor: str, x: float) -> "Image.Image":
    """Names below each other, one a cell."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (MARGIN, CELL * len(names)), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    for at, name in enumerate(names):
        pen.text((x, (at + 0.5) * CELL), name.replace("_", " "), INK, font, anchor=anchor)
    return image


def write(path: Path, names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> None:
    """Write the picture. Raises OutputError, or SettingsError for an ending that is no picture's."""
    save_picture(picture(names, rows), path, "--plot")
