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
    inputs: int = 3           # channels that come in; 6 for a picture and its condition
    normalised: bool = True   # spectral norm; not needed where gradient penalties hold the slope


PRESETS = {
    "tiny":   DiscriminatorConfig(widths=(32, 64, 128)),
    "paired": DiscriminatorConfig(widths=(32, 64, 128), inputs=6, normalised=False),
}


class Discriminator(nn.Module):
    """Strided 4x4 convolutions, with spectral norm unless configured without, then one number per patch."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.inputs, *config.widths)
        norm = spectral_norm if config.normalised else nn.Identity()
        self.convs = nn.ModuleList(norm(nn.Conv2d(channels_in, channels, 4, 2, 1))
                                   for channels_in, channels in pairwise(widths))
        self.out = norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W) in [-1, 1]. Returns (N, 1, H / 2**n, W / 2**n) for n convolutions: high is real.

        With the least-squares loss 1 is real and 0 generated.
        """
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
