"""The tab `vectors`: 512 numbers, drawn at random or taken from a face, become a person."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from core import pipelines
from core.errors import FacetError
from core.pipelines.numbers import MOST
from core.pipelines.vectors import MAX_SIGMA, Result, Source
from spaces import GPU, vectors_api, widgets
from spaces.vectors_sources import Change, Chosen, Sources, turned

FIRST = {"seed": 1, "count": 12, "sigma": 0.5}      # what the page opens with
HONEST = ("The network that ships is small and has only ever seen **drawn** faces, so it draws drawn people: a photo "
          "comes back as a drawn face with something of its look, not as a portrait.")
LEGEND = ("Under each face: its similarity to the source, and its seed. Similarity is the cosine between the source's "
          "numbers and those that {embedder} finds in the picture; 1 is the same. The generator was trained with that "
          "network's help.")
SHOW = """() => document.querySelector('%s')?.scrollIntoView(
  {behavior: 'smooth', block: innerWidth < 760 ? 'start' : 'nearest'})"""      # on a phone, results lie below


@GPU
def make(kind: str, sources: tuple[Source, ...], count: int, sigma: float, seed: int | None) -> Iterator[Result]:
    """The pictures, a few more each time."""
    system = pipelines.load("vectors")
    yield from system.people(seed, count) if kind == "people" else system.sheet(sources, sigma, count, seed)


def tab(demo: gr.Blocks) -> None:
    """Fill the tab; its first faces are drawn when the page opens."""
    Tab().listen(demo)
    vectors_api.endpoints()


class Tab:
    """The widgets by name, and what happens when they are used; a handler returns the widgets it changes."""

    def __init__(self) -> None:
        self.shown, self.at = gr.State(None), gr.State(0)      # the pictures on show; which of them is picked
        self.notice = gr.HTML(elem_id="notice", render=False)
        with gr.Row(elem_classes="desk"):
            with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                self.sources = Sources(self.notice)
                self.build_settings()
            with gr.Column(scale=9, min_width=300, elem_classes="results"):
                self.build_results()
        self.footer = gr.HTML(elem_id="facts")

    def build_settings(self) -> None:
        """How many, how different, which seed; and a picture's own settings back."""
        with gr.Group(elem_classes="settings"):
            self.count = gr.Slider(1, MOST, FIRST["count"], step=1, label="How many", elem_id="count")
            self.sigma = gr.Slider(0, MAX_SIGMA, FIRST["sigma"], step=0.05, label="How different (σ)", visible=False,
                                   info="0.3 a little · 0.9 somebody else", elem_id="sigma")
            self.seed, self.mode = widgets.seed_row(FIRST["seed"])
        self.generate, self.stop = widgets.run_row()
        with gr.Accordion("Bring a picture's settings back", open=False, elem_id="restore"):
            self.picture = gr.File(label="A PNG made here", elem_id="png", height=110)

    def build_results(self) -> None:
        """Faces, what is known about the one picked, and downloads."""
        self.notice.render()
        self.status = gr.HTML(widgets.progress(0, 1, "Waking up …"), elem_id="status")
        self.gallery = gr.Gallery(show_label=False, columns=4, height="auto", allow_preview=False, buttons=[],
                                  interactive=False, elem_id="gallery", elem_classes="faces", object_fit="cover")
        with gr.Row(visible=False, elem_classes="detail") as self.detail:
            self.strip = gr.Image(label="The 512 numbers of this face", show_label=False, interactive=False, buttons=[],
                                  elem_id="strip", min_width=240)
            with gr.Column(min_width=240):
                self.facts = gr.HTML(elem_id="picked")
                with gr.Row(elem_classes="buttons"):
                    self.vary = gr.Button("More like this", size="sm", min_width=120, elem_id="vary")
                    self.png = gr.DownloadButton("PNG", size="sm", min_width=80, elem_id="download-png")
                    self.one = gr.DownloadButton("Numbers (.npy)", size="sm", min_width=120, elem_id="download-npy")
        with gr.Row(elem_classes="buttons"):
            self.zip = gr.DownloadButton("All pictures (ZIP)", size="sm", interactive=False, elem_id="download-zip")
            self.all = gr.DownloadButton("All numbers (.npy)", size="sm", interactive=False, elem_id="download-all")
        self.legend = gr.Markdown(elem_classes="hint")
        gr.Markdown(HONEST, elem_classes="hint honest")

    def listen(self, demo: gr.Blocks) -> None:
        """Draw when asked, when a setting is let go, when there is a new source, and when the page opens."""
        on, chosen, kind = widgets.private, self.sources.chosen, self.sources.kind
        self.sources.listen(self.count, self.sigma, self.seed, self.mode, self.picture)
        on(self.generate.click, self.ask, {"mode": self.mode, "seed": self.seed}, [self.seed, self.sources.turn])
        picked = [self.at, self.detail, self.strip, self.facts, self.png, self.one]
        running = [self.status, self.generate, self.stop, self.zip, self.all, *picked]
        drawing = on([demo.load, self.sources.turn.change, self.count.release, self.sigma.release, self.seed.submit],
                     self.draw, {"kind": kind, "count": self.count, "sigma": self.sigma, "seed": self.seed,
                                 "chosen": chosen}, [self.shown, self.notice, self.gallery, self.seed, *running],
                     concurrency_id="gpu", concurrency_limit=1, trigger_mode="always_last")
        on(self.stop.click, self.halt, {"shown": self.shown}, running, cancels=[drawing])
        on(self.gallery.select, self.pick, {"shown": self.shown}, picked)
        on(self.vary.click, self.more_like, {"shown": self.shown, "at": self.at, "chosen": chosen},
           [kind, chosen, self.sources.turn, self.sources.loaded])
        self.generate.click(None, js=SHOW % "#status", **widgets.QUIET)
        self.gallery.select(None, js=SHOW % ".detail", **widgets.QUIET)
        on(demo.load, self.describe, {}, [self.footer, self.legend])

    def ask(self, mode: str, seed: float | None) -> Change:
        """Settle the seed and begin."""
        return {self.seed: widgets.next_seed(mode, seed), self.sources.turn: turned()}

    def draw(self, kind: str, count: int, sigma: float, seed: int | None, chosen: Chosen) -> Iterator[Change]:
        """Show pictures as they come; a notice instead when something is missing."""
        began, result = time.monotonic(), None
        try:
            sources = chosen.sources(kind)
            yield {self.generate: gr.update(visible=False), self.stop: gr.update(visible=True),
                   self.status: widgets.progress(0, count, "Beginning …")}
            for result in make(kind, sources, count, sigma, seed):
                yield {self.shown: result, self.gallery: gr.update(value=tiles(result), selected_index=None),
                       self.seed: result.seeds[0],
                       self.status: widgets.progress(len(result.images), result.total, counted(result, kind))}
            words = f"{counted(result, kind)} in {time.monotonic() - began:.1f} s"
            yield {**self.ended(result, words), self.gallery: gr.update(selected_index=0)}
        except Exception as error:
            understood = error if isinstance(error, FacetError) else widgets.unforeseen(error)
            yield {**self.ended(result, ""), self.notice: widgets.sentence(understood)}

    def halt(self, shown: Result | None) -> Change:
        """Stopped: what there is stays."""
        unfinished = shown is not None and len(shown.images) < shown.total
        return self.ended(shown, f"Stopped after {len(shown.images)} of {shown.total}" if unfinished else "Stopped")

    def ended(self, result: Result | None, words: str) -> Change:
        """Ready for the next; what was made can be downloaded, and the first of it is looked at."""
        ready = {self.generate: gr.update(visible=True), self.stop: gr.update(visible=False),
                 self.status: widgets.progress(1, 1, words)}
        if result is None:
            return ready
        system = pipelines.load("vectors")
        return {**ready, **self.look_at(result, 0), self.zip: gr.update(value=system.zip(result), interactive=True),
                self.all: gr.update(value=system.npy(result.vectors), interactive=True)}

    def pick(self, shown: Result, event: gr.SelectData) -> Change:
        """Look at the face that was clicked."""
        return self.look_at(shown, event.index)

    def look_at(self, result: Result, at: int) -> Change:
        """One face: its numbers as a strip, its settings, its files."""
        system, vector = pipelines.load("vectors"), result.vectors[at]
        return {self.at: at, self.detail: gr.update(visible=True), self.strip: system.strip(vector),
                self.facts: told_of(result.settings[at], at), self.png: result.images[at],
                self.one: system.npy(vector[None])}

    def more_like(self, shown: Result, at: int, chosen: Chosen) -> Change:
        """Vary the face that is looked at: its numbers become the source."""
        source = Source("vector", np.array(shown.vectors[at]), label=f"like seed {shown.seeds[at]}")
        return {self.sources.kind: "vector", self.sources.chosen: chosen.with_vectors((source,)),
                self.sources.turn: turned(), self.sources.loaded: f"The face with seed {shown.seeds[at]}, now varied."}

    def describe(self) -> Change:
        """What computes here, in the footer, and who judges likeness, in the legend."""
        try:
            about = pipelines.load("vectors").about
        except FacetError as error:
            return {self.footer: widgets.sentence(error), self.legend: ""}
        return {self.footer: widgets.facts({
            "checkpoint": f"{about['checkpoint']} {about['sha256'][:8]}", "attention": about["kernel"],
            "device": about["device"], "Facet": about["version"], "torch": about["torch"], "gradio": gr.__version__,
        }), self.legend: LEGEND.format(embedder=about["embedder"])}


