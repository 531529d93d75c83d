"""Whole data sets of new people: identities × images, in shards if need be, with every decision written down.

Wu et al., *Vec2Face*, ICLR 2025, arXiv 2409.02979, section 4. A folder holds

    dataset.json            what was asked for, and of which checkpoints
    identities.csv          all candidates, seed after seed: accepted, or rejected and the person they resemble
    images.csv              every picture drawn: seed, sigma, similarity, quality; kept, or dropped and why
    000012/0003.png         picture 3 of person 12, with its settings inside

No picture depends on those before it. A run that was killed goes on where it was and ends with the same files; shards,
each with a table of its own (images-1-of-4.csv), make together what one run makes.
"""

import csv
import hashlib
import json
import shutil
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from core.checks import number, whole
from core.engine import choices
from core.errors import SettingsError
from core.output import writing
from core.sampling import SEEDS
from core.systems.vectors import SYSTEM
from core.systems.vectors.pipeline import Vectors, varied
from core.systems.vectors.request import MAX_SIGMA, Source

SHARES = ((0.3, 0.4), (0.5, 0.4), (0.7, 0.2))   # sigma, and the part of the pictures that is varied by it
BATCH = 32                                      # pictures drawn, judged and written at a time
IDENTITIES = ("seed", "decision", "identity", "nearest_seed", "similarity", "reason")
IMAGES = ("identity", "identity_seed", "image", "seed", "sigma", "similarity", "quality", "decision", "reason", "file")


