"""What the tab `aging` is asked for: an age, words, and how to draw; what the paper drew with."""

from typing import Any

import gradio as gr

from core.systems.aging import prompts
from core.systems.aging.request import OPENING, PAPER, QUICK, SOLVERS, Draw, Strip, Wish
from spaces import widgets
from spaces.fields import field
from spaces.widgets import Change, new_run_id

NAMES = {"child": "Child", "teenager": "Teenager", "youngadults": "Young adult", "middleaged": "Middle-aged",
         "elderly": "Elderly", "old": "Old"}
ALL = "all"
CHOICES = [*((name, age) for age, name in NAMES.items()), ("All six ages", ALL)]
SPANS = prompts.SPANS
FIRST = {"steps": Wish.steps, "solver": Wish.solver, "guidance": Wish.guidance, "emphasis": Wish.emphasis,
         "count": 4, "floor": Wish.floor, "seed": OPENING}
SETTINGS = ("prompt", "negative", "steps", "solver", "guidance", "emphasis", "seed", "count", "floor")  # of a Wish
TRY = "Add words to the prompt: smiling, with glasses, bearded, with long hair, looking left …"


class Asking:
    """The widgets by name."""

    def __init__(self, run: gr.State, token: str = prompts.RARE[0]) -> None:
        """run: its change starts a run. token: the rare token in the first prompt."""
        self.run = run
        self.age = gr.Radio(CHOICES, value=ALL, label="Age", elem_id="aging-age", elem_classes="tiles three")
        with gr.Group(elem_classes="settings"):
            self.prompt = field(Draw, "prompt", value=prompts.plain(token), lines=1, max_lines=1, info=TRY,
                                elem_id="aging-prompt")
            self.count = field(Draw, "count", value=FIRST["count"], visible=False, elem_id="aging-count")
            self.seed, self.mode = widgets.seed_row(FIRST["seed"], "aging-")
        self.generate, self.stop = widgets.run_row("aging-", "Generate")
        with gr.Accordion("Sampling settings", open=False, elem_id="aging-how"):
            self.build_how()

    def build_how(self) -> None:
        """Settings of the sampler."""
        self.negative = field(Draw, "negative", placeholder="blurred, dark", elem_id="aging-negative")
        self.solver = field(Draw, "solver", choices=solvers(quick=False), elem_id="aging-solver")
        self.steps = field(Draw, "steps", elem_id="aging-steps")
        self.guidance = field(Draw, "guidance", elem_id="aging-guidance")
        self.emphasis = field(Draw, "emphasis", elem_id="aging-emphasis")
        self.floor = field(Draw, "floor", elem_id="aging-floor")
        with gr.Row(elem_classes="buttons"):
            self.paper = gr.Button("Paper preset", size="sm", min_width=130, elem_id="aging-paper")
            self.quick = gr.Button("Four steps (LCM)", size="sm", min_width=130, visible=False, elem_id="aging-quick")
            self.usual = gr.Button("Defaults", size="sm", min_width=130, elem_id="aging-usual")

    @property
    def widgets(self) -> dict[str, Any]:
        """The widgets that `request_of` reads, by its parameters."""
        return {name: getattr(self, name) for name in ("age", *SETTINGS)}

    def listen(self) -> None:
        """Settle the seed and begin when asked; a click on an age asks at once."""
        on, words = widgets.private, {"prompt": self.prompt}
        on(self.generate.click, self.ask, {"mode": self.mode, "seed": self.seed}, [self.seed, self.run])
        on(self.age.input, self.at_age, {"age": self.age, **words}, [self.prompt, self.run])
        on(self.prompt.input, self.reread, {"age": self.age, **words}, [self.age], queue=False,
           trigger_mode="always_last")
        on([self.prompt.submit, self.negative.submit, self.seed.submit], new_run_id, {}, [self.run])
        on(self.age.change, lambda age: gr.update(visible=age != ALL), {"age": self.age}, [self.count], queue=False)
        on(self.paper.click, lambda: self.preset(PAPER), {}, self.how, queue=False)
        on(self.quick.click, lambda: self.preset(QUICK), {}, self.how, queue=False)
        on(self.usual.click, lambda: self.preset(FIRST), {}, self.how, queue=False)

    @property
    def how(self) -> list:
        """The widgets that `preset` changes."""
        return [self.solver, self.steps, self.guidance, self.emphasis, self.count]

    def preset(self, values: dict[str, Any]) -> Change:
        """Solver, steps, guidance, emphasis and count as in a preset."""
        return {self.solver: values["solver"], self.steps: values["steps"], self.guidance: values["guidance"],
                self.emphasis: values["emphasis"], self.count: values.get("count", gr.skip())}

    def suited(self, choice: Any) -> Change:
        """What a choice of checkpoints can do: whether it can draw in four steps."""
        quick = bool(choice.quick)
        return {self.quick: gr.update(visible=quick),
                self.solver: gr.update(choices=solvers(quick), value=FIRST["solver"])}

    def ask(self, mode: str, seed: float | None) -> Change:
        """Settle the seed and begin."""
        return {self.seed: widgets.next_seed(mode, seed), self.run: new_run_id()}

    def at_age(self, age: str, prompt: str) -> Change:
        """The prompt for an age, or for all of them, and begin."""
        prompt = prompts.without_age(prompt) if age == ALL else prompts.at_age(prompt, age)
        return {self.prompt: prompt, self.run: new_run_id()}

    def reread(self, age: str | None, prompt: str) -> Any:
        """The age that a prompt names; all six where it names none and they were asked for."""
        return prompts.age_in(prompt) or (ALL if age == ALL else None)


def solvers(quick: bool) -> list[tuple[str, str]]:
    """The solvers and their names. quick: whether there is a LoRA for the one of few steps."""
    return [(label, name) for name, label in SOLVERS.items() if quick or name != QUICK["solver"]]


def request_of(subject: Any, age: str | None, prompt: str, negative: str, steps: int, solver: str, guidance: float,
               emphasis: float, seed: int | None, count: int, floor: float) -> Wish:
    """The request that the widgets describe. Raises SettingsError."""
    said = {"prompt": prompt, "negative": negative, "subject": subject, "steps": steps, "solver": solver,
            "guidance": guidance, "emphasis": emphasis, "seed": seed, "floor": floor}
    return Strip(**said) if age == ALL else Draw(**said, count=count)
