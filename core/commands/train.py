"""train: run a recipe until its time is used up, then write the checkpoint."""

import os
import sys
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from core.errors import SettingsError

Recipe = Literal["embedder", "judge", "vectors", "landmarks", "recogniser", "aging"]
PEOPLE = ("aging", "people")    # a stage that trains no network but teaches the people who ship
WITH_DATA = ("recogniser",)  # recipes that learn from any set of people; the others need drawn faces and their truth


def train(
    recipe: Annotated[Recipe, Argument(help="What to train.")],
    preset: Annotated[str, Option(help="Size and seed: tiny, or tiny-check, the twin that only scores. Of aging its "
                                       "stages, autoencoder, unet, decoder and people; with --images how a person is "
                                       "taught: tiny, paper or sd-lora. Of vectors also onward, "
                                       "from the weights that ship.")] = "tiny",
    out: Annotated[Path | None, Option(help="Folder of the run: log, sheets, state; else "
                                            "runs/<recipe>-<preset>[-<data>].", show_default=False)] = None,
    data: Annotated[str | None, Option(help="What a recogniser learns from: drawn, the default, or a folder with a "
                                            "sub-folder per person, as `generate` makes.", show_default=False)] = None,
    minutes: Annotated[float, Option(min=0.01, help="Training time; the learning rate is annealed over it.")] = 40,
    steps: Annotated[int | None, Option(min=1, help="Train for so many steps instead.", show_default=False)] = None,
    resume: Annotated[bool, Option(help="Go on from the state in the folder of the run.")] = False,
    onward: Annotated[bool, Option("--onward", help="Begin at the weights that ship, to make them better.")] = False,
    threads: Annotated[int | None, Option(min=1, help="CPU threads, if not all cores.", show_default=False)] = None,
    seed: Annotated[int | None, Option(min=0, help="Another seed than the preset's.", show_default=False)] = None,
    people: Annotated[int | None, Option(min=2, help="Drawn people; else the preset's.", show_default=False)] = None,
    looks: Annotated[int | None, Option(min=2, help="Pictures per person.", show_default=False)] = None,
    batch: Annotated[int | None, Option(min=2, help="Pictures a step; a GPU has room for many more than the preset's.",
                                        show_default=False)] = None,
    rate: Annotated[float | None, Option(min=1e-9, help="Peak learning rate, but for a discriminator's.",
                                         show_default=False)] = None,
    workers: Annotated[int, Option(min=0, help="Processes that make batches ready, for a GPU not to wait.")] = 0,
    precision: Annotated[Literal["auto", "bf16", "no"], Option(help="Mixed precision; auto uses it on GPUs. On a CPU "
                                                               "bf16 is quicker with AMX, else many times slower.")
                         ] = "auto",
    compiled: Annotated[bool, Option("--compile", help="Compile the networks first (minutes; then faster).")] = False,
    ship: Annotated[Path | None, Option(help="Where the checkpoint goes; the folder of the run if not given. "
                                             "`checkpoints` makes it the one used.", show_default=False)] = None,
    images: Annotated[Path | None, Option(help="Of aging: teach the person in this folder's pictures, 5 to 20, instead "
                                               "of training networks.", show_default=False)] = None,
    token: Annotated[Literal["wzx", "sks", "ams", "ukj"], Option(help="The word that will mean this person.")] = "wzx",
    name: Annotated[str | None, Option(help="What the person is called; the folder's name if not given.",
                                       show_default=False)] = None,
    others: Annotated[Path | None, Option(help="Pictures of other people, in sub-folders child, teenager, youngadults, "
                                               "middleaged, elderly and old, to teach beside; there is a set.",
                                          show_default=False)] = None,
) -> None:
    """Train a network from its recipe. Several GPUs: `accelerate launch -m core train …`.

    `train aging --images DIR` teaches one person: minutes on a CPU with the networks that ship (preset tiny). It leaves
    an adapter file of a few MB. Ctrl-C keeps what was learned, and --resume goes on.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    asked = {"people": people, "looks": looks, "seed": seed, "batch": batch, "rate": rate}
    asked = {option: value for option, value in asked.items() if value is not None}
    if images is not None or name or others:
        none_of(asked.keys() - {"seed"}, workers)
        from core.commands.teach import teach

        teach(folder_of(recipe, images), token, name, preset, out, others, steps, seed, resume)
        return
    if (recipe, preset) == PEOPLE:
        none_of(asked.keys(), workers)
        from core.training.people import teach as teach_people

        wrote(teach_people(ship or out or Path("runs") / "aging-people", recorded(sys.argv[1:])))
        return
    from accelerate import PartialState

    from core.training.loop import Settings, fit
    from core.training.loop import onward as from_shipped

    if torch.cuda.is_available():       # before a recipe loads what steers it: each process has a GPU of its own
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    module = import_module(f"core.training.{recipe}")
    given = checked(recipe, preset, data, module.PRESETS)
    out = out or Path("runs") / "-".join((recipe, preset, *map(folder_name, given.values())))
    made = module.recipe(preset, **given, **asked)
    if onward:
        from_shipped(made)
    if compiled:
        for network in made.networks.values():
            network.compile()
    settings = Settings(out=out, minutes=minutes, steps=steps, threads=threads, seed=made.preset.seed, resume=resume,
                        workers=workers, precision=precision)
    networks = fit(made, settings)
    if not PartialState().is_main_process:
        return
    wrote(module.finish(made, networks, ship or out, recorded(sys.argv[1:])))


def none_of(options: Collection[str], workers: int) -> None:
    """Refuse what has no part in teaching a person. Raises SettingsError."""
    given = [f"--{option}" for option in (*sorted(options), *(["workers"] if workers else []))]
    if given:
        raise SettingsError(f"A person is taught as the preset says, without {' and '.join(given)}.",
                            f"Leave {' and '.join(given)} out.")


def wrote(paths: list[Path]) -> None:
    """Say what was written."""
    for path in paths:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def folder_of(recipe: str, images: Path | None) -> Path:
    """The pictures of a person. SettingsError where a recipe has no use for them, or they are missing."""
    if recipe != "aging":
        raise SettingsError(f"The recipe of {recipe} teaches nobody.",
                            "Leave --images, --name and --others out, or:  train aging --images DIR")
    if images is None:
        raise SettingsError("--name and --others are for teaching a person.", "Name a folder:  --images DIR")
    return images


def checked(recipe: str, preset: str, data: str | None, presets: dict) -> dict[str, str]:
    """What a recipe is told besides numbers: {"data": …} where it takes it. SettingsError for what it doesn't know."""
    if preset not in presets:
        raise SettingsError(f"The recipe of {recipe} has no preset called {preset!r}.",
                            f"Choose from: {', '.join([*presets, *(PEOPLE[1:] if recipe == PEOPLE[0] else ())])}.")
    if recipe in WITH_DATA:
        return {"data": data or "drawn"}
    if data is not None:
        raise SettingsError(f"The recipe of {recipe} learns from drawn faces only, because it needs their truth.",
                            f"Leave --data out, or train: {', '.join(WITH_DATA)}.")
    return {}


def recorded(arguments: list[str]) -> str:
    """The command for the manifest: all that changes what is learnt, not where this machine kept it or took it up.

    Of a folder of data its name is kept, without the way there.
    """
    kept, words = [], iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--out", "--ship", "--data", "--workers"):
            value = value if equals else next(words, "")
            kept += ["--data", folder_name(value)] if option == "--data" else []
        elif word != "--resume":
            kept.append(word)
    return " ".join(("python -m core", *kept))


def folder_name(path: str) -> str:
    """The last part of a path, also of `.` and of `people/`."""
    return Path(path).resolve().name
