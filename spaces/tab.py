"""What every tab does: open with ready pictures, run a request and show it as it comes, stop, restore, describe.

A tab is a `SystemTab` with its own sources, settings and outputs; see `spaces.vectors` for the smallest whole example.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar

import gradio as gr

from core import systems
from core.engine.request import Request
from core.engine.result import Restored, Result
from core.errors import FacetError, PhotoError, PictureError
from spaces import GPU, api, widgets
from spaces.network import Network
from spaces.queue import DRAWING, WaitingStatus, page_id, remaining_from
from spaces.widgets import Change, new_run_id, safely, unchanged


@dataclass(frozen=True)
class Shown:
    """What a tab shows: a result, the request and the checkpoint that made it."""

    result: Result
    request: Request
    checkpoint: str

    @property
    def pipeline(self) -> Any:
        """The pipeline that made it."""
        return systems.load(self.request.system, self.checkpoint)


@GPU
def compute(checkpoint: str, request: Request) -> Iterator[Result]:
    """The results of a request as they come."""
    yield from systems.load(request.system, checkpoint).run(request)


class SystemTab:
    """A tab: controls, results, and one run at a time. Handlers return the widgets that they change.

    A subclass sets the class attributes, builds `generate`, `stop` and its settings in `build_controls`, and says what
    it shows in the methods under "what a tab answers". A change of `run` starts a drawing.
    """

    system: ClassVar[str]
    ids: ClassVar[str] = ""                 # what the ids of its elements begin with
    description: ClassVar[str]              # of a run, for other visitors who wait
    seconds: ClassVar[float]                # estimate of a run
    ours: ClassVar[str]                     # about the networks that ship
    theirs: ClassVar[str]                   # about the published ones
    legend_text: ClassVar[str]              # under the pictures; {embedder} and others come from the pipeline's `about`
    more: ClassVar[str] = ""                # what the second set of files of a checkpoint is for
    downloads: ClassVar[Mapping[str, str]] = {"zip": "All pictures (ZIP)"}      # labels of the `files` of a result
    gallery_options: ClassVar[dict[str, Any]] = {}
    generate: gr.Button
    stop: gr.Button

    def __init__(self) -> None:
        self.shown, self.index, self.run = gr.State(None), gr.State(0), gr.State("")
        self.notice = gr.HTML(elem_id=f"{self.ids}notice", elem_classes="plain alone", render=False)
        with gr.Row(elem_classes="desk"):
            with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                self.build_controls()
                self.build_restore()
                self.network = Network(self.notice, self.system, self.ours, self.theirs, self.more, self.ids)
            with gr.Column(scale=9, min_width=300, elem_classes="results"):
                self.build_results()
        self.footer = gr.HTML(elem_id=f"{self.ids}facts", elem_classes="plain foot")
        self.waiting = WaitingStatus(DRAWING, self.status, self.system, self.seconds, (self.generate, self.stop))

    def build_restore(self) -> None:
        """The panel that takes a picture made here."""
        with gr.Accordion("Restore settings from a picture", open=False, elem_id=f"{self.ids}restore"):
            self.picture = gr.File(label="A PNG made here", elem_id=f"{self.ids}made-here", height=110)

    def build_results(self) -> None:
        """Status, pictures, the tab's own outputs, downloads and small print."""
        self.notice.render()
        self.status = gr.HTML(widgets.progress(0, 1, "Loading …"), elem_id=f"{self.ids}status", elem_classes="plain")
        self.build_above()
        self.gallery = gr.Gallery(show_label=False, height="auto", allow_preview=False, buttons=[], interactive=False,
                                  elem_id=f"{self.ids}gallery", object_fit="cover",
                                  **{"columns": 4, "elem_classes": "faces main"} | self.gallery_options)
        self.build_outputs()
        with gr.Row(elem_classes="buttons"):
            self.files = {name: gr.DownloadButton(label, size="sm", interactive=False, visible=name == "zip",
                                                  elem_id=f"{self.ids}download-{name}")
                          for name, label in self.downloads.items()}
        self.build_charts()
        self.legend = gr.Markdown(elem_classes="hint")
        self.network.honest.render()

    # ----------------------------------------------------------------------------------------- what a tab answers

    def build_controls(self) -> None:
        """Sources and settings, with the buttons `generate` and `stop`."""
        raise NotImplementedError

    def build_above(self) -> None:
        """What is shown above the pictures."""

    def build_outputs(self) -> None:
        """What is shown below the pictures."""

    def build_charts(self) -> None:
        """What is shown below the downloads."""

    @property
    def inputs(self) -> dict[str, Any]:
        """The widgets that `wanted` reads, by its parameters."""
        raise NotImplementedError

    @property
    def outputs(self) -> list:
        """The widgets that `started`, `showing` and `finished` change, beside those of this class."""
        raise NotImplementedError

    @property
    def restored_outputs(self) -> list:
        """The widgets that `restored` changes."""
        raise NotImplementedError

    def wanted(self, **values: Any) -> Request:
        """The request that the widgets describe. Raises FacetError."""
        raise NotImplementedError

    def is_quick(self, request: Request) -> bool:
        """Whether a run is so short that only its end is shown, without Stop in between."""
        return False

    def started(self, **values: Any) -> Change:
        """What changes before a run."""
        return {}

    def showing(self, shown: Shown, first: bool) -> Change:
        """Pictures under way. first: whether they are the first of their run."""
        raise NotImplementedError

    def finished(self, shown: Shown, stopped: bool) -> Change:
        """The end of a run that made pictures or dropped some. stopped: before it was complete."""
        raise NotImplementedError

    def emptied(self) -> Change:
        """The tab's own outputs without a result."""
        raise NotImplementedError

    def progress_text(self, shown: Shown) -> str:
        """How far a run is."""
        return f"Step {shown.result.step} of {shown.result.steps}"

    def count_text(self, shown: Shown) -> str:
        """How many pictures there are."""
        raise NotImplementedError

    def prepared(self, **values: Any) -> Change:
        """What a page needs besides pictures when it opens. Raises FacetError."""
        return {}

    def restored(self, kept: Restored, **values: Any) -> Change:
        """Every widget as the request of a picture set it. Raises FacetError."""
        raise NotImplementedError

    def uses(self, choice: Any) -> Change:
        """What changes with the checkpoint."""
        return {}

    @property
    def uses_outputs(self) -> list:
        """The widgets that `uses` changes."""
        return []

    # -------------------------------------------------------------------------------------------------- listening

    @property
    def running(self) -> list:
        """The widgets that a run changes."""
        return [self.shown, self.index, self.notice, self.status, self.gallery, self.generate, self.stop,
                self.waiting.clock, *self.files.values(), *self.outputs]

    def listen(self, opens: Any) -> None:
        """Connect the widgets. opens: the event of the tab being opened."""
        on, active = widgets.private, self.network.active
        values = {**self.inputs, "checkpoint": active}
        on(opens, self.open, values | {"shown": self.shown}, [*self.running, self.run, self.footer, self.legend])
        on(self.run.change, self.draw, values | {"run": self.run}, self.running, **widgets.GPU_TURN,
           trigger_mode="always_last")
        self.waiting.listen([self.run.change])
        on(self.stop.click, self.halt, {"run": self.run}, self.running, queue=False)
        on(self.picture.upload, self.restore, values | {"path": self.picture},
           [self.notice, self.run, *self.restored_outputs]).then(lambda: None, outputs=self.picture, **widgets.QUIET)
        self.network.listen(self.uses, self.uses_outputs)
        on(active.change, self.describe, {"checkpoint": active}, [self.footer, self.legend])
        self.generate.click(None, js=widgets.show(f"#{self.ids}status"), **widgets.QUIET)
        self.gallery.select(None, js=widgets.show(f"#{self.system} .detail"), **widgets.QUIET)
        api.endpoints(systems.SYSTEMS[self.system])

    # ------------------------------------------------------------------------------------------------------ running

    def open(self, shown: Shown | None, checkpoint: str, **values: Any) -> Change:
        """The first pictures, which need no turn when they are ready; nothing changes the next time."""
        if shown is not None:
            return unchanged(self.footer)
        try:
            described = {**self.prepared(checkpoint=checkpoint, **values), **self.describe(checkpoint)}
            pipeline = systems.load(self.system, checkpoint)
            if (result := pipeline.opening_result) is None:
                return {**described, self.run: new_run_id()}
            ready = Shown(result, pipeline.opening(), checkpoint)
            return {**described, self.shown: ready, **self.showing(ready, first=True),
                    **self.ended(ready, self.count_text(ready))}
        except Exception as error:
            return {**self.failed(error), **self.describe(checkpoint)}

    def draw(self, run: str, checkpoint: str, request: gr.Request, **values: Any) -> Iterator[Change]:
        """Run what the widgets describe and show it as it comes; a notice instead when something is wrong."""
        began, page, shown = monotonic(), page_id(request, self.system), None
        clean = {} if run.endswith(widgets.NOTICE) else {self.notice: ""}
        try:
            wanted = self.wanted(checkpoint=checkpoint, **values).checked()
            quick = self.is_quick(wanted)
            begun = {**self.waiting.over(request), **self.started(**values), **clean}
            if not quick:
                yield {**begun, self.generate: gr.update(visible=False), self.stop: gr.update(visible=True),
                       self.status: widgets.progress(0, 1, "Starting …")}
            if DRAWING.is_stopped(run):
                yield self.ended(None, "Stopped")
                return
            work = DRAWING.run(page, self.description, wanted.expected, compute(checkpoint, wanted),
                               remaining_from(began), run)
            for result in work:
                first, shown = shown is None, Shown(result, wanted, checkpoint)
                if quick:
                    continue
                yield {self.shown: shown, **self.showing(shown, first),
                       self.status: widgets.progress(result.step, result.steps, self.progress_text(shown))}
                if DRAWING.is_stopped(run) and result.step < result.steps:
                    work.close()
                    yield self.ended(shown, f"Stopped at step {result.step} of {result.steps}", stopped=True)
                    return
            notes = "".join(map(widgets.remark, shown.result.notes))
            whole = {**begun, self.shown: shown, **self.showing(shown, first=True)} if quick else {}
            yield {**whole, **self.ended(shown, f"{self.count_text(shown)} in {monotonic() - began:.1f} s"),
                   **({self.notice: notes} if notes else {})}
        except Exception as error:
            yield {**self.waiting.over(request), **self.failed(error)}

    def ended(self, shown: Shown | None, text: str, stopped: bool = False) -> Change:
        """Ready for the next run; what was made can be downloaded. shown: None when nothing was made."""
        ready = {self.generate: gr.update(visible=True), self.stop: gr.update(visible=False),
                 self.waiting.clock: gr.update(active=False), self.status: widgets.progress(1, 1, text)}
        if shown is None:
            return ready
        return {**ready, **self.offered(shown.pipeline.files(shown.result) if shown.result.images else {}),
                **self.finished(shown, stopped)}

    def offered(self, files: Mapping[str, str]) -> Change:
        """The download buttons. files: path of each that there is."""
        return {button: gr.update(value=files.get(name), interactive=name in files,
                                  visible=name in files or name == "zip") for name, button in self.files.items()}

    def failed(self, error: Exception) -> Change:
        """Ready for the next run, with what went wrong. Below a photo that can't be used stand no other pictures."""
        shown = self.cleared() if isinstance(error, (PictureError, PhotoError)) else {}
        return {**shown, **self.ended(None, ""), self.notice: widgets.sentence(widgets.known(error))}

    def cleared(self) -> Change:
        """No results: what was shown does not belong to what was asked for last."""
        return {self.shown: None, self.index: 0, self.gallery: gr.update(value=None),
                self.status: widgets.progress(1, 1, ""), **self.offered({}), **self.emptied()}

    def halt(self, run: str, request: gr.Request) -> Change:
        """Stop the run at its next step, or before it begins."""
        if DRAWING.stop_page(page_id(request, self.system), run):
            return unchanged(self.status)
        return {**self.waiting.over(request), **self.ended(None, "Stopped")}

    # ------------------------------------------------------------------------------------ restoring and describing

    @safely
    def restore(self, path: str, checkpoint: str, **values: Any) -> Change:
        """The settings of a picture made in this tab; the picture is drawn again."""
        kept = systems.load(self.system, checkpoint).restored(path)
        if kept is None:
            raise PictureError("This file does not hold the settings of a picture made in this tab.",
                               "Use a PNG as it was downloaded; editors and messengers strip the settings.")
        return self.brought_back(kept, checkpoint, **values)

    def brought_back(self, kept: Restored, checkpoint: str, **values: Any) -> Change:
        """The widgets of a restored picture, what could not be restored, and a new run."""
        changed = self.restored(kept, checkpoint=checkpoint, **values)
        same = kept.checkpoint in (None, checkpoint)
        other = "Pixels can differ by 1 of 255, because rounding depends on the batch." if same else (
            f"It was made with the checkpoint {kept.checkpoint}: choose that under Network to get the same picture.")
        remarks = changed.pop(self.notice, "")
        return {**changed, self.run: widgets.new_run_id_with_notice(),
                self.notice: widgets.remark(f"The settings of this picture are restored. {other}{remarks}")}

    def describe(self, checkpoint: str) -> Change:
        """What computes, in the footer; what the captions mean, in the legend."""
        try:
            about = systems.load(self.system, checkpoint).about
        except FacetError as error:
            return {self.footer: widgets.sentence(error), self.legend: ""}
        return {self.footer: widgets.computed_by(about), self.legend: self.legend_text.format(**about)}
