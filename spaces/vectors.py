"""The tab `vectors`: 512 numbers, drawn at random or taken from a face, become a person."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import pandas

from core import systems
from core.engine.result import Result
from core.errors import FacetError
from core.systems.vectors.choices import Choice
from core.systems.vectors.request import Draw, Source
from spaces import api, vectors_api, widgets
from spaces.fields import field
from spaces.line import LINE, Waiting, who
from spaces.network import Network
from spaces.vectors_moves import Moves, asked, left_from, make
from spaces.vectors_sources import Chosen, Sources
from spaces.widgets import Change, turned, unchanged

FIRST = {"seed": 1, "count": 12, "sigma": 0.5}      # what the page opens with
LEGEND = ("Under each face: its similarity to the source, and its seed. Similarity is the cosine between the source's "
          "numbers and those that {embedder} finds in the picture; 1 is the same. The generator was trained with that "
          "network's help.")
OURS = ("The network that ships is small and has only ever seen **drawn** faces, so it draws drawn people: a photo "
        "comes back as a drawn face with something of its look, not as a portrait.")
THEIRS = ("This network was trained by its authors on photos of real people. What it draws can look like somebody who "
          "exists; use photos of people who agree.")


def tab(opens: Any) -> None:
    """Fill the tab; its first faces are drawn when it opens. opens: the event of that."""
    Tab().listen(opens)
    vectors_api.endpoints()
    api.endpoints(systems.SYSTEMS["vectors"])


class Tab:
    """The widgets by name, and what happens when they are used; a handler returns the widgets it changes."""

    def __init__(self) -> None:
        self.shown, self.at = gr.State(None), gr.State(0)      # the pictures on show; which of them is picked
        self.notice = gr.HTML(elem_id="notice", elem_classes="plain alone", render=False)
        with gr.Row(elem_classes="desk"):
            with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                self.sources = Sources(self.notice)
                self.moves = Moves()
                self.build_settings()
                self.network = Network(self.notice, "vectors", OURS, THEIRS, more="to turn faces")
            with gr.Column(scale=9, min_width=300, elem_classes="results"):
                self.build_results()
        self.footer = gr.HTML(elem_id="facts", elem_classes="plain foot")
        self.waiting = Waiting(self.status, "vectors", Draw.expected, (self.generate, self.stop))

    def build_settings(self) -> None:
        """How many, how different, which seed; and a picture's own settings back."""
        with gr.Group(elem_classes="settings"):
            self.count = field(Draw, "count", value=FIRST["count"], elem_id="count")
            self.sigma = field(Draw, "sigma", value=FIRST["sigma"], visible=False, elem_id="sigma")
            self.seed, self.mode = widgets.seed_row(FIRST["seed"])
        self.generate, self.stop = widgets.run_row()
        with gr.Accordion("Bring a picture's settings back", open=False, elem_id="restore"):
            self.picture = gr.File(label="A PNG made here", elem_id="png", height=110)

    def build_results(self) -> None:
        """Faces, what is known about the one picked, and downloads."""
        self.notice.render()
        self.status = gr.HTML(widgets.progress(0, 1, "Waking up …"), elem_id="status", elem_classes="plain")
        self.gallery = gr.Gallery(show_label=False, columns=4, height="auto", allow_preview=False, buttons=[],
                                  interactive=False, elem_id="gallery", elem_classes="faces", object_fit="cover")
        with gr.Row(visible=False, elem_classes="detail") as self.detail:
            self.strip = gr.Image(label="The 512 numbers of this face", show_label=False, interactive=False, buttons=[],
                                  elem_id="strip", min_width=240)
            with gr.Column(min_width=240):
                self.facts = gr.HTML(elem_id="picked", elem_classes="plain")
                with gr.Row(elem_classes="buttons"):
                    self.vary = gr.Button("More like this", size="sm", min_width=120, elem_id="vary")
                    self.there = gr.Button("Walk to this", size="sm", min_width=120, elem_id="there")
                    self.png = gr.DownloadButton("PNG", size="sm", min_width=80, elem_id="download-png")
                    self.one = gr.DownloadButton("Numbers (.npy)", size="sm", min_width=120, elem_id="download-npy")
        with gr.Row(elem_classes="buttons"):
            self.zip = gr.DownloadButton("All pictures (ZIP)", size="sm", interactive=False, elem_id="download-zip")
            self.all = gr.DownloadButton("All numbers (.npy)", size="sm", interactive=False, elem_id="download-all")
            self.row = gr.DownloadButton("One strip (PNG)", size="sm", interactive=False, elem_id="download-strip")
            self.film = gr.DownloadButton("A film (GIF)", size="sm", visible=False, elem_id="download-gif")
        with gr.Row(visible=False, elem_id="alike") as self.alike:
            self.numbers, self.pictures = (bars(title) for title in
                                           ("Pairs of people, by their numbers", "and by their pictures"))
        self.legend = gr.Markdown(elem_classes="hint")
        self.network.honest.render()

    def listen(self, opens: Any) -> None:
        """Draw when asked, when a setting is let go, when there is a new source, and when the tab opens."""
        on, chosen, kind, turn = widgets.private, self.sources.chosen, self.sources.kind, self.sources.turn
        self.sources.listen(self.count, self.sigma, self.seed, self.mode, self.picture, self.moves)
        self.moves.listen(kind, self.count, self.sigma, self.strip, self.notice)
        self.network.listen(self.uses, [*self.sources.picked, self.moves.similarity, self.moves.quality])
        on(self.generate.click, self.ask, {"mode": self.mode, "seed": self.seed}, [self.seed, turn])
        on([self.count.release, self.sigma.release, self.seed.submit], turned, {}, [turn])
        picked = [self.at, self.detail, self.strip, self.facts, self.png, self.one]
        running = [self.shown, self.status, self.waiting.clock, self.generate, self.stop, self.zip, self.all, self.row,
                   self.film, self.alike, self.numbers, self.pictures, *picked]
        asked = {"kind": kind, "count": self.count, "sigma": self.sigma, "seed": self.seed, "chosen": chosen}
        on([opens, turn.change], self.draw, asked | self.moves.widgets | {"turn": turn},
           [self.notice, self.gallery, self.seed, *running], **widgets.GPU_TURN, trigger_mode="always_last")
        self.waiting.listen([opens, turn.change])
        on(self.stop.click, self.halt, {"turn": turn}, running, queue=False)
        on(self.gallery.select, self.pick, {"shown": self.shown}, picked)
        on(self.vary.click, self.more_like, {"shown": self.shown, "at": self.at, "chosen": chosen},
           [kind, self.moves.action, chosen, self.sources.turn, self.sources.loaded])
        on(self.there.click, self.walk_there, {"shown": self.shown, "at": self.at},
           [self.moves.action, self.moves.other, self.moves.goal, self.sources.turn])
        self.generate.click(None, js=widgets.show("#status"), **widgets.QUIET)
        self.gallery.select(None, js=widgets.show("#vectors .detail"), **widgets.QUIET)
        on(self.network.active.change, self.forget, {}, [self.moves.other, self.moves.goal], queue=False)
        on([opens, self.network.active.change], self.describe, {"chosen": chosen}, [self.footer, self.legend])

    def ask(self, mode: str, seed: float | None) -> Change:
        """Settle the seed and begin."""
        return {self.seed: widgets.next_seed(mode, seed), self.sources.turn: turned()}

    def draw(self, kind: str, count: int, sigma: float, seed: int | None, chosen: Chosen, action: str,
             other: Source | None, offsets: str, turn_on: bool, yaw: float, clear_on: bool, quality: float, limit: int,
             similarity: float, threshold: float, turn: str, request: gr.Request) -> Iterator[Change]:
        """Show pictures as they come; a notice instead when something is missing."""
        began, result, mine = time.monotonic(), None, who(request, "vectors")
        try:
            wanted = asked(kind, count, sigma, seed, chosen, action, other, offsets, turn_on, yaw, clear_on, quality,
                           limit, similarity, threshold).checked()
            yield {**self.waiting.over(request), self.alike: gr.update(visible=False),
                   **({} if turn.endswith(widgets.NOTICE) else {self.notice: ""}),
                   self.generate: gr.update(visible=False), self.stop: gr.update(visible=True),
                   self.status: widgets.progress(0, count, "Beginning …")}
            if LINE.stopped(job(mine, turn)):
                yield self.ended(None, "Stopped")
                return
            marked = True       # once, early: the page takes it for a click
            work = LINE.turn(mine, "Somebody's faces are being drawn", Draw.expected,
                             make(chosen.checkpoint, wanted), left_from(began), job(mine, turn))
            for result in work:
                faces = tiles(result)
                yield {self.shown: result, **(self.unlooked() if marked else {}),
                       self.gallery: gr.update(value=faces, selected_index=0) if marked else faces,
                       **({self.seed: result.seeds[0]} if action in ("draw", "steer") else {}),
                       self.status: widgets.progress(result.step, result.steps, counted(result, kind))}
                marked = False
                if LINE.stopped(job(mine, turn)):
                    work.close()
                    yield self.ended(result, stopped_at(result))
                    return
            words = f"{counted(result, kind)} {widgets.took(time.monotonic() - began)}"
            yield {**self.ended(result, words), **self.compared(result, chosen)}
        except Exception as error:
            understood = error if isinstance(error, FacetError) else widgets.unforeseen(error)
            # not of `result`: what failed may be what makes it ready for download
            yield {**self.ended(None, ""), self.notice: widgets.sentence(understood)}

    def halt(self, turn: str, request: gr.Request) -> Change:
        """End with what there is at the next picture, or don't begin."""
        mine = who(request, "vectors")
        if LINE.halt(mine, job(mine, turn)):
            return unchanged(self.status)
        return {**self.waiting.over(request), **self.ended(None, "Stopped")}

    def ended(self, result: Result | None, words: str) -> Change:
        """Ready for the next; what was made can be downloaded, and the first of it is looked at."""
        ready = {self.generate: gr.update(visible=True), self.stop: gr.update(visible=False),
                 self.status: widgets.progress(1, 1, words)}
        if result is None:
            return ready
        system, walked = systems.load("vectors"), "move" in result.settings[0]
        return {**ready, **self.look_at(result, 0), self.zip: gr.update(value=system.zip(result), interactive=True),
                self.all: gr.update(value=system.npy(result.vectors), interactive=True),
                self.row: gr.update(value=system.strip_of(result), interactive=True),
                self.film: gr.update(value=system.film(result) if walked else None, visible=walked)}

    def compared(self, result: Result, chosen: Chosen) -> Change:
        """How like one another new people are; nothing for other pictures."""
        if len(result.images) < 2 or any(kept["source"] != "people" for kept in result.settings):
            return {}
        alike = chosen.system.alike(result)
        middles = (alike.edges[1:] + alike.edges[:-1]) / 2
        plots = {plot: pandas.DataFrame({"cosine": middles.round(3), "pairs": pairs}) for plot, pairs in
                 ((self.numbers, alike.numbers), (self.pictures, alike.pictures))}
        return {self.alike: gr.update(visible=True), **plots}

    def pick(self, shown: Result | None, event: gr.SelectData) -> Change:
        """Look at the face that was clicked, if it is still there."""
        there = shown is not None and event.index < len(shown.images)
        return self.look_at(shown, event.index) if there else {self.at: 0}

    def unlooked(self) -> Change:
        """The face that was looked at is no longer on show."""
        return {self.at: 0, self.detail: gr.update(visible=False)}

    def look_at(self, result: Result, at: int) -> Change:
        """One face: its numbers as a strip, its settings, its files."""
        system, vector = systems.load("vectors"), result.vectors[at]
        return {self.at: at, self.detail: gr.update(visible=True), self.strip: system.strip(vector),
                self.facts: told_of(result.settings[at], at), self.png: result.images[at],
                self.one: system.npy(vector[None])}

    def more_like(self, shown: Result, at: int, chosen: Chosen) -> Change:
        """Vary the face that is looked at: its numbers become the source."""
        source = Source("vector", np.array(shown.vectors[at]), label=f"like seed {shown.seeds[at]}")
        return {self.sources.kind: "vector", self.sources.chosen: chosen.with_vectors((source,)),
                self.moves.action: "draw", self.sources.turn: turned(),
                self.sources.loaded: f"The face with seed {shown.seeds[at]}, now varied."}

    def walk_there(self, shown: Result, at: int) -> Change:
        """Walk from the source to the face that is looked at."""
        goal = Source("vector", np.array(shown.vectors[at]), label=f"{at + 1}, {named(shown.settings[at])}")
        return {self.moves.action: "walk", self.moves.other: goal, self.moves.goal: self.moves.towards(goal),
                self.sources.turn: turned()}

    def forget(self) -> Change:
        """The end of a walk means nothing to another checkpoint."""
        return {self.moves.other: None, self.moves.goal: self.moves.towards(None)}

    def uses(self, choice: Choice) -> Change:
        """What changes with the checkpoint: nothing is chosen any more, quality and likeness are counted as it does."""
        quality = choice.quality
        return {**self.sources.emptied(choice.name), self.moves.similarity: choice.similarity,
                self.moves.quality: gr.update(maximum=quality.most, value=quality.usual, step=quality.most / 20)}

    def describe(self, chosen: Chosen) -> Change:
        """What computes here, in the footer, and who judges likeness, in the legend."""
        try:
            about = chosen.system.about
        except FacetError as error:
            return {self.footer: widgets.sentence(error), self.legend: ""}
        return {self.footer: widgets.computed_by(about), self.legend: LEGEND.format(embedder=about["embedder"])}


