"""The tab `attributes`: 35 attributes of a face, edited by sliders with three methods, or with L2M-GAN."""

from collections.abc import Sequence
from typing import Any, ClassVar

import gradio as gr
from PIL import Image

from core import systems
from core.engine.result import Restored, Result
from core.errors import FacetError
from core.systems.attributes.request import (
    ATTRIBUTES,
    GROUPS,
    L2M,
    METHODS,
    OF_LATENTS,
    OPENING,
    PRESETS,
    REGIONS,
    SWITCHED,
    Compare,
    Edit,
    FaceRequest,
    Invert,
    Strengths,
    Sweep,
)
from spaces import GPU, widgets
from spaces.fields import field
from spaces.marking import Marking
from spaces.paint import paint, painted, unpainted
from spaces.references import References
from spaces.sliders import empty, sliders
from spaces.tab import Shown, SystemTab
from spaces.widgets import Change, new_run_id, safely

ACTIONS = {"Edit": "edit", "Sweep": "sweep", "Strengths": "strengths", "Compare": "compare"}
LABELS = Sweep.settings()["attribute"].choices     # of the attributes
EXAMPLES = 8            # drawn people shown at once
ABOUT_L2M = f"L2M-GAN edits the picture itself, in {' and '.join(SWITCHED)}; the others edit all 35 attributes."
LATENT, *_ = OF_LATENTS     # the method for attributes that L2M-GAN does not know
NAMED = {"source": "Before", "ideal": "Ideal edit", "original": "Picture", "inverted": "Inverted"}


def tab(opens: Any) -> None:
    """Fill the tab; its first face is shown when it is opened. opens: the event of that."""
    Tab().listen(opens)


@GPU
def examples(checkpoint: str, first: int) -> list[tuple[Image.Image, str]]:
    """Drawn test people with their numbers."""
    pipeline = systems.load("attributes", checkpoint)
    return [(Image.fromarray(pipeline.sources.picture_of(Invert(source="example", person=number))[0]), str(number))
            for number in range(first, first + EXAMPLES)]