@dataclass(frozen=True)
class Plan:
    """What is wanted. Raises SettingsError for what can't be.

    identities: people. images: pictures drawn of each. seed: where counting people begins. threshold: two people's
    cosine stays below it. shares: pairs of a sigma in [0, MAX_SIGMA] and its part of the pictures, any positive number.
    similarity, quality: a picture below either is dropped; cosine to its person in [-1, 1], quality from 0 in the unit
    of the checkpoint choice that draws.
    shards: parts that can be made apart.
    """

    identities: int
    images: int
    seed: int = 0
    threshold: float = 0.3
    shares: tuple[tuple[float, float], ...] = SHARES
    similarity: float = 0.3
    quality: float = 0.0
    shards: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (("identities", 1, 10**6), ("images", 1, 10**4), ("seed", 0, SEEDS - 1),
                                ("shards", 1, 10**4)):
            whole(getattr(self, name), name, low, high)
        for name in ("threshold", "similarity"):
            number(getattr(self, name), name, -1, 1)
        number(self.quality, "quality", 0, max(choice.quality.most for choice in SYSTEM.choices))
        if not self.shares:
            raise SettingsError("There is no sigma to vary people by.", "Name one or more, each with its share.")
        for sigma, share in self.shares:
            number(sigma, "sigma", 0, MAX_SIGMA)
            number(share, "share", 1e-6, 1e6)

    def sigmas(self) -> list[float]:
        """The sigma of each picture of a person: the shares as nearly as can be, after any number of pictures."""
        total, given, sigmas = sum(share for _, share in self.shares), [0] * len(self.shares), []
        for image in range(1, self.images + 1):
            due = [share / total * image - had for (_, share), had in zip(self.shares, given, strict=True)]
            chosen = due.index(max(due))
            given[chosen] += 1
            sigmas.append(self.shares[chosen][0])
        return sigmas

    def batches(self, shard: int) -> Iterator[list[tuple[int, int]]]:
        """A shard's pictures as (identity, image), in the batches that they are drawn in.

        A batch never spans shards: people go to shards in groups that fill a batch, so that shards draw the same
        batches as one run does, and the same pictures to the last bit.
        """
        group = -(-BATCH // self.images)
        for start in range((shard - 1) * group, self.identities, self.shards * group):
            people = range(start, min(start + group, self.identities))
            rows = [(person, image) for person in people for image in range(self.images)]
            yield from (rows[at:at + BATCH] for at in range(0, len(rows), BATCH))


class Progress(NamedTuple):
    """Pictures drawn so far, of all that the shard has, and how many of them were kept."""

    done: int
    total: int
    kept: int


def generate(system: Vectors, folder: str | Path, plan: Plan, shard: int = 1) -> Iterator[Progress]:
    """Make a data set, or one shard of it, counted from 1; goes on with what the folder holds. Yields after each batch.

    Raises SettingsError when the folder holds another data set, or so many people can't be sampled; CheckpointError
    when what reads the quality is not on this machine.
    """
    from core.hub.files import locked

    number(plan.quality, "quality", 0, system.choice.quality.most)
    choices.require_all([system.choice.quality_reader], f"{system.choice.label}: can't judge pictures")
    folder, shard = Path(folder), whole(shard, "shard", 1, plan.shards)
    table = folder / ("images.csv" if plan.shards == 1 else f"images-{shard}-of-{plan.shards}.csv")
    with writing(folder), locked(table):
        seeds = identities(system, folder, plan)
        yield from _images(system, table, plan, shard, seeds)


def image_seed(identity_seed: int, image: int) -> int:
    """The seed of a person's picture, 0 .. 2³²-1: theirs for good, however many people and pictures there are."""
    return int.from_bytes(hashlib.sha256(f"{identity_seed}/{image}".encode()).digest()[:4], "big")


# -------------------------------------------------------------------------------------------------------- identities

def identities(system: Vectors, folder: Path, plan: Plan) -> list[int]:
    """The seeds of the people, from the folder's table or, the first time, sampled and written there."""
    from core.hub.files import locked, replacing

    about = json.loads(json.dumps(asdict(plan) | _checkpoints(system)))
    card, table = folder / "dataset.json", folder / "identities.csv"
    with locked(card):
        if card.exists():
            _same(_card(card), about, folder)
            return _accepted(table, plan.identities)
        _ours(folder)
        rows = list(_considered(system, plan))              # raises before anything is written
        with replacing(table) as part, part.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([IDENTITIES, *rows])
        with replacing(card) as part:
            part.write_text(json.dumps(about, indent=1) + "\n")
    return [row[0] for row in rows if row[1] == "accepted"]


def _card(path: Path) -> dict[str, Any]:
    """The stored plan. Raises SettingsError for a file that another program has damaged."""
    try:
        return dict(json.loads(path.read_text("utf-8-sig")))
    except (ValueError, TypeError) as error:
        raise _damaged(path) from error


def _accepted(table: Path, count: int) -> list[int]:
    """The seeds of the people in identities.csv, also with a byte-order mark. Raises SettingsError if it is damaged."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            seeds = [int(row["seed"]) for row in csv.DictReader(stream) if row["decision"] == "accepted"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise _damaged(table) from error
    if len(seeds) != count:
        raise _damaged(table)
    return seeds


def _damaged(path: Path) -> SettingsError:
    return SettingsError(f"{path} is missing, or another program has changed it; nothing was written.",
                         "Restore it, or name another folder.")


def _considered(system: Vectors, plan: Plan) -> Iterator[tuple]:
    """A row of IDENTITIES for every candidate."""
    found = 0
    for seed, accepted, nearest, similarity in system._people.trials(plan.identities, plan.seed, plan.threshold):
        alike = "" if similarity is None else f"{similarity:.4f}"
        decision = ("accepted", found) if accepted else ("rejected", "")
        why = "" if accepted else f"too like {nearest}: not below {plan.threshold:g}"
        yield seed, *decision, "" if nearest is None else nearest, alike, why
        found += accepted


def _checkpoints(system: Vectors) -> dict[str, str]:
    """The networks that a data set depends on, with their hashes."""
    names = (system.generator_name, system.people_name, system.embedder_name, system.choice.quality_reader)
    return {name: choices.sha256(name) for name in names}


def _same(held: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with another data set."""
    other = next((name for name in {**held, **wanted} if held.get(name) != wanted.get(name)), None)
    if other is not None:
        raise SettingsError(f"{folder} holds another data set: its {other} is {held.get(other)}, not "
                            f"{wanted.get(other)}.", "Repeat its settings to go on with it, or name another folder.")


def _ours(folder: Path) -> None:
    """Refuse a folder without a data set that has foreign tables of the same names."""
    for name, columns in (("identities.csv", IDENTITIES), ("images.csv", IMAGES)):
        table = folder / name
        if table.exists() and table.stat().st_size and not table.read_bytes().startswith(",".join(columns).encode()):
            raise SettingsError(f"{folder} holds another {name} than ours, which would be overwritten.",
                                "Name another folder.")


# ------------------------------------------------------------------------------------------------------------ images

class Drawn(NamedTuple):
    """A picture of a person and what was found about it. fault: why it is dropped, empty when it is kept."""

    identity: int
    identity_seed: int
    image: int
    seed: int
    sigma: float
    similarity: float
    quality: float
    fault: str
    origin: np.ndarray          # (512,), the person
    picture: Image.Image

    @property
    def row(self) -> tuple:
        """Its row of IMAGES."""
        return (self.identity, self.identity_seed, self.image, self.seed, f"{self.sigma:g}", f"{self.similarity:.4f}",
                f"{self.quality:.4f}", "dropped" if self.fault else "kept", self.fault, self.file)

    @property
    def file(self) -> str:
        """Where it is kept, if it is, within the folder of the data set."""
        return "" if self.fault else f"{self.identity:06d}/{self.image:04d}.png"


def _images(system: Vectors, table: Path, plan: Plan, shard: int, seeds: list[int]) -> Iterator[Progress]:
    """Draw what the table lacks, batch by batch; a batch is in the table once all its files are in place."""
    drafts = table.parent / f".{table.stem}"
    shutil.rmtree(drafts, ignore_errors=True)               # a killed run may have left some
    finished, progress = _resumed(table, [len(batch) for batch in plan.batches(shard)])
    try:
        yield progress
        for batch in islice(plan.batches(shard), finished, None):
            drawn = _drawn(system, plan, batch, seeds)
            kept = [one for one in drawn if not one.fault]
            for one in kept:
                _keep(system, one, table.parent / one.file, drafts)
            with table.open("a", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows(one.row for one in drawn)
            progress = Progress(progress.done + len(drawn), progress.total, progress.kept + len(kept))
            yield progress
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


def _resumed(table: Path, sizes: list[int]) -> tuple[int, Progress]:
    """Cut a table back to its last whole batch, or begin one; returns how many batches it has, and how far that is.

    A byte-order mark and other ends of lines stay as they are. Raises SettingsError, and changes nothing, for a table
    with another head.
    """
    head, finished, done, kept = (",".join(IMAGES) + "\n").encode(), 0, 0, 0
    table.touch()
    with table.open("r+b") as stream:
        first = stream.readline()
        if not first.endswith(b"\n") and head.startswith(first):        # empty, or killed while it was begun
            stream.seek(0)
            stream.write(first := head)
        elif first.removeprefix(BOM_UTF8).rstrip(b"\r\n") != head.rstrip():
            raise _damaged(table)
        end = len(first)
        for size in sizes:
            rows = list(islice(stream, size))
            if len(rows) < size or not rows[-1].endswith(b"\n"):
                break
            finished, done, kept = finished + 1, done + size, kept + sum(b",kept," in row for row in rows)
            end += sum(map(len, rows))
        stream.truncate(end)
    return finished, Progress(done, sum(sizes), kept)


def _drawn(system: Vectors, plan: Plan, batch: list[tuple[int, int]], seeds: list[int]) -> list[Drawn]:
    """Draw and judge a batch of (identity, image)."""
    sigmas = plan.sigmas()
    wanted = [(person, seeds[person], image, image_seed(seeds[person], image), sigmas[image])
              for person, image in batch]
    _, people, _, image_seeds, moves = zip(*wanted, strict=True)
    origins = system._people.draw(people).numpy()                                               # (B, 512)
    pictures, alike = system._pictures(varied(origins, moves, image_seeds), origins)
    return [Drawn(*row, similarity, quality, _fault(similarity, quality, plan), origin, picture)
            for row, similarity, quality, origin, picture in
            zip(wanted, alike, system.quality_of(pictures), origins, pictures, strict=True)]


def _fault(similarity: float, quality: float, plan: Plan) -> str:
    """Why a picture is dropped; empty when it is kept."""
    found = (("similarity", similarity, plan.similarity), ("quality", quality, plan.quality))
    return " and ".join(f"{name} below {least:g}" for name, value, least in found if value < least)


def _keep(system: Vectors, drawn: Drawn, path: Path, drafts: Path) -> None:
    """Save a picture with its settings, which make it again in the tab; it appears at `path` whole or not at all."""
    from core import images

    source = Source("vector", drawn.origin, label=f"identity {drawn.identity}, seed {drawn.identity_seed}")
    settings = system._settings(source, drawn.seed, drawn.sigma, drawn.similarity, 1)
    if path.exists() and images.settings_of(path) is None:
        raise SettingsError(f"{path} is not a picture of this data set and would be overwritten.",
                            "Name another folder.")
    draft = images.save(drawn.picture, settings | {"quality": round(drawn.quality, 4)}, drafts)
    path.parent.mkdir(exist_ok=True)
    Path(draft).replace(path)
