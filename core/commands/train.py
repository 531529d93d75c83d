"""`python -m core train`: run a recipe for its training time, then write the checkpoint."""

import os
import sys
from collections.abc import Collection
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from core.errors import SettingsError

Recipe = Literal["embedder", "judge", "vectors", "landmarks", "recogniser", "aging", "stylegan2", "encoder", "mapper",
                 "directions", "features", "clusters", "l2m", "l2m_pairs"]
PEOPLE = ("aging", "people")    # the stage that trains the shipped people
WITH_DATA = ("recogniser", "l2m")   # recipes that also take a folder
NAMED = ("--data", "--generator", "--judge")    # options that may be paths


def train(
    recipe: Annotated[Recipe, Argument(help="What to train.")],
    preset: Annotated[str, Option(help="Size and seed: tiny, or tiny-check for scoring only. aging: the stages "
                                       "autoencoder, unet, decoder and people. "
                                       "vectors: also onward, from shipped weights. stylegan2: tiny-128, "
                                       "and onward. "
                                       "mapper: also tiny+pairs. mapper, directions: also ffhq. "
                                       "features: texture or shape. clusters: also tiny-adain, tiny-mean, "
                                       "tiny-label. l2m: also tiny-128 (after tiny), tiny-base, "
                                       "tiny-perceptual, tiny-single, tiny-inner, published. "
                                       "l2m_pairs: also tiny-128 (after tiny), tiny-loose, onward.")] = "tiny",
    out: Annotated[Path | None, Option(help="Folder for log, samples and state; default "
                                            "runs/<recipe>-<preset>[-<data>].", show_default=False)] = None,
    data: Annotated[str | None, Option(help="recogniser: drawn (default), or a folder with a sub-folder per "
                                            "person, as `generate` writes. l2m: a folder with labels.csv.",
                                       show_default=False)] = None,
    minutes: Annotated[float, Option(min=0.01, help="Training time; sets the learning rate schedule.")] = 40,
    steps: Annotated[int | None, Option(min=1, help="Steps, instead of --minutes.", show_default=False)] = None,
    resume: Annotated[bool, Option(help="Resume from the state in --out; --batch and --rate may differ.")] = False,
    onward: Annotated[bool, Option("--onward", help="Start from the shipped weights.")] = False,
    threads: Annotated[int | None, Option(min=1, help="CPU threads; default: all cores.", show_default=False)] = None,
    seed: Annotated[int | None, Option(min=0, help="Random seed; default: the preset's.", show_default=False)] = None,
    people: Annotated[int | None, Option(min=2, help="Drawn people; else the preset's.", show_default=False)] = None,
    looks: Annotated[int | None, Option(min=2, help="Pictures per person.", show_default=False)] = None,
    batch: Annotated[int | None, Option(min=2, help="Batch size; a GPU allows larger ones than the preset's.",
                                        show_default=False)] = None,
    rate: Annotated[float | None, Option(min=1e-9, help="Peak learning rate, except for a discriminator.",
                                         show_default=False)] = None,
    latents: Annotated[int | None, Option(min=2, help="mapper, directions: latents to learn from.",
                                          show_default=False)] = None,
    generator: Annotated[str | None, Option(help="mapper, directions, encoder: the StyleGAN2 to edit: a checkpoint, or "
                                                 "a file that `train` wrote. l2m, l2m_pairs, clusters: what to begin "
                                                 "with.",
                                            show_default=False)] = None,
    judge: Annotated[str | None, Option(help="mapper, directions: the regressor of attributes: a checkpoint, or a file "
                                             "that `train judge` wrote.", show_default=False)] = None,
    workers: Annotated[int, Option(min=0, help="Data loading processes, for a GPU.")] = 0,
    precision: Annotated[Literal["auto", "bf16", "no"], Option(help="Mixed precision; auto uses bf16 on GPUs. On a CPU "
                                                               "bf16 is faster where it has bf16 units.")
                         ] = "auto",
    compiled: Annotated[bool, Option("--compile", help="Use torch.compile (takes minutes first).")] = False,
    ship: Annotated[Path | None, Option(help="Folder for the checkpoint; default --out. `checkpoints` replaces "
                                             "the shipped one.", show_default=False)] = None,
) -> None:
    """Train a network from its recipe. Several GPUs: `accelerate launch -m core train …`.

    Ctrl-C saves the state reached, and --resume continues. `python -m core teach` trains a person.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    asked = {"people": people, "looks": looks, "seed": seed, "batch": batch, "rate": rate, "latents": latents,
             "generator": generator, "judge": judge}
    asked = {option: value for option, value in asked.items() if value is not None}
    if (recipe, preset) == PEOPLE:
        none_of(asked.keys(), workers)
        from core.training.people import train_all

        wrote(train_all(ship or out or Path("runs") / "aging-people", recorded(sys.argv[1:])))
        return
    from accelerate import PartialState

    from core.training.loop import Settings, fit
    from core.training.loop import onward as from_shipped

    if torch.cuda.is_available():       # before a recipe loads networks: one GPU per process
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    module = import_module(f"core.training.{recipe}")
    given = checked(recipe, preset, data, module.PRESETS)
    check_options(recipe, module.PRESETS[preset], asked)
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
    wrote(made.finish(networks, ship or out, recorded(sys.argv[1:])))


def none_of(options: Collection[str], workers: int) -> None:
    """Raise SettingsError for options that training the shipped people does not have."""
    given = [f"--{option}" for option in (*sorted(options), *(["workers"] if workers else []))]
    if given:
        raise SettingsError(f"Training the shipped people works without {' and '.join(given)}.",
                            f"Leave out {' and '.join(given)}.")


def wrote(paths: list[Path]) -> None:
    """Print the written files."""
    for path in paths:
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def checked(recipe: str, preset: str, data: str | None, presets: dict) -> dict[str, str]:
    """The recipe's further arguments: {"data": …} if it takes data. Raises SettingsError for invalid ones."""
    if preset not in presets:
        raise SettingsError(f"There is no preset {preset!r} of {recipe}.",
                            f"Choose from: {', '.join([*presets, *(PEOPLE[1:] if recipe == PEOPLE[0] else ())])}.")
    if recipe in WITH_DATA:
        return {"data": data or "drawn"}
    if data is not None:
        raise SettingsError(f"{recipe} trains on drawn faces only.",
                            f"Leave out --data, or train: {', '.join(WITH_DATA)}.")
    return {}


def check_options(recipe: str, preset: object, options: Collection[str]) -> None:
    """Raise SettingsError for options that a preset of this recipe has no field for."""
    known = {field.name for field in fields(preset)}
    unknown = [f"--{option}" for option in options if option not in known]
    if unknown:
        raise SettingsError(f"{recipe} has no {' and no '.join(unknown)}.", f"Leave out {' and '.join(unknown)}.")


def recorded(arguments: list[str]) -> str:
    """The command for the manifest: options that affect the result, without folders and --resume.

    Of a data folder, and of files of networks, only the name is kept.
    """
    kept, words = [], iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if option in ("--out", "--ship", "--workers", *NAMED):
            value = value if equals else next(words, "")
            kept += [option, folder_name(value)] if option in NAMED else []
        elif word != "--resume":
            kept.append(word)
    return " ".join(("python -m core", *kept))


def folder_name(path: str) -> str:
    """The last part of a path, also of `.` and of `people/`."""
    return Path(path).resolve().name
