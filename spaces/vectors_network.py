"""Which checkpoint the tab `vectors` draws with: what each is, its terms, fetching one when it is asked for."""

import html
from collections.abc import Iterator

import gradio as gr

from core.errors import FacetError
from core.pipelines import checkpoints
from core.pipelines.checkpoints import Choice, Facts
from spaces import widgets
from spaces.vectors_sources import Change, Chosen, Sources, turned

OURS = ("The network that ships is small and has only ever seen **drawn** faces, so it draws drawn people: a photo "
        "comes back as a drawn face with something of its look, not as a portrait.")
THEIRS = ("This network was trained by its authors on photos of real people. What it draws can look like somebody who "
          "exists; use photos of people who agree.")


class Network:
    """The panel by name. The checkpoint in use is `Sources.chosen.checkpoint`; numbers of one mean nothing to another,
    so faces chosen before are let go when it changes."""

    def __init__(self, notice: gr.HTML, sources: Sources) -> None:
        self.notice, self.sources, self.active = notice, sources, gr.State("tiny")
        with gr.Accordion("Network", open=False, elem_id="network"):
            self.choice = gr.Radio([(choice.label, choice.name) for choice in checkpoints.choices("vectors")],
                                   value="tiny", label="Checkpoint", elem_id="checkpoint")
            self.about = gr.HTML(elem_id="about-checkpoint")
            self.turning = gr.Checkbox(False, label="Also what turning takes", visible=False, elem_id="with-steering")
            self.agree = gr.Checkbox(False, label="I agree to these terms", visible=False, elem_id="agree")
            self.fetch = gr.Button("Fetch", visible=False, elem_id="fetch")
            self.halt = gr.Button("Stop fetching", variant="stop", visible=False, elem_id="stop-fetching")
        self.honest = gr.Markdown(OURS, elem_classes="hint honest", render=False)

    def listen(self, quality: gr.Slider) -> None:
        """Use a checkpoint that is here, offer to fetch one that is not; `quality` is counted in its unit."""
        self.quality, on, sources = quality, widgets.private, self.sources
        panel = [self.about, self.turning, self.agree, self.fetch, self.halt, self.notice]
        used = [sources.chosen, sources.kind, sources.drawn, sources.examples, sources.faces, sources.turn, quality,
                self.honest, self.active]
        on(self.choice.input, self.look, {"name": self.choice, "chosen": sources.chosen}, [*panel, *used])
        fetching = on(self.fetch.click, self.get, {"name": self.choice, "agree": self.agree, "turning": self.turning},
                      [*panel, *used], concurrency_limit=1)
        on(self.halt.click, self.stopped, {"name": self.choice}, panel, cancels=[fetching])

    def look(self, name: str, chosen: Chosen) -> Change:
        """What a checkpoint is; it is used from now on if it is here, or else can be fetched."""
        choice = checkpoints.choose("vectors", name)
        shown = self.described(choice)
        if not checkpoints.facts(choice).ready:
            return shown | {self.notice: widgets.remark(
                f"{choice.generator} is not on this machine yet. Faces are still drawn by "
                f"{checkpoints.choose('vectors', chosen.checkpoint).generator}.")}
        return shown | {self.notice: ""} | (self.using(choice) if name != chosen.checkpoint else {})

    def described(self, choice: Choice) -> Change:
        """Size, licences and terms; what there is to fetch and to agree to."""
        drawing, turning = checkpoints.facts(choice), checkpoints.facts(choice, steering=True)
        terms = dict.fromkeys((*drawing.agreements, *turning.agreements))
        missing = not (drawing.ready and turning.ready)
        return {self.about: told(drawing, turning, tuple(terms)), self.fetch: gr.update(visible=missing),
                self.halt: gr.update(visible=False), self.agree: gr.update(visible=bool(terms), value=False),
                self.turning: gr.update(visible=not turning.ready, value=drawing.ready,
                                        label=f"Also what turning takes ({turning.size})")}

    def using(self, choice: Choice) -> Change:
        """Draw with it from now on."""
        sources, quality = self.sources, choice.quality
        return {sources.chosen: Chosen(checkpoint=choice.name), sources.kind: "people", sources.drawn: (),
                sources.examples: None, sources.faces: gr.update(value=None, visible=False), sources.turn: turned(),
                self.quality: gr.update(maximum=quality.most, value=quality.usual, step=quality.most / 20),
                self.honest: OURS if choice.name == "tiny" else THEIRS, self.active: choice.name}

    def get(self, name: str, agree: bool, turning: bool) -> Iterator[Change]:
        """Fetch what is missing, saying how far it is; then draw with it."""
        choice = checkpoints.choose("vectors", name)
        yield {self.fetch: gr.update(visible=False), self.halt: gr.update(visible=True), self.notice: ""}
        try:
            for steering in ((False, True) if turning else (False,)):
                for share, text in checkpoints.fetch(choice, agree, steering):
                    yield {self.about: widgets.progress(round(1000 * share), 1000, text)}
        except FacetError as error:
            yield self.described(choice) | {self.notice: widgets.sentence(error)}
            return
        yield self.described(choice) | self.using(choice)

    def stopped(self, name: str) -> Change:
        """Fetching was stopped; what came is kept, and the next time goes on from there."""
        return self.described(checkpoints.choose("vectors", name)) | {self.notice: widgets.remark("Stopped fetching.")}


def told(drawing: Facts, turning: Facts, terms: tuple[str, ...]) -> str:
    """The facts of a checkpoint for the page."""
    here = "yes" if drawing.ready else f"no, {', '.join(drawing.missing)} would be fetched"
    facts = {"size": drawing.size, "licence": ", ".join(drawing.licences), "on this machine": here}
    if turning.names and not set(turning.names) <= set(drawing.names):
        facts["to turn faces"] = turning.size if turning.ready else f"{turning.size}, not here yet"
    return widgets.facts(facts) + "".join(f'<p class="terms">{html.escape(text)}</p>' for text in terms)
