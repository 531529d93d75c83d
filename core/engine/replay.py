"""A stream that is the same for everybody: computed once, by whoever asks first, and given to all who ask."""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from threading import Condition
from typing import Any


class Shared:
    """What a generator gives, each item computed once. Iterate over it as often as you like, from any thread: who is
    ahead computes, who comes meanwhile waits for that item, who comes later has all at once. Who leaves early stops
    nobody else; an error is raised to whoever met it, and the next to ask tries again from there.
    """

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        """start: begins the stream, called when somebody asks; it gives the same each time."""
        self.start, self.items = start, []
        self._turn, self._busy, self.over = Condition(), False, False
        self._stream: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        """From the beginning."""
        at = 0
        while self._reached(at):
            yield self.items[at]
            at += 1

    def _reached(self, at: int) -> bool:
        """Whether there is an item number `at`, computed now if nobody else is at it."""
        with self._turn:
            self._turn.wait_for(lambda: at < len(self.items) or not self._busy)
            if at < len(self.items) or self.over:
                return at < len(self.items)
            self._busy = True
        try:
            self._compute()
        finally:
            with self._turn:
                self._busy = False
                self._turn.notify_all()
        return at < len(self.items)

    def _compute(self) -> None:
        """The next item, or the end."""
        if self._stream is None:
            self._stream = islice(self.start(), len(self.items), None)
        try:
            self.items.append(next(self._stream))
        except StopIteration:
            self.over = True
        except BaseException:
            self._stream = None     # a generator that raised would only say that it is over
            raise


class Opening:
    """The pictures that everybody sees first: drawn once, and again when their files are gone.

    Who comes when all are drawn gets the last result alone, which has them all.
    """

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        """start: begins to draw; it gives results whose `images` are paths, those of one result in one folder; a result
        may have more in `preview`.
        """
        self.start, self._shared = start, Shared(start)

    def __iter__(self) -> Iterator[Any]:
        """The results, or the last of them; a generator, which can be closed."""
        shared = self._shared
        if (ready := self.ready) is not None:
            return (result for result in (ready,))
        if not _exist([*shared.items]):
            self._shared = Shared(self.start)
        return iter(self._shared)

    @property
    def ready(self) -> Any:
        """The last result if all pictures are drawn and their files are there, else None; their age begins anew."""
        shared = self._shared
        if not shared.over or not _exist(shared.items[-1:]):
            return None
        os.utime(Path(shared.items[-1].images[0]).parent)
        return shared.items[-1]


def _exist(results: list[Any]) -> bool:
    return all(Path(path).exists() for result in results for path in (*result.images, *result.previews))
