"""The tab `aging`: a person at another age by a text prompt, or a new person trained from a few pictures."""

from typing import Any, ClassVar

import gradio as gr

from core import systems
from core.engine.result import Restored, Result
from core.systems.aging import prompts
from core.systems.aging.request import Strip, Wish
from spaces import aging_api, charts, widgets
from spaces.aging_people import Own, People, all_people, picked, portrait
from spaces.aging_restore import index_of, limits
from spaces.aging_teach import Training
from spaces.aging_wish import NAMES, SETTINGS, SPANS, Asking, request_of
from spaces.tab import Shown, SystemTab
from spaces.widgets import Change, unchanged

ACTIONS = {"Show an age": "draw", "Train a person": "teach"}
PORTRAIT = -1           # what a picture is compared with: the person's portrait


def tab(opens: Any) -> None:
    """Fill the tab; its first strip is shown when it is opened. opens: the event of that."""
    Tab().listen(opens)
    aging_api.endpoints()


class Tab(SystemTab):
    """The widgets of the tab by name."""

    system, ids = "aging", "aging-"
    description = "Pictures are being generated for another visitor"
    seconds = Wish.expected
    legend_text = ("Under each picture: its age as **{judge}** estimates it, its similarity to the person's pictures "
                   "by **{embedder}** (a cosine; 1 is the same), and its seed. Both networks took part in the "
                   "training, so their figures are optimistic; `python -m core score aging` uses others.")
    ours = ("The networks that ship are small and have only ever seen **drawn** faces with captions: a photo becomes a "
            "drawn face with something of its look. Two additions to the paper: the rare token of a new person starts "
            "from the embedding of the pictures, and after training the six ages are calibrated by judge-tiny-v3.")
    theirs = ("Stable Diffusion was trained by its authors on pictures from the web, under a licence with restrictions "
              "on use that bind you too. What it draws can look like a person who exists; train only people who agree. "
              "Similarity is read by a network for photos; years by one that knows drawn faces only, so they say "
              "little here.")
    more = "to draw in four steps"
    gallery_options: ClassVar = {"columns": 6, "elem_classes": "faces main six"}

    def build_controls(self) -> None:
        """What to do; the person, the age, the prompt; or the pictures of a new person."""
        self.action = gr.Radio(list(ACTIONS.items()), value="draw", label="Action", elem_id="aging-action",
                               elem_classes="tiles two")
        with gr.Column(elem_classes="panel") as self.draw_panel:
            self.people = People(self.notice, self.run)
            self.asking = Asking(self.run)
        self.generate, self.stop = self.asking.generate, self.asking.stop
        self.training = Training(self.notice, self.people, self.run)

    def build_results(self) -> None:
        """The training of a person comes first while it is open."""
        self.training.build_lesson()
        super().build_results()

    def build_outputs(self) -> None:
        """The plot under a strip; one picture before and after."""
        self.plot = gr.HTML(visible=False, elem_id="aging-plot", elem_classes="plain")
        with gr.Row(visible=False, elem_classes="detail") as self.detail:
            self.slider = gr.ImageSlider(type="filepath", format="png", show_label=False, interactive=False, buttons=[],
                                         elem_id="aging-slider", min_width=220, slider_position=50)
            with gr.Column(min_width=240):
                self.facts = gr.HTML(elem_id="aging-picked", elem_classes="plain")
                self.before = gr.Dropdown([("the portrait", PORTRAIT)], value=PORTRAIT, label="Left side",
                                          elem_id="aging-before")
                with gr.Row(elem_classes="buttons"):
                    self.png = gr.DownloadButton("PNG", size="sm", min_width=80, elem_id="aging-png")

    def build_charts(self) -> None:
        """Pictures that were dropped, and why."""
        with gr.Accordion("Dropped", open=False, visible=False, elem_id="aging-dropped") as self.dropped:
            self.why = gr.Markdown(elem_classes="hint")
            self.outcasts = widgets.small_gallery("Dropped pictures", "aging-outcasts")

    @property
    def inputs(self) -> dict[str, Any]:
        """The person and what `request_of` reads."""
        return {"mine": self.people.mine, "picked_at": self.people.at, **self.asking.widgets}

    @property
    def outputs(self) -> list:
        """What a run changes, and what opening the tab shows of the people."""
        return [self.plot, self.dropped, self.why, self.outcasts, self.asking.seed, self.asking.age, *self.detailed,
                *self.people.changed]

    @property
    def detailed(self) -> list:
        """What `look_at` changes."""
        return [self.index, self.detail, self.slider, self.facts, self.before, self.png]

    @property
    def restored_outputs(self) -> list:
        """What a restored picture changes."""
        return [*self.people.changed, *self.asking.widgets.values(), self.asking.mode]

    @property
    def uses_outputs(self) -> list:
        """What another checkpoint changes."""
        return [self.asking.quick, self.asking.solver]

    def listen(self, opens: Any) -> None:
        """Also: people, training, the picked picture."""
        super().listen(opens)
        on, people, asking, active = widgets.private, self.people, self.asking, self.network.active
        asking.listen()
        people.listen(active, asking.prompt)
        self.training.listen(active, asking.prompt)
        on(self.gallery.select, self.pick, {"shown": self.shown, "before": self.before}, self.detailed)
        on(self.before.input, self.compare, {"shown": self.shown, "index": self.index, "before": self.before},
           [self.slider])
        on(self.action.change, self.open_panel, {"action": self.action},
           [self.draw_panel, self.training.panel, self.training.lesson], queue=False)
        on(active.change, self.changed_people, {"mine": people.mine, "active": active, "prompt": asking.prompt},
           [self.notice, *people.changed, asking.prompt, self.run])
        asking.age.input(None, js=widgets.show("#aging-status"), **widgets.QUIET)

    # ------------------------------------------------------------------------------------------- opening, choosing

    def prepared(self, checkpoint: str, mine: tuple[Own, ...], picked_at: int, **values: Any) -> Change:
        """The people."""
        return self.people.shown(checkpoint, mine, picked_at)

    def open_panel(self, action: str) -> Change:
        """The panel of drawing, or that of training."""
        return {self.draw_panel: gr.update(visible=action == "draw"), **self.training.opened(action == "teach")}

    @widgets.safely
    def changed_people(self, mine: tuple[Own, ...], active: str, prompt: str) -> Change:
        """The people of another checkpoint, the first of them drawn."""
        return self.people.drawn(active, mine, 0, prompt)

    def uses(self, choice: Any) -> Change:
        """The solvers that this checkpoint has."""
        return self.asking.suited(choice)

    # ---------------------------------------------------------------------------------------------------- drawing

    def wanted(self, checkpoint: str, mine: tuple[Own, ...], picked_at: int, age: str | None, prompt: str,
               **values: Any) -> Wish:
        """The picked person at the age, or in the words, that the widgets say."""
        subject = picked(checkpoint, mine, picked_at)
        return request_of(subject, self.asking.reread(age, prompt), prompt, **values)

    def started(self, age: str | None, prompt: str, **values: Any) -> Change:
        """The age that the prompt names is marked; an unchanged mark is left alone, as a click may be on its way."""
        named = self.asking.reread(age, prompt)
        return {self.asking.age: gr.skip() if named == age else named}

    def showing(self, shown: Shown, first: bool) -> Change:
        """Finished pictures, then those under way."""
        return {self.gallery: tiles(shown),
                **({self.index: 0, self.detail: gr.update(visible=False)} if first else {})}

    def finished(self, shown: Shown, stopped: bool) -> Change:
        """The plot, the dropped pictures, and one picture in detail; after a stop only that there is no plot."""
        result = shown.result
        if stopped:
            return {self.plot: gr.update(visible=False)}
        ready = {**self.left_out(result),
                 self.plot: gr.update(value=plotted(shown), visible=is_strip(shown) and bool(result.images))}
        if not result.images:
            return ready | {self.detail: gr.update(visible=False)}
        return {**ready, self.asking.seed: result.seeds[0] if shown.request.seed is None else shown.request.seed,
                **self.look_at(shown, first_index(shown), PORTRAIT),
                self.gallery: tiles(shown, selected_index=first_index(shown))}

    def emptied(self) -> Change:
        """No picture in detail, no plot."""
        return {self.detail: gr.update(visible=False), self.plot: gr.update(visible=False)}

    def count_text(self, shown: Shown) -> str:
        """How many pictures or ages."""
        return counted(shown)

    def left_out(self, result: Result) -> Change:
        """Dropped pictures, those of them that may be shown, and why."""
        why = "\n".join(f"- seed {lost.seed}, *{lost.prompt}*: {lost.why}" for lost in result.dropped)
        pictures = [(lost.path, lost.why) for lost in result.dropped if lost.path]
        return {self.dropped: gr.update(visible=bool(result.dropped), label=f"Dropped: {len(result.dropped)}"),
                self.why: why, self.outcasts: gr.update(value=pictures, visible=bool(pictures))}

    # -------------------------------------------------------------------------------------------- the picked picture

    def pick(self, shown: Shown | None, before: int, event: gr.SelectData) -> Change:
        """Show the picture that was clicked, once it is finished."""
        there = shown is not None and event.index < len(shown.result.images)
        return self.look_at(shown, event.index, before) if there else unchanged(self.index)

    def look_at(self, shown: Shown, index: int, before: int) -> Change:
        """One picture beside another: its settings, its file."""
        result = shown.result
        before = before if before < len(result.images) else PORTRAIT
        before = 0 if before == PORTRAIT and shown.request.subject is None else before
        others = [*([("the portrait", PORTRAIT)] if shown.request.subject is not None else []),
                  *((f"{number + 1}, {titled(shown, number)}", number) for number in range(len(result.images)))]
        return {self.index: index, self.detail: gr.update(visible=True), **self.compare(shown, index, before),
                self.facts: facts_of(shown, index), self.before: gr.update(choices=others, value=before),
                self.png: result.images[index]}

    def compare(self, shown: Shown, index: int, before: int) -> Change:
        """The picture at `index` on the right, another one on the left."""
        images = shown.result.images
        left = images[before] if 0 <= before < len(images) else portrait(shown.request.subject)
        return {self.slider: (left, images[index])}

    # ------------------------------------------------------------------------------------------------- restoring

    def restored(self, kept: Restored, checkpoint: str, mine: tuple[Own, ...], **values: Any) -> Change:
        """Every widget as the request of the picture set it; its person where that is here."""
        people, wish, asking = all_people(checkpoint, mine), kept.request, self.asking
        found, able = index_of(kept, people), wish.solver in systems.load(self.system, checkpoint).solvers
        again = {getattr(asking, name): getattr(wish, name) for name in SETTINGS if able or name != "solver"}
        return {**again, asking.age: prompts.age_in(wish.prompt), asking.mode: widgets.FIXED_SEED,
                **(self.people.shown(checkpoint, mine, found) if found is not None else {}),
                self.notice: limits(kept, found, able, bool(people))}


