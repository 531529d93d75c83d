"""A stream that is the same for all consumers: computed once and shared."""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from threading import Condition
from typing import Any


class Shared:
    """Thread-safe replayable generator: the first consumer computes an item, others wait for it or reuse it.

    Closing one iteration does not stop the others. An exception reaches its caller; the next call retries from there.
    """

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        """start: begins the stream; it must give the same items each time."""
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
        """Whether there is an item number `at`; computes it unless another thread does."""
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
    """The pictures that a page opens with: drawn once, and again when their files are gone.

    Once all are drawn, an iteration gives the last result alone, which has them all.
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