class Tab(SystemTab):
    """The widgets of the tab by name."""

    system, ids = "attributes", "attributes-"
    description = "A face is being edited for another visitor"
    seconds = Edit.expected
    legend_text = ("Asked and achieved values are estimated by **{judge}**, similarity by **{embedder}** (a cosine; 1 "
                   "is the same person). Both networks took part in the training, so their figures are optimistic; "
                   "`python -m core score attributes` uses others. The ideal edit is the renderer's own.")
    ours = ("The networks that ship are small and have only ever seen **drawn** faces: a photo becomes a drawn face "
            "with something of its look before it is edited.")
    theirs = ("This generator was trained by its authors on photos of real people. Edit only photos of people who "
              "agree.")
    more = "to edit photos"
    downloads: ClassVar = {**SystemTab.downloads, "picture": "Edited picture (PNG)", "strip": "One strip (PNG)",
                           "film": "Film (GIF)"}
    gallery_options: ClassVar = {"columns": 3, "elem_classes": "faces main wide"}

    def build_controls(self) -> None:
        """The face to start from, the action, the sliders, and what must stay."""
        self.examples_state, self.example = gr.State(0), gr.State(0)
        self.latent = gr.State({})          # latent or pixels of the face of a restored photo, as the request has them
        self.source = field(Edit, "source", elem_id="attributes-source", elem_classes="tiles three")
        with gr.Group(elem_classes="settings") as self.random_panel:
            self.seed, self.mode = widgets.seed_row(OPENING.seed, self.ids)
            self.truncation = field(Edit, "truncation", elem_id="attributes-truncation")
        with gr.Column(visible=False, elem_classes="panel") as self.example_panel:
            self.people = widgets.small_gallery("Drawn test people", "attributes-people")
            self.others = gr.Button("More drawn people", size="sm")
        with gr.Column(visible=False, elem_classes="panel") as self.photo_panel:
            self.photo = gr.File(label="A photo with a face", elem_id="attributes-photo", height=120)
            gr.Markdown(widgets.PRIVACY, elem_classes="hint")
            self.face = field(Edit, "face", elem_id="attributes-face")
            self.marking = Marking(self.ids)
        self.refine = field(Edit, "refine", visible=False, elem_id="attributes-refine")
        self.generate, self.stop = widgets.run_row(self.ids, "New face")
        self.action = gr.Radio(list(ACTIONS.items()), value="edit", label="Action", elem_id="attributes-action",
                               elem_classes="tiles two")
        with gr.Group(elem_classes="settings"):
            self.method = field(Edit, "method", choices=offered("edit"), info=ABOUT_L2M if has_l2m() else None,
                                elem_id="attributes-method")
            self.strength = field(Edit, "strength", elem_id="attributes-strength")
            self.swept = field(Sweep, "attribute", visible=False, elem_id="attributes-swept")
            self.count = field(Sweep, "count", visible=False, elem_id="attributes-count")
        self.sliders = sliders(Edit.settings(), GROUPS, PRESETS, OPENING.asked, elem_id="attributes-sliders")
        self.references = References(self.notice)
        self.held = gr.State({})            # attribute to a restored reference
        with gr.Accordion("Freeze regions", open=False, elem_id="attributes-freeze"):
            self.regions = gr.CheckboxGroup(list(REGIONS), label="Regions of the drawn person", visible=False,
                                            elem_id="attributes-regions")
            gr.Markdown("Paint what must stay as it is.", elem_classes="hint")
            self.paint = paint(elem_id="attributes-paint")

    def build_outputs(self) -> None:
        """Asked, achieved, leaked and similarity."""
        self.table = gr.HTML(elem_id="attributes-table", elem_classes="plain")

    @property
    def inputs(self) -> dict[str, Any]:
        """What `wanted` reads."""
        names = ("source", "seed", "truncation", "example", "photo", "face", "latent", "refine", "action", "sliders",
                 "method", "strength", "swept", "count", "regions", "paint")
        return {**{name: getattr(self, name) for name in names}, "crop": self.marking.crop, "held": self.held,
                **{f"{name}_reference": file for name, file in self.references.files.items()}}

    @property
    def outputs(self) -> list:
        """What a run changes."""
        return [self.table, self.seed, self.sliders, self.paint]

    @property
    def restored_outputs(self) -> list:
        """What a restored picture changes."""
        return [*self.inputs.values(), self.mode]

    @property
    def uses_outputs(self) -> list:
        """What another checkpoint changes."""
        return [self.source, self.method, *self.new_face_outputs]

    def listen(self, opens: Any) -> None:
        """Also: sources, sliders that edit while they move, and settings that edit when released."""
        super().listen(opens)
        on, active = widgets.private, self.network.active
        on(self.source.change, self.open_source, {"source": self.source},
           [self.random_panel, self.example_panel, self.photo_panel, self.regions, self.refine], queue=False)
        on(self.source.input, self.enter, {"source": self.source, "photo": self.photo, "checkpoint": active},
           [self.notice, self.people, self.example, self.examples_state, *self.new_face_outputs], **widgets.GPU_TURN)
        on(self.others.click, self.more_people, {"first": self.examples_state, "checkpoint": active},
           [self.notice, self.people, self.examples_state], **widgets.GPU_TURN)
        on(self.people.select, self.pick_example, {"first": self.examples_state},
           [self.example, *self.new_face_outputs])
        on(self.photo.upload, self.receive_photo, {"path": self.photo, "checkpoint": active},
           [*self.running, self.photo, self.latent, self.face, *self.marking.outputs, *self.new_face_outputs])
        self.marking.listen(self.new_face, self.new_face_outputs)
        on([self.face.release, self.seed.submit], self.new_face, {}, self.new_face_outputs)
        on(self.generate.click, self.ask, {"mode": self.mode, "seed": self.seed},
           [self.source, self.seed, *self.new_face_outputs])
        on([self.action.change, self.method.change], self.open_action,
           {"action": self.action, "method": self.method, "sliders": self.sliders},
           [self.swept, self.count, self.method, self.strength, self.references.panel, self.sliders], queue=False)
        self.references.listen(self.run, active)
        released = [self.truncation.release, self.strength.release, self.refine.release, self.count.release,
                    self.method.input, self.swept.input, self.regions.input, self.action.input]
        on([self.sliders.input, self.paint.input, *released], lambda: {self.run: new_run_id()}, {}, [self.run],
           trigger_mode="always_last")      # in the queue: outside it, a changed state triggers nothing

    # ------------------------------------------------------------------------------------------------------ sources

    def new_face(self) -> Change:
        """A face that is not known yet: nothing asked, nothing painted, no restored reference, and a new run."""
        return {self.sliders: empty(), self.paint: unpainted(None), self.held: {}, self.run: new_run_id()}

    @property
    def new_face_outputs(self) -> list:
        """What `new_face` changes."""
        return [self.sliders, self.paint, self.held, self.run]

    def open_source(self, source: str) -> Change:
        """The panel of a source; regions are known of drawn people only."""
        return {self.random_panel: gr.update(visible=source == "random"),
                self.example_panel: gr.update(visible=source == "example"),
                self.photo_panel: gr.update(visible=source == "photo"),
                self.regions: gr.update(visible=source == "example"),
                self.refine: gr.update(visible=source != "random")}

    @safely
    def enter(self, source: str, photo: str | None, checkpoint: str) -> Change:
        """The first drawn people; a new run where there is a face to start from."""
        if source == "photo" and not photo:
            return {}
        if source != "example":
            return self.new_face()
        return {**self.new_face(), self.example: 0, self.examples_state: 0,
                self.people: gr.update(value=examples(checkpoint, 0), selected_index=0)}

    @safely
    def more_people(self, first: int, checkpoint: str) -> Change:
        """The next drawn people."""
        return {self.people: gr.update(value=examples(checkpoint, first + EXAMPLES), selected_index=None),
                self.examples_state: first + EXAMPLES}

    def pick_example(self, first: int, event: gr.SelectData) -> Change:
        """Edit the drawn person that was clicked."""
        return {self.example: first + event.index, **self.new_face()}

    def receive_photo(self, path: str, checkpoint: str) -> Change:
        """Edit the largest face of another photo."""
        try:
            preview = systems.load("attributes", checkpoint).preview(path)
        except FacetError as error:
            return {**self.failed(error), self.photo: None}
        return {self.latent: {}, self.face: 0, self.notice: "", **self.marking.taken(preview),
                **self.new_face()}

    def ask(self, mode: str, seed: float | None) -> Change:
        """Another random face."""
        return {self.source: "random", self.seed: widgets.next_seed(mode, seed), **self.new_face()}

    def open_action(self, action: str, method: str, sliders: dict) -> Change:
        """What belongs to an action and a method. L2M-GAN has no values between, so that nothing can be swept."""
        known = offered(action)
        method = method if method in dict(known).values() else LATENT
        switched = method == L2M and action != "compare"
        return {self.swept: gr.update(visible=action == "sweep"),
                self.count: gr.update(visible=action in ("sweep", "strengths")),
                self.method: gr.update(choices=known, value=method, visible=action != "compare"),
                self.strength: gr.update(visible=action != "strengths"),
                self.references.panel: gr.update(visible=switched or (action == "compare" and has_l2m())),
                self.sliders: {**sliders, "only": [*SWITCHED] if switched else []}}

    # ------------------------------------------------------------------------------------------------------ running

    def wanted(self, checkpoint: str, source: str, seed: int | None, truncation: float, example: int, photo: str | None,
               face: int, crop: str, latent: Any, refine: int, action: str, sliders: dict, method: str, strength: float,
               swept: str, count: int, regions: Sequence[str], paint: dict, **references: Any) -> FaceRequest:
        """The request of the chosen action. references: `<attribute>_reference` to a path, and those that are held."""
        start = {"random": {"truncation": truncation}, "example": {"person": example, "refine": refine},
                 "photo": latent or {"file": photo, "face": face, "crop": crop, "refine": refine}}[source]
        switched = method == L2M and action != "compare"
        asked = {name: value for name, value in sliders["asked"].items()
                 if (action != "sweep" or name != swept) and (not switched or name in SWITCHED)}
        shared = {"source": source, "seed": seed, **start, **asked, "strength": strength,
                  "keep": ", ".join(sliders["frozen"]), "regions": ", ".join(regions) if source == "example" else "",
                  "frozen": painted(paint)}
        if action == "compare":
            return Compare(**shared, **references)
        if action == "sweep":
            return Sweep(**shared, method=method, attribute=swept, count=count)
        shared |= {"method": method, **(references if switched else {})}
        return Strengths(**shared, count=count) if action == "strengths" else Edit(**shared)

    def is_quick(self, request: FaceRequest) -> bool:
        """An edit without refinement: shown at once, without Stop in between."""
        return isinstance(request, Edit | Compare) and not (request.refine and request.inverts)

    def showing(self, shown: Shown, first: bool) -> Change:
        """The face before, its edits, the ideal edit."""
        return {self.gallery: gr.update(value=tiles(shown.result))}

    def finished(self, shown: Shown, stopped: bool) -> Change:
        """The table; sliders start at what is estimated for a new face."""
        result, request = shown.result, shown.request
        kinds = [kept["shown"] for kept in result.settings]
        done = {self.table: table(result), self.seed: request.seed}
        if "source" in kinds:
            return done | self.started_at(shown, kinds.index("source"))
        return done | {self.sliders: slider_values(request, shown.pipeline.judged(request))}

    def started_at(self, shown: Shown, at: int) -> Change:
        """Where the sliders start, and the picture to paint on."""
        result, request = shown.result, shown.request
        return {self.sliders: slider_values(request, result.settings[at]["judged"]),
                self.paint: unpainted(result.images[at], face_id(request))}

    def emptied(self) -> Change:
        """No table."""
        return {self.table: ""}

    def count_text(self, shown: Shown) -> str:
        """How many pictures there are."""
        made = len(shown.result.images)
        return f"{made} picture{'s' * (made != 1)}"

    # ---------------------------------------------------------------------------------- restoring, other checkpoints

    def restored(self, kept: Restored, **values: Any) -> Change:
        """Every widget as the request of the picture set it."""
        request = kept.request
        frozen, has_mask = list(getattr(request, "kept", ())), getattr(request, "frozen", None) is not None
        return {self.source: request.source, self.seed: request.seed, self.truncation: request.truncation,
                self.example: request.person, self.face: request.face, self.marking.crop: request.crop,
                self.refine: request.refine, self.mode: widgets.FIXED_SEED,
                self.sliders: {**empty(), "asked": dict(getattr(request, "asked", {})), "frozen": frozen},
                self.latent: {name: value for name in ("latent", "pixels")
                              if (value := getattr(request, name)) is not None}, self.paint: unpainted(None),
                **({self.notice: " Its painted mask is not restored."} if has_mask else {}),
                self.held: dict(getattr(request, "held", None) or {}),
                self.action: request.action if request.action in ACTIONS.values() else "edit",
                self.strength: getattr(request, "strength", 1.0),
                self.regions: list(getattr(request, "frozen_regions", ())),
                **({self.method: request.method} if hasattr(request, "method") else {}),
                **({self.count: request.count} if isinstance(request, Sweep | Strengths) else {}),
                **({self.swept: request.attribute} if isinstance(request, Sweep) else {}),
                **dict.fromkeys(self.references.files.values())}

    def uses(self, choice: Any) -> Change:
        """A random face of the other generator."""
        return {self.source: gr.update(value="random"), self.method: LATENT, **self.new_face()}


