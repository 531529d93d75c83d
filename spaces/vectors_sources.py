"""Where the faces of the tab `vectors` come from: panels, uploads, and what one visitor has chosen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from PIL import Image

from core import systems
from core.errors import FacetError, PhotoError, SettingsError
from core.systems.vectors.request import FaceRequest, Source
from spaces import GPU, widgets
from spaces.widgets import Change, new_run_id, safely, small_gallery

KINDS = {"Random people": "people", "Drawn examples": "drawn", "Your photo": "photo", "Vector file": "vector"}
EXAMPLES = 12       # drawn people shown at once
MISSING = {"drawn": "Choose one of the drawn people first.", "photo": "Drop a photo first.",
           "vector": "Drop a .npy file with 512 numbers first."}
UNMARKED = "Mark the face by hand first, or drop another photo."


@dataclass(frozen=True)
class Chosen:
    """What one visitor has picked so far, for each kind of source, and the checkpoint that is used.

    upload: path of the photo that `faces` came from.
    """

    drawn: Source | None = None
    photo: Source | None = None
    faces: tuple[Source, ...] = ()
    upload: str | None = None
    vectors: tuple[Source, ...] = ()
    checkpoint: str = "tiny"

    @property
    def system(self) -> Any:
        """The pipeline of the checkpoint in use."""
        return systems.load("vectors", self.checkpoint)

    def sources(self, kind: str) -> tuple[Source, ...]:
        """The faces to draw from; none for `people`. Raises SettingsError while there is nothing chosen."""
        if not self.ready(kind):
            raise SettingsError(UNMARKED if kind == "photo" and self.upload else MISSING[kind])
        return {"people": (), "drawn": (self.drawn,), "photo": (self.photo,), "vector": self.vectors}[kind]

    def with_vectors(self, vectors: tuple[Source, ...]) -> "Chosen":
        """The same with other exact vectors."""
        return replace(self, vectors=vectors)

    def ready(self, kind: str) -> bool:
        """Whether there is a face of this kind to draw from."""
        return kind == "people" or bool({"drawn": self.drawn, "photo": self.photo, "vector": self.vectors}[kind])


@GPU
def drawn_people(checkpoint: str, first: int, count: int) -> Iterator[Source]:
    """Drawn people and the vectors of their drawings, one after the other."""
    for number in range(first, first + count):
        yield systems.load("vectors", checkpoint).person(number)


@GPU
def faces_in(checkpoint: str, photo: str) -> tuple[Source, ...]:
    """The faces in a photo and their vectors, largest first."""
    return tuple(systems.load("vectors", checkpoint).faces_in(photo))


@GPU
def cropped(checkpoint: str, photo: str, x: float, y: float, size: float) -> Source:
    """The face that was marked by hand and its vector."""
    return systems.load("vectors", checkpoint).cropped(photo, x, y, size)


class Sources:
    """The panels by name, and what happens in them. `chosen` is what was picked."""

    def __init__(self, notice: gr.HTML, run: gr.State, bring_back: Callable[..., Change],
                 cleared: Callable[[], Change]) -> None:
        """run: its change starts a run. bring_back: the tab's answer to a picture made here. cleared: no results."""
        self.notice, self.run, self.bring_back, self.cleared = notice, run, bring_back, cleared
        self.chosen = gr.State(Chosen())
        self.drawn = gr.State(())       # the drawn people on show
        self.kind = gr.Radio(list(KINDS.items()), value="people", label="Start from", elem_id="source",
                             elem_classes="tiles two")
        with gr.Column(visible=False, elem_classes="panel") as self.drawn_panel:
            self.examples = small_gallery("Drawn test people", "examples")
            self.others = gr.Button("More drawn people", size="sm")
        with gr.Column(visible=False, elem_classes="panel") as self.photo_panel:
            self.build_photo()
        with gr.Column(visible=False, elem_classes="panel") as self.vector_panel:
            self.npy = gr.File(label="512 numbers (.npy)", elem_id="npy", height=120)
            self.loaded = gr.Markdown("One face, or up to 64 of them, as this page saves them.", elem_classes="hint")

    def build_photo(self) -> None:
        """The photo, the faces in it, and marking one by hand."""
        self.photo = gr.File(label="A photo with a face", elem_id="photo", height=120)
        gr.Markdown(widgets.PRIVACY, elem_classes="hint")
        self.faces = small_gallery("Faces found: choose one", "found", visible=False)
        with gr.Accordion("Mark the face by hand", open=False, visible=False, elem_id="by-hand") as self.by_hand:
            self.preview = gr.Image(type="filepath", show_label=False, interactive=False, buttons=[], elem_id="preview")
            gr.Markdown("Click the middle of the face, then set the size.", elem_classes="hint")
            self.x = gr.Slider(0, 1, 0.5, step=0.01, label="Left to right")
            self.y = gr.Slider(0, 1, 0.4, step=0.01, label="Top to bottom")
            self.size = gr.Slider(0.05, 1, 0.5, step=0.01, label="Size")

    @property
    def restored_outputs(self) -> list:
        """The widgets that a restored picture changes."""
        return [self.chosen, self.kind, self.loaded, self.drawn, self.examples]

    def listen(self, restored: list, results: list) -> None:
        """Connect the panels. restored: the widgets that a picture made here changes, wherever it was dropped.

        results: those that `cleared` changes.
        """
        on, mine, after = widgets.private, {"chosen": self.chosen}, [self.notice, self.chosen, self.run]
        drawn, photo = [self.drawn, self.examples], [self.faces, self.by_hand, self.preview]
        on(self.kind.change, self.open_panel, {"kind": self.kind},
           [self.drawn_panel, self.photo_panel, self.vector_panel], queue=False)
        on(self.kind.input, self.enter, {"kind": self.kind, "drawn": self.drawn, **mine}, [*after, *drawn],
           **widgets.GPU_TURN)
        on(self.others.click, self.turn_page, {"drawn": self.drawn, **mine}, [*after, *drawn], **widgets.GPU_TURN)
        on(self.examples.select, self.pick_example, {"drawn": self.drawn, **mine}, after)
        on(self.photo.upload, self.receive_photo, {"path": self.photo, **mine},
           [*dict.fromkeys((*restored, *photo, self.photo, *results))], **widgets.GPU_TURN)
        on(self.faces.select, self.pick_face, mine, after)
        marked = {"x": self.x, "y": self.y, "size": self.size, **mine}
        on(self.preview.select, self.point, {"shown": self.preview}, [self.x, self.y]).then(
            self.mark, inputs=None, inputs_kwargs=marked, outputs=[*after, self.faces], **widgets.GPU_TURN,
            **widgets.QUIET)
        on([self.x.release, self.y.release, self.size.release], self.mark, marked, [*after, self.faces],
           **widgets.GPU_TURN)
        on(self.npy.upload, self.receive_vectors, {"path": self.npy, **mine}, restored).then(
            lambda: None, outputs=self.npy, **widgets.QUIET)        # ready for the next file

    @property
    def picked(self) -> list:
        """The widgets that `emptied` changes."""
        return [self.chosen, self.kind, self.drawn, self.examples, self.faces, self.run]

    def emptied(self, checkpoint: str) -> Change:
        """Nothing chosen, and this checkpoint in use."""
        return {self.chosen: Chosen(checkpoint=checkpoint), self.kind: "people", self.drawn: (), self.examples: None,
                self.faces: gr.update(value=None, visible=False), self.run: new_run_id()}

    def open_panel(self, kind: str) -> Change:
        """Show what belongs to a kind of source."""
        panels = {"drawn": self.drawn_panel, "photo": self.photo_panel, "vector": self.vector_panel}
        return {panel: gr.update(visible=name == kind) for name, panel in panels.items()}

    # -------------------------------------------------------------------------------------------- drawn people

    def enter(self, kind: str, drawn: tuple[Source, ...], chosen: Chosen) -> Iterator[Change]:
        """Fetch the first drawn people; otherwise begin at once where something is chosen already."""
        if kind == "drawn" and not drawn:
            yield from self.turn_page(drawn, chosen)
        else:
            yield {self.notice: "", **({self.run: new_run_id()} if chosen.ready(kind) else {})}

    def turn_page(self, drawn: tuple[Source, ...], chosen: Chosen) -> Iterator[Change]:
        """The next drawn people, one after the other; the first is picked at once."""
        first, drawn = max((source.person for source in drawn), default=-1) + 1, ()
        yield {self.notice: widgets.remark("Drawing people …")}
        try:
            for source in drawn_people(chosen.checkpoint, first, EXAMPLES):
                drawn = (*drawn, source)
                picked = {} if drawn[1:] else {self.chosen: replace(chosen, drawn=source), self.run: new_run_id()}
                yield {self.notice: "", self.drawn: drawn, self.examples: tiles(drawn, first=not drawn[1:]), **picked}
        except FacetError as error:
            yield {self.notice: widgets.sentence(error)}

    @safely
    def pick_example(self, drawn: tuple[Source, ...], chosen: Chosen, event: gr.SelectData) -> Change:
        """Draw from the drawn person that was clicked."""
        return {self.chosen: replace(chosen, drawn=drawn[event.index]), self.run: new_run_id()}

    # -------------------------------------------------------------------------------------------------- photos

    def receive_photo(self, path: str, chosen: Chosen) -> Change:
        """Whatever was dropped there: a photo, but also a picture made here or a vector file."""
        system = chosen.system
        if str(path).lower().endswith(".npy"):
            return {**self.receive_vectors(path, chosen), self.photo: None}
        try:
            kept = system.restored(path)
            if kept:
                return {**self.bring_back(kept, chosen.checkpoint, chosen=chosen), self.photo: None}
            return {**self.found(faces_in(chosen.checkpoint, path), path, chosen), self.photo: None}
        except PhotoError as error:
            return {**self.without_face(error, chosen, path), self.preview: system.preview(path),
                    self.by_hand: gr.update(visible=True, open=True)}
        except FacetError as error:
            return self.without_face(error, chosen)

    def found(self, faces: tuple[Source, ...], path: str, chosen: Chosen) -> Change:
        """The faces of a photo, the largest picked."""
        several = widgets.remark(f"{len(faces)} faces found; the largest is used. Click another to change.")
        return {self.notice: several if faces[1:] else "", self.run: widgets.new_run_id_with_notice(),
                self.chosen: replace(chosen, photo=faces[0], faces=faces, upload=path),
                self.faces: tiles(faces, visible=True), self.by_hand: gr.update(visible=True, open=False),
                self.preview: chosen.system.preview(path)}

    def without_face(self, error: FacetError, chosen: Chosen, upload: str | None = None) -> Change:
        """Say why there is no face, with no other person's pictures below; it can still be marked in an `upload`."""
        return {**self.cleared(), self.notice: widgets.sentence(error), self.photo: None, self.preview: None,
                self.chosen: replace(chosen, photo=None, faces=(), upload=upload),
                self.faces: gr.update(value=None, visible=False), self.by_hand: gr.update(visible=False)}

    @safely
    def pick_face(self, chosen: Chosen, event: gr.SelectData) -> Change:
        """Draw from the face that was clicked."""
        return {self.chosen: replace(chosen, photo=chosen.faces[event.index]), self.run: new_run_id()}

    def point(self, shown: str, event: gr.SelectData) -> Change:
        """The middle of the face is where the photo was clicked."""
        width, height = Image.open(shown).size
        return {self.x: round(event.index[0] / width, 2), self.y: round(event.index[1] / height, 2)}

    @safely
    def mark(self, x: float, y: float, size: float, chosen: Chosen) -> Change:
        """Draw from the face that was marked."""
        if not chosen.upload:
            raise SettingsError(MISSING["photo"])
        face = cropped(chosen.checkpoint, chosen.upload, x, y, size)
        faces = (face, *(other for other in chosen.faces if other.label != face.label))
        return {self.chosen: replace(chosen, photo=face, faces=faces), self.run: new_run_id(),
                self.faces: tiles(faces, visible=True)}

    # ------------------------------------------------------------------------------ vectors, pictures made here

    @safely
    def receive_vectors(self, path: str, chosen: Chosen) -> Change:
        """A `.npy` file, or a picture made here."""
        system = chosen.system
        kept = system.restored(path)
        if kept:
            return self.bring_back(kept, chosen.checkpoint, chosen=chosen)
        return self.take(system.vector(path), chosen)

    def take(self, vectors: list[Source], chosen: Chosen) -> Change:
        """Draw from exact vectors."""
        words = "One face loaded." if len(vectors) == 1 else f"{len(vectors)} faces loaded: a picture of each."
        return {self.kind: "vector", self.chosen: chosen.with_vectors(tuple(vectors)), self.loaded: words,
                self.run: new_run_id()}

    def source_of(self, request: FaceRequest, chosen: Chosen) -> Change:
        """Where the faces of a request come from."""
        if not request.faces:
            return {self.kind: "people"}
        source, = request.faces
        if source.kind == "drawn":
            drawn = (chosen.system.person(source.person),)
            return {self.kind: "drawn", self.chosen: replace(chosen, drawn=source), self.drawn: drawn,
                    self.examples: tiles(drawn)}
        return {self.kind: "vector", self.chosen: chosen.with_vectors((source,)),
                self.loaded: "The face of that picture; a photo itself is never kept in it."}


def tiles(sources: tuple[Source, ...], first: bool = True, **changes: Any) -> Any:
    """A gallery of where faces come from; `first` marks the first as picked."""
    faces = [(source.picture, source.label) for source in sources]
    return gr.update(value=faces, selected_index=0, **changes) if first else faces
