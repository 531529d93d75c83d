"""The checkpoints of a system: a choice names a manifest row for each role, and is fetched only when asked for.

    facts(choice)                                       size, licences, terms and what is missing, before any fetch
    for fraction, text in fetch(choice, agree=True): …  the one way to fetch; closing the iterator stops it
    require(choice)                                     CheckpointError unless all is here; never fetches

A choice has two sets of files: what drawing takes and, with `extra=True`, what it can do besides: `vectors` reads yaw
and quality off pictures, `aging` previews in four steps. Importing this is cheap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Protocol

from core import hub
from core.errors import CheckpointError

HEARTBEAT_S = 1.0       # a fetch without news repeats its last value after this time, so that it can be stopped
BY_HAND = ("trained", "imported")       # origins of files that a user brings, instead of a fetch
UNKNOWN_BYTES = 10e6    # weight of a file of unknown size in the progress

Progress = tuple[float, str]            # fraction in [0, 1], one line of text


class Choice(Protocol):
    """Checkpoints that belong together. does: what drawing, and the extra files, are for, in words."""

    name: str
    label: str
    does: tuple[str, str]

    def files(self, extra: bool = False) -> tuple[str, ...]:
        """The manifest rows that drawing takes; with `extra` those of what it can do besides."""


# ----------------------------------------------------------------------------------------------------------- facts

@dataclass(frozen=True)
class Facts:
    """Facts on one set of files of a choice.

    names: the checkpoints. size: of all of them, in words. bytes: the same as a number, None unless all are known
    exactly. licences: each once. agreements: the terms that must be agreed to before what is missing is fetched, each
    once. missing: the checkpoints that are not on this machine. by_hand: for each of these that can't be fetched, the
    step that brings it.
    """

    names: tuple[str, ...]
    size: str
    bytes: int | None
    licences: tuple[str, ...]
    agreements: tuple[str, ...]
    missing: tuple[str, ...]
    by_hand: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether every file is on this machine."""
        return not self.missing


def facts(choice: Choice, extra: bool = False) -> Facts:
    """The facts that a page shows of a choice, from this machine alone, without hashing. Raises CheckpointError."""
    rows = [hub.row(name) for name in choice.files(extra)]
    missing = [row for row in rows if hub.place(row) is None]
    sizes = [_size(row) for row in rows]
    total = sum(size for size, exact in sizes) if all(exact for size, exact in sizes) else None
    agreements = dict.fromkeys(row.agreement for row in missing if row.agreement)
    return Facts(choice.files(extra), _in_words(rows), total, tuple(dict.fromkeys(row.licence for row in rows)),
                 tuple(agreements), tuple(row.name for row in missing),
                 tuple(row.mend for row in missing if row.origin in BY_HAND))


def _size(row: hub.Row) -> tuple[int | None, bool]:
    """Bytes of a file, and whether that is exact; None where the manifest does not say."""
    path = hub.place(row)
    if path is not None:
        return path.stat().st_size, True
    return (row.rounded_bytes, False) if row.bytes is None else (row.bytes, True)


def _in_words(rows: list[hub.Row]) -> str:
    """The size of all: "22.4 MB", "5.5 GB", "about 961 MB"; a file of unknown size is named."""
    sizes = [_size(row) for row in rows]
    total, is_exact = sum(size or 0 for size, _ in sizes), all(exact for _, exact in sizes)
    unknown = " and ".join(row.name for row, (size, _) in zip(rows, sizes, strict=True) if size is None)
    rounded = f"{total / 1e9:.1f} GB" if total > 2e9 else f"{total / 1e6:.{int(is_exact)}f} MB"
    return ("" if is_exact else "about ") + rounded + (f", and {unknown} of unknown size" if unknown else "")


def sha256(name: str) -> str:
    """The SHA-256 of a checkpoint on this machine: of its row, or of the file where that leaves it open."""
    from core.hub import files

    row = hub.row(name)
    return row.sha256 or files.sha256(hub.place(row))


def require(choice: Choice, extra: bool = False) -> None:
    """Raise CheckpointError unless every file is on this machine; nothing is fetched."""
    require_all(choice.files(extra), f"{choice.label}: can't {choice.does[extra]}")


