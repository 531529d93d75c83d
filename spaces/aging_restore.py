"""What a picture made in the tab `aging` can bring back: its person, and what is missing here."""

from typing import Any

from core.engine.result import Restored
from core.systems.aging.request import SOLVERS


def index_of(kept: Restored, people: tuple[Any, ...]) -> int | None:
    """The index of a picture's person among `people`, by the hash of the adapter; None when it is not there."""
    from core.systems.aging.pipeline import fingerprint

    hashes = [fingerprint(subject) for subject in people]
    return hashes.index(kept.adapter) if kept.adapter in hashes else None


def limits(kept: Restored, found: int | None, able: bool, has_people: bool) -> str:
    """What could not be restored. able: whether the checkpoint has the picture's solver. has_people: whether a person
    is picked here.
    """
    words = ""
    if not kept.adapter and has_people:
        words += " It shows no particular person; what is drawn now is the person who is picked."
    if kept.adapter and found is None:
        words += (f" Its person, {kept.subject or 'without a name'}, is not here: upload the adapter to get the same "
                  "picture.")
    if not able:
        words += f" The solver {SOLVERS[kept.request.solver]} is not available here, so it stays."
    return words
