"""The actions of `aging` and the settings of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from core.engine.request import Request, choice, file, files, number, seed, text, whole
from core.errors import SettingsError
from core.sampling import GUIDANCE
from core.systems.aging import prompts
from core.words import RARE

if TYPE_CHECKING:
    from core.subjects import Subject

LONGEST = 400           # letters of a prompt
MAX_COUNT = 16          # pictures of one request
MAX_STEPS = 150         # of a solver
MAX_STEPS_LCM = 50      # of LCM: it was distilled from so many
MAX_GUIDANCE = 30.0     # 1 is none
SOLVERS = {"dpm": "DPM-Solver++", "unipc": "UniPC", "ddim": "DDIM", "lcm": "LCM"}      # the first is the default
PAPER = {"solver": "ddim", "steps": 100, "guidance": 10.0, "emphasis": 0.0, "count": 8}      # Banerjee et al.: η = 0
QUICK = {"solver": "lcm", "steps": 4, "guidance": 1.0, "emphasis": 0.0}     # with the LCM-LoRA
OPENING = 1             # seed of the strip that the page opens with
MIN_TAUGHT, MAX_TAUGHT = 5, 20      # pictures to train a person
MAX_LESSONS = 800       # training steps: a few minutes


@dataclass(frozen=True)
class Wish(Request):
    """Pictures of a person as a prompt asks for. Raises SettingsError for settings out of range or refused words.

    subject: the person, where the caller holds it; else `person` or `adapter` names it; without any of them a generic
    person is drawn.
    """

    system: ClassVar[str] = "aging"
    expected: ClassVar[float] = 6.0
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"paper": PAPER, "quick": QUICK})

    prompt: str = text("photo of a person", "Prompt", f"Ages are {', '.join(prompts.AGES)}", LONGEST)
    negative: str = text("", "Negative prompt", "What should not be in the picture", LONGEST)
    subject: "Subject | None" = None
    steps: int = whole(20, 1, MAX_STEPS, "Steps")
    solver: str = choice("dpm", SOLVERS, "Solver")
    guidance: float = number(GUIDANCE, 1, MAX_GUIDANCE, "Guidance", "How closely it follows the prompt; 1 is off",
                             0.5)
    emphasis: float = number(0.0, 0, 1, "Age emphasis", "Share of the guidance on the age alone: stronger ages, less "
                             "similarity")
    seed: int | None = seed()
    count: int = whole(1, 1, MAX_COUNT, "Count")
    floor: float = number(0.0, 0, 1, "Min quality", "0 drops none; the paper's filter is 0.4")
    person: str = text("", "Person", "Number, counted from 1, or name of a shipped person; empty: a generic person", 60)
    adapter: str | None = file("Adapter", "The file of a trained person, instead")

    def __post_init__(self) -> None:
        for name, setting in self.settings().items():
            setting.check(name, getattr(self, name))
        if not self.prompt.strip():
            raise SettingsError("The prompt is empty.", "Say what to see:  photo of a person as elderly")
        if self.solver == "lcm" and self.steps > MAX_STEPS_LCM:
            raise SettingsError(f"steps can't be {self.steps} with the solver lcm.",
                                f"Choose a whole number from 1 to {MAX_STEPS_LCM}.")


@dataclass(frozen=True)
class Draw(Wish):
    """A person at the age, and in the look, that a prompt asks for."""

    action: ClassVar[str] = "draw"


@dataclass(frozen=True)
class Strip(Wish):
    """A person at several ages, from one seed; the age in the prompt is replaced, its other words are kept."""

    action: ClassVar[str] = "strip"
    hidden: ClassVar[frozenset[str]] = frozenset({"count"})

    ages: str = text("all", "Ages", f"all, or some of {', '.join(prompts.AGES)} with commas between", 100)

    def __post_init__(self) -> None:
        super().__post_init__()
        ages_in(self.ages)


def ages_in(text: str) -> tuple[str, ...]:
    """The ages that a text names, from young to old. Raises SettingsError for others."""
    if text.strip() == "all":
        return prompts.AGES
    named = [name.strip() for name in text.split(",")]
    unknown = [name for name in named if name not in prompts.AGES]
    if unknown:
        raise SettingsError(f"{unknown[0]!r} is none of the six ages.",
                            f"Choose all, or from: {', '.join(prompts.AGES)}.")
    return tuple(age for age in prompts.AGES if age in named)


@dataclass(frozen=True)
class Teach(Request):
    """Train a new person on 5 to 20 pictures; the result is an adapter file."""

    system: ClassVar[str] = "aging"
    action: ClassVar[str] = "teach"
    expected: ClassVar[float] = 160.0
    draws: ClassVar[bool] = False

    pictures: tuple[str, ...] = files("Pictures of one person")
    name: str = text("", "Name", "What the person is called", 60)
    token: str = choice("", {"": "chosen for you", **{word: word for word in RARE}}, "Rare token",
                        "The word that means this person in a prompt")
    steps: int | None = whole(None, 1, MAX_LESSONS, "Steps", "Left out: the usual number")
    seed: int | None = seed()


REQUESTS = (Draw, Strip, Teach)


def restored(stored: Mapping[str, Any], subject: "Subject | None") -> Draw:
    """The request that made a picture, checked. Raises SettingsError."""
    asked = {"prompt": "", **{name: stored[name] for name in STORED if name in stored}}
    return Draw(**asked, subject=subject).checked()


STORED = ("prompt", "negative", "steps", "solver", "guidance", "emphasis", "seed", "count", "floor")
