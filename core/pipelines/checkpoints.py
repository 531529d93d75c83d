"""Which checkpoints a pipeline uses: the small ones that ship, or the published ones, which are fetched when asked for.

    choices("vectors"), choose("vectors", "base")       a row per choice
    facts(choice)                                       what to say before anything is fetched: size, licences, terms
    for fraction, text in fetch(choice, agree=True): …  the one way to fetch; closing the iterator stops it
    require(choice)                                     CheckpointError unless all is here; never fetches

A choice has two sets of files: what drawing takes and, with `steering=True`, what it does besides: `vectors` reads yaw
and quality off pictures, `aging` previews in four steps. Importing this is cheap.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, ClassVar

from core import hub
from core.errors import CheckpointError, SettingsError, VectorError

if TYPE_CHECKING:
    from core.sampling import People

FITTED = 20_000         # features that people are fitted to, at most: more move nothing and take memory
PULSE = 1.0             # seconds after which a fetch that has nothing new says the old again, so that it can be stopped
UNKNOWN = 10e6          # bytes that a file of unknown size counts for in the bar
UNITS = {"kB": 1e3, "MB": 1e6, "GB": 1e9}

News = tuple[float, str]                # fraction in [0, 1], one line of text


# --------------------------------------------------------------------------------------------------------- choices

@dataclass(frozen=True)
class Quality:
    """The unit in which steering reads quality, counted from 0.

    most: the most that can be asked for. usual: what is asked for unless somebody says otherwise. tolerance: what
    acceptance forgives. weight: what one unit weighs against a degree of yaw.
    """

    most: float
    usual: float
    tolerance: float
    weight: float


@dataclass(frozen=True)
class Choice:
    """Checkpoints that belong together, by name: one draws, one takes vectors, a file says where people lie among
    these, and two read yaw and quality off pictures when faces are steered; one network may do both.

    turned: degrees of yaw that acceptance forgives. similarity: the cosine to its source that a steered face must keep,
    unless asked otherwise. beyond: a face is drawn to its source until it is this much more like it than it must; None,
    as in the paper, draws it all the way.
    """

    name: str
    label: str
    generator: str
    embedder: str
    people: str
    yaw_reader: str
    quality_reader: str
    quality: Quality
    turned: float
    similarity: float
    beyond: float | None
    does: ClassVar[tuple[str, str]] = ("draw", "steer")     # what its two sets of files are for

    def files(self, steering: bool = False) -> tuple[str, ...]:
        """The checkpoints that drawing takes; with `steering` those that steering takes besides."""
        names = (self.yaw_reader, self.quality_reader) if steering else (self.generator, self.embedder, self.people)
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class AgingChoice:
    """Checkpoints of a latent diffusion, by name, and the two that read its pictures.

    subject: where the token of a new person begins, "" where nobody knows. vocabulary: files of the tokenizer; the one
    that ships is none of the manifest's. safety: withholds pictures; "" where only faces can be drawn. quick: the LoRA
    that draws in four steps, "" without. people: taught already. drawn: it draws aligned faces and nothing else.
    """

    name: str
    label: str
    autoencoder: str
    unet: str
    text: str
    subject: str
    vocabulary: tuple[str, ...]
    safety: str
    quick: str
    people: tuple[str, ...]
    embedder: str
    judge: str
    drawn: bool
    does: ClassVar[tuple[str, str]] = ("draw", "draw in four steps")

    def files(self, steering: bool = False) -> tuple[str, ...]:
        """The checkpoints that drawing takes; with `steering` what drawing in four steps takes besides."""
        names = (self.quick,) if steering else (self.autoencoder, self.unet, self.text, self.subject, *self.vocabulary,
                                                self.safety, self.embedder, self.judge)
        return tuple(dict.fromkeys(name for name in names if name))


CHOICES = {     # the first of a system ships with the project
    "vectors": (
        Choice("tiny", "Facet's own, trained on drawn people", "vectors-tiny", "embedder-tiny", "vectors-people-tiny",
               "judge-tiny", "judge-tiny",
               Quality(most=1, usual=0.7, tolerance=0.02, weight=50),       # poor to sharp counts like half a turn
               turned=0.5,              # another network's reading is two or three degrees away
               similarity=0.6, beyond=0.05),    # strangers are below 0.4
        Choice("base", "Published Vec2Face, trained on photos", "vec2face-base", "arcface-r100", "vec2face-people",
               "6drepnet", "magface-r100",
               Quality(most=60, usual=27, tolerance=1, weight=1),
               turned=5, similarity=0.7, beyond=None),      # the paper's, all of them
    ),
    "aging": (
        AgingChoice("tiny", "Facet's own, trained on drawn people", "aging-autoencoder-tiny", "aging-unet-tiny",
                    "aging-text-tiny", "aging-subject-tiny", vocabulary=(), safety="", quick="",
                    people=tuple(f"aging-person-{number}" for number in (1, 2, 3, 4)),
                    embedder="embedder-tiny", judge="judge-tiny", drawn=True),
        AgingChoice("sd14", "Stable Diffusion 1.4, trained on pictures from the web", "sd14-autoencoder", "sd14-unet",
                    "sd14-text", "", vocabulary=("sd14-vocabulary", "sd14-merges"), safety="sd14-safety",
                    quick="lcm-lora-sd15", people=(), embedder="embedder-tiny", judge="judge-tiny", drawn=False),
    ),
}
AnyChoice = Choice | AgingChoice


def choices(system: str) -> tuple[AnyChoice, ...]:
    """The choices of a system; the first one ships. Raises SettingsError for an unknown system."""
    if system not in CHOICES:
        raise SettingsError(f"There is no system called {system!r}.", f"Choose from: {', '.join(CHOICES)}.")
    return CHOICES[system]


def choose(system: str, name: str | None = None) -> AnyChoice:
    """The choice called `name`; None: the one that ships. Raises SettingsError that lists those there are."""
    known = {choice.name: choice for choice in choices(system)}
    if name is None:
        return choices(system)[0]
    if name not in known:
        raise SettingsError(f"{system} has no checkpoint choice called {str(name)[:40]!r}.",
                            f"Choose from: {', '.join(known)}.")
    return known[name]


# ----------------------------------------------------------------------------------------------------------- facts

@dataclass(frozen=True)
class Facts:
    """What there is to say of one set of files of a choice.

    names: the checkpoints. size: of all of them, in words. bytes: the same as a number, None unless all are known
    exactly. licences: each once. agreements: the terms that must be agreed to before what is missing is fetched, each
    once. missing: the checkpoints that are not on this machine.
    """

    names: tuple[str, ...]
    size: str
    bytes: int | None
    licences: tuple[str, ...]
    agreements: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether every file is on this machine."""
        return not self.missing


