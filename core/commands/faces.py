"""`python -m core faces`: sheets of drawn faces, to look at and to show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from core.errors import SettingsError

if TYPE_CHECKING:
    from core.faces import Face

HAIR = {  # the length of hair at which a strip shows its attribute
    "sideburns": 0.15, "earrings": 0.15, "fringe": 0.6, "curly": 0.6,
    "black_hair": 0.6, "brown_hair": 0.6, "blond_hair": 0.6, "red_hair": 0.6, "gray_hair": 0.6,
}
Split = Literal["train", "validation", "test"]
View = Literal["portrait", "aligned"]


def faces(
    count: Annotated[int | None, Option(min=1, max=10_000, help="People on the sheet (48), or steps of a strip (8).",
                                        show_default=False)] = None,
    out: Annotated[Path, Option(help="Where the picture goes.")] = Path("sheet.png"),
    size: Annotated[int, Option(min=32, max=512, help="Pixels along the side of one face.")] = 128,
    split: Annotated[Split, Option(help="Whose faces: each person belongs to one split only.")] = "train",
    seed: Annotated[int, Option(min=0, help="Which people and looks; the same seed draws the same sheet.")] = 0,
    strip: Annotated[str | None, Option(help="Take one person through this attribute's range: age, smile, yaw...",
                                        show_default=False)] = None,
    person: Annotated[int | None, Option(min=0, help="Draw this one person in many looks.", show_default=False)] = None,
    looks: Annotated[int, Option(min=1, max=10_000, help="Looks of that person.")] = 12,
    columns: Annotated[int | None, Option(min=1, help="Faces in a row.", show_default=False)] = None,
    view: Annotated[View, Option(help="With shoulders, or as a network sees it.")] = "portrait",
) -> None:
    """Draw faces: a sheet of people, one person through an attribute (--strip), or in many looks (--person)."""
    from core.faces import draw_many
    from core.images import from_uint8, grid, to_pil

    if strip:
        drawn = attribute_strip(strip, seed if person is None else person, split, seed, count or 8)
    elif person is not None:
        drawn = one_person(person, split, seed, looks)
    else:
        drawn = people(split, seed, count or 48)
    pictures = to_pil(from_uint8(_stacked(draw_many(drawn, size=size, view=view))))
    _save(grid(pictures, columns or _columns(len(drawn), bool(strip))), out)
    print(f"{len(drawn)} faces in {out}")


def people(split: Split, seed: int, count: int) -> list["Face"]:
    """`count` people of a split, each in one look."""
    from core.faces import Face, look, person

    identities = [person(seed + i, split) for i in range(count)]
    return [Face(identity, look(identity, seed + i)) for i, identity in enumerate(identities)]


def one_person(number: int, split: Split, seed: int, looks: int) -> list["Face"]:
    """One person in `looks` looks: every pose, light, expression, age and hair that may come."""
    from core.faces import Face, look, person

    identity = person(number, split)
    return [Face(identity, look(identity, seed + i)) for i in range(looks)]


def attribute_strip(name: str, number: int, split: Split, seed: int, steps: int) -> list["Face"]:
    """One person, calm and facing us, with one attribute going from its lowest value to its highest."""
    from core.faces import ATTRIBUTES, person

    if name not in ATTRIBUTES:
        raise SettingsError(f"There is no attribute {name!r}.", f"Choose one of {', '.join(ATTRIBUTES)}.")
    attribute, identity = ATTRIBUTES[name], person(number, split)
    values = [attribute.low + (attribute.high - attribute.low) * i / max(steps - 1, 1) for i in range(steps)]
    print(f"{name} ({attribute.unit}): " + ", ".join(f"{value:.3g}" for value in values))
    return [_step(identity, name, value, seed) for value in values]


def _step(identity, name: str, value: float, seed: int) -> "Face":
    """A calm face with one attribute set."""
    from core.faces import Face, through_life
    from core.faces.attributes import HAIR_COLOURS

    calm = Face(identity, through_life(identity, value if name == "age" else 30, seed))
    calm = calm.with_(hair_length=HAIR.get(name, calm.look.hair_length))
    return calm.with_(**_dyed(identity.hair, name, value) if name in HAIR_COLOURS else {name: value})


def _dyed(natural: str, name: str, value: float) -> dict[str, float]:
    """Hair that gives up its own colour, or brown, or else black, as it takes on the one that is asked for."""
    from core.faces.attributes import HAIR_COLOURS

    own = next(colour for colour in (f"{natural}_hair", "brown_hair", "black_hair") if colour != name)
    return dict.fromkeys(HAIR_COLOURS, 0.0) | {own: 1 - value, name: value}


def _stacked(pictures):
    import numpy as np

    return np.stack(list(pictures))


def _columns(count: int, strip: bool) -> int:
    """A strip lies in one row; a sheet is half again as wide as it is high."""
    return count if strip else max(1, round((1.5 * count) ** 0.5))


def _save(picture, out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)
    except (OSError, ValueError) as error:
        raise SettingsError(f"The sheet could not be written to {out}: {error}.",
                            "Name a .png file in a folder you may write to:  --out sheet.png") from error
