"""Where the six ages lie for a person who was taught.

Not in Banerjee et al. (arXiv 2307.08585). Whoever is taught from pictures of one age leans towards it: asked for
middle age, a denoiser taught from pictures at 57 drew somebody of 70, one taught at 4 somebody of 36. So the person is
drawn at words between the words, a judge reads the years, and each age is put where the middle of its group comes out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from core import words
from core.latent import Latent, denoise
from core.training.losses import recognisable

PLACES = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 57.5, 65.0, 72.5, 80.0, 90.0)   # years
STEPS = 10      # of the solver: years are read off pictures long before these are fine


@dataclass(frozen=True)
class Looked:
    """How far looking is. years: (places so far, pictures) as the judge sees them. share: of the places, 0 to 1."""

    years: np.ndarray
    share: float


@torch.no_grad()
def looking(latent: Latent, unet: nn.Module, token: str, spoken: Tensor, judge: nn.Module,
            seeds: Sequence[int]) -> Iterator[Looked]:
    """The person of a token drawn at each of PLACES from the same seeds, and read; yields after each place.

    unet: knows the person. judge: frozen, 112 pixels, the one that steers.
    """
    prompts, silent, years = [words.OF_SUBJECT.format(token, "old")] * len(seeds), latent.states([""]), []
    for place in PLACES:
        states = latent.states(prompts, spoken, (place,) * len(words.GROUPS))
        *_, step = denoise(unet, states, silent, seeds, steps=STEPS)
        picture = latent.autoencoder.decode(step.latents.to(latent.dtype)).float().clamp(-1, 1)
        years.append(judge(recognisable(picture))["age"].float().clamp(min=0).cpu().numpy())
        yield Looked(np.stack(years), len(years) / len(PLACES))


def placed(years: np.ndarray) -> tuple[float, ...]:
    """Where each of the six ages lies, from the years (PLACES, pictures) that were read: the place at which their mean
    is the middle of the group's; the outermost place where it is never reached.

    The mean is made to rise from place to place first, halfway between the steps that lie over and under it.
    """
    mean = years.mean(1)
    over, under = np.maximum.accumulate(mean), np.minimum.accumulate(mean[::-1])[::-1]
    rising = (over + under) / 2 + 1e-6 * np.arange(len(mean))       # no two the same
    return tuple(round(float(place), 2) for place in np.interp(words.MIDDLES, rising, PLACES))