def facts(choice: AnyChoice, steering: bool = False) -> Facts:
    """What a page says of a choice; looks at this machine only, and hashes nothing. Raises CheckpointError."""
    rows = [hub.row(name) for name in choice.files(steering)]
    missing = [row for row in rows if hub.place(row) is None]
    sizes = [_size(row) for row in rows]
    total = sum(size for size, exact in sizes) if all(exact for size, exact in sizes) else None
    agreements = dict.fromkeys(row.agreement for row in missing if row.agreement)
    return Facts(choice.files(steering), _in_words(rows), total, tuple(dict.fromkeys(row.licence for row in rows)),
                 tuple(agreements), tuple(row.name for row in missing))


def _size(row: hub.Row) -> tuple[int | None, bool]:
    """Bytes of a file, and whether that is exact rather than what the row's text says; None where nobody says."""
    path = hub.place(row)
    if path is not None:
        return path.stat().st_size, True
    if row.bytes is not None:
        return row.bytes, True
    said = re.search(r"\b(?:[Aa]bout|[Ss]ome) ([\d.]+) (kB|MB|GB)\b", row.about)
    return (round(float(said[1]) * UNITS[said[2]]) if said else None), False


def _in_words(rows: list[hub.Row]) -> str:
    """The size of all: "22.4 MB", "about 961 MB"; a file of unknown size is named."""
    sizes = [_size(row) for row in rows]
    total = sum(size or 0 for size, exact in sizes)
    unknown = " and ".join(row.name for row, (size, _) in zip(rows, sizes, strict=True) if size is None)
    if all(exact for _, exact in sizes):
        return f"{total / 1e6:.1f} MB"
    rounded = f"{total / 1e9:.1f} GB" if total > 2e9 else f"{total / 1e6:.0f} MB"
    return f"about {rounded}" + (f", and {unknown} of a size that the Hub tells" if unknown else "")


def sha256(name: str) -> str:
    """The SHA-256 of a checkpoint on this machine: of its row, or of the file where that leaves it open."""
    from core.hub import files

    row = hub.row(name)
    return row.sha256 or files.sha256(hub.place(row))


def require(choice: AnyChoice, steering: bool = False) -> None:
    """Raise CheckpointError unless every file is on this machine; nothing is fetched."""
    require_all(choice.files(steering), f"{choice.label}: can't {choice.does[steering]}")


def require_all(names: Sequence[str], cannot: str) -> None:
    """Raise CheckpointError unless these are on this machine. cannot: what is not possible without them."""
    missing = [row for row in map(hub.row, names) if hub.place(row) is None]
    for row in missing:
        if row.repo is None:
            raise CheckpointError(f"{row.shipped} is missing", row.mend)
    if missing:
        names = [row.name for row in missing]
        raise CheckpointError(f"{cannot} before {', '.join(names)} "
                              f"{'is' if len(names) == 1 else 'are'} on this machine.",
                              f"Fetch in the tab, or:  python -m core fetch {' '.join(names)}")


