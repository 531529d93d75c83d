"""`python -m core run SYSTEM ACTION`: what the tabs do, without the browser; each command comes from its request."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from typer import Context, Option, Typer

from core import systems
from core.commands.options import Device, Offline, Out
from core.engine.request import Request, Setting
from core.engine.result import Result
from core.engine.system import System
from core.errors import SettingsError

run = Typer(no_args_is_help=True)
Like = Annotated[Path | None, Option(help="Begin with the settings of a picture made here; other options change them.",
                                     show_default=False)]
Zip = Annotated[bool, Option("--zip", help="Also write a ZIP of everything.")]


@run.callback()
def about() -> None:
    """Run a system without the browser: numbers, words or a photo in, pictures out."""


def command(system: System, request: type[Request]) -> Callable[..., None]:
    """The command of one action: an option for each setting, and those that all commands have."""
    def task(context: Context, **given: Any) -> None:
        like, preset, archive, out, checkpoint = (given.pop(name) for name in COMMON)
        systems.configure(given.pop("device"), given.pop("offline"))
        pipeline = systems.make(system.name, checkpoint, folder=out)
        chosen = {name: value for name, value in given.items() if is_given(context, name)}
        asked = asked_for(request, pipeline, like, preset, chosen)
        result = finished(pipeline.run(asked))
        report(result)
        files = pipeline.files(result) if result.images else {}
        if not archive and "zip" in files:
            Path(files.pop("zip")).unlink()
        written = "".join(f", {Path(path).name}" for path in files.values())
        print(f"{len(result.images)} pictures in {out}{written}")

    task.__doc__ = request.help()
    options = [inspect.Parameter(name, KEYWORD, default=setting.default, annotation=option(setting))
               for name, setting in request.settings().items()]
    names = ", ".join(choice.name for choice in system.choices)
    preset = Annotated[str | None, Option(help=f"Settings that belong together: {', '.join(request.presets)}.",
                                          show_default=False, hidden=not request.presets)]
    shared = {"like": (Like, None), "preset": (preset, None), "zip": (Zip, False), "out": (Out, Path("out")),
              "checkpoint": (Annotated[str, Option(help=f"{names}; the first ships, others are fetched first.")],
                             system.choices[0].name), "device": (Device, None), "offline": (Offline, False)}
    options += [inspect.Parameter(name, KEYWORD, default=default, annotation=kind)
                for name, (kind, default) in shared.items()]
    task.__signature__ = inspect.Signature([inspect.Parameter("context", KEYWORD, annotation=Context), *options])
    return task


KEYWORD = inspect.Parameter.KEYWORD_ONLY
COMMON = ("like", "preset", "zip", "out", "checkpoint")


def option(setting: Setting) -> Any:
    """The option of a setting: typed, explained; its range is checked by the request."""
    return Annotated[setting.type, Option(help=setting.help, show_default=setting.default not in (None, "", ()))]


def is_given(context: Context, name: str) -> bool:
    """Whether an option was given, rather than left at its default."""
    return context.get_parameter_source(name).name != "DEFAULT"


def asked_for(request: type[Request], pipeline: Any, like: Path | None, preset: str | None,
              chosen: dict[str, Any]) -> Request:
    """The request of a command: a picture's settings, then a preset, then the options. Raises SettingsError."""
    if preset is not None and preset not in request.presets:
        raise SettingsError(f"There is no preset called {preset!r}.",
                            f"Choose from: {', '.join(request.presets) or 'none'}.")
    changes = {**request.presets.get(preset, {}), **chosen}
    changes = {name: value for name, value in changes.items() if name in request.settings()}
    if like is None:
        return request(**changes)
    kept = pipeline.restored(like)
    if kept is None:
        raise SettingsError(f"{like} does not hold the settings of a picture made here.",
                            "Use a PNG as it was written; editors and messengers strip them.")
    if kept.checkpoint not in (None, pipeline.choice.name):
        raise SettingsError(f"{like} was made with the checkpoint {kept.checkpoint}.",
                            f"Choose that:  --checkpoint {kept.checkpoint}")
    if not isinstance(kept.request, request):
        raise SettingsError(f"{like} was made by {kept.request.action}.",
                            f"Run that:  run {request.system} {kept.request.action} --like {like}")
    return replace(kept.request, **changes)


def finished(results: Iterator[Result]) -> Result:
    """The last result; each is counted on a line of the terminal, and pictures under way are deleted."""
    result = Result()
    for result in results:
        print(f"\r{result.step} of {result.steps}", end="", flush=True)
        for path in result.previews:
            Path(path).unlink(missing_ok=True)
    print()
    return result


def report(result: Result) -> None:
    """A line for each picture with its measures, then what was dropped, then the notes."""
    for at, (path, seed) in enumerate(zip(result.images, result.seeds, strict=True)):
        scores = "".join(f"  {name} {value:.2f}" for name, value in result.scored(at).items() if value is not None)
        print(f"  {Path(path).name}  seed {seed}{scores}")
    for lost in result.dropped:
        print(f"  seed {lost.seed} dropped: {lost.why}")
    for note in result.notes:
        print(f"  {note}")


def add(system: System) -> None:
    """Add the commands of a system to `run`."""
    group = Typer(no_args_is_help=True)
    for request in system.requests:
        if request.draws:
            group.command(request.action)(command(system, request))
    run.add_typer(group, name=system.name, help=f"{system.title}: {system.paper}.")


for _system in systems.SYSTEMS.values():
    add(_system)
