"""The tab `aging` without its page: every action as a named endpoint, for gradio_client and curl."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from core import systems
from core.errors import SettingsError
from core.systems.aging import prompts
from core.systems.aging.results import Aged, Wish
from spaces import GPU, widgets
from spaces.aging_teach import EXPECTED, left
from spaces.line import LINE, any_left
from spaces.widgets import number

Answer = tuple[list[tuple[str, str]], list[dict[str, Any]], dict[str, Any], str | None]
DRAWN, TAUGHT = "Pictures that a program asked for are being drawn", "A program is having somebody taught"
PROMPT = "photo of a wzx person as elderly"


def endpoints() -> None:
    """Register them; each gets components of its own, as an API takes its types from components."""
    asked = (text("Prompt", PROMPT), text("Number or name of a person who ships; 0 is nobody", "1"),
             file("Adapter of a person, instead"), text("Negative prompt", ""), number("Steps, 1 to 150", Wish.steps),
             text("Solver: dpm, unipc, ddim, lcm", Wish.solver), number("Guidance, 1 to 30", Wish.guidance),
             number("Age emphasis, 0 to 1", Wish.emphasis), number("-1 takes a new seed", -1),
             number("Drop pictures below this quality, 0 to 1", 0))
    drawings = (gallery("PNG files with their settings inside"), table("What made them"), table("How far it is"),
                file("Everything (ZIP), at the end"))
    pictures = files("Pictures of one person")
    for task, inputs, outputs in (
        (age, (*asked, number("How many, 1 to 16", 1)), drawings),
        (ages, asked, drawings),
        (check_pictures, (pictures,), (gallery("The crops that are used"), table("Each picture"))),
        (teach_person, (pictures, text("Name", ""), text("Rare token; empty takes one", ""),
                        number("Steps, 0 takes the usual", 0), number("-1 takes a new seed", -1)),
         (table("How far it is"), file("Preview (PNG)"), file("The adapter, at the end"))),
        (persons, (), (gallery("Portraits"), table("Who they are"))),
        (adapter_facts, (file("An adapter"),), (table("What is in it"),)),
        (aged_settings_of, (file("A PNG made here"),), (table("Its settings"),)),
        (about_aging, (), (table("What computes"),)),
    ):
        widgets.endpoint(task, [make() for make in inputs], [make() for make in outputs], **widgets.GPU_TURN)


def text(label: str, value: str) -> Any:
    return lambda: gr.Textbox(value, label=label, render=False)


def file(label: str) -> Any:
    return lambda: gr.File(label=label, render=False)


def files(label: str) -> Any:
    return lambda: gr.File(label=label, file_count="multiple", render=False)


def gallery(label: str) -> Any:
    return lambda: gr.Gallery(label=label, format="png", render=False)


def table(label: str) -> Any:
    return lambda: gr.JSON(label=label, render=False)


@GPU
def age(prompt: str = PROMPT, person: str = "1", adapter: str | None = None, negative: str = "",
        steps: float = Wish.steps, solver: str = Wish.solver, guidance: float = Wish.guidance,
        emphasis: float = Wish.emphasis, seed: float = -1, floor: float = 0, count: float = 1) -> Iterator[Answer]:
    """Somebody at the age, and in the look, that a prompt asks for.

    prompt: ages are child, teenager, youngadults, middleaged, elderly, old. person: 1 to 4, or a name; 0 is nobody in
    particular. adapter: the file of a person who was taught, who is drawn instead. emphasis: how much of the guidance
    goes into the age alone. seed: the same seed is the same picture, -1 takes a new one. floor: pictures of less
    quality are dropped, and said.
    Returns pictures (finished ones, then those under way), what made each, how far it is, and with the last a ZIP of
    everything.
    """
    wish = Wish(prompt, negative, whom(person, adapter), steps, solver, guidance, emphasis, seed, count, floor)
    yield from answers(systems.load("aging").draw(wish))


@GPU
def ages(prompt: str = PROMPT, person: str = "1", adapter: str | None = None, negative: str = "",
         steps: float = Wish.steps, solver: str = Wish.solver, guidance: float = Wish.guidance,
         emphasis: float = Wish.emphasis, seed: float = -1, floor: float = 0) -> Iterator[Answer]:
    """Somebody at all six ages, from one seed; the age in the prompt is replaced, its other words are kept.

    The parameters are those of age; so is what is returned.
    """
    wish = Wish(prompt, negative, whom(person, adapter), steps, solver, guidance, emphasis, seed, floor=floor)
    yield from answers(systems.load("aging").strip(wish))


@GPU
def check_pictures(pictures: list[str]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Pictures to teach somebody from, looked at one by one: the crops, and what is wrong with which."""
    looked = systems.load("aging").checked(pictures or [])
    return ([(each.picture, Path(each.path).name) for each in looked if each.picture],
            [{"file": Path(each.path).name, "good": each.good, "problem": each.problem, "note": each.note}
             for each in looked])


