"""A confusion matrix, requested × estimated, as text and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.output import save_picture

if TYPE_CHECKING:
    from PIL import Image

CELL, MARGIN, LETTERS = 72, 120, 15     # pixels: cell size, margin for names, font size
INK, PAPER, FULL = (28, 28, 32), (255, 255, 255), (24, 78, 140)


def shares(counts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Normalise each row; zeros for an empty row."""
    return [[value / max(sum(row), 1) for value in row] for row in counts]


def text(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The matrix as text, requested in rows, estimated in columns, in shares of the row."""
    width = max(map(len, names))
    lines = [" " * (width + 2) + "  ".join(f"{name:>{width}}" for name in names)]
    lines += [f"{name:<{width}}  " + "  ".join(f"{share:{width}.2f}" for share in row)
              for name, row in zip(names, shares(counts), strict=True)]
    return "\n".join(["asked (rows), judged (columns)", *lines])


def picture(names: Sequence[str], counts: Sequence[Sequence[int]]) -> "Image.Image":
    """The matrix as a picture; darker cells have larger shares of their row."""
    from PIL import Image, ImageDraw, ImageFont

    font, side = ImageFont.load_default(LETTERS), CELL * len(names)
    image = Image.new("RGB", (MARGIN + side + 8, MARGIN // 2 + side + 8), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((MARGIN - 10, MARGIN // 2 - 8), "asked", INK, ImageFont.load_default(11), anchor="rs")
    pen.text((MARGIN + side / 2, 4), "judged", INK, font, anchor="ma")
    for row, (name, values) in enumerate(zip(names, shares(counts), strict=True)):
        y = MARGIN // 2 + row * CELL
        pen.text((MARGIN - 10, y + CELL / 2), name, INK, font, anchor="rm")
        pen.text((MARGIN + (row + 0.5) * CELL, MARGIN // 2 - 8), name, INK, ImageFont.load_default(11), anchor="ms")
        for column, share in enumerate(values):
            x = MARGIN + column * CELL
            pen.rectangle((x, y, x + CELL - 3, y + CELL - 3), fill=tint(share))
            pen.text((x + CELL / 2 - 1, y + CELL / 2 - 1), f"{share:.2f}", PAPER if share > 0.5 else INK, font, "mm")
    return image


def tint(share: float) -> tuple[int, int, int]:
    """Cell colour, from almost white to full colour."""
    light = 0.06 + 0.94 * share
    return tuple(round(paper + (full - paper) * light) for paper, full in zip(PAPER, FULL, strict=True))


def write(path: Path, names: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    """Write the picture. Raises OutputError, SettingsError if it can't be written."""
    save_picture(picture(names, counts), path, "--plot")