def has_l2m() -> bool:
    """Whether any L2M-GAN is on this machine."""
    return any(choice.has_l2m for choice in systems.choices("attributes"))


def offered(action: str) -> list[tuple[str, str]]:
    """Labels and names of the methods for an action: L2M-GAN where it is on this machine, and never for a sweep."""
    known = METHODS if action != "sweep" and has_l2m() else OF_LATENTS
    return [(label, name) for name, label in known.items()]


def slider_values(request: FaceRequest, start: dict[str, float]) -> dict[str, Any]:
    """What the sliders show. start: estimated values of the face before."""
    return {"face": face_id(request), "start": start, "asked": request.asked, "frozen": [*request.kept]}


def face_id(request: FaceRequest) -> str:
    """The face that a request starts from, in one line."""
    return "|".join(str(getattr(request, name)) for name in ("source", "seed", "truncation", "person", "file", "face",
                                                             "crop", "refine"))


def tiles(result: Result) -> list[tuple[str, str]]:
    """Pictures with captions: before, edits, ideal; then what is under way."""
    rank = {"original": 0, "source": 1, "inverted": 2, "edit": 2, "ideal": 3}
    order = sorted(range(len(result.images)), key=lambda at: (rank[result.settings[at]["shown"]], at))
    return [*((result.images[at], caption(result.settings[at])) for at in order),
            *((path, "Refining …") for path in result.previews)]


