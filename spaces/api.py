"""Endpoints for programs (gradio_client, curl): one for every action of every system, derived from its request.

    /vectors_draw, /vectors_walk, …, /aging_draw, …     parameters are the settings, and `checkpoint`
    /vectors_restore, /aging_restore                    the settings that a PNG made here stores
    /vectors_about, /aging_about                        what computes
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import gradio as gr

from core import systems
from core.engine.request import Request
from core.engine.result import Result
from core.engine.system import System
from core.errors import SettingsError
from spaces import GPU, widgets
from spaces.fields import parameter
from spaces.queue import DRAWING, remaining_from

Answer = tuple[list[tuple[str, str]], list[dict[str, Any]], dict[str, Any], list[str] | None]
RETURNS = ("Returns the pictures (finished ones, then those under way), the settings stored in each, the progress with "
           "notes and dropped pictures, and with the last answer the files: a ZIP of everything first.")
NEEDED = inspect.Parameter.empty
BUSY = "Pictures that a program asked for are being drawn"


def endpoints(system: System) -> None:
    """Register the endpoints of a system."""
    for request in system.requests:
        if request.draws:
            drawing(system, request)
    names = ", ".join(choice.name for choice in system.choices)
    checkpoint = gr.Textbox(system.choices[0].name, label=f"Checkpoint: {names}.", render=False)
    widgets.endpoint(restore_of(system), [gr.File(label="A PNG made here", render=False)],
                     [gr.JSON(label="Its settings", render=False)], **widgets.GPU_TURN)
    widgets.endpoint(about_of(system), [checkpoint], [gr.JSON(label="What computes", render=False)],
                     **widgets.GPU_TURN)


def drawing(system: System, request: type[Request]) -> None:
    """One endpoint that streams pictures."""
    names = ", ".join(choice.name for choice in system.choices)
    inputs = [*map(parameter, request.settings().values()),
              gr.Textbox(system.choices[0].name, label=f"Checkpoint: {names}.", render=False)]
    outputs = [gr.Gallery(label="PNG files with their settings inside", format="png", render=False),
               gr.JSON(label="What made each", render=False), gr.JSON(label="Progress", render=False),
               gr.File(label="Files, at the end", file_count="multiple", render=False)]
    widgets.endpoint(task_of(system, request), inputs, outputs, **widgets.GPU_TURN)


def task_of(system: System, request: type[Request]) -> Callable[..., Iterator[Answer]]:
    """The function behind an endpoint; its parameters are the settings and `checkpoint`."""
    @GPU
    def task(*values: Any) -> Iterator[Answer]:
        *settings, checkpoint = values
        refuse_folders(request, settings)
        pipeline = systems.load(system.name, checkpoint)
        asked = request(**dict(zip(request.settings(), settings, strict=True)))
        yield from answers(pipeline, pipeline.run(asked), request.expected)

    lines = [f"{name}: {setting.help}" for name, setting in request.settings().items()]
    return named(task, f"{system.name}_{request.action}", "\n".join((request.help(), "", *lines, "", RETURNS)),
                 {name: setting.default for name, setting in request.settings().items()}
                 | {"checkpoint": system.choices[0].name})


def refuse_folders(request: type[Request], values: Sequence[Any]) -> None:
    """Raise SettingsError for a folder where a file belongs: gradio accepts its own folder of all uploads."""
    for (name, setting), value in zip(request.settings().items(), values, strict=True):
        paths = {"file": [value] if value else [], "files": value or []}.get(setting.kind, [])
        if any(Path(path).is_dir() for path in paths):
            raise SettingsError(f"{name} can't be a folder.", "Upload a file.")


def restore_of(system: System) -> Callable[[str], dict[str, Any]]:
    """The endpoint that reads a picture made here."""
    def task(picture: str) -> dict[str, Any]:
        kept = systems.load(system.name).restored(picture)
        if kept is None:
            return {}
        return {"action": kept.request.action, **kept.request.values(), "checkpoint": kept.checkpoint}

    return named(task, f"{system.name}_restore", "The settings that a PNG made here stores; {} for any other file.",
                 {"picture": NEEDED})


def about_of(system: System) -> Callable[[str], dict[str, str]]:
    """The endpoint that says what computes."""
    def task(checkpoint: str) -> dict[str, str]:
        return systems.load(system.name, checkpoint).about

    return named(task, f"{system.name}_about",
                 "What computes here: checkpoints and their hashes, attention kernel, device, versions.",
                 {"checkpoint": system.choices[0].name})


def named(task: Callable, name: str, text: str, parameters: dict[str, Any]) -> Callable:
    """The task with the name, docstring and parameters (name: default) that an endpoint shows."""
    task.__name__, task.__doc__ = name, text
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    task.__signature__ = inspect.Signature([inspect.Parameter(each, kind, default=default)
                                            for each, default in parameters.items()])
    return task


def answers(pipeline: Any, results: Iterator[Result], expected: float) -> Iterator[Answer]:
    """Results as an endpoint gives them; the files come with the last. Visitors who wait meanwhile read why."""
    result = None
    for result in DRAWING.run("a program", BUSY, expected, results, remaining_from(monotonic())):
        yield answer(result, None)
    if result is not None and result.images:
        yield answer(result, [*pipeline.files(result).values()])


def answer(result: Result, files: list[str] | None) -> Answer:
    """One result as an endpoint gives it."""
    shown = [*((path, f"seed {seed}") for path, seed in zip(result.images, result.seeds, strict=True)),
             *((path, "under way") for path in result.previews)]
    progress = {"step": result.step, "steps": result.steps, "total": result.total, "notes": [*result.notes],
                "dropped": [{"seed": lost.seed, "prompt": lost.prompt, "why": lost.why} for lost in result.dropped]}
    facts = [{key: value for key, value in kept.items() if key not in LONG} for kept in result.settings]
    return shown, facts, progress, files


def understood(preprocess: Callable[..., Awaitable[list]]) -> Callable[..., Awaitable[list]]:
    """Gradio's reading of what was sent, its refusals as one sentence: as they are, programs get `error: null`."""
    @functools.wraps(preprocess)
    async def read(*args: Any, **kwargs: Any) -> list:
        try:
            return await preprocess(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error("A parameter is missing or of the wrong kind. Upload files first, with gradio_client's "
                           "handle_file; the API page lists the parameters.", print_exception=False) from error
    return read


LONG = frozenset({"vector", "walk_from", "walk_to", "edit_from", "origin_vector",      # 512 numbers each; in the PNG
                  "latent", "pixels", "references", "frozen"})      # a latent, pictures and a mask, packed
