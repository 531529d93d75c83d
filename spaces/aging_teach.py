"""Training a new person in the tab `aging`: checked pictures, loss curves, a preview, an adapter to keep."""

import html
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from core import systems
from core.engine import files
from core.errors import SettingsError
from core.systems.aging import prompts
from core.systems.aging.request import MAX_LESSONS, MAX_TAUGHT, MIN_TAUGHT, Teach
from core.systems.aging.results import Checked, Taught
from spaces import GPU, charts, widgets
from spaces.aging_people import Own, People
from spaces.queue import DRAWING, LESSONS, WaitingStatus, duration, page_id
from spaces.widgets import Change, new_run_id, safely, unchanged

CHECK_S = 5.0           # estimated seconds that checking pictures takes
CHOSEN = "chosen for you"
TRAINING = "The person of another visitor is being trained"
HOW = (f"{MIN_TAUGHT} to {MAX_TAUGHT} pictures of one person, in different light and poses, and best at one age. "
       "They are used for this alone, and deleted within three hours.")
TODO = "Upload pictures, read the remarks, then train."
STEPS, USUAL = (20, MAX_LESSONS, 10), 200      # of the slider: from, to, by; what the preset takes
LINES = {"noise": "the person", "prior": "other people", "biometric": "likeness", "contrastive": "contrast"}


def discard(pictures: Sequence[Checked]) -> None:
    """Delete our copies of a visitor's pictures, and their crops; the page was closed, or has long been idle."""
    for picture in pictures or ():
        for path in filter(None, (picture.path, picture.picture)):
            with suppress(OSError):
                Path(path).unlink(missing_ok=True)


@GPU
def checked(checkpoint: str, paths: Sequence[str]) -> tuple[Checked, ...]:
    """Each picture with the crop that is used, or what is wrong with it."""
    return tuple(systems.load("aging", checkpoint).checked(paths))


@GPU(duration=180)
def teach(checkpoint: str, paths: Sequence[str], **wish: Any) -> Iterator[Taught]:
    """A person taught, said every few steps; closing it stops."""
    yield from systems.load("aging", checkpoint).teach(paths, **wish)


