"""Where the six ages lie for a person who was taught.

Not in Banerjee et al. (arXiv 2307.08585). Whoever is taught from pictures of one age leans towards it: asked for
middle age, a denoiser taught from pictures at 57 drew somebody of 70, one taught at 4 somebody of 36. So the person is
drawn at words between the words, a judge reads the years, and each age is put where most pictures are of its years.
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

PLACES = (5.0, 12.0, 18.0, 24.0, 30.0, 36.0, 42.0, 48.0, 56.0, 65.0, 75.0, 88.0)    # years
STEPS = 16      # of the solver; with 10, people between the ages were two years older than with 20
ERROR = 5.0     # years that the judge is off
EQUAL = 0.01    # shares of pictures that differ by less are the same


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
    """Where each of the six ages lies, from the years (PLACES, pictures) that were read: the place at which the largest
    share of the pictures is of the group's years, as far as a judge that errs by ERROR can tell; of several as good the
    one nearest to where the group's word is anyway.
    """
    places = np.linspace(PLACES[0], PLACES[-1], 1 + 4 * round(PLACES[-1] - PLACES[0]))              # (P,)
    read = torch.from_numpy(np.stack([np.interp(places, PLACES, each) for each in years.T], 1))     # (P, pictures)
    found, young = [], 0
    for middle, below in zip(words.MIDDLES, words.GROUPS.values(), strict=True):
        share = (ndtr((below - read) / ERROR) - ndtr((young - read) / ERROR)).mean(1).numpy()       # (P,)
        good = places[share >= share.max() - EQUAL]
        found.append(float(good[abs(good - middle).argmin()]))
        young = below
    return tuple(np.maximum.accumulate(found).tolist())