def require_all(names: Sequence[str], cannot: str) -> None:
    """Raise CheckpointError unless these are on this machine. cannot: what is not possible without them."""
    missing = [row for row in map(hub.row, names) if hub.place(row) is None]
    for row in missing:
        if row.origin in BY_HAND:
            raise CheckpointError(f"{cannot} before {row.name} is on this machine.", row.mend)
        if row.repo is None:
            raise CheckpointError(f"{row.shipped} is missing.", row.mend)
    if missing:
        names = [row.name for row in missing]
        raise CheckpointError(f"{cannot} before {', '.join(names)} "
                              f"{'is' if len(names) == 1 else 'are'} on this machine.",
                              f"Fetch in the tab, or:  python -m core fetch {' '.join(names)}")


# ----------------------------------------------------------------------------------------------------------- fetch

def fetch(choice: Choice, agree: bool = False, extra: bool = False) -> Iterator[Progress]:
    """Fetch one set of files of a choice, check them, and mend what is damaged: (fraction, a line of text) as it goes.

    The fraction never falls and ends at 1. Nothing is asked of the Hub before the first value is asked for; closing
    the iterator stops the download at its next piece. Raises CheckpointError: at once when `agree` is missing, later
    for whatever goes wrong.
    """
    rows = [hub.row(name) for name in choice.files(extra)]
    _check_agreed([row for row in rows if hub.place(row) is None], agree)
    return _progress_of(partial(_fetch, rows, agree))


def _check_agreed(missing: list[hub.Row], agree: bool) -> None:
    """Raise CheckpointError with the terms if there are any and `agree` is missing; before anything is fetched."""
    bound = [row for row in missing if row.agreement]
    if bound and not agree:
        names, terms = [row.name for row in bound], dict.fromkeys(row.agreement for row in bound)
        raise CheckpointError(f"{' and '.join(names)} can be fetched only after agreement to the terms. "
                              f"{' '.join(terms)}",
                              f"Agree in the tab, or:  python -m core fetch {' '.join(names)} --yes-i-agree")


def _fetch(rows: list[hub.Row], agree: bool, tell: Callable[[float, str], None]) -> None:
    """One file after another; each has a share of the bar as large as it is."""
    weights = [_size(row)[0] or UNKNOWN_BYTES for row in rows]
    for at, row in enumerate(rows):
        start, end = (sum(weights[:count]) / sum(weights) for count in (at, at + 1))
        tell(start, f"{row.name}: checking")
        hub.fetch(row.name, agree=agree, progress=partial(_part, tell, row.name, start, end))
        tell(end, f"{row.name}: downloaded and verified.{hub.first_pin(row)}")


def _part(tell: Callable[[float, str], None], name: str, start: float, end: float, fraction: float, text: str) -> None:
    """Progress of one file as progress of all; what comes after its last byte has no bar of its own."""
    tell(start + (end - start) * fraction, text if fraction < 1 else f"{name}: checked and made ready")


class _Stopped(Exception):
    """Ends the download from inside its progress, after the iterator was closed."""


def _progress_of(work: Callable[[Callable[[float, str], None]], None]) -> Iterator[Progress]:
    """The progress that `work` reports from a thread of its own; raises its error."""
    queue, stopped = SimpleQueue(), Event()

    def tell(fraction: float, text: str) -> None:
        if stopped.is_set():
            raise _Stopped
        queue.put((fraction, text))

    def run() -> None:
        try:
            work(tell)
            queue.put(None)
        except Exception as error:      # raised again by the iterator
            queue.put(error)

    Thread(target=run, daemon=True, name="fetch").start()
    try:
        yield from _received(queue)
    finally:
        stopped.set()


def _received(queue: SimpleQueue) -> Iterator[Progress]:
    """Values of a queue until None, or an error, which is raised; the last value again when there is no new one."""
    latest = (0.0, "asking the Hub")
    while True:
        try:
            found = queue.get(timeout=HEARTBEAT_S)
        except Empty:
            found = latest
        if found is None:
            return
        if isinstance(found, Exception):
            raise found
        latest = (max(latest[0], found[0]), found[1])       # a file that starts again does not reduce the progress
        yield latest
