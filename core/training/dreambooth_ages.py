"""Age calibration of a trained person; not part of Banerjee et al. (arXiv 2307.08585).

Training on pictures of one age biases the six age words towards it. For "middleaged", a denoiser trained on pictures
at 57 years generated 70 years, one trained at 4 years generated 36. Calibration generates the person at interpolated
age embeddings and estimates the years. It then maps each age word to the embedding that gives its years most often.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.special import ndtr

from core import words
from core.images import recognisable
from core.latent import Latent, denoise

AGE_GRID = (5.0, 12.0, 18.0, 24.0, 30.0, 36.0, 42.0, 48.0, 56.0, 65.0, 75.0, 88.0)    # years
STEPS = 16      # of the solver; with 10 instead of 20, estimated ages were two years higher
ERROR = 5.0     # years, standard deviation of the judge
EQUAL = 0.01    # smaller differences between shares count as ties


@dataclass(frozen=True)
class AgeSweep:
    """Progress of calibration. years: (ages so far, pictures), estimated by the judge. share: of AGE_GRID, 0 to 1."""

    years: np.ndarray
    share: float


@torch.no_grad()
def sweep_ages(latent: Latent, unet: nn.Module, token: str, subject_embedding: Tensor, judge: nn.Module,
               seeds: Sequence[int]) -> Iterator[AgeSweep]:
    """Generate the person at each age of AGE_GRID from the same seeds and estimate the years; yields after each age.

    unet: trained on the person. judge: frozen, 112 pixels, the one that steers.
    """
    prompts, negative, years = [words.OF_SUBJECT.format(token, "old")] * len(seeds), latent.encode_prompts([""]), []
    for age in AGE_GRID:
        states = latent.encode_prompts(prompts, subject_embedding, [(age,) * len(words.GROUPS)] * len(prompts))
        *_, step = denoise(unet, states, negative, seeds, steps=STEPS)
        picture = latent.autoencoder.decode(step.latents.to(latent.dtype)).float().clamp(-1, 1)
        years.append(judge(recognisable(picture))["age"].float().clamp(min=0).cpu().numpy())
        yield AgeSweep(np.stack(years), len(years) / len(AGE_GRID))


def calibrate_ages(years: np.ndarray) -> tuple[float, ...]:
    """The age embedding of each of the six groups, in years, from a sweep's estimated years (AGE_GRID, pictures).

    For each group this is the age at which the largest share of pictures falls into the group's years, with the judge's
    error modelled as Gaussian (ERROR). Among equal ages, the one nearest to the group's own middle is taken.
    """
    grid = np.linspace(AGE_GRID[0], AGE_GRID[-1], 1 + 4 * round(AGE_GRID[-1] - AGE_GRID[0]))        # (A,)
    estimated = np.stack([np.interp(grid, AGE_GRID, each) for each in years.T], 1)                  # (A, pictures)
    estimated = torch.from_numpy(estimated)
    found, young = [], 0
    for middle, below in zip(words.MIDDLES, words.GROUPS.values(), strict=True):
        share = (ndtr((below - estimated) / ERROR) - ndtr((young - estimated) / ERROR)).mean(1).numpy()  # (A,)
        good = grid[share >= share.max() - EQUAL]
        found.append(float(good[abs(good - middle).argmin()]))
        young = below
    return tuple(np.maximum.accumulate(found).tolist())
