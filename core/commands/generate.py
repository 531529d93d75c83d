"""`python -m core generate`: a data set of new people, in a folder."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from core.commands.options import Checkpoint, Device, Offline
from core.errors import SettingsError


def generate(
    folder: Annotated[Path, Argument(help="Output folder; an unfinished data set is resumed.")],
    identities: Annotated[int, Option(min=1, help="Number of people.")] = 100,
    images: Annotated[int, Option(min=1, help="Pictures per person.")] = 50,
    seed: Annotated[int, Option(min=0, max=2**32 - 1, help="Random seed.")] = 0,
    threshold: Annotated[float, Option(min=-1, max=1, help="Largest cosine between two people.")] = 0.3,
    sigma: Annotated[list[str] | None, Option(
        help="Variation strength and its share of pictures; repeatable. Default: 0.3=0.4 0.5=0.4 0.7=0.2.",
        show_default=False)] = None,
    similarity: Annotated[float, Option(min=-1, max=1, help="Drop pictures less similar to their person.")] = 0.3,
    quality: Annotated[float, Option(min=0, help="Drop pictures of lower quality: 0 to 1, or 0 to 60 (MagFace) for the "
                                     "published checkpoint.")] = 0.0,
    shard: Annotated[str, Option(help="Generate one part only, such as 1/4.")] = "1/1",
    checkpoint: Checkpoint = "tiny",
    device: Device = None,
    offline: Offline = False,
) -> None:
    """Generate a data set: a folder of PNGs per new person, and tables of every filter decision.

    identities.csv lists all candidates and which were too similar to an earlier one. images.csv lists seed, sigma,
    similarity and quality of every picture, and why it was kept or dropped. The same command resumes a stopped run.
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
        raise SettingsError(f"{shard!r} is not a shard.",
                            "Give the part and the number of parts, counted from 1:  --shard 1/4")
    return int(number), int(shards)


def shared(text: str) -> tuple[float, float]:
    """"0.3=0.4" -> 0.3, 0.4."""
    try:
        sigma, share = map(float, text.split("="))
    except ValueError as error:
        raise SettingsError(f"{text!r} is not of the form SIGMA=SHARE.",
                            "For example:  --sigma 0.3=0.4 --sigma 0.5=0.6") from error
    return sigma, share
