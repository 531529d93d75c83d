"""A patch discriminator: real or generated, for each patch. For training only.

Isola et al., *Image-to-Image Translation with Conditional Adversarial Networks*, CVPR 2017, section 2.2.2; its output
is meant for the least-squares loss of Mao et al., *Least Squares Generative Adversarial Networks*, ICCV 2017.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the patch discriminator."""

    widths: tuple[int, ...]   # channels of the convolutions; each halves the picture


PRESETS = {
    "tiny": DiscriminatorConfig(widths=(32, 64, 128)),
}


class Discriminator(nn.Module):
    """Strided 4x4 convolutions with spectral norm, then one number per patch."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3, *config.widths)
        self.convs = nn.ModuleList(spectral_norm(nn.Conv2d(channels_in, channels, 4, 2, 1))
                                   for channels_in, channels in pairwise(widths))
        self.out = spectral_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 3, H, W) in [-1, 1]. Returns (N, 1, H / 2**n, W / 2**n) for n convolutions: 1 is real, 0 generated."""
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        return self.out(x)
