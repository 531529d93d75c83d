"""What the tab `vectors` does with a face: vary it, walk to another, edit its numbers, turn it and clear it up."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from core import systems
from core.systems import choose
from core.systems.vectors.pipeline import UNLIKE
from core.systems.vectors.results import Result, Source, Steered
from core.systems.vectors.steering import MAX_YAW
from spaces import GPU, widgets
from spaces.line import step_time
from spaces.vectors_sources import Chosen
from spaces.widgets import Change, told

ACTIONS = {"Draw": "vary", "Walk": "walk", "Edit": "edit", "Turn": "steer"}
LIMIT = 40              # steps of steering, to begin with
EXPECTED = 2.0          # seconds that a drawing may take, for those who wait
FEWEST = {"walk": 2, "edit": 2}
COUNTED = {"vary": "How many", "walk": "How many steps", "edit": "How many steps", "steer": "How many"}


@dataclass(frozen=True)
class Wish:
    """All that one press of the button asks for; each action reads what it needs."""

    kind: str
    action: str
    count: int
    sigma: float
    seed: int | None
    sources: tuple[Source, ...] = ()
    other: Source | None = None
    offsets: dict[int, float] = field(default_factory=dict)
    yaw: float | None = None
    quality: float | None = None
    limit: int = LIMIT
    similarity: float | None = None
    threshold: float = UNLIKE
    checkpoint: str = "tiny"


@GPU
def make(wish: Wish) -> Iterator[Result]:
    """The pictures, a few more each time, or each a little better."""
    system = systems.load("vectors", wish.checkpoint)
    if wish.action == "vary" and wish.kind == "people":
        yield from system.people(wish.seed, wish.count, wish.threshold)
    elif wish.action == "vary":
        yield from system.sheet(wish.sources, wish.sigma, wish.count, wish.seed)
    elif wish.action == "walk":
        yield from system.walk(*ends(system, wish), wish.count)
    elif wish.action == "edit":
        yield from system.edited(starts(system, wish, 1)[0], wish.offsets, wish.count)
    else:
        yield from steered(system, wish)


def starts(system: Any, wish: Wish, count: int) -> list[Source]:
    """The faces to begin with: those chosen, or `count` new people of the seed."""
    return list(wish.sources) if wish.kind != "people" else system.new_people(wish.seed, count)[0]


def ends(system: Any, wish: Wish) -> tuple[Source, Source]:
    """Where a walk begins and ends: at the face that was set, else the second of several, else a new person."""
    first, *more = starts(system, wish, 2)
    if wish.other is not None:
        return first, wish.other
    return first, more[0] if more else system.new_people(wish.seed, 1)[0][0]


def steered(system: Any, wish: Wish) -> Iterator[Steered]:
    """Several people as they are, or variations of one."""
    found, seeds = system.new_people(wish.seed, wish.count) if wish.kind == "people" else ([*wish.sources], None)
    alone = wish.kind != "people" and len(found) == 1
    sources, sigma = (found * wish.count, wish.sigma) if alone else (found, 0.0)
    if alone and wish.count == 1:
        sigma = 0.0
    yield from system.steer(sources, wish.yaw, wish.quality, wish.limit, wish.seed, sigma, wish.similarity, seeds)


def far(began: float) -> Callable[[Result], float]:
    """What `LINE.turn` takes as `left`: the seconds that a drawing still takes, by what it took so far."""
    return lambda result: step_time(began, *how_far(result))


def how_far(result: Result) -> tuple[int, int]:
    """Pictures, or steps of steering, that are done, and how many there may be."""
    if isinstance(result, Steered):
        return result.iteration, result.limit
    return len(result.images), result.total


def wished(kind: str, count: int, sigma: float, seed: int | None, chosen: Chosen, action: str,
           other: Source | None, offsets: str, turn_on: bool, yaw: float, clear_on: bool, quality: float, limit: int,
           similarity: float, threshold: float) -> Wish:
    """What the widgets say, as one wish. Raises SettingsError for offsets that can't be read, and when there is no face
    yet to begin with.
    """
    changed = systems.load("vectors").offsets(offsets) if action == "edit" else {}
    return Wish(kind, action, max(count, FEWEST.get(action, 1)), sigma, seed, chosen.sources(kind), other, changed,
                yaw if turn_on else None, quality if clear_on else None, limit, similarity, threshold,
                chosen.checkpoint)


class Moves:
    """The panels by name. `other` is the face a walk goes to."""

    def __init__(self) -> None:
        self.other = gr.State(None)
        self.action = gr.Radio(list(ACTIONS.items()), value="vary", label="What to do", elem_id="action",
                               elem_classes="tiles four")
        with gr.Column(elem_classes="panel") as self.people_panel:
            self.threshold = gr.Slider(0, 1, UNLIKE, step=0.05, label="At most this alike", elem_id="threshold",
                                       info="The cosine that any two new people stay below.")
        with gr.Column(visible=False, elem_classes="panel") as self.walk_panel:
            self.goal = gr.Markdown(self.towards(None), elem_classes="hint", elem_id="goal")
        with gr.Column(visible=False, elem_classes="panel") as self.edit_panel:
            self.offsets = gr.Textbox("", label="Numbers to change", placeholder="7: 2.0, 300: -1.5", elem_id="offsets",
                                      info="Dimension from 0 to 511, and what is added to it.")
            self.by = gr.Slider(-10, 10, 4, step=0.5, label="Add by click", elem_id="by",
                                info="A click on a cell of the strip adds this to its number.")
        with gr.Column(visible=False, elem_classes="panel") as self.steer_panel:
            self.build_steering()

    def build_steering(self) -> None:
        """Where to, and when to give up."""
        self.turn_on = gr.Checkbox(True, label="Turn the head", elem_id="turn-on")
        self.yaw = gr.Slider(-MAX_YAW, MAX_YAW, 30, step=1, label="Yaw, degrees", elem_id="yaw",
                             info="Positive towards the right of the picture.")
        self.clear_on = gr.Checkbox(False, label="Clear the picture up", elem_id="clear-on")
        self.quality = gr.Slider(0, 1, 0.7, step=0.05, label="Quality, at least", visible=False, elem_id="quality")
        self.limit = gr.Slider(1, 200, LIMIT, step=1, label="Steps, at most", elem_id="limit")
        self.similarity = gr.Slider(0, 1, choose("vectors").similarity, step=0.05, label="Stay this like the source",
                                    elem_id="similarity")

    @property
    def widgets(self) -> dict[str, Any]:
        """The widgets that `wished` reads, by its parameters."""
        return {name: getattr(self, name) for name in
                ("action", "other", "offsets", "turn_on", "yaw", "clear_on", "quality", "limit", "similarity",
                 "threshold")}

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
        shown = {"vary": self.people_panel, "walk": self.walk_panel, "edit": self.edit_panel, "steer": self.steer_panel}
        panels = {panel: gr.update(visible=name == action and (name != "vary" or kind == "people"))
                  for name, panel in shown.items()}
        return panels | {self.count: gr.update(label=COUNTED[action]),
                         self.sigma: gr.update(visible=kind != "people" and action in ("vary", "steer"))}

    @told
    def add_offset(self, action: str, offsets: str, by: float, event: gr.SelectData) -> Change:
        """The offsets with that of the clicked cell set; outside of editing nothing changes."""
        if action != "edit":
            return {}
        return {self.offsets: systems.load("vectors").with_offset(offsets, event.index[0], event.index[1], by)}

    @staticmethod
    def towards(other: Source | None) -> str:
        """Where a walk goes, in words."""
        if other is None:
            return ("To the next of the chosen faces, or else to a new person of the seed. To go to a face on show, "
                    "click it and press **Walk to this**.")
        return f"To the face **{other.label}**."
