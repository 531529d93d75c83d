"""A captioned set of one's own: pictures of other people by age, beside which a person is taught.

It is what teaches young and old (Banerjee et al. 2023 used 612). Without one, the networks' own is taken: the set that
ships for the tiny ones, what Stable Diffusion itself draws for the large.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import data, words
from core.errors import SettingsError
from core.latent import Latent

BATCH = 2       # pictures of 512 pixels that an autoencoder takes at a time
KINDS = {".png", ".jpg", ".jpeg", ".webp"}


def captioned(base: Latent, folder: Path) -> tuple[Tensor, list[str]]:
    """Latents (M, C, h, w) float32 on the CPU, and a caption for each.

    folder: pictures in sub-folders called child, teenager and so on; they are cut square in the middle, so a face is
    best when it fills the picture. Raises SettingsError for a folder without any.
    """
    ages = [age for age in words.GROUPS if any(path.suffix.lower() in KINDS for path in (folder / age).rglob("*"))]
    if not ages:
        raise SettingsError(f"{folder} holds no pictures of others by age.",
                            f"Put some into its sub-folders, called {', '.join(words.GROUPS)}.")
    sets = {age: data.folder(folder / age, base.size) for age in ages}
    captions = [words.PROMPT.format(age) for age, pictures in sets.items() for _ in range(len(pictures))]
    return torch.cat([_latents(base, pictures) for pictures in sets.values()]), captions


@torch.no_grad()
def _latents(base: Latent, pictures: data.DrawnSet) -> Tensor:
    """The latents of a set, a few pictures at a time."""
    rows = np.array_split(np.arange(len(pictures)), -(-len(pictures) // BATCH))
    return torch.cat([base.autoencoder.encode(data.rows_of(pictures, part, base.device)["image"].to(base.dtype))
                      .float().cpu() for part in rows])
