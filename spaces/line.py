"""Whose turn it is: all that computes runs one at a time, and whoever waits is told for how long.

gradio's queue keeps the order; this only knows what is under way, how long that still takes, and who wants to be next.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import RLock
from time import monotonic
from typing import Any, TypeVar

import gradio as gr

from core.engine.waiting import in_words
from spaces import widgets
from spaces.widgets import Change

FRESH = 90.0        # seconds after which somebody who has not asked again no longer waits; hidden pages ask seldom
LATE = 120.0        # seconds that a turn may take longer than it said; then it is thought to be over
Value = TypeVar("Value")


@dataclass
class Turn:
    """Work under way, and when it is expected to end."""

    who: str
    words: str
    ends: float
    job: str = ""


@dataclass
class Place:
    """Somebody who waits: since when, last heard of when, and how long their own turn may take."""

    since: float
    heard: float
    seconds: float


class Line:
    """What is under way in this process. `who` is one page and one kind of work there."""

    def __init__(self) -> None:
        self._lock = RLock()        # an abandoned turn may end anywhere, also where this is held
        self._now: Turn | None = None
        self._waiting: dict[str, Place] = {}
        self._stopped: deque[str] = deque(maxlen=256)

    def turn(self, who: str, words: str, seconds: float, work: Iterator[Value],
             left: Callable[[Value], float] | None = None, job: str = "") -> Iterator[Value]:
        """The values of `work`, while it is `who`'s turn. words: what is under way, for others to read.

        seconds: how long it may take; left: the same, later, from a value. job: its name, see `stop`.
        """
        mine = Turn(who, words, monotonic() + seconds, job)
        with self._lock:
            self._now = mine
            self._waiting.pop(who, None)
        try:
            with closing(work):
                for value in work:
                    if left is not None:
                        mine.ends = monotonic() + left(value)
                    yield value
        finally:
            with self._lock:
                self._now = None if self._now is mine else self._now

    def wait(self, who: str, seconds: float | None = None) -> str:
        """What `who` waits for and how long, in words; "" when it is their turn or nobody else's.

        seconds: how long their own turn may take; None: they wait only if they have waited before.
        """
        with self._lock:
            now, at = self._now, monotonic()
            new = seconds is None and who not in self._waiting
            if now is None or now.who == who or at > now.ends + LATE or new:
                self._waiting.pop(who, None)
                return ""
            place = self._waiting.setdefault(who, Place(at, at, seconds or 0.0))
            place.heard = at
            ahead = [other for other in self._waiting.values()
                     if other.since < place.since and at < other.heard + FRESH]
            return self._said(now, max(0.0, now.ends - at) + sum(other.seconds for other in ahead), len(ahead))

    def running(self, who: str) -> bool:
        """Whether it is `who`'s turn now."""
        with self._lock:
            return self._now is not None and self._now.who == who

    def stop(self, job: str) -> None:
        """Have one piece of work end at its next step, or not begin. job: a name that nothing else ever has."""
        self._stopped.append(job)

    def halt(self, who: str, job: str) -> bool:
        """Stop a job, and what of `who` is under way, which may be an earlier one; returns whether anything is."""
        self.stop(job)
        with self._lock:
            if self._now is None or self._now.who != who:
                return False
            self.stop(self._now.job)
            return True

    def stopped(self, job: str) -> bool:
        """Whether this piece of work is to end."""
        return job in self._stopped

    def leave(self, who: str) -> None:
        """`who` waits no longer."""
        with self._lock:
            self._waiting.pop(who, None)

    def _said(self, now: Turn, seconds: float, ahead: int) -> str:
        others = f", and {ahead} more {'waits' if ahead == 1 else 'wait'} before you" if ahead else ""
        return f"{now.words}{others}. Your turn comes in {lasting(seconds)}."


LINE = Line()


def lasting(seconds: float) -> str:
    """A length of time that is only about right, in words."""
    if seconds < 8:
        return "a few seconds"
    return f"about {in_words(seconds)}"


def who(request: gr.Request | None, kind: str) -> str:
    """One page and a kind of work on it."""
    return f"{getattr(request, 'session_hash', None) or 'nobody'}:{kind}"


class Waiting:
    """Says in `status` how long the wait is, anew every second, until it is over."""

    def __init__(self, status: gr.HTML, kind: str, seconds: float, buttons: tuple[gr.Button, gr.Button]) -> None:
        self.status, self.kind, self.seconds, self.buttons = status, kind, seconds, buttons
        self.clock = gr.Timer(1.0, active=False)

    def listen(self, triggers: list) -> Any:
        """Look whether there is a wait when any of `triggers` asks for a turn; returns the event, to go on from."""
        after = [self.clock, self.status, *self.buttons]
        widgets.private(self.clock.tick, self.look, {}, after, queue=False)
        return widgets.private(triggers, self.join, {}, after, queue=False)

    def join(self, request: gr.Request) -> Change:
        """Begin to wait, if there is somebody before."""
        said = LINE.wait(who(request, self.kind), self.seconds)
        return self.waits(said) if said else {self.clock: gr.update(active=False)}

    def look(self, request: gr.Request) -> Change:
        """Say it again, or stop looking; a page that neither waits nor computes gets its buttons back."""
        me, (go, stop) = who(request, self.kind), self.buttons
        said = LINE.wait(me)
        if said:
            return self.waits(said)
        still = {self.clock: gr.update(active=False)}
        return still if LINE.running(me) else {**still, go: gr.update(visible=True), stop: gr.update(visible=False)}

    def waits(self, said: str) -> Change:
        """The wait in words, and a way out."""
        go, stop = self.buttons
        return {self.clock: gr.update(active=True), self.status: widgets.progress(0, 1, said),
                go: gr.update(visible=False), stop: gr.update(visible=True)}

    def over(self, request: gr.Request | None) -> Change:
        """Nobody waits here any more."""
        LINE.leave(who(request, self.kind))
        return {self.clock: gr.update(active=False)}


def step_time(began: float, step: int, steps: int) -> float:
    """Seconds that work of so many steps still takes, by what it took so far."""
    return (monotonic() - began) / max(1, step) * (steps - step)


def any_left(began: float) -> Callable[[Any], float]:
    """What `turn` takes as `left`, for values that have a `step` and `steps`."""
    return lambda value: step_time(began, value.step, value.steps)
