"""A queue of jobs, one at a time in this process, with estimates of the wait."""

from collections.abc import Callable, Iterator
from contextlib import closing
from threading import RLock
from time import monotonic, sleep
from typing import TypeVar

Value = TypeVar("Value")

ABSENT_S = 60.0     # a job whose caller has not asked for its next value for so long loses its place
POLL_S = 0.5        # between two looks at the queue
STEP_S = 0.2        # of a step, until one is measured
END = object()


class Job:
    """One job of a queue. steps: of its own, and what follows them in as many. done: steps finished."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = steps, 0
        self.idle_since: float | None = None    # since when its caller has not asked; None while it computes


class JobQueue:
    """Jobs in the order of their first values. A caller who left without closing its job loses the place in time."""

    def __init__(self) -> None:
        self._jobs, self._lock = [], RLock()     # an abandoned job may end anywhere, also where this is held
        self.step_seconds = STEP_S

    def run(self, steps: int, work: Callable[[Job], Iterator[Value]],
            waiting: Callable[[float], Value]) -> Iterator[Value]:
        """Yield the values of `work(job)` while it is this job's turn, and `waiting(seconds)` until then."""
        job = Job(steps)
        values = work(job)
        try:
            with closing(values):
                while True:
                    while (seconds := self.wait(job)) is not None:
                        yield from self._given(job, waiting(seconds))
                        sleep(POLL_S)
                    value = next(values, END)
                    if value is END:
                        return
                    yield from self._given(job, value)
        finally:
            with self._lock:
                self._jobs = [other for other in self._jobs if other is not job]

    def _given(self, job: Job, value: Value) -> Iterator[Value]:
        """Yield a value; the time until the next one is asked for is the caller's."""
        job.idle_since = monotonic()
        yield value
        job.idle_since = None

    def wait(self, job: Job) -> float | None:
        """Seconds until it is this job's turn, at the pace of the running one; None: it is its turn.

        A job that is not in the queue joins at its end.
        """
        with self._lock:
            now = monotonic()
            self._jobs = [other for other in self._jobs
                          if other.idle_since is None or now < other.idle_since + ABSENT_S]
            if job not in self._jobs:
                self._jobs.append(job)
            before = self._jobs[:self._jobs.index(job)]
        return sum(map(self.remaining, before)) if before else None

    def remaining(self, job: Job) -> float:
        """Seconds that a job still takes, at the pace of the running one."""
        return (job.steps - job.done) * self.step_seconds

    def stepped(self, job: Job, done: int, seconds: float) -> None:
        """Note that a job has finished `done` steps in so many seconds."""
        job.done, self.step_seconds = done, seconds / max(done, 1)


def in_words(seconds: float) -> str:
    """A time rounded for readers: "20 seconds", "3 minutes"."""
    if seconds < 90:
        rounded = max(5, round(seconds / 5) * 5)
        return f"{rounded} seconds"
    return f"{round(seconds / 60)} minutes"
