"""`python -m core faces`: sheets of drawn faces."""

from collections.abc import Iterator
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from core.errors import SettingsError
from core.output import save_picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from core.faces import Face, Identity

_LONG = dict(hair_length=0.6)
NEEDS = {  # settings of a plain look that make an attribute visible
    "sideburns": dict(hair_length=0.15), "earrings": dict(hair_length=0.28, curly=0.0), "bald": dict(hair_length=0.34),
    "fringe": _LONG, "curly": _LONG, "black_hair": _LONG, "brown_hair": _LONG, "blond_hair": _LONG, "red_hair": _LONG,
    "gray_hair": _LONG,
}
GENDER = {  # gender that shows an attribute best: 0 female, 1 male
    "beard": 1, "moustache": 1, "sideburns": 1, "bald": 1, "earrings": 0, "lip_makeup": 0, "eye_makeup": 0,
}
FEW = 24  # up to this many faces, one process is faster
Split = Literal["train", "validation", "test"]
View = Literal["portrait", "aligned"]
Mixture = Literal["ordinary", "balanced"]


def faces(
    count: Annotated[int | None, Option(min=1, max=10_000, help="Number of people (48), steps of a strip (8) or "
                                                                "pairs (12).", show_default=False)] = None,
    out: Annotated[Path, Option(help="Output file.")] = Path("sheet.png"),
    size: Annotated[int, Option(min=32, max=512, help="Pixels per face side.")] = 128,
    split: Annotated[Split, Option(help="Split of the people.")] = "train",
    seed: Annotated[int, Option(min=0, help="Number of the first person and look.")] = 0,
    strip: Annotated[str | None, Option(help="Vary this attribute of one person: age, smile, yaw...",
                                        show_default=False)] = None,
    person: Annotated[int | None, Option(min=0, help="Draw one person in many looks.", show_default=False)] = None,
    pairs: Annotated[str | None, Option(help="Draw pairs with the lowest and highest value of this attribute; all: "
                                             "one pair per attribute.", show_default=False)] = None,
    looks: Annotated[int, Option(min=1, max=10_000, help="Looks with --person.")] = 12,
    columns: Annotated[int | None, Option(min=1, help="Faces or pairs per row.", show_default=False)] = None,
    view: Annotated[View, Option(help="With shoulders, or aligned for networks.")] = "portrait",
    mixture: Annotated[Mixture, Option(help="Attribute frequencies: as among real people, or balanced for "
                                            "training.")] = "ordinary",
    any_age: Annotated[bool, Option("--any-age", help="Any age, not only near each person's own.")] = False,
) -> None:
    """Draw a sheet of people, one varied attribute (--strip), one person in many looks (--person), or pairs before and
    after an edit (--pairs)."""
    from core.images import grid

    _check_one_kind({"--strip": strip, "--person": person, "--pairs": pairs})
    if pairs is not None:
        chosen = attribute_pairs(pairs, split, seed, count or 12)
        drawn = [face for _, *pair in chosen for face in pair]
        names = [name for name, *_ in chosen] if pairs == "all" else None
        picture = _pair_sheet(_pictures(drawn, size, view), names, columns or (7 if pairs == "all" else 3))
    else:
        if strip is not None:
            drawn = attribute_strip(strip, split, seed, count or 8)
        elif person is not None:
            drawn = one_person(person, split, seed, looks, mixture, any_age)
        else:
            drawn = people(split, seed, count or 48, mixture, any_age)
        picture = grid(_pictures(drawn, size, view), columns or _columns(len(drawn), strip is not None))
    save_picture(picture, out, "--out")
    print(f"{len(drawn)} faces in {out}")


def people(split: Split, seed: int, count: int, mixture: Mixture = "ordinary", any_age: bool = False) -> list["Face"]:
    """`count` people of a split, each in one look. any_age: otherwise the mixture sets the spread of ages."""
    from core.faces import Face, look, person

    identities = [person(seed + i, split) for i in range(count)]
    return [Face(who, look(who, seed + i, mixture, any_age or None)) for i, who in enumerate(identities)]


def one_person(number: int, split: Split, seed: int, looks: int, mixture: Mixture = "ordinary",
               any_age: bool = False) -> list["Face"]:
    """One person in `looks` looks. any_age: otherwise the mixture sets the spread of ages."""
    from core.faces import Face, look, person

    who = person(number, split)
    return [Face(who, look(who, seed + i, mixture, any_age or None)) for i in range(looks)]


