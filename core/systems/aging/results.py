"""What the pipeline `aging` takes and gives: a wish, pictures made of it, uploads checked, a person being taught."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from core.engine.checks import number, whole
from core.errors import SettingsError
from core.sampling import GUIDANCE, settle_seed
from core.systems.aging import safety

if TYPE_CHECKING:
    import numpy as np

    from core.subjects import Subject

LONGEST = 400           # letters of a prompt
MOST = 16               # pictures of a wish
STEPS = 150             # of a solver, at most
STEPS_LCM = 50          # of LCM: it was distilled from so many
MOST_GUIDANCE = 30.0    # 1 is none
SOLVERS = {"dpm": "DPM-Solver++", "unipc": "UniPC", "ddim": "DDIM", "lcm": "LCM"}      # the first is the default
PAPER = {"solver": "ddim", "steps": 100, "guidance": 10.0, "emphasis": 0.0, "count": 8}      # Banerjee et al.: η = 0
OPENING = 1     # seed of the strip that the page opens with: whoever ships first, everything else as it comes
QUICK = {"solver": "lcm", "steps": 4, "guidance": 1.0, "emphasis": 0.0}     # with the LCM-LoRA
FEWEST_TAUGHT, MOST_TAUGHT = 5, 20      # pictures of a person who is taught
MOST_STEPS = 800        # of teaching: a few minutes, while nobody else can draw


@dataclass(frozen=True)
class Wish:
    """What somebody wants to see. Raises SettingsError for what can't be, or may not be.

    prompt: words; a subject's token is put in where it is missing. negative: words to lead away from. subject: who;
    None is anybody. steps: 1 .. STEPS, of LCM 1 .. STEPS_LCM. solver: one of SOLVERS. guidance: 1 .. MOST_GUIDANCE.
    emphasis: 0 .. 1, how much of what guidance leads away from is the same prompt without its age; none in the paper.
    seed: None or -1 takes a new one; the pictures after the first have the seeds after it. count: 1 .. MOST. floor:
    quality in [0, 1] below which a picture is dropped.
    """

    prompt: str
    negative: str = ""
    subject: "Subject | None" = None
    steps: int = 20
    solver: str = "dpm"
    guidance: float = GUIDANCE
    emphasis: float = 0.0
    seed: int | None = None
    count: int = 1
    floor: float = 0.0

    def __post_init__(self) -> None:
        _text(self.prompt, "prompt")
        _text(self.negative, "negative prompt")
        if not self.prompt.strip():
            raise SettingsError("The prompt is empty.", "Say what to see:  photo of a person as elderly")
        safety.refuse(self.prompt)
        safety.refuse_without(self.negative)
        if not isinstance(self.solver, str) or self.solver not in SOLVERS:
            raise SettingsError(f"There is no solver called {str(self.solver)[:30]!r}.",
                                f"Choose from: {', '.join(SOLVERS)}.")
        whole(self.steps, "steps", 1, STEPS if self.solver != "lcm" else STEPS_LCM)
        whole(self.count, "count", 1, MOST)
        number(self.guidance, "guidance", 1, MOST_GUIDANCE)
        number(self.emphasis, "age emphasis", 0, 1)
        number(self.floor, "quality floor", 0, 1)
        settle_seed(self.seed)

    def settled(self) -> "Wish":
        """The same with its seed chosen and its numbers of the right kind."""
        return replace(self, seed=settle_seed(self.seed), steps=int(self.steps), count=int(self.count),
                       guidance=float(self.guidance), emphasis=float(self.emphasis), floor=float(self.floor))


class Dropped(NamedTuple):
    """A picture that is not among the results. path: where it is all the same; None when nobody should see it."""

    path: str | None
    seed: int
    prompt: str
    why: str


@dataclass(frozen=True)
class Aged:
    """How far a wish is. A stream of these grows until `step` is `steps`; then all pictures are there.

    images: PNG paths of finished pictures. preview: of the pictures under way, as they look so far; () at the end.
    seeds, prompts, similarity, years, quality, settings: one for each of `images`. prompts: as drawn.
    similarity: cosine between the picture and the mean of the subject's pictures, as the steering embedder sees them;
    None without a subject or a face. years, quality: as the steering judge sees them; None where no face is seen.
    dropped: pictures below the quality floor, or withheld. total: pictures asked for. notes: sentences for the visitor.
    """

    images: tuple[str, ...] = ()
    preview: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    prompts: tuple[str, ...] = ()
    similarity: tuple[float | None, ...] = ()
    years: tuple[float | None, ...] = ()
    quality: tuple[float | None, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    settings: tuple[dict[str, Any], ...] = ()
    step: int = 0
    steps: int = 0
    total: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """An upload to teach from, looked at.

    picture: PNG of the crop used; None when there is none. problem: why it can't be used, one sentence; "" if it can.
    note: what there is to know of a picture that can be used, such as that others are in it too; "" if nothing.
    vector: (512,) what the embedder sees; None where no face was found.
    """

    path: str
    picture: str | None = None
    problem: str = ""
    note: str = ""
    vector: "np.ndarray | None" = None

    @property
    def good(self) -> bool:
        """Whether it can be taught from."""
        return self.picture is not None and not self.problem


@dataclass(frozen=True)
class Taught:
    """How far teaching is. losses: a curve for each, one value a step so far. preview: PNG of the person as known now.

    subject: the person as known now, to be used at once; None in the first steps and while waiting. adapter: path of
    the file, at the end. seconds: since teaching began. left: seconds that it still takes, roughly; None before the
    first step. waiting: seconds until it begins, roughly; None once it has. looked: after the steps, how far it is seen
    where the person's ages lie, 0 to 1; None before.
    """

    step: int = 0
    steps: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)
    preview: str | None = None
    subject: "Subject | None" = None
    adapter: str | None = None
    seconds: float = 0.0
    left: float | None = None
    notes: tuple[str, ...] = ()
    waiting: float | None = None
    looked: float | None = None


@dataclass(frozen=True)
class Restored:
    """What a picture made here remembers. wish: as asked, its subject only if it is one that ships.

    subject, adapter: name of the person and hash of what was taught, "" for nobody. checkpoint: name of the choice that
    made it; None when it is none of today's.
    """

    wish: Wish
    subject: str
    adapter: str
    checkpoint: str | None


def file_name(kept: dict[str, Any]) -> str:
    """What a picture with these settings is called."""
    who = "".join(letter for letter in kept.get("subject") or "anybody" if letter.isalnum())[:20] or "somebody"
    return f"facet-{who}-{kept['group'] or 'picture'}-seed{kept['seed']}-{kept['at']:02d}.png"


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise SettingsError(f"A {name} is text.", "Write it in words.")
    if len(value) > LONGEST:
        raise SettingsError(f"The {name} has {len(value):,} letters, and {LONGEST} is the most.", "Say it shorter.")
