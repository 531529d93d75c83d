"""Refining an inversion: a bounded number of gradient steps from the encoder's latent towards the picture.

Pixels and the features of an autoencoder's encoder are compared (Karras et al. 2020, appendix D, projects with such
features, too). The recogniser has no part in it, so its similarity before and after says what was gained.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from core.training.losses import encoder_maps, perceptual

RATE = 0.03         # of Adam, in standard deviations of w
NEAR = 0.002        # weight of the squared distance to the encoder's latent, in the same unit
FEATURES = 0.3      # weight of the features beside the pixels


class Refined(NamedTuple):
    """step: done so far. w: the best latent so far, (1, styles, style). loss: of that latent."""

    step: int
    w: Tensor
    loss: float


def refine(draw: Callable[[Tensor], Tensor], features: nn.Module, picture: Tensor, w: Tensor, deviation: Tensor,
           steps: int) -> Iterator[Refined]:
    """The best latent after each of `steps` steps, and before the first.

    draw: pictures of latents. features: an autoencoder. picture: (1, 3, S, S) in [-1, 1]. w: (1, styles, style), where
    it begins; not changed. deviation: (style,) of latents.
    """
    offset = torch.zeros_like(w).requires_grad_()
    optimizer = torch.optim.Adam([offset], lr=RATE)
    with torch.no_grad():
        maps = encoder_maps(features, picture)
    best = Refined(0, w, float("inf"))
    for step in range(steps + 1):
        with torch.enable_grad():
            now = w + deviation * offset
            made = draw(now)
            off = (made - picture).abs().mean() + FEATURES * perceptual(encoder_maps(features, made), maps)
            loss = off + NEAR * offset.square().mean()
            if step < steps:
                optimizer.zero_grad()
                loss.backward()
        if float(loss.detach()) < best.loss:
            best = Refined(step, now.detach().clone(), float(loss.detach()))
        yield best._replace(step=step)
        if step < steps:
            optimizer.step()
