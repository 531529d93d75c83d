"""The tab `aging`: somebody at another age, by words; or somebody new, taught from a few pictures."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from core import systems
from core.engine.result import Result
from core.errors import FacetError
from core.systems.aging.request import Wish
from spaces import GPU, aging_api, api, charts, widgets
from spaces.aging_people import Own, People, picked, portrait
from spaces.aging_restore import Restoring
from spaces.aging_teach import Teaching
from spaces.aging_wish import ALL, NAMES, SPANS, Asking, asked
from spaces.line import LINE, Waiting, any_left, who
from spaces.network import Network
from spaces.widgets import Change, told, turned, unchanged

LEGEND = ("Under each picture: its age as **{judge}** judges it, its similarity to the person's pictures as "
          "**{embedder}** sees them (a cosine; 1 is the same), and its seed. Both had a part in the training, so they "
          "flatter; `python -m core score aging` asks others.")
OURS = ("The networks that ship are small and have only ever seen **drawn** faces with captions: a photo comes back as "
        "a drawn face with something of its look. Two things are our additions to the paper: a new person's rare token "
        "begins at what embedder-tiny sees in the pictures, and after teaching, each age is put where judge-tiny sees "
        "it in that person.")
THEIRS = ("Stable Diffusion was trained by its authors on pictures from the web, under a licence with restrictions on "
          "use that bind you too. What it draws can look like somebody who exists; teach only people who agree. Years "
          "and similarity are read by our networks, which know drawn faces only, so they say little here.")
ACTIONS = {"See an age": "draw", "Teach somebody": "teach"}
PORTRAIT = -1           # what a picture is compared with: the person's portrait


@dataclass(frozen=True)
class Shown:
    """What is on show: pictures, of whom, and whether they are the six ages."""

    result: Result
    subject: Any
    strip: bool


@GPU
def make(checkpoint: str, request: Wish) -> Iterator[Result]:
    """The pictures of a request as they come out of the noise."""
    yield from systems.load("aging", checkpoint).run(request)


def tab(opens: Any) -> None:
    """Fill the tab; its first strip is drawn when it is opened. opens: the event of that."""
    Tab().listen(opens)
    aging_api.endpoints()
    api.endpoints(systems.SYSTEMS["aging"])


class Tab:
    """The widgets by name, and what happens when they are used; a handler returns the widgets it changes."""

    def __init__(self) -> None:
        self.shown, self.at = gr.State(None), gr.State(0)      # what is on show; which picture of it is looked at
        self.notice = gr.HTML(elem_id="aging-notice", elem_classes="plain alone", render=False)
        with gr.Row(elem_classes="desk"):
            with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                self.action = gr.Radio(list(ACTIONS.items()), value="draw", label="What to do", elem_id="aging-action",
                                       elem_classes="tiles two")
                with gr.Column(elem_classes="panel") as self.draw_panel:
                    self.people = People(self.notice)
                    self.asking = Asking()
                self.teaching = Teaching(self.notice, self.people)
                self.restoring = Restoring(self.notice, self.people, self.asking)
                self.network = Network(self.notice, "aging", OURS, THEIRS, more="to draw in four steps", tab="aging-")
            with gr.Column(scale=9, min_width=300, elem_classes="results"):
                self.build_results()
        self.footer = gr.HTML(elem_id="aging-facts", elem_classes="plain foot")
        self.waiting = Waiting(self.status, "draw", Wish.expected, (self.asking.generate, self.asking.stop))

    def build_results(self) -> None:
        """The pictures, the plot under a strip, what is known about the one picked, and downloads."""
        self.notice.render()
        self.teaching.build_lesson()
        self.status = gr.HTML(widgets.progress(0, 1, "Waking up …"), elem_id="aging-status", elem_classes="plain")
        self.gallery = gr.Gallery(show_label=False, columns=6, height="auto", allow_preview=False, buttons=[],
                                  interactive=False, elem_id="aging-gallery", elem_classes="faces six",
                                  object_fit="cover")
        self.plot = gr.HTML(visible=False, elem_id="aging-plot", elem_classes="plain")
        self.build_detail()
        with gr.Row(elem_classes="buttons"):
            self.zip = gr.DownloadButton("All pictures (ZIP)", size="sm", interactive=False, elem_id="aging-zip")
        with gr.Accordion("Dropped", open=False, visible=False, elem_id="aging-dropped") as self.dropped:
            self.why = gr.Markdown(elem_classes="hint")
            self.outcasts = widgets.small_gallery("Dropped pictures", "aging-outcasts")
        self.legend = gr.Markdown(elem_classes="hint")
        self.network.honest.render()

    def build_detail(self) -> None:
        """One picture, before and after."""
        with gr.Row(visible=False, elem_classes="detail") as self.detail:
            self.slider = gr.ImageSlider(type="filepath", format="png", show_label=False, interactive=False, buttons=[],
                                         elem_id="aging-slider", min_width=220, slider_position=50)
            with gr.Column(min_width=240):
                self.facts = gr.HTML(elem_id="aging-picked", elem_classes="plain")
                self.before = gr.Dropdown([("the portrait", PORTRAIT)], value=PORTRAIT, label="On the left",
                                          elem_id="aging-before")
                with gr.Row(elem_classes="buttons"):
                    self.png = gr.DownloadButton("PNG", size="sm", min_width=80, elem_id="aging-png")

    def listen(self, opens: Any) -> None:
        """Draw when asked, when there is something new to draw, and when the tab is opened for the first time."""
        on, people, asking, active = widgets.private, self.people, self.asking, self.network.active
        asking.listen()
        people.listen(active, asking.prompt, asking.turn)
        self.restoring.listen(active)
        self.teaching.listen(active, asking.prompt, asking.turn)
        self.network.listen(asking.suited, [asking.quick, asking.solver])
        whom = {"mine": people.mine, "picked_at": people.at, "active": active}
        on(opens, self.open, whom | {"shown": self.shown},
           [self.notice, *people.changed, asking.turn, self.footer, self.legend])
        running = [self.shown, self.status, asking.generate, asking.stop, self.zip, self.plot, self.dropped, self.why,
                   self.outcasts, self.at, self.detail, self.slider, self.facts, self.before, self.png,
                   self.waiting.clock]
        on([asking.turn.change], self.draw, whom | asking.widgets | {"turn": asking.turn},
           [self.notice, self.gallery, asking.seed, asking.age, *running], **widgets.GPU_TURN,
           trigger_mode="always_last")
        self.waiting.listen([asking.turn.change])
        on(asking.stop.click, self.halt, {"turn": asking.turn}, running, queue=False)
        looked = [self.at, self.detail, self.slider, self.facts, self.before, self.png]
        on(self.gallery.select, self.pick, {"shown": self.shown, "before": self.before}, looked)
        on(self.before.input, self.compare, {"shown": self.shown, "at": self.at, "before": self.before}, [self.slider])
        on(self.action.change, self.open_panel, {"action": self.action},
           [self.draw_panel, self.teaching.panel, self.teaching.lesson], queue=False)
        on(active.change, self.moved, {"mine": people.mine, "active": active, "prompt": asking.prompt},
           [self.notice, *people.changed, asking.prompt, asking.turn, self.footer, self.legend])
        gr.on([asking.generate.click, asking.age.input], None, js=widgets.show("#aging-status"), **widgets.QUIET)
        self.gallery.select(None, js=widgets.show("#aging .detail"), **widgets.QUIET)

    # ------------------------------------------------------------------------------------------- opening, choosing

    def open(self, shown: Shown | None, mine: tuple[Own, ...], picked_at: int, active: str) -> Change:
        """The people, what computes here, and the first strip; the next time everything is as it was left."""
        if shown is not None:
            return unchanged(self.footer)
        try:
            return {**self.people.shown(active, mine, picked_at), **self.describe(active), self.asking.turn: turned()}
        except FacetError as error:
            return {self.notice: widgets.sentence(error), **self.describe(active)}

    def open_panel(self, action: str) -> Change:
        """What belongs to drawing, or to teaching."""
        return {self.draw_panel: gr.update(visible=action == "draw"), **self.teaching.opened(action == "teach")}

    @told
    def moved(self, mine: tuple[Own, ...], active: str, prompt: str) -> Change:
        """Another checkpoint: whoever was taught on it, the first of them drawn."""
        return {**self.people.drawn(active, mine, 0, prompt), **self.describe(active)}

    def describe(self, active: str) -> Change:
        """What computes here, in the footer, and who judges, in the legend."""
        try:
            about = systems.load("aging", active).about
        except FacetError as error:
            return {self.footer: widgets.sentence(error), self.legend: ""}
        return {self.footer: widgets.computed_by(about),
                self.legend: LEGEND.format(judge=about["judge"], embedder=about["embedder"])}

    # ---------------------------------------------------------------------------------------------------- drawing

    def draw(self, mine: tuple[Own, ...], picked_at: int, active: str, age: str | None, prompt: str, negative: str,
             steps: int, solver: str, guidance: float, emphasis: float, seed: int | None, count: int, floor: float,
             turn: str, request: gr.Request) -> Iterator[Change]:
        """Show pictures as they come out of the noise; a notice instead when something is wrong."""
        began, shown, clicked, age = time.monotonic(), None, age, self.asking.reread(age, prompt)
        said = turn.endswith(widgets.NOTICE)
        yield {self.asking.age: gr.skip() if age == clicked else age,       # a click on another may be on its way
               **self.waiting.over(request), **self.busy(True), **({} if said else {self.notice: ""}),
               self.status: widgets.progress(0, 1, "Beginning …")}
        if LINE.stopped(turn):
            yield self.halted("Stopped")
            return
        try:
            subject, strip = picked(active, mine, picked_at), age == ALL
            wish = asked(subject, age, prompt, negative, steps, solver, guidance, emphasis, seed, count,
                         floor).checked()
            work = LINE.turn(who(request, "draw"), "Somebody's pictures are being drawn", Wish.expected,
                             make(active, wish), any_left(began), turn)
            for result in work:
                unlooked = {} if shown else {self.at: 0, self.detail: gr.update(visible=False)}
                shown = Shown(result, subject, strip)
                yield {self.shown: shown, **unlooked, self.gallery: tiles(shown), self.status: widgets.progress(
                    result.step, result.steps, f"Step {result.step} of {result.steps}")}
                if LINE.stopped(turn) and result.step < result.steps:
                    work.close()
                    yield self.halted(f"Stopped at step {result.step} of {result.steps}", shown, active)
                    return
            words = f"{counted(shown)} {widgets.took(time.monotonic() - began)}"
            notes = "".join(map(widgets.remark, shown.result.notes))
            yield {**self.finished(shown, active, wish.seed, words),
                   **({self.notice: notes} if notes or not said else {})}
        except Exception as error:
            understood = error if isinstance(error, FacetError) else widgets.unforeseen(error)
            yield {**self.busy(False), self.status: widgets.progress(1, 1, ""),
                   self.notice: widgets.sentence(understood)}

    def busy(self, busy: bool) -> Change:
        """Draw, or Stop in its place."""
        return {self.asking.generate: gr.update(visible=not busy), self.asking.stop: gr.update(visible=busy),
                self.waiting.clock: gr.update(active=False)}

    def halt(self, turn: str, request: gr.Request) -> Change:
        """End at the next step, or don't begin."""
        if LINE.halt(who(request, "draw"), turn):
            return unchanged(self.status)
        return {**self.waiting.over(request), **self.halted("Stopped")}

    def halted(self, words: str, shown: Shown | None = None, active: str = "") -> Change:
        """What there is stays on show; what is finished of a drawing that was stopped, `shown`, can be downloaded."""
        ready = {**self.busy(False), self.status: widgets.progress(1, 1, words)}
        if shown is None:       # it had not begun
            return ready
        finished = bool(shown.result.images)
        archive = systems.load("aging", active).zip(shown.result) if finished else None
        return {**ready, self.plot: gr.update(visible=False), self.zip: gr.update(value=archive, interactive=finished)}

    def finished(self, shown: Shown, active: str, seed: int, words: str) -> Change:
        """Ready for the next; what was made is plotted, looked at and downloaded. seed: of the first picture asked."""
        result, system = shown.result, systems.load("aging", active)
        ready = {**self.busy(False), self.status: widgets.progress(1, 1, words), **self.left_out(result),
                 self.plot: gr.update(value=plotted(shown), visible=shown.strip and bool(result.images))}
        if not result.images:
            return ready | {self.detail: gr.update(visible=False), self.zip: gr.update(interactive=False)}
        return {**ready, self.asking.seed: seed, **self.look_at(shown, first_look(shown), PORTRAIT),
                self.gallery: tiles(shown, selected_index=first_look(shown)),
                self.zip: gr.update(value=system.zip(result), interactive=True)}

    def left_out(self, result: Result) -> Change:
        """Pictures that are not among the results, and why."""
        why = "\n".join(f"- seed {lost.seed}, *{lost.prompt}*: {lost.why}" for lost in result.dropped)
        pictures = [(lost.path, lost.why) for lost in result.dropped if lost.path]
        return {self.dropped: gr.update(visible=bool(result.dropped), label=f"Dropped: {len(result.dropped)}"),
                self.why: why, self.outcasts: gr.update(value=pictures, visible=bool(pictures))}

    # ---------------------------------------------------------------------------------------------- one picture

    def pick(self, shown: Shown | None, before: int, event: gr.SelectData) -> Change:
        """Look at the picture that was clicked, once it is finished."""
        there = shown is not None and event.index < len(shown.result.images)
        return self.look_at(shown, event.index, before) if there else unchanged(self.at)

    def look_at(self, shown: Shown, at: int, before: int) -> Change:
        """One picture beside another: its settings, its file."""
        result = shown.result
        before = before if before < len(result.images) else PORTRAIT
        before = 0 if before == PORTRAIT and shown.subject is None else before
        others = [*([("the portrait", PORTRAIT)] if shown.subject is not None else []),
                  *((f"{number + 1}, {titled(shown, number)}", number) for number in range(len(result.images)))]
        return {self.at: at, self.detail: gr.update(visible=True), **self.compare(shown, at, before),
                self.facts: told_of(shown, at), self.before: gr.update(choices=others, value=before),
                self.png: result.images[at]}

    def compare(self, shown: Shown, at: int, before: int) -> Change:
        """The picture that is looked at, on the right of another."""
        images = shown.result.images
        left = images[before] if 0 <= before < len(images) else portrait(shown.subject)
        return {self.slider: (left, images[at])}