def bars(title: str) -> gr.BarPlot:
    """A histogram of cosines."""
    return gr.BarPlot(x="cosine", y="pairs", title=title, x_lim=[-1, 1], height=200, min_width=260, show_label=False,
                      x_title="cosine", y_title="pairs", buttons=[])


def tiles(result: Result) -> list[tuple[str, str]]:
    """Pictures with their captions."""
    return [(image, f"similarity {kept['similarity']:.2f}\n{named(kept)}")
            for image, kept in zip(result.images, result.settings, strict=True)]


def named(kept: dict[str, Any]) -> str:
    """The step, how near what was asked it is, the seed, or that no seed had a part in it."""
    if "move" in kept:
        return f"step {kept['step']} of {kept['steps']}"
    if "missed" in kept:
        asked = f"missed {', '.join(kept['missed'])}" if kept["missed"] else "as asked"
        return f"yaw {kept['yaw']:.0f}°\nquality {kept['quality']:.2f}\n{asked}"
    return f"seed {kept['seed']}" if seeded(kept) else "as it is"


def seeded(kept: dict[str, Any]) -> bool:
    """Whether chance had a part in a picture: not when it shows the source's own numbers."""
    return bool(kept["sigma"]) or kept["source"] == "people"


def job(page: str, turn: str) -> str:
    """The name of one drawing on one page."""
    return f"{page}:{turn}"


