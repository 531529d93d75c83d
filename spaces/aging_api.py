"""Endpoints of `aging` besides drawing: train a person, check pictures, list people."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from core import systems
from core.systems.aging import prompts
from core.systems.aging.request import Teach
from spaces import GPU, widgets
from spaces.aging_teach import left
from spaces.fields import parameter
from spaces.queue import LESSONS

TRAINING = "A person is being trained for a program"


def endpoints() -> None:
    """Register them; each gets components of its own, because an API takes its types from components."""
    teaching = [parameter(setting) for setting in Teach.settings().values()]
    for task, inputs, outputs in (
        (aging_check_pictures, [files("Pictures of one person")], (gallery("The crops that are used"),
                                                                   table("Each picture"))),
        (aging_teach, teaching, (table("Progress"), file("Preview (PNG)"), file("The adapter, at the end"))),
        (aging_people, [], (gallery("Portraits"), table("Who they are"))),
        (aging_adapter, [file("An adapter")], [table("What is in it")]),
    ):
        turn = widgets.LESSON_TURN if task is aging_teach else widgets.GPU_TURN
        widgets.endpoint(task, inputs, outputs, **turn)


def file(label: str) -> Any:
    return gr.File(label=label, render=False)


def files(label: str) -> Any:
    return gr.File(label=label, file_count="multiple", render=False)


def gallery(label: str) -> Any:
    return gr.Gallery(label=label, format="png", render=False)


def table(label: str) -> Any:
    return gr.JSON(label=label, render=False)


@GPU
def aging_check_pictures(pictures: list[str]) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Check pictures for training one by one: the crops, and what is wrong with which."""
    looked = systems.load("aging").checked(pictures or [])
    return ([(each.picture, Path(each.path).name) for each in looked if each.picture],
            [{"file": Path(each.path).name, "good": each.good, "problem": each.problem, "note": each.note}
             for each in looked])


@GPU(duration=180)
def aging_teach(pictures: list[str], name: str = "", token: str = "", steps: float | None = None,
                seed: float | None = -1) -> Iterator[tuple[dict[str, Any], str | None, str | None]]:
    """Train a new person from 5 to 20 pictures; returns an adapter file.

    name: what the person is called. token: wzx, sks, ams or ukj. steps: left out, the usual number.
    Returns the progress with the losses so far, a preview, and with the last the adapter.
    """
    asked = Teach(pictures or (), name, token, steps, seed).checked()
    lessons = systems.load("aging").teach(asked.pictures, asked.name, asked.token or None, asked.steps, asked.seed)
    for taught in LESSONS.run("a program", TRAINING, Teach.expected, lessons, left):
        far = {"step": taught.step, "steps": taught.steps, "seconds": round(taught.seconds, 1),
               "losses": {term: values[-1] for term, values in taught.losses.items() if values},
               "token": taught.subject.token if taught.subject else "", "calibration": taught.calibration,
               "notes": list(taught.notes)}
        yield far, taught.preview, taught.adapter


def aging_people() -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The trained people who ship: portraits, names and tokens."""
    system = systems.load("aging")
    return ([(system.portrait(subject), subject.name) for subject in system.subjects],
            [facts_of(subject) | {"person": number} for number, subject in enumerate(system.subjects, 1)])


def aging_adapter(adapter: str) -> dict[str, Any]:
    """Who is in an adapter file: name, token, what it was taught on and how."""
    return facts_of(systems.load("aging").subject_file(adapter))


def facts_of(subject: Any) -> dict[str, Any]:
    """A person in words and numbers."""
    return {"name": subject.name, "token": subject.token, "base": subject.base, "settings": dict(subject.settings),
            "ages": None if subject.ages is None else dict(zip(prompts.AGES, subject.ages, strict=True))}