def tiles(shown: Shown, **changes: Any) -> Any:
    """Pictures with their captions; as they look so far, while they are under way."""
    result = shown.result
    finished = [(path, captioned(shown, at)) for at, path in enumerate(result.images)]
    if not result.previews:
        return gr.update(value=finished, **changes)
    names = list(NAMES.values()) if shown.strip else [""] * len(result.previews)
    coming = [(path, name or "…") for path, name in zip(result.previews, names, strict=False)]
    return gr.update(value=[*finished, *coming], selected_index=None)


def captioned(shown: Shown, at: int) -> str:
    """What is known about a picture, in lines."""
    result = shown.result
    return "\n".join([titled(shown, at), measured(result.scores["years"][at], "{:.0f} years"),
                      measured(result.scores["similarity"][at], "similarity {:.2f}"), f"seed {result.seeds[at]}"])


def titled(shown: Shown, at: int) -> str:
    """The age that was asked for, or else nothing in particular."""
    return NAMES.get(shown.result.settings[at].get("group") or "", "as asked")


def measured(value: float | None, form: str) -> str:
    """A measure of a picture in words."""
    return "no face seen" if value is None else form.format(value)


def first_look(shown: Shown) -> int:
    """The picture that is looked at first: the oldest of a strip, where most has changed."""
    return len(shown.result.images) - 1 if shown.strip else 0


