"""Who computes and who waits. Gradio's queues keep the order; this module estimates waits and stops jobs.

Two queues: DRAWING for pictures, LESSONS for the training of a person, which takes minutes and never delays a picture.
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

FORGET_S = 90.0             # a page that has not asked for so long waits no longer; hidden pages ask seldom
OVERDUE_S = 120.0           # a job that exceeds its estimate by so much is taken for ended
LONGEST_ESTIMATE_S = 1200.0     # a longer wait is given as "more than 20 minutes"
Value = TypeVar("Value")


@dataclass
class Running:
    """The job under way. ends: when it is expected to end, on the monotonic clock."""

    page: str
    description: str
    ends: float
    job: str = ""


@dataclass
class Ticket:
    """A page that waits. since, seen: when it came, when it asked last. seconds: what its own job may take."""

    since: float
    seen: float
    seconds: float


class Queue:
    """The jobs of one kind in this process, one at a time. A page is named by `page_id`."""

    def __init__(self) -> None:
        self._lock = RLock()        # a job may be closed anywhere, also by a thread that holds this lock
        self._running: Running | None = None
        self._tickets: dict[str, Ticket] = {}
        self._stopped: deque[str] = deque(maxlen=256)

    def run(self, page: str, description: str, seconds: float, work: Iterator[Value],
            remaining: Callable[[Value], float] | None = None, job: str = "") -> Iterator[Value]:
        """Yield the values of `work` while it is the page's turn.

        description: what is under way, shown to others. seconds: estimate of the whole. remaining: seconds that are
        left, from a value. job: a unique name, see `stop`.
        """
        mine = Running(page, description, monotonic() + seconds, job)
        with self._lock:
            self._running = mine
            self._tickets.pop(page, None)
        try:
            with closing(work):
                for value in work:
                    if remaining is not None:
                        mine.ends = monotonic() + remaining(value)
                    yield value
        finally:
            with self._lock:
                self._running = None if self._running is mine else self._running

    def message(self, page: str, seconds: float | None = None) -> str:
        """What the page waits for, its position and an estimate; "" when it doesn't wait.

        seconds: estimate of the page's own job, which takes a ticket; None: only a page with a ticket waits.
        """
        with self._lock:
            now, running = monotonic(), self._running
            self._tickets = {name: ticket for name, ticket in self._tickets.items() if now < ticket.seen + FORGET_S}
            newcomer = seconds is None and page not in self._tickets
            if running is None or running.page == page or now > running.ends + OVERDUE_S or newcomer:
                self._tickets.pop(page, None)
                return ""
            ticket = self._tickets.setdefault(page, Ticket(now, now, seconds or 0.0))
            ticket.seen = now
            ahead = [other for other in self._tickets.values() if other.since < ticket.since]
            wait = max(0.0, running.ends - now) + sum(other.seconds for other in ahead)
            return f"{running.description}. You are number {len(ahead) + 1} in the queue: {duration(wait)}."

    def is_running(self, page: str) -> bool:
        """Whether a job of this page is under way."""
        with self._lock:
            return self._running is not None and self._running.page == page

    def stop(self, job: str) -> None:
        """Stop a job at its next step, or before it begins."""
        self._stopped.append(job)

    def stop_page(self, page: str, job: str) -> bool:
        """Stop a job, and an earlier one of the page that is still under way; returns whether one is under way."""
        self.stop(job)
        with self._lock:
            if self._running is None or self._running.page != page:
                return False
            self.stop(self._running.job)
            return True

    def is_stopped(self, job: str) -> bool:
        """Whether this job has been stopped."""
        return job in self._stopped

    def leave(self, page: str) -> None:
        """Give back the page's ticket."""
        with self._lock:
            self._tickets.pop(page, None)


DRAWING, LESSONS = Queue(), Queue()


def duration(seconds: float) -> str:
    """A length of time in words, roughly; long ones are bounded."""
    if seconds < 8:
        return "a few seconds"
    if seconds > LONGEST_ESTIMATE_S:
        return f"more than {in_words(LONGEST_ESTIMATE_S)}"
    return f"about {in_words(seconds)}"


def page_id(request: gr.Request | None, kind: str) -> str:
    """The name of one page and one kind of work on it."""
    return f"{getattr(request, 'session_hash', None) or 'unknown'}:{kind}"


def remaining_time(began: float, step: int, steps: int) -> float:
    """Seconds that work of so many steps still takes, by its pace so far. began: on the monotonic clock."""
    return (monotonic() - began) / max(1, step) * (steps - step)


def remaining_from(began: float) -> Callable[[Any], float]:
    """`remaining` of `Queue.run`, for values that have a `step` and `steps`."""
    return lambda value: remaining_time(began, value.step, value.steps)


class WaitingStatus:
    """Shows the wait in `status`, every second, until it is over."""

    def __init__(self, queue: Queue, status: gr.HTML, kind: str, seconds: float,
                 buttons: tuple[gr.Button, gr.Button]) -> None:
        """seconds: estimate of one job. buttons: the one that starts, and Stop."""
        self.queue, self.status, self.kind, self.seconds, self.buttons = queue, status, kind, seconds, buttons
        self.clock = gr.Timer(1.0, active=False)

    def listen(self, triggers: list) -> Any:
        """Look for a wait when any of `triggers` asks for a turn; returns the event."""
        after = [self.clock, self.status, *self.buttons]
        widgets.private(self.clock.tick, self.look, {}, after, queue=False)
        return widgets.private(triggers, self.join, {}, after, queue=False)

    def join(self, request: gr.Request) -> Change:
        """Begin to wait if another page is ahead."""
        message = self.queue.message(page_id(request, self.kind), self.seconds)
        return self.waits(message) if message else {self.clock: gr.update(active=False)}

    def look(self, request: gr.Request) -> Change:
        """Update the message, or stop the clock; a page that neither waits nor computes gets its buttons back."""
        page, (start, stop) = page_id(request, self.kind), self.buttons
        message = self.queue.message(page)
        if message:
            return self.waits(message)
        stopped = {self.clock: gr.update(active=False)}
        if self.queue.is_running(page):
            return stopped
        return {**stopped, start: gr.update(visible=True), stop: gr.update(visible=False)}

    def waits(self, message: str) -> Change:
        """The message, and Stop as the way out."""
        start, stop = self.buttons
        return {self.clock: gr.update(active=True), self.status: widgets.progress(0, 1, message),
                start: gr.update(visible=False), stop: gr.update(visible=True)}

    def over(self, request: gr.Request | None) -> Change:
        """The page waits no longer."""
        self.queue.leave(page_id(request, self.kind))
        return {self.clock: gr.update(active=False)}