class Training:
    """The panel, and the lesson: what is shown while a person is trained."""

    def __init__(self, notice: gr.HTML, people: People, run: gr.State) -> None:
        """run: its change draws the new person."""
        self.notice, self.people, self.run, self.job = notice, people, run, gr.State("")    # job: the latest lesson
        self.pictures = gr.State((), time_to_live=int(files.KEPT), delete_callback=discard)
        self.learnt = gr.State(None)      # who was taught last, until they are among the visitor's people
        with gr.Column(visible=False, elem_classes="panel") as self.panel:
            self.files = gr.File(label="Pictures of one person", file_count="multiple", elem_id="aging-pictures",
                                 height=120)
            self.how = gr.Markdown(HOW, elem_classes="hint")
            self.crops = widgets.small_gallery("Crops used for training", "aging-crops", visible=False)
            self.problems = gr.HTML(elem_id="aging-problems", elem_classes="plain")
            self.clear = gr.Button("Use other pictures", size="sm", visible=False, elem_id="aging-clear")
            with gr.Group(elem_classes="settings"):
                self.name = gr.Textbox("", label="Name", placeholder="Anna", max_length=60, elem_id="aging-name")
                self.token = gr.Dropdown([CHOSEN, *prompts.RARE], value=CHOSEN, label="Rare token",
                                         info="The word that means this person in a prompt.", elem_id="aging-token")
                self.steps = gr.Slider(STEPS[0], STEPS[1], USUAL, step=STEPS[2], label="Steps", elem_id="aging-lessons")
            self.go, self.stop = widgets.run_row("aging-", "Train", "teach")

    def build_lesson(self) -> None:
        """What is shown of it, beside the panel."""
        with gr.Column(visible=False, elem_id="aging-lesson", elem_classes="panel") as self.lesson:
            self.status = gr.HTML(widgets.progress(1, 1, TODO), elem_id="aging-lesson-status", elem_classes="plain")
            with gr.Column(visible=False, elem_classes="detail") as self.board:
                self.preview = gr.Image(type="filepath", show_label=False, interactive=False, buttons=[], visible=False,
                                        elem_id="aging-preview")
                self.curve = gr.HTML(elem_id="aging-curve", elem_classes="plain")
                self.adapter = gr.DownloadButton("Adapter file", size="sm", visible=False, elem_id="aging-taught")
        self.waiting = WaitingStatus(LESSONS, self.status, "teach", Teach.expected, (self.go, self.stop))

    def listen(self, active: gr.State, prompt: gr.Textbox) -> None:
        """Check what is dropped; teach, one person at a time; stop."""
        on, people, mine = widgets.private, self.people, {"mine": self.people.mine}
        seen = [self.notice, self.pictures, self.crops, self.problems, self.clear]
        on(self.files.upload, self.awaited, {}, [self.notice], queue=False)
        on(self.files.upload, self.receive, {"paths": self.files, "pictures": self.pictures, "active": active},
           [*seen, self.files], **widgets.GPU_TURN)
        on(self.clear.click, self.start_over, {"pictures": self.pictures}, seen)
        asked = {"pictures": self.pictures, "name": self.name, "token": self.token, "steps": self.steps,
                 "active": active, "job": self.job, **mine}
        taught = [self.notice, self.status, self.board, self.preview, self.curve, self.adapter, self.go, self.stop,
                  self.waiting.clock, self.learnt]
        begun = self.waiting.listen([self.go.click]).then(new_run_id, outputs=self.job, **widgets.QUIET)
        lesson = begun.then(widgets.repeating(self.teach), inputs_kwargs=asked, outputs=taught, **widgets.LESSON_TURN,
                            **widgets.QUIET)
        lesson.then(self.join, inputs_kwargs={"learnt": self.learnt, "active": active, "prompt": prompt, **mine},
                    outputs=[self.learnt, *people.changed, prompt, self.run], **widgets.QUIET)
        on(self.stop.click, self.halt, {"job": self.job}, [self.status, self.go, self.stop, self.waiting.clock],
           queue=False)
        self.go.click(None, js=widgets.show("#aging-lesson-status"), **widgets.QUIET)

    def opened(self, seen: bool) -> Change:
        """The panel and the lesson, or neither."""
        return {self.panel: gr.update(visible=seen), self.lesson: gr.update(visible=seen)}

    # ------------------------------------------------------------------------------------------------- pictures

    def awaited(self, request: gr.Request) -> Change:
        """Pictures are checked once nothing else computes."""
        wait = DRAWING.message(page_id(request, "look"), CHECK_S)
        return {self.notice: widgets.remark(wait or "Checking the pictures …")}

    @safely
    def receive(self, paths: list[str] | None, pictures: tuple[Checked, ...], active: str,
                request: gr.Request) -> Change:
        """More pictures: all are checked together, because they must show one person."""
        DRAWING.leave(page_id(request, "look"))
        known = [picture.path for picture in pictures]
        copies = systems.load("aging", active).received(paths or ())
        seen = self.seen(checked(active, [*known, *copies]))
        discard([replace(each, path="") for each in pictures if each.picture != each.path])  # cut out anew
        return {**seen, self.files: None}

    def seen(self, pictures: tuple[Checked, ...]) -> Change:
        """The crops, and what is wrong with which picture."""
        crops = [(picture.picture, str(number)) for number, picture in enumerate(pictures, 1) if picture.picture]
        return {self.pictures: pictures, self.crops: gr.update(value=crops, visible=bool(crops), selected_index=None),
                self.problems: problems(pictures), self.clear: gr.update(visible=bool(pictures))}

    def start_over(self, pictures: tuple[Checked, ...]) -> Change:
        """No pictures; those there were are deleted."""
        discard(pictures)
        return {**self.seen(()), self.notice: ""}

    # ------------------------------------------------------------------------------------------------- teaching

    def teach(self, pictures: tuple[Checked, ...], name: str, token: str, steps: int, active: str,
              job: str, mine: tuple[Own, ...], request: gr.Request) -> Iterator[Change]:
        """Train and show the progress; at the end, or when stopped, there is a person for `join`."""
        me, last = page_id(request, "teach"), None
        yield {**self.waiting.over(request), self.notice: "", self.go: gr.update(visible=False),
               self.stop: gr.update(visible=True), self.adapter: gr.update(visible=False),
               self.status: widgets.progress(0, 1, "Starting …")}
        try:
            if LESSONS.is_stopped(job):
                yield self.ready("Stopped")
                return
            paths = [picture.picture if picture.good else picture.path for picture in pictures]
            lessons = teach(active, paths, name=name.strip(), steps=steps,
                            token=None if token == CHOSEN else token, taken=[own.subject.token for own in mine])
            for last in LESSONS.run(me, TRAINING, Teach.expected, lessons, left, job):
                yield self.learning(last)
                if LESSONS.is_stopped(job):
                    break
            yield self.learned(last, active)
        except Exception as error:
            yield {**self.ready(""), self.notice: widgets.sentence(widgets.known(error))}

    def learning(self, taught: Taught) -> Change:
        """How far it is: the curve, the preview, the time that is left."""
        if not taught.losses:       # waiting, or getting ready
            return {self.status: widgets.progress(0, 1, " ".join(taught.notes))}
        words = f"Step {taught.step} of {taught.steps}, {duration(left(taught))} to go"
        if taught.calibration is not None:
            return {self.status: widgets.progress(taught.calibration, 1, "Calibrating ages")}
        losses = {LINES.get(name, name): values for name, values in taught.losses.items()}
        preview = {self.preview: gr.update(value=taught.preview, visible=True)} if taught.preview else {}
        return {self.board: gr.update(visible=True), self.status: widgets.progress(taught.step, taught.steps, words),
                self.curve: charts.curves(losses, taught.steps), **preview}

    def learned(self, taught: Taught | None, active: str) -> Change:
        """The trained person."""
        if taught is None or taught.subject is None:
            raise SettingsError("Training was stopped before its first steps.", "Train again and wait a few steps.")
        adapter = taught.adapter or systems.load("aging", active).adapter(taught.subject)
        notes = "".join(map(widgets.remark, taught.notes))
        words = f"{taught.subject.name} is trained: {taught.step} of {taught.steps} steps in {taught.seconds:.0f} s"
        return {**self.ready(words), self.adapter: gr.update(value=adapter, visible=True), self.notice: notes,
                self.preview: gr.update(value=taught.preview, visible=bool(taught.preview)),
                self.learnt: Own(taught.subject, adapter)}

    def join(self, learnt: Own | None, mine: tuple[Own, ...], active: str, prompt: str) -> Change:
        """Add the trained person to the visitor's people; draw the person if the checkpoint is in use."""
        if learnt is None:
            return unchanged(self.learnt)
        if learnt.subject.base != active:
            return {self.learnt: None, self.people.mine: (*mine, learnt)}
        return {self.learnt: None, **self.people.joined(learnt, mine, active, prompt)}

    def ready(self, words: str) -> Change:
        """Ready for the next."""
        return {self.go: gr.update(visible=True), self.stop: gr.update(visible=False),
                self.waiting.clock: gr.update(active=False), self.status: widgets.progress(1, 1, words)}

    def halt(self, job: str, request: gr.Request) -> Change:
        """End with what there is at the next step, or don't begin."""
        if LESSONS.stop_page(page_id(request, "teach"), job):
            return unchanged(self.status)
        return {**self.waiting.over(request), **self.ready("Stopped")}


def left(taught: Taught) -> float:
    """What `Queue.run` takes as `remaining`: the seconds that teaching still takes."""
    return Teach.expected if taught.left is None else taught.left


def problems(pictures: Sequence[Checked]) -> str:
    """What is wrong, or worth knowing, picture by picture; and how many are good."""
    lines = "".join(f'<li class="{"" if picture.good else "bad"}"><b>{number}</b> {described(picture)}</li>'
                    for number, picture in enumerate(pictures, 1) if picture.problem or picture.note)
    good = sum(picture.good for picture in pictures)
    if not pictures:
        return ""
    enough = "" if good >= MIN_TAUGHT else f", {MIN_TAUGHT - good} more are needed"
    return f'<p>{good} of {len(pictures)} can be used{enough}.</p><ol class="problems">{lines}</ol>'


def described(picture: Checked) -> str:
    """One picture in words."""
    return html.escape(f"{Path(picture.path).name}: {picture.problem or picture.note}")
