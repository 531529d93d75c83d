"""Which checkpoint a tab draws with: what each is, its terms, fetching one when it is asked for."""

import html
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from core import systems
from core.engine import choices
from core.engine.choices import Facts
from core.errors import FacetError
from spaces import widgets
from spaces.widgets import Change

Uses = Callable[[Any], Change]      # a choice: what changes when the tab draws with it from now on


class Network:
    """The panel by name. `active` is the checkpoint in use; numbers of one mean nothing to another, so what was chosen
    before is let go when it changes.

    more: what the second set of files of a choice is for, in the words of its box. ours, theirs: what there is to say
    of the networks that ship and of others, in `honest`, which the tab renders where it likes.
    """

    def __init__(self, notice: gr.HTML, system: str, ours: str, theirs: str, more: str = "", tab: str = "") -> None:
        self.notice, self.system, self.active = notice, system, gr.State("tiny")
        self.said, self.more = {True: ours, False: theirs}, more
        with gr.Accordion("Network", open=False, elem_id=f"{tab}network", elem_classes="network"):
            self.choice = gr.Radio([(choice.label, choice.name) for choice in systems.choices(system)],
                                   value="tiny", label="Checkpoint", elem_id=f"{tab}checkpoint")
            self.about = gr.HTML(elem_id=f"{tab}about-checkpoint")
            self.also = gr.Checkbox(False, label=more, visible=False, elem_id=f"{tab}with-more")
            self.agree = gr.Checkbox(False, label="I agree to these terms", visible=False, elem_id=f"{tab}agree")
            self.fetch = gr.Button("Fetch", visible=False, elem_id=f"{tab}fetch")
            self.halt = gr.Button("Stop fetching", variant="stop", visible=False, elem_id=f"{tab}stop-fetching")
        self.honest = gr.Markdown(ours, elem_classes="hint honest", render=False)

    def listen(self, uses: Uses, used: list) -> None:
        """Use a checkpoint that is here, offer to fetch one that is not.

        uses: called with a choice that is used from now on. used: the widgets that it changes.
        """
        self.uses, on = uses, widgets.private
        panel = [self.choice, self.about, self.also, self.agree, self.fetch, self.halt, self.notice]
        used = [*used, self.honest, self.active]
        on(self.choice.input, self.look, {"name": self.choice, "active": self.active}, [*panel, *used])
        fetching = on(self.fetch.click, self.get, {"name": self.choice, "agree": self.agree, "also": self.also},
                      [*panel, *used], concurrency_limit=1)
        on(self.halt.click, self.stopped, {"name": self.choice}, panel, cancels=[fetching])

    def choose(self, name: str) -> Any:
        """The choice called so."""
        return systems.choose(self.system, name)

    def look(self, name: str, active: str) -> Change:
        """What a checkpoint is; it is used from now on if it is here, or else can be fetched."""
        choice = self.choose(name)
        shown = self.described(choice)
        if not choices.facts(choice).ready:
            return shown | {self.notice: widgets.remark(
                f"{choice.label}: not on this machine yet. Faces are still drawn by: "
                f"{self.choose(active).label}.")}
        return shown | {self.notice: ""} | (self.using(choice) if name != active else {})

    def described(self, choice: Any) -> Change:
        """Size, licences and terms; what there is to fetch and to agree to."""
        drawing = choices.facts(choice)
        second = choices.facts(choice, extra=True) if self.more else drawing
        terms = tuple(dict.fromkeys((*drawing.agreements, *second.agreements)))
        return {self.choice: gr.update(interactive=True), self.about: about(drawing, second, self.more, terms),
                self.fetch: gr.update(visible=not ((drawing.ready and second.ready) or drawing.by_hand)),
                self.halt: gr.update(visible=False), self.agree: gr.update(visible=bool(terms), value=False),
                self.also: gr.update(visible=not second.ready and bool(self.more), value=drawing.ready,
                                     label=f"Also what it takes {self.more} ({second.size})")}

    def using(self, choice: Any) -> Change:
        """Draw with it from now on."""
        return {**self.uses(choice), self.honest: self.said[choice.name == "tiny"], self.active: choice.name}

    def get(self, name: str, agree: bool, also: bool) -> Iterator[Change]:
        """Fetch what is missing, saying how far it is; then draw with it."""
        choice = self.choose(name)
        yield {self.choice: gr.update(interactive=False), self.fetch: gr.update(visible=False),
               self.halt: gr.update(visible=True), self.notice: ""}
        try:
            for second in ((False, True) if also else (False,)):
                for share, text in choices.fetch(choice, agree, second):
                    yield {self.about: widgets.progress(round(1000 * share), 1000, text)}
        except FacetError as error:
            yield self.described(choice) | {self.notice: widgets.sentence(error)}
            return
        yield self.described(choice) | self.using(choice)

    def stopped(self, name: str) -> Change:
        """Fetching was stopped; what came is kept, and the next time goes on from there."""
        return self.described(self.choose(name)) | {self.notice: widgets.remark("Stopped fetching.")}


def about(drawing: Facts, second: Facts, more: str, terms: tuple[str, ...]) -> str:
    """The facts of a checkpoint for the page."""
    missing = "no" if drawing.by_hand else f"no, {', '.join(drawing.missing)} would be fetched"
    here = "yes" if drawing.ready else missing
    facts = {"size": drawing.size, "licence": ", ".join(drawing.licences), "on this machine": here}
    if second.names and not set(second.names) <= set(drawing.names):
        facts[more] = second.size if second.ready else f"{second.size}, not here yet"
    return widgets.facts(facts) + "".join(f'<p class="terms">{html.escape(text)}</p>'
                                          for text in (*drawing.by_hand, *terms))
