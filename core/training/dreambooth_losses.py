"""What teaching a person adds to the squared error of the noise: who it is, and which picture it is.

Both terms look at ẑ₀, the clean latents that one step of the denoiser makes of noisy ones, so both reach its weights.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.images import recognisable


def contrastive(clean: Tensor, found: Tensor, picture: Tensor, others: Tensor, temperature: float) -> Tensor:
    """NT-Xent of SimCLR (Chen et al., ICML 2020) over latents; each pair is the clean one and its estimate ẑ₀.

    clean, found: (N, C, h, w). picture: (N,), the number of the picture that each shows: two of one picture, say it and
    its mirror image, are not held against each other. others: (M, C, h, w), more latents to be unlike of, M ≥ 0.
    Every one of the 2 N is to be nearer to its partner than to the rest: cross-entropy of cosines over `temperature`.
    """
    both = F.normalize(torch.cat([clean, found]).flatten(1).float(), dim=1)          # (2 N, D)
    rest = F.normalize(others.flatten(1).float(), dim=1)                             # (M, D)
    same = (picture[:, None] == picture).repeat(2, 2)                                # (2 N, 2 N)
    partner = torch.arange(len(both), device=both.device).roll(len(clean))           # (2 N,)
    allowed = ~same | F.one_hot(partner, len(both)).bool()
    within = (both @ both.T / temperature).masked_fill(~allowed, -torch.inf)         # (2 N, 2 N)
    return F.cross_entropy(torch.cat([within, both @ rest.T / temperature], dim=1), partner)


def biometric(embedder: nn.Module, decode: Callable[[Tensor], Tensor], found: Tensor, wanted: Tensor) -> Tensor:
    """L1 distance between the face vectors of the real pictures, wanted (N, 512), and of the estimates' pictures.

    found: ẑ₀, (N, C, h, w). decode: latents -> pictures (N, 3, S, S) in [-1, 1]. Returns their mean, 0 for N = 0.
    """
    if len(found) == 0:
        return found.sum()
    return (embedder(recognisable(decode(found))).float() - wanted).abs().mean()
