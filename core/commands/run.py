"""`python -m core run vectors`: what the tab does, without the browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Context, Option, Typer

from core.commands.options import Checkpoint, Device, Offline, Out
from core.commands.run_aging import aging
from core.errors import SettingsError

if TYPE_CHECKING:
    from core.systems.vectors.results import Restored, Result, Source, Steered

run = Typer(no_args_is_help=True)
Kind = Literal["people", "drawn", "photo", "vector", "picture"]
KEPT = ("sigma", "count", "seed", "threshold")      # what a picture made here brings along


@run.callback()
def systems() -> None:
    """Run a system without the browser: numbers or a photo in, pictures out."""


@run.command()
def vectors(
    context: Context,
    what: Annotated[str | None, Argument(help="The photo, the .npy file, the number of the drawn person, or a picture "
                                         "made here, for what it remembers.", show_default=False)] = None,
    source: Annotated[Kind, Option(help="Where the faces come from.")] = "people",
    count: Annotated[int, Option(min=1, max=64, help="How many pictures.")] = 8,
    sigma: Annotated[float, Option(min=0, max=1.5, help="How different from the source; 0 is its own vector.")] = 0.5,
    seed: Annotated[int, Option(min=-1, max=2**32 - 1, help="The same seed, the same faces; -1: a new one.")] = -1,
    face: Annotated[int, Option(min=0, help="Which face of the photo, 0 is the largest.")] = 0,
    crop: Annotated[str | None, Option(help="Mark the face of the photo by hand: where its middle is and its size, in "
                                       "parts of the photo from the top left, like  0.5,0.4,0.3", show_default=False)
                    ] = None,
    yaw: Annotated[float | None, Option(min=-90, max=90, help="Turn the faces to this many degrees, positive to the "
                                        "right of the picture.", show_default=False)] = None,
    quality: Annotated[float | None, Option(min=0, help="Steer the faces to this quality or better: up to 1, or, as "
                                            "MagFace counts for the published checkpoint, up to 60.",
                                            show_default=False)] = None,
    to: Annotated[str | None, Option(help="Walk to this face in --count steps: a photo, a .npy file, the number of a "
                                     "drawn person, or, from random people, a seed.", show_default=False)] = None,
    edit: Annotated[str | None, Option(help="Add to these numbers in --count steps, like  7: 2.0, 300: -1.5",
                                       show_default=False)] = None,
    threshold: Annotated[float, Option(min=-1, max=1, help="New people are less alike than this.")] = 0.3,
    limit: Annotated[int, Option(min=0, max=200, help="Steps of steering, at most.")] = 40,
    similarity: Annotated[float | None, Option(min=-1, max=1, help="Steered, a face must stay this like; 0.6, or 0.7 "
                                               "with the published checkpoint.", show_default=False)] = None,
    zip: Annotated[bool, Option("--zip", help="Pictures, numbers and settings in one ZIP as well.")] = False,
    checkpoint: Checkpoint = "tiny",
    out: Out = Path("out"),
    device: Device = None,
    offline: Offline = False,
) -> None:
    """Faces from 512 numbers: new people, or variations of a drawn person, of a photo, of a vector.

    Writes PNGs with their settings inside, and facet-vectors.npy with the numbers they were made from. Variations begin
    with the source's own numbers. With --yaw or --quality they are steered there, and what was missed is said. Walks
    and edits are also kept as a strip and a film, facet-strip.png and a GIF.
    """
    from core import systems
    from core.engine.result import last

    if source != "people" and what is None:
        raise SettingsError(f"--source {source} needs to know which.",
                            f"Name it:  run vectors --source {source} {HOW[source]}")
    if source == "people" and what is not None:
        raise SettingsError(f"It is not said what {what} is.", f"Name it:  run vectors --source photo {what}")
    ways = (to is not None, edit is not None, yaw is not None or quality is not None)
    if sum(ways) > 1:
        raise SettingsError("A walk, an edit and steering are three things.",
                            "Give --to, or --edit, or --yaw and --quality.")
    if source == "picture" and not any(ways) and (given := [name for name in KEPT if asked(context, name)]):
        raise SettingsError(f"A picture brings its own {given[0]}.", f"Leave --{given[0]} out.")
    if crop is not None and source != "photo":
        raise SettingsError("Only in a photo is a face marked.", "Leave --crop out, or give --source photo.")
    systems.configure(device, offline)
    system = systems.make("vectors", checkpoint, folder=out)
    if to is not None or edit is not None:
        result = last(told(moved(system, source, what, face, crop, count, seed, to, edit)))
        summary = " and ".join(Path(path).name for path in (system.strip_of(result), system.film(result)))
    elif yaw is None and quality is None:
        result = last(told(begun(system, source, what, face, crop, sigma, count, seed, threshold)))
        summary = f"similarity to the source {sum(result.similarity) / len(result.similarity):.2f}"
        if result.total > 1 and source == "people":
            summary += ", to one another at most {:.2f} in numbers and {:.2f} in pictures".format(
                *system.alike(result).largest)
    else:
        people, seeds, sigma = starts(system, source, what, face, crop, count, seed, sigma, threshold)
        result = last(told_steps(system.steer(people, yaw, quality, limit, sigma=sigma, similarity=similarity,
                                              seeds=seeds)))
        summary = f"{sum(not missed for missed in result.missed)} of {result.total} as asked"
    system.npy(result.vectors)
    if zip:
        summary += f", {Path(system.zip(result)).name}"
    print(f"{len(result.images)} pictures in {out}, seed {result.seeds[0]}, {summary}")


run.command()(aging)

HOW = {"drawn": "7", "photo": "photo.jpg", "vector": "face.npy", "picture": "facet-people-seed7-sigma0.png"}


def asked(context: Context, name: str) -> bool:
    """Whether an option was given, rather than left at its default."""
    return context.get_parameter_source(name).name != "DEFAULT"


def moved(system: Any, source: Kind, what: str | None, face: int, crop: str | None, count: int, seed: int,
          to: str | None, edit: str | None) -> "Iterator[Result]":
    """A walk from a source to another face, or its numbers edited."""
    start = system.new_people(seed, 1)[0][0] if source == "people" else named(system, source, what, face, crop)[0]
    if edit is not None:
        return system.edited(start, system.offsets(edit), count)
    if source != "people":
        return system.walk(start, named(system, "vector" if to.endswith(".npy") else source, to)[0], count)
    if not to.isdecimal():
        raise SettingsError(f"{to!r} is not a seed.", "From random people, walk to a seed:  --to 12")
    return system.walk(start, system.new_people(int(to), 1)[0][0], count)


def begun(system: Any, source: Kind, what: str | None, face: int, crop: str | None, sigma: float, count: int,
          seed: int, threshold: float) -> "Iterator[Result]":
    """The pictures of a source as they come."""
    if source == "people":
        return system.people(seed, count, threshold)
    if source == "picture":
        kept = kept_in(system, what)
        print("The settings of this picture are back." if kept.whole else "The face of this picture is back, no more.")
        return system.again(kept)
    return system.sheet(named(system, source, what, face, crop), sigma, count, seed)


def starts(system: Any, source: Kind, what: str | None, face: int, crop: str | None, count: int, seed: int,
           sigma: float, threshold: float) -> "tuple[list[Source], list[int], float]":
    """Where steering starts, the seeds and the sigma; one face `count` times is varied, other faces are not."""
    from core.sampling import seeds_from

    if source == "people":
        return *system.new_people(seed, count, threshold), 0.0
    found = named(system, source, what, face, crop)
    varied = len(found) == 1 < count
    found = found * count if varied else found
    return found, seeds_from(seed, len(found)), sigma if varied else 0.0


def named(system: Any, source: Kind, what: str, face: int = 0, crop: str | None = None) -> "list[Source]":
    """The faces that were asked for by a photo, a number or a file."""
    if source == "picture":
        return [kept_in(system, what).source]
    if source == "photo" and crop is not None:
        return [system.cropped(what, *marked(crop))]
    if source == "photo":
        found = system.faces_in(what)
        if face >= len(found):
            raise SettingsError(f"There is no face {face} in this photo; {len(found)} found.",
                                "Count from 0, the largest.")
        return found[face:face + 1]
    if source == "drawn":
        if not what.isdecimal():
            raise SettingsError(f"{what!r} is not the number of a drawn person.", "Use a whole number from 0.")
        return [system.person(int(what))]
    return system.vector(what)


def kept_in(system: Any, path: str) -> "Restored":
    """What a picture made here remembers. Raises SettingsError when it is none, or was made with another checkpoint."""
    kept = system.settings_of(path)
    if kept is None:
        raise SettingsError(f"{path} does not hold the settings of a picture made here.",
                            "Use a PNG as it was written; editors and messengers strip them.")
    if kept.checkpoint not in (None, system.choice.name):
        raise SettingsError(f"{path} was made with the checkpoint {kept.checkpoint}.",
                            f"Choose that:  --checkpoint {kept.checkpoint}")
    return kept


def marked(crop: str) -> tuple[float, float, float]:
    """"0.5,0.4,0.3" -> the three numbers."""
    try:
        x, y, size = map(float, crop.split(","))
    except ValueError as error:
        raise SettingsError(f"{crop!r} does not mark a face.",
                            "Give three numbers: middle across, middle down, size:  --crop 0.5,0.4,0.3") from error
    return x, y, size


def told(results: "Iterator[Result]") -> "Iterator[Result]":
    """The same results, each said on a line of the terminal."""
    for result in results:
        made = len(result.images)
        print(f"\r{made} of {result.total}", end="\n" if made == result.total else "", flush=True)
        yield result


def told_steps(results: "Iterator[Steered]") -> "Iterator[Steered]":
    """The same results, each step's means on a line of the terminal; at the end a line for every face."""
    for result in results:
        there = sum(not each for each in result.missed)
        similar, yaw, quality = (sum(each) / result.total for each in (result.similarity, result.yaw, result.quality))
        print(f"\rstep {result.iteration} of {result.limit}: {there} of {result.total} as asked, similarity "
              f"{similar:.2f}, yaw {yaw:.0f}°, quality {quality:.2f}  ", end="", flush=True)
        yield result
    print()
    for name, similar, yaw, quality, missed in zip(result.images, result.similarity, result.yaw, result.quality,
                                                   result.missed, strict=True):
        verdict = f"missed {', '.join(missed)}" if missed else "as asked"
        print(f"  {Path(name).name}  similarity {similar:.2f}  yaw {yaw:.0f}°  quality {quality:.2f}  {verdict}")
