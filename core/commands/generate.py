"""`python -m core generate`: a whole data set of new people, in a folder."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from core.commands.options import Checkpoint, Device, Offline
from core.errors import SettingsError


def generate(
    folder: Annotated[Path, Argument(help="Where the data set goes, made if missing; one begun there goes on.")],
    identities: Annotated[int, Option(min=1, help="How many people.")] = 100,
    images: Annotated[int, Option(min=1, help="How many pictures are drawn of each.")] = 50,
    seed: Annotated[int, Option(min=0, max=2**32 - 1, help="The same seed, the same data set.")] = 0,
    threshold: Annotated[float, Option(min=-1, max=1, help="Two people's cosine stays below it.")] = 0.3,
    sigma: Annotated[list[str] | None, Option(
        help="How far pictures vary, and the share of those that do so; several times. 0.3=0.4 0.5=0.4 0.7=0.2 "
             "unless given.", show_default=False)] = None,
    similarity: Annotated[float, Option(min=-1, max=1, help="Drop pictures less like their person.")] = 0.3,
    quality: Annotated[float, Option(min=0, help="Drop pictures that are judged worse: up to 1, or, as MagFace counts "
                                     "for the published checkpoint, up to 60; 0: none.")] = 0.0,
    shard: Annotated[str, Option(help="Make one part only, such as 1/4; the others elsewhere, or later.")] = "1/1",
    checkpoint: Checkpoint = "tiny",
    device: Device = None,
    offline: Offline = False,
) -> None:
    """New people by the thousand, each in many pictures: a folder of PNGs per person, and tables of every decision.

    identities.csv tells who was considered and who was too like somebody; images.csv tells seed, sigma, similarity and
    quality of every picture, and why it was kept or dropped. The same command goes on where it was stopped.
    """
    from core import systems
    from core.systems.vectors import datasets

    number, shards = parted(shard)
    shares = {"shares": tuple(shared(each) for each in sigma)} if sigma else {}
    plan = datasets.Plan(identities, images, seed, threshold, similarity=similarity, quality=quality, shards=shards,
                         **shares)
    systems.configure(device, offline)
    for progress in datasets.generate(systems.make("vectors", checkpoint), folder, plan, number):
        print(f"\r{progress.done:,} of {progress.total:,} drawn, {progress.kept:,} kept", end="", flush=True)
    print(f"\n{folder}: seed {seed}, shard {shard}")


def parted(shard: str) -> tuple[int, int]:
    """"2/4" -> 2, 4."""
    number, slash, shards = shard.partition("/")
    if not (slash and number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
        raise SettingsError(f"{shard!r} is not a shard.", "Write which of how many, counted from 1:  --shard 1/4")
    return int(number), int(shards)


def shared(text: str) -> tuple[float, float]:
    """"0.3=0.4" -> 0.3, 0.4."""
    try:
        sigma, share = map(float, text.split("="))
    except ValueError as error:
        raise SettingsError(f"{text!r} is not a sigma and its share.",
                            "Write both:  --sigma 0.3=0.4 --sigma 0.5=0.6") from error
    return sigma, share