def attribute_strip(name: str, split: Split, seed: int, steps: int) -> list["Face"]:
    """One person in a plain look, with one attribute from its lowest value to its highest.

    Uses the first suitable person from number `seed` on. In a strip of ages the hair changes too.
    """
    from core.faces import ATTRIBUTES, edit

    _check_attribute("--strip", name)
    attribute, who = ATTRIBUTES[name], next(suitable_people(name, split, seed))
    values = [attribute.low + (attribute.high - attribute.low) * i / max(steps - 1, 1) for i in range(steps)]
    print(f"{name} ({attribute.unit}): " + ", ".join(f"{value:.3g}" for value in values))
    if name == "age":
        return [plain(who, name, age=value) for value in values]
    return [edit(plain(who, name), name, value) for value in values]


def attribute_pairs(name: str, split: Split, seed: int, count: int) -> list[tuple[str, "Face", "Face"]]:
    """Name, plain look with the attribute at its lowest value, the same with the highest.

    name: an attribute, for `count` suitable people from number `seed` on; or "all", for one person an attribute.
    """
    from core.faces import ATTRIBUTES, edit

    if name == "all":
        asked = [(each, next(suitable_people(each, split, seed))) for each in ATTRIBUTES]
    else:
        _check_attribute("--pairs", name, "all")
        asked = [(name, who) for who, _ in zip(suitable_people(name, split, seed), range(count), strict=False)]
    return [(each, *(edit(plain(who, each), each, value) for value in (ATTRIBUTES[each].low, ATTRIBUTES[each].high)))
            for each, who in asked]


def suitable_people(name: str, split: Split, first: int) -> Iterator["Identity"]:
    """All people from number `first` on who can show an attribute (endless)."""
    from core.faces import person

    everyone = (person(number, split) for number in count_from(first))
    return (who for who in everyone if GENDER.get(name, who.gender) == who.gender)


def plain(who: "Identity", name: str, age: float = 30) -> "Face":
    """A person's plain look at this age, in which this attribute is visible."""
    from core.faces import Face, through_life

    return Face(who, through_life(who, age)).with_(**NEEDS.get(name, {}))


def _check_one_kind(options: dict) -> None:
    given = [option for option, value in options.items() if value is not None]
    if len(given) > 1:
        raise SettingsError(f"{' and '.join(given)} are mutually exclusive.",
                            "Give one of them; --seed chooses the person of a strip or the first person of pairs.")


def _check_attribute(option: str, name: str, *others: str) -> None:
    from core.faces import ATTRIBUTES

    if name not in ATTRIBUTES:
        raise SettingsError(f"{option}: there is no attribute {name!r}.",
                            f"Choose one of {', '.join([*others, *ATTRIBUTES])}.")


def _pictures(drawn: list["Face"], size: int, view: View) -> list["Image"]:
    import numpy as np

    from core.faces import draw_many
    from core.images import from_uint8, to_pil

    return to_pil(from_uint8(np.stack(list(draw_many(drawn, size, view, workers=1 if len(drawn) <= FEW else None)))))


def _pair_sheet(pictures: list["Image"], names: list[str] | None, columns: int) -> "Image":
    """Pictures two by two, `columns` pairs in a row, with a name above each pair if there are names."""
    from PIL import Image, ImageDraw, ImageFont

    from core.images import grid

    cells = [grid(pictures[i:i + 2], 2) for i in range(0, len(pictures), 2)]
    if names is not None:
        side = pictures[0].height
        font = ImageFont.load_default(max(8, side // 8))
        for i, (cell, name) in enumerate(zip(cells, names, strict=True)):
            cells[i] = Image.new("RGB", (cell.width, cell.height + side // 5 + 6), "white")
            cells[i].paste(cell, (0, cells[i].height - cell.height))
            ImageDraw.Draw(cells[i]).text((2, 2), name, "black", font)
    return grid(cells, columns, gap=12)


def _columns(count: int, is_strip: bool) -> int:
    """One row for a strip; otherwise 1.5 times as wide as high."""
    return count if is_strip else max(1, round((1.5 * count) ** 0.5))
