"""A patch discriminator: real or generated, for each patch. For training only.

Isola et al., *Image-to-Image Translation with Conditional Adversarial Networks*, CVPR 2017, section 2.2.2. Gradient
penalties hold its slope (`core.training.adversarial`), so it needs no norm.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the patch discriminator."""

    widths: tuple[int, ...]   # channels of the convolutions; each halves the picture
    inputs: int = 6           # channels that come in: a picture and its condition


PRESETS = {
    "paired": DiscriminatorConfig(widths=(32, 64, 128)),
}


class Discriminator(nn.Module):
    """Strided 4x4 convolutions, then one number per patch."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.inputs, *config.widths)
        self.convs = nn.ModuleList(nn.Conv2d(channels_in, channels, 4, 2, 1)
                                   for channels_in, channels in pairwise(widths))
        self.out = nn.Conv2d(widths[-1], 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W) in [-1, 1]. Returns (N, 1, H / 2**n, W / 2**n) for n convolutions: high is real."""
        return self.score(self.maps(x)[-1])

    def maps(self, x: Tensor) -> list[Tensor]:
        """The feature map after each convolution, (N, widths[i], H / 2**(i + 1), W / 2**(i + 1))."""
        maps = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            maps.append(x)
        return maps

    def score(self, features: Tensor) -> Tensor:
        """The last map of `maps` -> one score per patch."""
        return self.out(features)
