"""The tab `vectors`: 512 numbers, random or taken from a face, become a person."""

from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
import numpy as np

from core.engine.result import Restored, Result
from core.systems.vectors.choices import Choice
from core.systems.vectors.request import Draw, FaceRequest, Source
from spaces import charts, vectors_api, widgets
from spaces.fields import field
from spaces.tab import Shown, SystemTab
from spaces.vectors_moves import Moves, request_of
from spaces.vectors_sources import Chosen, Sources
from spaces.widgets import Change, new_run_id

FIRST = {"seed": 344, "count": 12, "sigma": 0.5}      # what the page opens with


def tab(opens: Any) -> None:
    """Fill the tab; its first faces are shown when it opens. opens: the event of that."""
    Tab().listen(opens)
    vectors_api.endpoints()


class Tab(SystemTab):
    """The widgets of the tab by name."""

    system = "vectors"
    description = "Faces are being generated for another visitor"
    seconds = Draw.expected
    legend_text = ("Under each face: its similarity to the source, and its seed. Similarity is the cosine between the "
                   "source's vector and the one that {embedder} reads from the picture; 1 is the same. The generator "
                   "was trained with that network's help.")
    ours = ("The network that ships is small and has only ever seen **drawn** faces, so it draws drawn people: a photo "
            "becomes a drawn face with something of its look, not a portrait.")
    theirs = ("This network was trained by its authors on photos of real people. What it draws can look like a person "
              "who exists; use photos of people who agree.")
    more = "to turn faces"
    downloads: ClassVar = {**SystemTab.downloads, "numbers": "All vectors (.npy)", "strip": "One strip (PNG)",
                           "film": "Film (GIF)"}

    def build_controls(self) -> None:
        """Sources, actions, and how many faces of which seed."""
        self.sources = Sources(self.notice, self.run, self.brought_back, self.cleared)
        self.moves = Moves()
        with gr.Group(elem_classes="settings"):
            self.count = field(Draw, "count", value=FIRST["count"], elem_id="count")
            self.sigma = field(Draw, "sigma", value=FIRST["sigma"], visible=False, elem_id="sigma")
            self.seed, self.mode = widgets.seed_row(FIRST["seed"])
        self.generate, self.stop = widgets.run_row()

    def build_outputs(self) -> None:
        """One face: its vector as a strip, what made it, its files."""
        with gr.Row(visible=False, elem_classes="detail") as self.detail:
            self.beside = gr.Gallery(show_label=False, columns=2, height="auto", allow_preview=False, buttons=[],
                                     interactive=False, visible=False, min_width=240, elem_id="beside",
                                     elem_classes="faces two")
            self.strip = gr.Image(label="The 512 numbers of this face", show_label=False, interactive=False, buttons=[],
                                  elem_id="strip", min_width=240)
            with gr.Column(min_width=240):
                self.facts = gr.HTML(elem_id="picked", elem_classes="plain")
                with gr.Row(elem_classes="buttons"):
                    self.vary = gr.Button("More like this", size="sm", min_width=120, elem_id="vary")
                    self.there = gr.Button("Walk to this", size="sm", min_width=120, elem_id="there")
                    self.png = gr.DownloadButton("PNG", size="sm", min_width=80, elem_id="download-png")
                    self.one = gr.DownloadButton("Vector (.npy)", size="sm", min_width=120, elem_id="download-npy")

    def build_charts(self) -> None:
        """How similar new people are to one another."""
        self.alike = gr.HTML(visible=False, elem_id="alike", elem_classes="plain")

    @property
    def inputs(self) -> dict[str, Any]:
        """What `request_of` reads."""
        return {"kind": self.sources.kind, "count": self.count, "sigma": self.sigma, "seed": self.seed,
                "chosen": self.sources.chosen, **self.moves.widgets}

    @property
    def outputs(self) -> list:
        """What a run changes."""
        return [self.seed, self.alike, *self.detailed]

    @property
    def detailed(self) -> list:
        """What `look_at` changes."""
        return [self.index, self.detail, self.beside, self.strip, self.facts, self.png, self.one]

    @property
    def restored_outputs(self) -> list:
        """What a restored picture changes."""
        return [self.count, self.sigma, self.seed, self.mode, *self.sources.restored_outputs, *self.moves.restored]

    @property
    def uses_outputs(self) -> list:
        """What another checkpoint changes."""
        return [*self.sources.picked, self.moves.similarity, self.moves.quality, self.moves.other, self.moves.goal]

    def listen(self, opens: Any) -> None:
        """Also: settings that generate when released, and the face that is picked."""
        super().listen(opens)
        on, chosen, picked = widgets.private, self.sources.chosen, {"shown": self.shown, "index": self.index}
        self.sources.listen([self.notice, self.run, *self.restored_outputs], self.running)
        self.moves.listen(self.sources.kind, self.count, self.sigma, self.strip, self.notice)
        on(self.generate.click, self.ask, {"mode": self.mode, "seed": self.seed}, [self.seed, self.run])
        on([self.count.release, self.sigma.release, self.seed.submit], new_run_id, {}, [self.run])
        on(self.gallery.select, self.pick, {"shown": self.shown}, self.detailed)
        on(self.vary.click, self.more_like, {**picked, "chosen": chosen},
           [self.sources.kind, self.moves.action, chosen, self.run, self.sources.loaded])
        on(self.there.click, self.walk_there, picked, [self.moves.action, self.moves.other, self.moves.goal, self.run])

    # ------------------------------------------------------------------------------------------------------ running

    def ask(self, mode: str, seed: float | None) -> Change:
        """Settle the seed and start."""
        return {self.seed: widgets.next_seed(mode, seed), self.run: new_run_id()}

    def wanted(self, checkpoint: str, **values: Any) -> FaceRequest:
        """The request of the chosen action."""
        return request_of(**values)

    def started(self, **values: Any) -> Change:
        """Histograms are of the finished run only."""
        return {self.alike: gr.update(visible=False)}

    def showing(self, shown: Shown, first: bool) -> Change:
        """Faces with captions; the first is marked once, because the page takes a mark for a click."""
        faces, drawn = tiles(shown.result), shown.request.action in ("draw", "steer")
        return {self.gallery: gr.update(value=faces, selected_index=0) if first else faces,
                **({self.index: 0, self.detail: gr.update(visible=False)} if first else {}),
                **({self.seed: shown.result.seeds[0]} if drawn else {})}

    def finished(self, shown: Shown, stopped: bool) -> Change:
        """The first face in detail, and how similar all are."""
        return {**self.look_at(shown, 0), **({} if stopped else self.compared(shown))}

    def emptied(self) -> Change:
        """No face in detail, no histograms."""
        return {self.detail: gr.update(visible=False), self.alike: gr.update(visible=False)}

    def progress_text(self, shown: Shown) -> str:
        """How many faces there are so far."""
        return counted(shown.result, shown.request.source)

    count_text = progress_text

    def compared(self, shown: Shown) -> Change:
        """How similar new people are to one another; nothing for other pictures."""
        result = shown.result
        if len(result.images) < 2 or any(kept["source"] != "people" for kept in result.settings):
            return {}
        alike = shown.pipeline.alike(result)
        plots = [charts.histogram(title, alike.edges.tolist(), counts.tolist(), "pairs") for title, counts in
                 (("Similarity of pairs of people, by their vectors", alike.numbers),
                  ("and by their pictures", alike.pictures))]
        return {self.alike: gr.update(value=f'<div class="pair">{"".join(plots)}</div>', visible=True)}

    # ----------------------------------------------------------------------------------------------- the picked face

    def pick(self, shown: Shown | None, event: gr.SelectData) -> Change:
        """Show the face that was clicked, if it is still there."""
        there = shown is not None and event.index < len(shown.result.images)
        return self.look_at(shown, event.index) if there else {self.index: 0}

    def look_at(self, shown: Shown, index: int) -> Change:
        """One face beside the picture that it came from, if any; its vector as a strip, its settings, its files."""
        result, pipeline = shown.result, shown.pipeline
        vector = result.vectors[index]
        return {self.index: index, self.detail: gr.update(visible=True), self.strip: pipeline.strip(vector),
                self.beside: pair_of(shown.request, result.images[index]),
                self.facts: facts_of(result.settings[index], index), self.png: result.images[index],
                self.one: pipeline.npy(vector[None])}

    def more_like(self, shown: Shown, index: int, chosen: Chosen) -> Change:
        """Vary the picked face: its vector becomes the source."""
        result = shown.result
        source = Source("vector", np.array(result.vectors[index]), label=f"like seed {result.seeds[index]}")
        return {self.sources.kind: "vector", self.sources.chosen: chosen.with_vectors((source,)),
                self.moves.action: "draw", self.run: new_run_id(),
                self.sources.loaded: f"The face with seed {result.seeds[index]} is the source now."}

    def walk_there(self, shown: Shown, index: int) -> Change:
        """Walk from the source to the picked face."""
        result = shown.result
        goal = Source("vector", np.array(result.vectors[index]), label=f"{index + 1}, {named(result.settings[index])}")
        return {self.moves.action: "walk", self.moves.other: goal, self.moves.goal: self.moves.towards(goal),
                self.run: new_run_id()}

    # --------------------------------------------------------------------------------- restoring, other checkpoints

    def restored(self, kept: Restored, chosen: Chosen, **values: Any) -> Change:
        """Every widget as the request of the picture set it."""
        request = kept.request
        sigma = {self.sigma: request.sigma} if getattr(request, "sigma", None) is not None and request.faces else {}
        return {self.count: request.count, self.seed: request.seed, self.mode: widgets.FIXED_SEED, **sigma,
                **self.sources.source_of(request, chosen), **self.moves.restore(request)}

    def uses(self, choice: Choice) -> Change:
        """Nothing is chosen any more; quality and similarity are counted as this checkpoint does."""
        quality = choice.quality
        return {**self.sources.emptied(choice.name), self.moves.similarity: choice.similarity, self.moves.other: None,
                self.moves.goal: self.moves.towards(None),
                self.moves.quality: gr.update(maximum=quality.most, value=quality.usual, step=quality.most / 20)}


def pair_of(request: FaceRequest, path: str) -> dict[str, Any]:
    """A gallery of the photo or drawn person that a request starts from and of one picture; hidden without the first.
    """
    source = next(iter(request.faces), None)
    before = None if source is None else source.picture
    if before is None or not Path(before).exists():      # pictures of earlier visits are deleted after some hours
        return gr.update(value=None, visible=False)
    return gr.update(value=[(before, "Photo" if source.kind == "photo" else "Drawn person"), (path, "From its vector")],
                     visible=True)


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


def counted(result: Result, kind: str) -> str:
    """How many there are, in words."""
    if "missed" in result.settings[0]:
        there = sum(not kept["missed"] for kept in result.settings)
        return f"Step {result.step} of {result.steps} at most: {there} of {result.total} as asked"
    made, words = len(result.images), ("person", "people") if kind == "people" else ("picture", "pictures")
    words = ("step", "steps") if "move" in result.settings[0] else words
    return f"{made} of {result.total}" if made < result.total else f"{made} {words[made != 1]}"


def facts_of(kept: dict[str, Any], at: int) -> str:
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
