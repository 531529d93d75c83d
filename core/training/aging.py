"""The aging recipe: the networks of `aging-tiny`, stage by stage; a preset is a stage.

    autoencoder   pictures to latents and back                        core/training/autoencoder.py
    unet          denoiser and text encoder, on these latents         core/training/diffusion.py
    decoder       sharper pictures of the same latents                core/training/autoencoder.py
    people        four people, taught as a visitor would teach them  core/training/people.py

The others read the first one's checkpoint from checkpoints/, so train that with `--ship checkpoints`. They can be
trained side by side.
"""

from dataclasses import replace
from pathlib import Path

from core import data
from core.training import autoencoder, diffusion
from core.training.loop import Recipe

PRESETS = {
    "autoencoder": autoencoder.Preset("tiny", seed=11),
    "unet": diffusion.Preset("tiny", seed=12),
    "decoder": autoencoder.Preset("tiny", seed=13, rate=5e-4, start="aging-autoencoder-tiny"),
}
SIZE = 128  # pixels
CHECKED = (64, 4)  # validation people × looks


def recipe(preset: str, **asked: float) -> Recipe:
    """The recipe of a stage, its faces drawn if they are not yet. CheckpointError if the stage before it is missing."""
    chosen = replace(PRESETS[preset], **asked)
    if isinstance(chosen, autoencoder.Preset):
        return autoencoder.AutoencoderRecipe(chosen, *pictures(chosen.people, chosen.looks))
    trained = diffusion.trained_autoencoder(chosen.autoencoder)     # or an error, before anything is drawn
    return diffusion.DiffusionRecipe(chosen, trained, *pictures(chosen.people, chosen.looks))


def pictures(people: int, looks: int) -> tuple[data.DrawnSet, data.DrawnSet]:
    """Drawn faces to learn from, and others to check with."""
    return (data.drawn_set("train", people, looks, size=SIZE), data.drawn_set("validation", *CHECKED, size=SIZE))


def finish(recipe: Recipe, networks: dict, folder: Path, command: str) -> list[Path]:
    """Write the checkpoints of the stage; returns their paths."""
    return recipe.finish(networks, folder, command)
