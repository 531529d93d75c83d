"""The aging recipe: the networks of `aging-tiny`, stage by stage; a preset is a stage.

    autoencoder   pictures to latents and back                        core/training/autoencoder.py
    unet          denoiser and text encoder, on these latents         core/training/diffusion.py
    decoder       sharper pictures of the same latents                core/training/autoencoder.py
    people        the four shipped subjects                          core/training/people.py

All other stages need the autoencoder's checkpoint in checkpoints/, so train it with `--ship checkpoints`. They can run
in parallel.
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
    """The recipe of a stage; draws missing faces. Raises CheckpointError if the autoencoder is missing."""
    chosen = replace(PRESETS[preset], **asked)
    if isinstance(chosen, autoencoder.Preset):
        return autoencoder.AutoencoderRecipe(chosen, *pictures(chosen.people, chosen.looks))
    trained = diffusion.trained_autoencoder(chosen.autoencoder)     # raises before drawing
    return diffusion.DiffusionRecipe(chosen, trained, *pictures(chosen.people, chosen.looks))


def pictures(people: int, looks: int) -> tuple[data.DrawnSet, data.DrawnSet]:
    """Drawn faces for training and validation."""
    return (data.drawn_set("train", people, looks, size=SIZE), data.drawn_set("validation", *CHECKED, size=SIZE))


def finish(recipe: Recipe, networks: dict, folder: Path, command: str) -> list[Path]:
    """Write the checkpoints of the stage; returns their paths."""
    return recipe.finish(networks, folder, command)
