"""References of L2M-GAN: for each of its attributes an upload, or one of some drawn people with it and without it."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from core import systems
from core.systems.attributes.request import SWITCHED, MethodRequest
from spaces import GPU, widgets
from spaces.widgets import Change, new_run_id, safely

ABOUT = ("A reference passes on how it has an attribute, for example which glasses. The face must differ from it in "
         "that attribute.")


@GPU
def drawn_references(checkpoint: str) -> dict[str, list[str]]:
    """Attribute to paths of drawn people, some with it, then some without it."""
    pipeline = systems.load("attributes", checkpoint)
    return {name: pipeline.drawn_references(name) for name in SWITCHED}


class References:
    """The panel: a file and a row of drawn people for each attribute. `files` are read by a tab."""

    def __init__(self, notice: gr.HTML) -> None:
        self.notice = notice
        self.files: dict[str, gr.File] = {}
        self.people: dict[str, gr.Gallery] = {}
        labels, options = MethodRequest.settings(), {"elem_id": "attributes-references"}
        with gr.Accordion("References for L2M-GAN", open=False, visible=False, **options) as self.panel:
            gr.Markdown(ABOUT, elem_classes="hint")
            for name in SWITCHED:
                self.files[name] = gr.File(label=labels[f"{name}_reference"].label, height=120,
                                           elem_id=f"attributes-reference-{name}")
                self.people[name] = widgets.small_gallery(f"Drawn people: with {name} 1, then 0",
                                                          f"attributes-people-{name}")

    def listen(self, run: gr.State, checkpoint: gr.State) -> None:
        """A new run whenever a reference changes. run: of the tab."""
        on = widgets.private
        on(self.panel.expand, self.open, {"checkpoint": checkpoint, "shown": self.people[SWITCHED[0]]},
           [self.notice, *self.people.values()], **widgets.GPU_TURN)
        for name, file in self.files.items():
            on([file.upload, file.clear], lambda: {run: new_run_id()}, {}, [run])
            on(self.people[name].select, self._picker(name, run), {}, [file, run])

    @safely
    def open(self, checkpoint: str, shown: Any) -> Change:
        """The drawn people, the first time that the panel is opened."""
        return {} if shown else {self.people[name]: paths for name, paths in drawn_references(checkpoint).items()}

    def _picker(self, name: str, run: gr.State) -> Callable[[gr.SelectData], Change]:
        def pick(event: gr.SelectData) -> Change:
            return {self.files[name]: event.value["image"]["path"], run: new_run_id()}
        return pick