def tiles(result: Result) -> list[tuple[str, str]]:
    """Pictures with their captions."""
    return [(image, f"similarity {kept['similarity']:.2f}\n{named(kept)}")
            for image, kept in zip(result.images, result.settings, strict=True)]


def named(kept: dict[str, Any]) -> str:
    """The seed, or that no seed had a part in it."""
    return f"seed {kept['seed']}" if seeded(kept) else "as it is"


def seeded(kept: dict[str, Any]) -> bool:
    """Whether chance had a part in a picture: not when it shows the source's own numbers."""
    return bool(kept["sigma"]) or kept["source"] == "people"


def counted(result: Result, kind: str) -> str:
    """How many there are, in words."""
    made, words = len(result.images), ("person", "people") if kind == "people" else ("picture", "pictures")
    return f"{made} of {result.total}" if made < result.total else f"{made} {words[made != 1]}"


def told_of(kept: dict[str, Any], at: int) -> str:
    """What made a picture, for the page."""
    source = {"people": "a random person", "drawn": kept["label"], "photo": "a photo", "vector": "given numbers"}
    facts = {"face": str(at + 1), "from": source[kept["source"]], "similarity": f"{kept['similarity']:.3f}"}
    sigma = {} if kept["source"] == "people" else {"σ": f"{kept['sigma']:g}"}
    return widgets.facts(facts | sigma | ({"seed": str(kept["seed"])} if seeded(kept) else {}))
