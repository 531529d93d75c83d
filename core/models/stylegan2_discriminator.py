"""The discriminator of StyleGAN2: is a picture real or generated? For training only.

Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, CVPR 2020, section 4.1: residual blocks that
halve the picture until it has 4x4 pixels. The preset `ffhq-1024` has the layout of the public PyTorch checkpoints;
`tiny` averages 2x2 pixels where they filter, and judges each picture by itself.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from core.errors import SettingsError
from core.kernels.resample import resample
from core.models.stylegan2 import EPSILON, BiasActivation, EqualConv2d, EqualLinear


@dataclass(frozen=True)
class StyleGAN2DiscriminatorConfig:
    """Sizes of the discriminator: pictures of 4 * 2 ** (len(channels) - 1) pixels a side in, one logit out."""

    channels: tuple[int, ...]   # of the feature maps at 4, 8, 16, ... pixels
    inputs: int = 3             # channels that come in; 6 for a picture and its condition
    filtered: bool = False      # halve with the FIR filter, as published; else by 2x2 averages
    group: int = 0              # pictures that share a minibatch standard deviation; 0: each is judged by itself


PRESETS = {
    "tiny":      StyleGAN2DiscriminatorConfig(channels=(96, 128, 96, 64, 32)),
    "tiny-128":  StyleGAN2DiscriminatorConfig(channels=(96, 128, 96, 64, 32, 16)),
    "ffhq-1024": StyleGAN2DiscriminatorConfig(channels=(512, 512, 512, 512, 512, 256, 128, 64, 32), filtered=True,
                                              group=4),
}

# The filter taps, which are constants here.
UNUSED = frozenset(f"convs.{i}.{part}.0.kernel" for i in range(1, 9) for part in ("conv2", "skip"))


class StyleGAN2Discriminator(nn.Module):
    """1x1 convolution, residual blocks, minibatch standard deviation, convolution, two linear layers."""

    def __init__(self, config: StyleGAN2DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        channels, last = config.channels[::-1], config.channels[0]
        self.convs = nn.Sequential(
            nn.Sequential(EqualConv2d(config.inputs, channels[0], 1), BiasActivation(channels[0])),
            *(DiscriminatorBlock(a, b, config.filtered) for a, b in pairwise(channels)))
        self.final_conv = nn.Sequential(EqualConv2d(last + bool(config.group), last, 3, padding=1),
                                        BiasActivation(last))
        self.final_linear = nn.Sequential(EqualLinear(last * 16, last, activated=True), EqualLinear(last, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, size, size) in [-1, 1]. Returns logits (N, 1): high is real.

        With minibatch standard deviation N must be below `group` or a multiple of it; else raises SettingsError.
        """
        return self.logits(self.convs(x))

    def logits(self, x: Tensor) -> Tensor:
        """What follows the blocks: (N, channels[0], 4, 4) -> (N, 1)."""
        if self.config.group:
            x = append_deviation(x, self.config.group)
        return self.final_linear(self.final_conv(x).flatten(1))


class DiscriminatorBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 shortcut; both halve the picture."""

    def __init__(self, channels_in: int, channels: int, filtered: bool) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(channels_in, channels_in, 3, padding=1), BiasActivation(channels_in))
        if filtered:
            halves = Filter(2), EqualConv2d(channels_in, channels, 3, stride=2)
            skip = Filter(1), EqualConv2d(channels_in, channels, 1, stride=2)
        else:
            halves = nn.AvgPool2d(2), EqualConv2d(channels_in, channels, 3, padding=1)
            skip = nn.AvgPool2d(2), EqualConv2d(channels_in, channels, 1)
        self.conv2 = nn.Sequential(*halves, BiasActivation(channels))
        self.skip = nn.Sequential(*skip)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, S, S) -> (N, channels, S / 2, S / 2)."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class Filter(nn.Module):
    """The FIR filter, without resampling: the convolution that follows has the stride."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, S, S) -> (N, C, S + 2 padding - 3, S + 2 padding - 3)."""
        return resample(x, pad=(self.padding, self.padding))


def append_deviation(x: Tensor, group: int) -> Tensor:
    """Minibatch standard deviation (Karras et al. 2018, section 3): (N, C, S, S) -> (N, C + 1, S, S).

    Pictures that are N / group apart form a group; the new channel holds their mean deviation.
    """
    size = min(len(x), group)
    if len(x) % size:
        raise SettingsError(f"A batch of {len(x)} can't be split into groups of {size}.",
                            f"Give a multiple of {size} pictures.")
    grouped = x.reshape(size, -1, *x.shape[1:])                              # (size, N / size, C, S, S)
    spread = torch.sqrt(grouped.var(0, unbiased=False) + EPSILON).mean((1, 2, 3))    # (N / size,)
    return torch.cat((x, spread.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:]).to(x.dtype)), 1)
