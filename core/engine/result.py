"""What every system gives back: one Result that grows, and the measures of its pictures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from core.engine.request import Request

Value = TypeVar("Value")
Scores = Mapping[str, tuple[float | None, ...]]


class Dropped(NamedTuple):
    """A picture that is not among the results. path: of its file; None for a picture that must not be shown."""

    path: str | None
    seed: int
    prompt: str
    why: str


@dataclass(frozen=True)
class Result:
    """The pictures made so far. A stream of results grows; the last one holds all pictures.

    images: PNG paths of finished pictures. previews: PNG paths of pictures under way; () at the end. seeds, settings
    and each of scores: one entry for each finished picture. settings: as stored in the PNG. scores: measures by name;
    None where nothing could be measured. dropped: pictures below a floor, or withheld. total: pictures asked for.
    step: work done, of at most `steps`, in the system's own unit. vectors: (N, 512) face vectors that the pictures were
    drawn from, where there are such. notes: sentences for the visitor. files: paths of further files, by their name.
    """

    images: tuple[str, ...] = ()
    previews: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: tuple[dict[str, Any], ...] = ()
    scores: Scores = field(default_factory=lambda: MappingProxyType({}))
    dropped: tuple[Dropped, ...] = ()
    total: int = 0
    step: int = 0
    steps: int = 0
    vectors: "np.ndarray | None" = None
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def scored(self, at: int) -> dict[str, float | None]:
        """The measures of one finished picture by name."""
        return {name: values[at] for name, values in self.scores.items()}


@dataclass(frozen=True)
class Restored:
    """What a picture made here stores. checkpoint: name of the choice that drew it; None if it is unknown now.
    adapter: hash of the trained person, "" for none. subject: that person's name.
    """

    request: "Request"
    checkpoint: str | None
    adapter: str = ""
    subject: str = ""


def last(results: Iterator[Value]) -> Value:
    """Run a stream of results to its end; returns the last one."""
    *_, result = results
    return result
