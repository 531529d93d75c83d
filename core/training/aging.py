"""The aging recipe: the networks of `aging-tiny`, stage by stage; a preset is a stage.

    autoencoder   pictures to latents and back                        core/training/autoencoder.py
    unet          denoiser and text encoder, on these latents         core/training/diffusion.py
    decoder       sharper pictures of the same latents                core/training/decoder.py
    people        the four shipped subjects                          core/training/people.py

All other stages need the autoencoder's checkpoint in checkpoints/, so train it with `--ship checkpoints`. They can run
in parallel.
"""

from dataclasses import replace

from core.training import autoencoder, decoder, diffusion
from core.training.loop import Recipe, drawn_sets

PRESETS = {
    "autoencoder": autoencoder.Preset("tiny", seed=11),
    "unet": diffusion.Preset("tiny", seed=12),
    "decoder": decoder.Preset("tiny", seed=13, soft_images=0, start="aging-autoencoder-tiny"),
}
PICTURES = {"autoencoder": autoencoder.AutoencoderRecipe, "decoder": decoder.DecoderRecipe}     # need pictures only
SIZE = 128  # pixels
CHECKED = (64, 4)  # validation people × looks


def recipe(preset: str, **asked: float) -> Recipe:
    """The recipe of a stage; draws missing faces. Raises CheckpointError if the autoencoder is missing."""
    chosen = replace(PRESETS[preset], **asked)
    if preset in PICTURES:
        return PICTURES[preset](chosen, *drawn_sets(chosen, CHECKED, size=SIZE))
    trained = diffusion.trained_autoencoder(chosen.autoencoder)     # raises before drawing
    return diffusion.DiffusionRecipe(chosen, trained, *drawn_sets(chosen, CHECKED, size=SIZE))