# ----------------------------------------------------------------------------------------------------------- fetch

def fetch(choice: AnyChoice, agree: bool = False, steering: bool = False) -> Iterator[News]:
    """Fetch one set of files of a choice, check them, and mend what is damaged: (fraction, a line of text) as it goes.

    The fraction never falls and ends at 1. Nothing is asked of the Hub before the first value is asked for; closing
    the iterator stops the download at its next piece. Raises CheckpointError: at once when `agree` is missing, later
    for whatever goes wrong.
    """
    rows = [hub.row(name) for name in choice.files(steering)]
    _check_agreed([row for row in rows if hub.place(row) is None], agree)
    return _told(partial(_fetch, rows, agree))


def _check_agreed(missing: list[hub.Row], agree: bool) -> None:
    """Raise CheckpointError with the terms when there are any and nobody agreed; before anything is fetched."""
    bound = [row for row in missing if row.agreement]
    if bound and not agree:
        names, terms = [row.name for row in bound], dict.fromkeys(row.agreement for row in bound)
        raise CheckpointError(f"{' and '.join(names)}: fetched only for somebody who agrees to the terms. "
                              f"{' '.join(terms)}",
                              f"Agree in the tab, or:  python -m core fetch {' '.join(names)} --yes-i-agree")


def _fetch(rows: list[hub.Row], agree: bool, tell: Callable[[float, str], None]) -> None:
    """One file after another; each has a share of the bar as large as it is."""
    weights = [_size(row)[0] or UNKNOWN for row in rows]
    for at, row in enumerate(rows):
        start, end = (sum(weights[:count]) / sum(weights) for count in (at, at + 1))
        tell(start, f"{row.name}: looked for")
        hub.fetch(row.name, agree=agree, progress=partial(_part, tell, row.name, start, end))
        tell(end, f"{row.name}: here and checked")


def _part(tell: Callable[[float, str], None], name: str, start: float, end: float, fraction: float, text: str) -> None:
    """Progress of one file as progress of all; what comes after its last byte has no bar of its own."""
    tell(start + (end - start) * fraction, text if fraction < 1 else f"{name}: checked and made ready")


class _Stopped(Exception):
    """Nobody listens any more: ends the download from inside its progress."""


def _told(work: Callable[[Callable[[float, str], None]], None]) -> Iterator[News]:
    """What `work` tells, from a thread of its own; its error, if it ends in one."""
    queue, stopped = SimpleQueue(), Event()

    def tell(fraction: float, text: str) -> None:
        if stopped.is_set():
            raise _Stopped
        queue.put((fraction, text))

    def run() -> None:
        try:
            work(tell)
            queue.put(None)
        except Exception as error:      # all of them: whoever listens raises it again
            queue.put(error)

    Thread(target=run, daemon=True, name="fetch").start()
    try:
        yield from _heard(queue)
    finally:
        stopped.set()


def _heard(queue: SimpleQueue) -> Iterator[News]:
    """What is put into a queue until None, or an error, which is raised; the last again when there is nothing new."""
    said = (0.0, "asking the Hub")
    while True:
        try:
            found = queue.get(timeout=PULSE)
        except Empty:
            found = said
        if found is None:
            return
        if isinstance(found, Exception):
            raise found
        said = (max(said[0], found[0]), found[1])       # a file that is begun again sets nothing back
        yield said


# ---------------------------------------------------------------------------------------------------------- people

def people(choice: Choice) -> "People":
    """Where the people of a choice lie among its vectors. Raises CheckpointError; nothing is fetched."""
    from core.hub import weights
    from core.sampling import People

    require(choice)
    row, path = hub.row(choice.people), hub.file(choice.people)
    return fitted(path, row) if path.suffix == ".npy" else People.from_dict(weights.read(path, row))


def fitted(path: Path, row: hub.Row) -> "People":
    """People fitted to the features in a `.npy` file: (N, 512) finite numbers of different people, N at least 2.

    Of more than FITTED every second, third … is taken. Nothing in the file is executed. Raises CheckpointError.
    """
    import numpy as np
    import torch

    from core.pipelines import numbers
    from core.sampling import WIDTH, People

    try:
        stored = numbers.header_first(path)
        if stored.ndim != 2 or stored.shape[1] != WIDTH or stored.dtype.kind != "f":
            raise ValueError(f"{stored.dtype} numbers of the shape {stored.shape}")
        step = max(1, math.ceil(len(stored) / FITTED))
        return People.fit(torch.from_numpy(np.array(stored[::step], np.float32)))
    except (ValueError, VectorError) as error:
        said = error.message if isinstance(error, VectorError) else error
        raise CheckpointError(f"{path.name} does not hold the features of people, (N, {WIDTH}): {said}",
                              row.mend) from error
