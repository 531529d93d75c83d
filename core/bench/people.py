"""Time and memory of sampling thousands of people, and their growth.

The shipped distribution has too few dimensions for a thousand people. So growth is measured on a synthetic one, and the
limit of the shipped one is printed too.
"""

import math
import resource
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from core import hub
from core.bench.vectors import timed
from core.errors import SettingsError
from core.hub import weights
from core.sampling import WIDTH, People

COUNTS = (1_000, 10_000, 100_000)
THRESHOLD = 0.3
DIMENSIONS = 200
ABOUT = (f"people with cosines below {THRESHOLD:g}, synthetic distribution with {DIMENSIONS} equal dimensions\n"
         "seconds: processor time on one thread, wall clock on more; memory: peak resident set (getrusage) above "
         "start\nend of line: growth of both for ten times as many people")
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes that ru_maxrss counts in


@dataclass(frozen=True)
class Crowd:
    """So many people chosen. draws: how many were considered. seconds: as `vectors.timed` counts them. memory: bytes at
    the peak beyond what there was before the first."""

    people: int
    draws: int
    seconds: float
    memory: int


def sampled(counts: Iterable[int], dimensions: int = DIMENSIONS) -> Iterator[Crowd]:
    """Choose each number of people in turn, from seed 0, the same ones first; a result as it is found.

    counts: rising, for a peak can only rise. Raises SettingsError where so many don't fit the dimensions.
    """
    spread = even(dimensions)
    spread.choose(2, 0, 1.0)  # warm-up
    start = peak()
    for count in counts:
        draws = []
        seconds = timed(lambda count=count, draws=draws: draws.append(considered(spread, count)))
        yield Crowd(count, draws[0], seconds, peak() - start)


def considered(spread: People, count: int) -> int:
    """How many people are drawn and compared until `count` are chosen. Raises SettingsError if they can't be."""
    return sum(1 for _ in spread.trials(count, 0, THRESHOLD))


def even(dimensions: int) -> People:
    """People spread alike in the first so many of the 512 directions, around zero."""
    return People(mean=torch.zeros(WIDTH), components=torch.eye(dimensions, WIDTH), sd=torch.ones(dimensions),
                  norm=torch.tensor(math.sqrt(WIDTH)))


def peak() -> int:
    """The most memory this process ever had resident, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def growth(before: Crowd | None, now: Crowd) -> str:
    """How time and memory grew, for ten times as many people; empty for the first."""
    if before is None:
        return ""
    tens = math.log10(now.people / before.people)
    grew = [(now.seconds / before.seconds) ** (1 / tens), (now.memory / max(before.memory, 1)) ** (1 / tens)]
    return "  seconds × {:.1f}, memory × {:.1f}".format(*grew)


def shipped(count: int) -> str:
    """A line on the same question put to the people that ship, whose spread is narrower: how it ended."""
    people = People.from_dict(weights.read(hub.file("vectors-people-tiny"), hub.row("vectors-people-tiny")))
    try:
        draws = considered(people, count)
    except SettingsError as refusal:
        return f"the people that ship: {refusal.message} {refusal.next_step}"
    return f"the people that ship: {count:,} found in {draws:,} draws"
