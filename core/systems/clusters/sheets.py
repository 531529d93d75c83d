"""Groups as files: a strip of each group's faces, all members on sheets, a table of all faces."""

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from core.systems.clusters.discovery import BORDERLINE, TYPICAL, Discovery, Group

if TYPE_CHECKING:
    from core.systems.clusters.crowd import Faces

FACE, GAP, LINE, LETTERS = 96, 4, 24, 14        # pixels: a face, between faces, a line of text, its letters
COLUMNS, MEMBERS = 10, 100                      # of a sheet of members; faces on it, at most
MEMBER = 64                                     # pixels of a face on it
INK, PAPER = (28, 28, 32), (255, 255, 255)
COLUMN_NAMES = ("picture", "group", "group size", "distance", "second group", "second distance", "map x", "map y")


def shares(faces: "Faces", found: Discovery) -> list[list[str]]:
    """Of two sets, the share of each that lies in each group, in words: "12% of summer". Empty without two sets."""
    if faces.sets is None:
        return [[] for _ in found.groups]
    names, labels = faces.sets
    counts = [found.clusters.labels[labels == number].bincount(minlength=found.k) / int((labels == number).sum())
              for number in range(len(names))]
    return [[f"{float(count[group]):.0%} of {name}" for count, name in zip(counts, names, strict=True)]
            for group in range(found.k)]


def strip(faces: "Faces", group: Group, sets: Sequence[str] = ()) -> Image.Image:
    """A group at a glance: its title, then typical faces, then, set apart, borderline ones. sets: see `shares`."""
    width = (TYPICAL + BORDERLINE) * (FACE + GAP) + 2 * GAP
    sheet = Image.new("RGB", (width, LINE + FACE), PAPER)
    ImageDraw.Draw(sheet).text((2, 3), title(group, sets), INK, ImageFont.load_default(LETTERS))
    places = [at * (FACE + GAP) for at in range(TYPICAL)]
    places += [width - (BORDERLINE - at) * (FACE + GAP) + GAP for at in range(BORDERLINE)]
    rows = [*group.typical, *[-1] * (TYPICAL - len(group.typical)), *(row for row, _ in group.borderline)]
    for row, x in zip(rows, places, strict=False):
        if row >= 0:
            sheet.paste(faces.picture(row).resize((FACE, FACE), Image.Resampling.LANCZOS), (x, LINE))
    return sheet


def title(group: Group, sets: Sequence[str] = ()) -> str:
    """Number, size, shares of two sets and traits in one line."""
    return ", ".join((f"Group {group.number}: {group.size:,} faces", *sets, *map(str, group.shared)))


def stacked(strips: Sequence[Image.Image], rows: int = 25) -> Image.Image:
    """Strips below one another, in columns of at most `rows`."""
    width, height = strips[0].size
    columns = -(-len(strips) // rows)
    sheet = Image.new("RGB", (columns * (width + 4 * GAP), min(len(strips), rows) * (height + 2 * GAP)), PAPER)
    for number, each in enumerate(strips):
        column, row = divmod(number, rows)
        sheet.paste(each, (column * (width + 4 * GAP), row * (height + 2 * GAP)))
    return sheet


def members(faces: "Faces", found: Discovery, number: int) -> Image.Image:
    """A contact sheet of a group's faces, the most typical first, at most MEMBERS."""
    rows = (found.clusters.labels == number).nonzero()[:, 0]
    rows = rows[found.distances[rows, 0].argsort(stable=True)].tolist()[:MEMBERS]
    sheet = Image.new("RGB", (COLUMNS * MEMBER, LINE + -(-len(rows) // COLUMNS) * MEMBER), PAPER)
    ImageDraw.Draw(sheet).text((2, 3), title(found.groups[number]), INK, ImageFont.load_default(LETTERS))
    for at, row in enumerate(rows):
        small = faces.picture(row).resize((MEMBER, MEMBER), Image.Resampling.LANCZOS)
        sheet.paste(small, (at % COLUMNS * MEMBER, LINE + at // COLUMNS * MEMBER))
    return sheet


def table(faces: "Faces", found: Discovery) -> str:
    """A CSV file with a row for each face: its group, the distance, the second nearest group, the place on the map."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMN_NAMES)
    for row, name in enumerate(faces.names):
        group, second = found.nearest[row].tolist()
        distance, farther = found.distances[row].tolist()
        x, y = found.points[row].tolist()
        writer.writerow([safe(name), group, found.groups[group].size, f"{distance:.4f}", second, f"{farther:.4f}",
                         f"{x:.4f}", f"{y:.4f}"])
    return text.getvalue()


def safe(name: str) -> str:
    """A file's name as text: spreadsheets run what begins like a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@", "\t", "\r") else name
