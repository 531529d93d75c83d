"""`python -m core run vectors`: what the tab does, without the browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option, Typer

from core.errors import SettingsError

if TYPE_CHECKING:
    from core.pipelines.vectors import Result

run = Typer(no_args_is_help=True)
Kind = Literal["people", "drawn", "photo", "vector"]


@run.callback()
def systems() -> None:
    """Run a system without the browser: numbers or a photo in, pictures out."""


@run.command()
def vectors(
    what: Annotated[str | None, Argument(help="The photo, the .npy file, or the number of the drawn person.",
                                         show_default=False)] = None,
    source: Annotated[Kind, Option(help="Where the faces come from.")] = "people",
    count: Annotated[int, Option(min=1, max=64, help="How many pictures.")] = 8,
    sigma: Annotated[float, Option(min=0, max=1.5, help="How different from the source; 0 is its own vector.")] = 0.5,
    seed: Annotated[int, Option(min=-1, max=2**32 - 1, help="The same seed, the same faces; -1: a new one.")] = -1,
    face: Annotated[int, Option(min=0, help="Which face of the photo, 0 is the largest.")] = 0,
    out: Annotated[Path, Option(help="Folder for the pictures, made if missing.")] = Path("out"),
    device: Annotated[str | None, Option(help="cpu, cuda, cuda:1, mps; the best there is by default.",
                                         show_default=False)] = None,
    offline: Annotated[bool, Option("--offline", help="Never touch the network.")] = False,
) -> None:
    """Faces from 512 numbers: new people, or variations of a drawn person, of a photo, of a vector.

    Writes PNGs with their settings inside, and facet-vectors.npy with the numbers they were made from. Variations begin
    with the source's own numbers.
    """
    from core import pipelines
    from core.pipelines.vectors import last

    if source != "people" and what is None:
        raise SettingsError(f"--source {source} needs to know which.",
                            f"Name it:  run vectors --source {source} {HOW[source]}")
    pipelines.configure(device, offline)
    system = pipelines.make("vectors", folder=out)
    result = last(told(begun(system, source, what, face, sigma, count, seed)))
    system.npy(result.vectors)
    similar = sum(result.similarity) / len(result.similarity)
    print(f"{len(result.images)} pictures in {out}, seed {result.seeds[0]}, similarity to the source {similar:.2f}")


HOW = {"drawn": "7", "photo": "photo.jpg", "vector": "face.npy"}


def begun(system: Any, source: Kind, what: str | None, face: int, sigma: float, count: int,
          seed: int) -> "Iterator[Result]":
    """The pictures of a source as they come."""
    if source == "people":
        return system.people(seed, count)
    if source == "photo":
        found = system.faces_in(what)
        if face >= len(found):
            raise SettingsError(f"There is no face {face} in this photo; {len(found)} found.",
                                "Count from 0, the largest.")
        return system.sheet(found[face:face + 1], sigma, count, seed)
    if source == "drawn":
        if not what.isdecimal():
            raise SettingsError(f"{what!r} is not the number of a drawn person.", "Use a whole number from 0.")
        return system.sheet([system.person(int(what))], sigma, count, seed)
    return system.sheet(system.vector(what), sigma, count, seed)


def told(results: "Iterator[Result]") -> "Iterator[Result]":
    """The same results, each said on a line of the terminal."""
    for result in results:
        made = len(result.images)
        print(f"\r{made} of {result.total}", end="\n" if made == result.total else "", flush=True)
        yield result
