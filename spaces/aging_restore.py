"""A picture made in the tab `aging` brings its settings back."""

from typing import Any

import gradio as gr

from core import systems
from core.engine.result import Restored
from core.errors import PictureError
from core.systems.aging import prompts
from core.systems.aging.request import SOLVERS
from spaces import widgets
from spaces.aging_people import Own, People, everybody
from spaces.aging_wish import SETTINGS, Asking
from spaces.widgets import Change, told


class Restoring:
    """The panel by name."""

    def __init__(self, notice: gr.HTML, people: People, asking: Asking) -> None:
        self.notice, self.people, self.asking = notice, people, asking
        with gr.Accordion("Bring a picture's settings back", open=False, elem_id="aging-restore"):
            self.picture = gr.File(label="A PNG made here", elem_id="aging-made-here", height=110)

    def listen(self, active: gr.State) -> None:
        """Take a picture, and be ready for the next."""
        asking, people = self.asking, self.people
        widgets.private(self.picture.upload, self.receive, {
            "path": self.picture, "mine": people.mine, "at": people.at, "active": active},
            [self.notice, *people.changed, asking.age, *(getattr(asking, name) for name in SETTINGS), asking.mode,
             asking.turn]).then(lambda: None, outputs=self.picture, **widgets.QUIET)

    @told
    def receive(self, path: str, mine: tuple[Own, ...], at: int, active: str) -> Change:
        """Everything as it was then; the picture comes first."""
        kept = systems.load("aging", active).restored(path)
        if kept is None:
            raise PictureError("This file does not hold the settings of a picture made in this tab.",
                               "Use a PNG as it was downloaded; editors and messengers strip them.")
        found = whose(kept, everybody(active, mine))
        asking, wish = self.asking, kept.request
        able = wish.solver in systems.load("aging", active).solvers
        again = {getattr(asking, name): getattr(wish, name) for name in SETTINGS if able or name != "solver"}
        return {**again, asking.age: prompts.age_in(wish.prompt), asking.mode: widgets.SAME,
                **(self.people.shown(active, mine, found) if found is not None else {}),
                asking.turn: widgets.turned_with_notice(), self.notice: widgets.remark(
                    said(kept, found, active, able, bool(everybody(active, mine))))}


def whose(kept: Restored, people: tuple[Any, ...]) -> int | None:
    """The number of the person in a picture among those who are here, by what was taught; None when nobody is."""
    from core.systems.aging.pipeline import fingerprint

    taught = [fingerprint(subject) for subject in people]
    return taught.index(kept.adapter) if kept.adapter in taught else None


def said(kept: Restored, found: int | None, active: str, able: bool, somebody: bool) -> str:
    """What is back, and what is not. able: whether this checkpoint can draw with the picture's solver. somebody:
    whether a person is picked here.
    """
    words = "The settings of this picture are back."
    if not kept.adapter and somebody:
        words += " It shows nobody in particular; what is drawn now is the person who is picked."
    if kept.adapter and found is None:
        words += f" Its person, {kept.subject or 'nameless'}, is not here: bring the adapter to have the same again."
    if kept.checkpoint not in (None, active):
        words += f" It was made with the checkpoint {kept.checkpoint}: choose that under Network first."
    if not able:
        words += f" {SOLVERS[kept.request.solver]} is not to be had here, so the solver stays."
    return words