def caption(kept: dict[str, Any]) -> str:
    """What a picture is, and its similarity to the face before."""
    name = NAMED.get(kept["shown"]) or METHODS.get(kept.get("method"), "Edited")
    if "inversion" in kept:
        name = "Inverted"       # of a drawn person or a photo: what the other methods edit
    if kept["action"] == Strengths.action and "strength" in kept:
        name = f"Strength {round(kept['strength'], 2):g}"
    return f"{name}\nsimilarity {kept['similarity']:.2f}" if "similarity" in kept else name


def table(result: Result) -> str:
    """Asked, achieved, leaked and similarity of each edit, as an HTML table; "" where nothing was asked."""
    rows = [kept for kept in result.settings if kept["shown"] in ("edit", "ideal") and kept["asked"]]
    if not rows:
        return ""
    head = "".join(f"<th scope='col'>{widgets.safe(text)}</th>" for text in
                   ("", "Asked", "Achieved", "Leaked (σ)", "Similarity"))
    body = "".join(f"<tr><th scope='row'>{caption(kept).splitlines()[0]}</th><td>{listed(kept['asked'])}</td>"
                   f"<td>{listed(kept['achieved'])}</td><td>{leaks(kept['leaked'])}</td>"
                   f"<td>{kept['similarity']:.2f}</td></tr>" for kept in rows)
    return f"<table class='figures'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def listed(values: dict[str, float]) -> str:
    """Attributes and values in words."""
    return ", ".join(f"{LABELS[name]} {value:.0f}" if ATTRIBUTES[name].unit in ("years", "degrees") else
                     f"{LABELS[name]} {value:.2f}" for name, value in values.items())


def leaks(values: dict[str, float]) -> str:
    """The attributes that changed although not asked, largest first."""
    return ", ".join(f"{LABELS[name]} {value:+.1f}" for name, value in [*values.items()][:3]) or "none"
