"""The biometric and the contrastive loss of Banerjee et al. (arXiv 2307.08585).

Both use ẑ₀, the one-step estimate of the clean latents, so both have gradients for the denoiser.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.images import recognisable


def contrastive(clean: Tensor, found: Tensor, picture: Tensor, others: Tensor, temperature: float) -> Tensor:
    """NT-Xent of SimCLR (Chen et al., ICML 2020) over latents; positives are clean latents and their estimate ẑ₀.

    clean, found: (N, C, h, w). picture: (N,), the picture that each row shows. Rows of one picture, such as
    mirror images, are not negatives of each other. others: (M, C, h, w), additional negatives, M ≥ 0.
    Returns the cross-entropy over cosines divided by `temperature`, averaged over the 2 N rows.
    """
    both = F.normalize(torch.cat([clean, found]).flatten(1).float(), dim=1)          # (2 N, D)
    rest = F.normalize(others.flatten(1).float(), dim=1)                             # (M, D)
    same = (picture[:, None] == picture).repeat(2, 2)                                # (2 N, 2 N)
    partner = torch.arange(len(both), device=both.device).roll(len(clean))           # (2 N,)
    allowed = ~same | F.one_hot(partner, len(both)).bool()
    within = (both @ both.T / temperature).masked_fill(~allowed, -torch.inf)         # (2 N, 2 N)
    return F.cross_entropy(torch.cat([within, both @ rest.T / temperature], dim=1), partner)


def biometric(embedder: nn.Module, decode: Callable[[Tensor], Tensor], found: Tensor, wanted: Tensor) -> Tensor:
    """L1 distance between face vectors of real pictures, wanted (N, 512), and of the decoded estimates.

    found: ẑ₀, (N, C, h, w). decode: latents -> pictures (N, 3, S, S) in [-1, 1]. Returns their mean, 0 for N = 0.
    """
    if len(found) == 0:
        return found.sum()
    return (embedder(recognisable(decode(found))).float() - wanted).abs().mean()
