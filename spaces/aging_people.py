"""The people of the tab `aging`: shipped ones, and ones that a visitor has trained or uploaded."""

import html
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from core import systems
from core.errors import SettingsError
from core.systems.aging import prompts
from spaces import widgets
from spaces.widgets import Change, new_run_id, safely

SESSION_S = 6 * 3600    # a visitor's people stay in memory for so long; an hour once the page is closed
NO_SUBJECT = "No person is trained for this checkpoint; a generic person is generated. Train one, or upload an adapter."


@dataclass(frozen=True)
class Own:
    """A person of one visitor and the path of the adapter file."""

    subject: Any
    adapter: str


def forget(mine: Sequence[Own]) -> None:
    """Keep nothing of a visitor's people; their page was closed, or has been idle for SESSION_S."""
    for own in mine or ():
        systems.load("aging", own.subject.base).forget(own.subject)
        with suppress(OSError):
            Path(own.adapter).unlink(missing_ok=True)


def all_people(checkpoint: str, mine: Sequence[Own]) -> tuple[Any, ...]:
    """The subjects that can be drawn with a checkpoint: those that ship, then the visitor's own."""
    own = (own.subject for own in mine if own.subject.base == checkpoint)
    return (*systems.load("aging", checkpoint).subjects, *own)


def picked(checkpoint: str, mine: Sequence[Own], at: int) -> Any:
    """The picked subject; None, a generic person, where there are none. Raises SettingsError for a removed one."""
    people = all_people(checkpoint, mine)
    if not people:
        return None
    if at >= len(people):
        raise SettingsError("This person is no longer here: uploads are deleted after some hours.",
                            "Pick another one, or upload the adapter file again.")
    return people[at]


class People:
    """The picker by name. `mine` are the visitor's own, `at` is the number of the one picked."""

    def __init__(self, notice: gr.HTML, run: gr.State) -> None:
        """run: its change starts a run."""
        self.notice, self.run, self.at = notice, run, gr.State(0)
        self.mine = gr.State((), time_to_live=SESSION_S, delete_callback=forget)
        self.gallery = widgets.small_gallery("Person", "aging-people", "named")
        self.whose = gr.HTML(elem_id="aging-whose", elem_classes="plain whose")
        with gr.Row(elem_classes="buttons"):
            self.bring = gr.UploadButton("Upload adapter", size="sm", min_width=130, elem_id="aging-bring")
            self.adapter = gr.DownloadButton("Adapter file", size="sm", min_width=110, visible=False,
                                             elem_id="aging-adapter")
            self.remove = gr.Button("Remove", size="sm", min_width=80, visible=False, elem_id="aging-forget")

    @property
    def changed(self) -> list:
        """The widgets that `drawn` and `joined` change."""
        return [self.mine, self.at, self.gallery, self.whose, self.adapter, self.remove]

    def listen(self, active: gr.State, prompt: gr.Textbox) -> None:
        """Pick a person, upload one, remove one."""
        self.prompt, on = prompt, widgets.private
        mine = {"mine": self.mine, "at": self.at, "active": active, "prompt": prompt}
        after = [self.notice, *self.changed, prompt, self.run]
        on(self.gallery.select, self.pick, mine, after)
        on(self.bring.upload, self.receive, {"path": self.bring, "mine": self.mine, "active": active, "prompt": prompt},
           after)
        on(self.remove.click, self.let_go, mine, after)

    def shown(self, checkpoint: str, mine: tuple[Own, ...], at: int) -> Change:
        """Everybody, and what is known of the one picked; an adapter file that has grown old is written anew."""
        people = all_people(checkpoint, mine)
        at = min(at, max(0, len(people) - 1))
        own = {id(own.subject): own for own in mine}
        chosen = own.get(id(people[at])) if people else None
        file = chosen and (chosen.adapter if Path(chosen.adapter).exists()
                           else systems.load("aging", checkpoint).adapter(chosen.subject))
        return {self.at: at,
                self.gallery: gr.update(value=[(portrait(subject), subject.name) for subject in people],
                                        selected_index=at if people else None),
                self.whose: described(people[at], chosen is not None) if people else NO_SUBJECT,
                self.adapter: gr.update(visible=chosen is not None, value=file),
                self.remove: gr.update(visible=chosen is not None)}

    def drawn(self, checkpoint: str, mine: tuple[Own, ...], at: int, prompt: str) -> Change:
        """Everybody, with this one picked, named in the prompt, and drawn."""
        shown = self.shown(checkpoint, mine, at)
        subject = picked(checkpoint, mine, shown[self.at])
        named = prompts.about_anybody(prompt) if subject is None else prompts.about(prompt, subject.token)
        return {**shown, self.prompt: named, self.run: new_run_id()}

    @safely
    def pick(self, mine: tuple[Own, ...], at: int, active: str, prompt: str, event: gr.SelectData) -> Change:
        """Draw the person that was clicked; the page also sends a click when it marks one itself."""
        return {} if event.index == at else self.drawn(active, mine, event.index, prompt)

    @safely
    def receive(self, path: str, mine: tuple[Own, ...], active: str, prompt: str) -> Change:
        """The person of an adapter file."""
        system = systems.load("aging", active)
        subject = system.subject_file(path)
        return self.joined(Own(subject, system.adapter(subject)), mine, active, prompt)     # a file of their own

    def joined(self, own: Own, mine: tuple[Own, ...], active: str, prompt: str) -> Change:
        """One more person, who is drawn at once."""
        mine = (*mine, own)
        return {self.mine: mine, **self.drawn(active, mine, len(all_people(active, mine)) - 1, prompt)}

    @safely
    def let_go(self, mine: tuple[Own, ...], at: int, active: str, prompt: str) -> Change:
        """Forget the visitor's person who is picked, and delete the file."""
        subject = picked(active, mine, at)
        forget([own for own in mine if own.subject is subject])
        left = tuple(own for own in mine if own.subject is not subject)
        return {self.mine: left, **self.drawn(active, left, max(0, at - 1), prompt)}


def portrait(subject: Any) -> Any:
    """The picture of a subject, for a gallery."""
    from PIL import Image

    return Image.fromarray(subject.portrait)


def described(subject: Any, own: bool) -> str:
    """A person in words, as HTML."""
    pictures = subject.settings.get("pictures")
    counted = isinstance(pictures, int) and pictures > 0        # the file may hold anything
    trained = f", trained with {pictures} pictures" if counted else ""
    whose = "private to you, deleted three hours after you leave" if own else "a drawn test person, ships with Facet"
    return (f"<b>{html.escape(subject.name)}</b>, <code>{html.escape(subject.token)}</code> in prompts{trained}: "
            f"{whose}.")
