"""A user's own regularisation set: captioned pictures of other people by age (Banerjee et al. 2023 used 612).

It preserves the meaning of the age words. By default the tiny networks use the shipped set, and Stable Diffusion uses
pictures that it generates itself.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import data, words
from core.errors import SettingsError
from core.latent import Latent
from core.reading import pictures_below

BATCH = 2       # pictures per call of the autoencoder


def captioned(base: Latent, folder: Path) -> tuple[Tensor, list[str]]:
    """Latents (M, C, h, w) float32 on the CPU, and a caption for each.

    folder: pictures in sub-folders named child, teenager and so on. They are cropped to the central square, so faces
    should fill the picture. Raises SettingsError if there are none.
    """
    ages = ages_in(folder)
    if not ages:
        inside = next((each for each in sorted(folder.glob("*/")) if ages_in(each)), None)
        raise SettingsError(f"{folder} has no pictures in sub-folders by age"
                            f"{'' if inside is None else f', but {inside} has'}.",
                            f"Add some in sub-folders named {', '.join(words.GROUPS)}." if inside is None else
                            f"Name that folder:  --others {inside}")
    sets = {age: data.folder(folder / age, base.size) for age in ages}
    captions = [words.PROMPT.format(age) for age, pictures in sets.items() for _ in range(len(pictures))]
    return torch.cat([_latents(base, pictures) for pictures in sets.values()]), captions


def ages_in(folder: Path) -> list[str]:
    """The age groups that a folder has pictures of, in sub-folders of these names."""
    return [age for age in words.GROUPS if pictures_below(folder / age)]


@torch.no_grad()
def _latents(base: Latent, pictures: data.DrawnSet) -> Tensor:
    """Latents of a set, BATCH pictures at a time."""
    rows = np.array_split(np.arange(len(pictures)), -(-len(pictures) // BATCH))
    return torch.cat([base.autoencoder.encode(data.rows_of(pictures, part, base.device)["image"].to(base.dtype))
                      .float().cpu() for part in rows])
