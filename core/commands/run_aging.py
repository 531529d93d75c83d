"""`python -m core run aging`: a person at any age, by prompt, without the browser."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from core.commands.options import Device, Offline, Out
from core.errors import SettingsError

if TYPE_CHECKING:
    from core.subjects import Subject
    from core.systems.aging.results import Aged, Wish


def aging(
    prompt: Annotated[str, Option(help="What the pictures show; the person's token is put in.")] = "photo of a person",
    subject: Annotated[str | None, Option(help="Whom: the number of one who ships, counted from 1, or an adapter file "
                                               "that `train aging --images` wrote; nobody in particular if left out.",
                                          show_default=False)] = None,
    ages: Annotated[str | None, Option(help="all, or some with commas between: child,teenager,youngadults,middleaged,"
                                            "elderly,old. The prompt's own, if not given.", show_default=False)] = None,
    negative: Annotated[str, Option(help="What the pictures shall not show.")] = "",
    count: Annotated[int | None, Option(min=1, max=16, help="Pictures, of each age if several.",
                                        show_default=False)] = None,
    seed: Annotated[int, Option(min=-1, max=2**32 - 1, help="The same seed, the same picture; -1: a new one.")] = -1,
    steps: Annotated[int | None, Option(min=1, max=150, help="From noise to picture.", show_default=False)] = None,
    solver: Annotated[Literal["dpm", "unipc", "ddim", "lcm"] | None, Option(help="How a step is taken.",
                                                                            show_default=False)] = None,
    guidance: Annotated[float | None, Option(min=1, max=30, help="How hard the prompt pulls.",
                                             show_default=False)] = None,
    emphasis: Annotated[float | None, Option(min=0, max=1, help="How much of that goes into the age alone; none "
                                                                "unless asked.", show_default=False)] = None,
    floor: Annotated[float, Option(min=0, max=1, help="Drop pictures that the judge finds worse than this.")] = 0.0,
    paper: Annotated[bool, Option("--paper", help="As the paper draws: DDIM, 100 steps, guidance 10, 8 "
                                                  "pictures.")] = False,
    checkpoint: Annotated[str, Option(help="tiny, which ships; sd14, Stable Diffusion 1.4, fetched first.")] = "tiny",
    out: Out = Path("out"),
    device: Device = None,
    offline: Offline = False,
) -> None:
    """The same person older and younger: a picture for each age or seed, with its settings inside.

    Beside every picture stand how alike the person is, the years that a judge sees, and the seed.
    """
    from core import systems
    from core.sampling import settle_seed
    from core.systems.aging.results import PAPER, Wish

    given = {"steps": steps, "solver": solver, "guidance": guidance, "emphasis": emphasis, "count": count}
    settings = (PAPER if paper else {}) | {name: value for name, value in given.items() if value is not None}
    asked = ages_in(ages)
    systems.configure(device, offline)
    system = systems.make("aging", checkpoint, folder=out)
    wish = Wish(prompt, negative, subject_of(system, subject), seed=settle_seed(seed), floor=floor, **settings)
    for result in results(system, wish, asked):
        told(result)
    print(f"in {out}")


def ages_in(text: str | None) -> tuple[str, ...]:
    """The ages of --ages in their order: none, some or all. SettingsError for others."""
    from core.systems.aging.prompts import AGES

    if text is None:
        return ()
    if text.strip() == "all":
        return AGES
    found = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in found if name not in AGES]
    if unknown:
        raise SettingsError(f"{unknown[0]!r} is none of the six ages.", f"Choose all, or from: {', '.join(AGES)}.")
    return tuple(dict.fromkeys(found))


def subject_of(system: Any, which: str | None) -> "Subject | None":
    """The person of a number, counted from 1, or of an adapter file; None for nobody in particular."""
    if which is None:
        return None
    if not which.isdecimal():
        return system.subject_file(which)
    if not 1 <= int(which) <= len(system.subjects):
        raise SettingsError(f"There is no person {which}; {len(system.subjects)} ship with this checkpoint.",
                            "Count from 1, or name a file that `train aging --images` wrote.")
    return system.subjects[int(which) - 1]


def results(system: Any, wish: "Wish", ages: tuple[str, ...]) -> "Iterator[Aged]":
    """The finished pictures: of the prompt as it is; of all ages in one batch; or age by age, from the same seeds."""
    from core.systems.aging.prompts import AGES, at_age

    if ages == AGES and wish.count == 1:
        yield finished(system.strip(wish))
        return
    for prompt in [at_age(wish.prompt, age) for age in ages] or [wish.prompt]:
        yield finished(system.draw(replace(wish, prompt=prompt)))


def finished(stages: "Iterator[Aged]") -> "Aged":
    """The last of what comes, each step said on a line of the terminal; pictures on the way there are dropped."""
    for result in stages:
        print(f"\rstep {result.step} of {result.steps}", end="", flush=True)
        for path in result.preview:
            Path(path).unlink(missing_ok=True)
    print("\r", end="")
    return result


def told(result: "Aged") -> None:
    """A line for every picture, then what was dropped, and what there is to say."""
    rows = zip(result.images, result.seeds, result.prompts, result.similarity, result.years, result.quality,
               strict=True)
    for name, seed, prompt, similarity, years, quality in rows:
        like = "" if similarity is None else f"  similarity {similarity:.2f}"
        look = "" if years is None else f"  {years:.0f} years  quality {quality:.2f}"
        print(f"  {Path(name).name}  seed {seed}{like}{look}  {prompt}")
    for dropped in result.dropped:
        print(f"  seed {dropped.seed} dropped, {dropped.why}  {dropped.prompt}")
    for note in result.notes:
        print(f"  {note}")
