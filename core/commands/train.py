"""train: run a recipe until its time is used up, then write the checkpoint."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

Recipe = Literal["embedder", "judge", "vectors", "landmarks"]


def train(
    recipe: Annotated[Recipe, Argument(help="What to train.")],
    preset: Annotated[str, Option(help="Size and seed: tiny, or tiny-check, the twin that only scores.")] = "tiny",
    out: Annotated[Path | None, Option(help="Folder of the run: log, sheets, state; else runs/<recipe>-<preset>.",
                                       show_default=False)] = None,
    minutes: Annotated[float, Option(min=0.01, help="Training time; the learning rate is annealed over it.")] = 40,
    steps: Annotated[int | None, Option(min=1, help="Train for so many steps instead.", show_default=False)] = None,
    resume: Annotated[bool, Option(help="Go on from the state in the folder of the run.")] = False,
    threads: Annotated[int | None, Option(min=1, help="CPU threads, if not all cores.", show_default=False)] = None,
    seed: Annotated[int | None, Option(min=0, help="Another seed than the preset's.", show_default=False)] = None,
    people: Annotated[int | None, Option(min=2, help="Drawn people; else the preset's.", show_default=False)] = None,
    looks: Annotated[int | None, Option(min=2, help="Pictures per person.", show_default=False)] = None,
    precision: Annotated[Literal["auto", "bf16", "no"], Option(help="Mixed precision; auto uses it on GPUs.")] = "auto",
    compiled: Annotated[bool, Option("--compile", help="Compile the networks first (minutes; then faster).")] = False,
    ship: Annotated[Path | None, Option(help="Where the checkpoint goes; the folder of the run if not given. "
                                             "`checkpoints` makes it the one used.", show_default=False)] = None,
) -> None:
    """Train a network from its recipe. Several GPUs: `accelerate launch -m core train …`."""
    import torch

    from core.training.loop import Settings, fit

    if threads:
        torch.set_num_threads(threads)
    out = out or Path("runs") / f"{recipe}-{preset}"
    module = import_module(f"core.training.{recipe}")
    made = module.recipe(preset, people=people, looks=looks, seed=seed)
    if compiled:
        for network in made.networks.values():
            network.compile()
    settings = Settings(out=out, minutes=minutes, steps=steps, threads=threads, seed=made.preset.seed, resume=resume,
                        precision=precision)
    networks = fit(made, settings)
    for path in module.finish(made, networks, ship or out, recorded(sys.argv[1:])):
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


def recorded(arguments: list[str]) -> str:
    """The command for the manifest: all that changes what is learnt, not where this machine kept it or took it up."""
    kept, words = [], iter(arguments)
    for word in words:
        if word in ("--out", "--ship"):
            next(words, None)
        elif word != "--resume" and not word.startswith(("--out=", "--ship=")):
            kept.append(word)
    return " ".join(("python -m core", *kept))
