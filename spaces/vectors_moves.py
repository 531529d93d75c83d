"""What the tab `vectors` does with a face: vary it, walk to another, edit its numbers, turn it and clear it up."""

from typing import Any

import gradio as gr

from core import systems
from core.systems import choose
from core.systems.vectors.request import REQUESTS, Draw, Edit, FaceRequest, Source, Steer, Walk
from spaces import widgets
from spaces.fields import field
from spaces.vectors_sources import Chosen
from spaces.widgets import Change, safely

ACTIONS = {"Draw": "draw", "Walk": "walk", "Edit": "edit", "Pose": "steer"}
BY_ACTION = {request.action: request for request in REQUESTS}
COUNTED = {"draw": "Count", "walk": "Steps", "edit": "Steps", "steer": "Count"}


def request_of(kind: str, count: int, sigma: float, seed: int | None, chosen: Chosen, action: str,
               other: Source | None,
               offsets: str, turn_on: bool, yaw: float, clear_on: bool, quality: float, limit: int,
               similarity: float, threshold: float) -> FaceRequest:
    """The request that the widgets describe. Raises SettingsError while there is no face to begin with."""
    faces = chosen.sources(kind)
    least = BY_ACTION[action].settings()["count"].low
    start = {"source": kind, "faces": faces, "count": max(count, least) if isinstance(count, int | float) else count,
             "seed": seed}
    if action == "draw":
        return Draw(**start, sigma=sigma, threshold=threshold)
    if action == "walk":
        return Walk(**start, goal=other)
    if action == "edit":
        return Edit(**start | {"faces": faces[:1]}, offsets=offsets)
    return Steer(**start, sigma=sigma if count > 1 else 0.0, pose=turn_on, yaw=yaw, improve=clear_on, quality=quality,
                 limit=limit, similarity=similarity, threshold=threshold)


class Moves:
    """The panels by name. `other` is the face a walk goes to."""

    def __init__(self) -> None:
        self.other = gr.State(None)
        self.action = gr.Radio(list(ACTIONS.items()), value="draw", label="Action", elem_id="action",
                               elem_classes="tiles four")
        with gr.Column(elem_classes="panel") as self.people_panel:
            self.threshold = field(Draw, "threshold", minimum=0, elem_id="threshold")
        with gr.Column(visible=False, elem_classes="panel") as self.walk_panel:
            self.goal = gr.Markdown(self.towards(None), elem_classes="hint", elem_id="goal")
        with gr.Column(visible=False, elem_classes="panel") as self.edit_panel:
            self.offsets = field(Edit, "offsets", value="", placeholder="7: 2.0, 300: -1.5", elem_id="offsets")
            self.by = gr.Slider(-10, 10, 4, step=0.5, label="Offset per click", elem_id="by",
                                info="A click on a cell of the strip adds this to its number.")
        with gr.Column(visible=False, elem_classes="panel") as self.steer_panel:
            self.build_steering()

    def build_steering(self) -> None:
        """Where to, and when to give up."""
        self.turn_on = field(Steer, "pose", elem_id="turn-on")
        self.yaw = field(Steer, "yaw", elem_id="yaw")
        self.clear_on = field(Steer, "improve", elem_id="clear-on")
        quality = choose("vectors").quality
        self.quality = field(Steer, "quality", maximum=quality.most, value=quality.usual, visible=False, info=None,
                             elem_id="quality")
        self.limit = field(Steer, "limit", minimum=1, elem_id="limit")
        self.similarity = field(Steer, "similarity", minimum=0, value=choose("vectors").similarity, info=None,
                                elem_id="similarity")

    @property
    def widgets(self) -> dict[str, Any]:
        """The widgets that `request_of` reads, by its parameters."""
        return {name: getattr(self, name) for name in
                ("action", "other", "offsets", "turn_on", "yaw", "clear_on", "quality", "limit", "similarity",
                 "threshold")}

    @property
    def restored(self) -> list:
        """The widgets that a picture brings back."""
        return [self.action, self.threshold, self.other, self.goal, self.offsets, self.turn_on, self.yaw,
                self.clear_on, self.quality, self.limit, self.similarity]

    def listen(self, kind: gr.Radio, count: gr.Slider, sigma: gr.Slider, strip: gr.Image,
               notice: gr.HTML) -> None:
        """Show what belongs to an action; a click on the strip adds an offset."""
        self.count, self.sigma, self.notice = count, sigma, notice
        on, panels = widgets.private, [self.people_panel, self.walk_panel, self.edit_panel, self.steer_panel]
        on([self.action.change, kind.change], self.open_panel, {"action": self.action, "kind": kind},
           [*panels, count, sigma], queue=False)
        on(self.turn_on.change, lambda turn_on: gr.update(visible=turn_on), {"turn_on": self.turn_on}, [self.yaw],
           queue=False)
        on(self.clear_on.change, lambda clear_on: gr.update(visible=clear_on), {"clear_on": self.clear_on},
           [self.quality], queue=False)
        on(strip.select, self.add_offset, {"action": self.action, "offsets": self.offsets, "by": self.by},
           [self.notice, self.offsets])

    def open_panel(self, action: str, kind: str) -> Change:
        """The panel of an action; what the count counts; and σ where chance varies a given face."""
        shown = {"draw": self.people_panel, "walk": self.walk_panel, "edit": self.edit_panel, "steer": self.steer_panel}
        panels = {panel: gr.update(visible=name == action and (name != "draw" or kind == "people"))
                  for name, panel in shown.items()}
        return panels | {self.count: gr.update(label=COUNTED[action]),
                         self.sigma: gr.update(visible=kind != "people" and action in ("draw", "steer"))}

    @safely
    def add_offset(self, action: str, offsets: str, by: float, event: gr.SelectData) -> Change:
        """The offsets with that of the clicked cell set; outside of editing nothing changes."""
        if action != "edit":
            return {}
        return {self.offsets: systems.load("vectors").with_offset(offsets, event.index[0], event.index[1], by)}

    def restore(self, request: FaceRequest) -> Change:
        """The widgets as a request set them."""
        shared = {self.action: request.action}
        if isinstance(request, Draw):
            return {**shared, self.threshold: request.threshold}
        if isinstance(request, Walk):
            return {**shared, self.other: request.goal, self.goal: self.towards(request.goal)}
        if isinstance(request, Edit):
            return {**shared, self.offsets: request.offsets}
        quality = {} if request.quality is None else {self.quality: request.quality}
        return {**shared, self.turn_on: request.pose, self.yaw: request.yaw, self.clear_on: request.improve, **quality,
                self.limit: request.limit, self.similarity: request.similarity}

    @staticmethod
    def towards(other: Source | None) -> str:
        """Where a walk goes, in words."""
        if other is None:
            return ("To the next of the chosen faces, or else to a new person of the seed. To go to a face on show, "
                    "click it and press **Walk to this**.")
        return f"To the face **{other.label}**."