def plotted(shown: Shown) -> str:
    """The plot under a strip."""
    result = shown.result
    spans = [SPANS[kept["group"]] for kept in result.settings if kept.get("group") in SPANS]
    names = [titled(shown, at) for at in range(len(result.images))]
    return charts.ages(names, result.scores["years"], result.scores["similarity"],
                       spans if len(spans) == len(names) else ())


def counted(shown: Shown) -> str:
    """How many there are, in words."""
    made, total = len(shown.result.images), shown.result.total
    words = f"{made} of {total}" if made < total else f"{made}"
    return f"{words} {'ages' if shown.strip else 'picture' if total == 1 else 'pictures'}"


def told_of(shown: Shown, at: int) -> str:
    """What made a picture, for the page."""
    kept, scores = shown.result.settings[at], shown.result.scored(at)
    return f"<p class='prompt'>{widgets.safe(kept.get('drawn', ''))}</p>" + widgets.facts({
        "judged": measured(scores["years"], "{:.0f} years"), "similarity": measured(scores["similarity"], "{:.3f}"),
        "quality": measured(scores["quality"], "{:.2f}"), "seed": str(shown.result.seeds[at]),
        "solver": f"{kept.get('solver')}, {kept.get('steps')} steps", "guidance": f"{kept.get('guidance'):g}",
        **({"age emphasis": f"{kept['emphasis']:g}"} if kept.get("emphasis") else {})})
