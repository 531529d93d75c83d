"""Marking the face of a photo by hand: a click on its middle, and a size."""

from collections.abc import Callable

import gradio as gr
from PIL import Image

from spaces import widgets
from spaces.widgets import Change

NO_MARK = ""


class Marking:
    """The panel. crop: what was marked, as a request takes it; NO_MARK without."""

    def __init__(self, ids: str) -> None:
        """ids: what the ids of its elements begin with."""
        self.crop = gr.State(NO_MARK)
        with gr.Accordion("Mark the face by hand", open=False, visible=False, elem_id=f"{ids}by-hand") as self.panel:
            self.preview = gr.Image(type="filepath", show_label=False, interactive=False, buttons=[],
                                    elem_id=f"{ids}preview")
            gr.Markdown("Click the middle of the face, then set the size.", elem_classes="hint")
            self.size = gr.Slider(0.05, 1, 0.5, step=0.01, label="Size")

    @property
    def outputs(self) -> list:
        """What `taken` changes."""
        return [self.crop, self.panel, self.preview]

    def taken(self, preview: str) -> Change:
        """Another photo, not marked yet. preview: path of a small copy of it."""
        return {self.crop: NO_MARK, self.panel: gr.update(visible=True), self.preview: preview}

    def point(self, size: float, shown: str, event: gr.SelectData) -> str:
        """The crop around the place that was clicked."""
        width, height = Image.open(shown).size
        return f"{event.index[0] / width:.3f},{event.index[1] / height:.3f},{size:g}"

    def resized(self, size: float, crop: str) -> str:
        """The same place with another size; nothing where nothing was marked."""
        return f"{crop.rsplit(',', 1)[0]},{size:g}" if crop else crop

    def listen(self, marked: Callable[[], Change], outputs: list) -> None:
        """marked: gives what else changes when a face is marked. outputs: the widgets of that."""
        on = widgets.private
        on(self.preview.select, self._pointed(marked), {"size": self.size, "shown": self.preview},
           [self.crop, *outputs])
        on(self.size.release, lambda size, crop: {self.crop: self.resized(size, crop), **(marked() if crop else {})},
           {"size": self.size, "crop": self.crop}, [self.crop, *outputs])

    def _pointed(self, marked: Callable[[], Change]) -> Callable[..., Change]:
        def pointed(size: float, shown: str, event: gr.SelectData) -> Change:
            return {self.crop: self.point(size, shown, event), **marked()}
        return pointed
