"""A line of people who want the same thing, one at a time in this process; whoever waits is told how long."""

from threading import RLock


class Job:
    """One teaching in the line. steps: of its own, and what comes after them in as many. done: of these."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = steps, 0


class Line:
    """One teaching at a time in this process, in the order of asking; says how long the wait is."""

    def __init__(self) -> None:
        self._jobs, self._lock = [], RLock()     # an abandoned teaching may end anywhere, also where this is held
        self.pace = 0.2     # seconds a step takes, measured as they are made

    def join(self, steps: int) -> Job:
        """A place at the end of the line."""
        job = Job(steps)
        with self._lock:
            self._jobs.append(job)
        return job

    def leave(self, job: Job) -> None:
        """Make room for the next."""
        with self._lock:
            self._jobs.remove(job)

    def wait(self, job: Job) -> float | None:
        """Seconds until it is this one's turn, by the speed of the one at work; None: it is."""
        with self._lock:
            before = self._jobs[:self._jobs.index(job)]
        return sum(map(self.left, before)) if before else None

    def left(self, job: Job) -> float:
        """Seconds that a job still takes once it is at work, by the speed of the one that is."""
        return (job.steps - job.done) * self.pace

    def stepped(self, job: Job, done: int, seconds: float) -> None:
        """A job has so many of its steps behind it, in so many seconds."""
        job.done, self.pace = done, seconds / max(done, 1)


def in_words(seconds: float) -> str:
    """A time as people say it: "20 seconds", "3 minutes"."""
    if seconds < 90:
        rounded = max(5, round(seconds / 5) * 5)
        return f"{rounded} seconds"
    return f"{round(seconds / 60)} minutes"