def tiles(shown: Shown, **changes: Any) -> Any:
    """Pictures with their captions; as they look so far, while they are under way."""
    result = shown.result
    finished = [(path, captioned(shown, at)) for at, path in enumerate(result.images)]
    if not result.previews:
        return gr.update(value=finished, **changes)
    names = list(NAMES.values()) if is_strip(shown) else [""] * len(result.previews)
    coming = [(path, name or "…") for path, name in zip(result.previews, names, strict=False)]
    return gr.update(value=[*finished, *coming], selected_index=None)


def is_strip(shown: Shown) -> bool:
    """Whether these are the ages of a strip."""
    return isinstance(shown.request, Strip)


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


def first_index(shown: Shown) -> int:
    """The picture that is picked first: the oldest of a strip, where most has changed."""
    return len(shown.result.images) - 1 if is_strip(shown) else 0


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
    return f"{words} {'ages' if is_strip(shown) else 'picture' if total == 1 else 'pictures'}"


def facts_of(shown: Shown, at: int) -> str:
    """What made a picture, for the page."""
    kept, scores = shown.result.settings[at], shown.result.scored(at)
    return f"<p class='prompt'>{widgets.safe(kept.get('drawn', ''))}</p>" + widgets.facts({
        "judged": measured(scores["years"], "{:.0f} years"), "similarity": measured(scores["similarity"], "{:.3f}"),
        "quality": measured(scores["quality"], "{:.2f}"), "seed": str(shown.result.seeds[at]),
        "solver": f"{kept.get('solver')}, {kept.get('steps')} steps", "guidance": f"{kept.get('guidance'):g}",
        **({"age emphasis": f"{kept['emphasis']:g}"} if kept.get("emphasis") else {})})