@GPU(duration=180)
def teach_person(pictures: list[str], name: str = "", token: str = "", steps: float = 0,
                 seed: float = -1) -> Iterator[tuple[dict[str, Any], str | None, str | None]]:
    """Teach a new person from 5 to 20 pictures: an adapter file, to be given to age and ages.

    name: how the person is called. token: wzx, sks, ams or ukj. steps: how many, 0 takes the usual number.
    Returns how far it is with the losses so far, a preview, and with the last the adapter.
    """
    lessons = systems.load("aging").teach(pictures or [], name, token or None, steps or None, seed)
    for taught in LINE.turn("a program", TAUGHT, EXPECTED, lessons, left):
        far = {"step": taught.step, "steps": taught.steps, "seconds": round(taught.seconds, 1),
               "losses": {term: values[-1] for term, values in taught.losses.items() if values},
               "token": taught.subject.token if taught.subject else "", "looked": taught.looked,
               "notes": list(taught.notes)}
        yield far, taught.preview, taught.adapter


def persons() -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The people who ship, taught already: portraits, names and tokens."""
    system = systems.load("aging")
    return ([(system.portrait(subject), subject.name) for subject in system.subjects],
            [facts_of(subject) | {"person": number} for number, subject in enumerate(system.subjects, 1)])


def adapter_facts(adapter: str) -> dict[str, Any]:
    """Who is in an adapter file: name, token, what it was taught on and how."""
    return facts_of(systems.load("aging").subject_file(adapter))


def aged_settings_of(picture: str) -> dict[str, Any]:
    """What a PNG made here remembers: prompt, person, seed and how it was drawn; {} for any other file."""
    kept = systems.load("aging").settings_of(picture)
    if kept is None:
        return {}
    wish = kept.wish
    return {"prompt": wish.prompt, "negative": wish.negative, "person": kept.subject, "steps": wish.steps,
            "solver": wish.solver, "guidance": wish.guidance, "emphasis": wish.emphasis, "seed": wish.seed,
            "floor": wish.floor, "checkpoint": kept.checkpoint}


def about_aging() -> dict[str, str]:
    """What computes here: checkpoints and their hashes, attention kernel, device, versions."""
    return systems.load("aging").about


def whom(person: str, adapter: str | None) -> Any:
    """The person of an adapter file, or who ships under this number or name; None is nobody."""
    system = systems.load("aging")
    if adapter:
        return system.subject_file(adapter)
    asked = str(person or "").strip()
    named = {subject.name.lower(): subject for subject in system.subjects}
    numbered = {str(number): subject for number, subject in enumerate(system.subjects, 1)}
    if asked in ("", "0"):
        return None
    if asked.lower() not in named | numbered:
        raise SettingsError(f"There is nobody called {asked[:40]!r} here.",
                            f"Choose from: {', '.join(subject.name for subject in system.subjects)}.")
    return (named | numbered)[asked.lower()]


def facts_of(subject: Any) -> dict[str, Any]:
    """A person in words and numbers."""
    return {"name": subject.name, "token": subject.token, "base": subject.base, "settings": dict(subject.settings),
            "ages": None if subject.ages is None else dict(zip(prompts.AGES, subject.ages, strict=True))}


def answers(results: Iterator[Aged]) -> Iterator[Answer]:
    """Results as the API gives them; the ZIP comes with the last."""
    began = time.monotonic()
    for result in LINE.turn("a program", DRAWN, 6.0, results, any_left(began)):
        far = {"step": result.step, "steps": result.steps, "total": result.total, "notes": list(result.notes),
               "dropped": [{"seed": lost.seed, "prompt": lost.prompt, "why": lost.why} for lost in result.dropped]}
        names = [f"{kept.get('group') or 'as asked'}, seed {kept['seed']}" for kept in result.settings]
        shown = [*zip(result.images, names, strict=True), *((path, "under way") for path in result.preview)]
        done = result.step == result.steps
        yield shown, list(result.settings), far, systems.load("aging").zip(result) if done and result.images else None