def stopped_at(result: Result) -> str:
    """Where a drawing was stopped, in words."""
    return f"Stopped after {result.step} of {result.steps}" if result.step < result.steps else "Stopped"


def counted(result: Result, kind: str) -> str:
    """How many there are, in words."""
    if "missed" in result.settings[0]:
        there = sum(not kept["missed"] for kept in result.settings)
        return f"Step {result.step} of {result.steps} at most: {there} of {result.total} as asked"
    made, words = len(result.images), ("person", "people") if kind == "people" else ("picture", "pictures")
    words = ("step", "steps") if "move" in result.settings[0] else words
    return f"{made} of {result.total}" if made < result.total else f"{made} {words[made != 1]}"


def told_of(kept: dict[str, Any], at: int) -> str:
    """What made a picture, for the page."""
    source = {"people": "a random person", "drawn": kept["label"], "photo": "a photo", "vector": "given numbers"}
    facts = {"face": str(at + 1), "from": source[kept.get("origin", kept["source"])],
             "similarity": f"{kept['similarity']:.3f}"}
    if "move" in kept:
        return widgets.facts(facts | {kept["move"]: f"step {kept['step']} of {kept['steps']}"})
    if "missed" in kept:
        missed = ", ".join(kept["missed"]) or "nothing"
        return widgets.facts(facts | {"yaw": f"{kept['yaw']:.1f}°", "quality": f"{kept['quality']:.2f}",
                                      "missed": missed, "at step": str(kept["iterations"])})
    sigma = {} if kept["source"] == "people" else {"σ": f"{kept['sigma']:g}"}
    return widgets.facts(facts | sigma | ({"seed": str(kept["seed"])} if seeded(kept) else {}))
