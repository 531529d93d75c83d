"""encoder4editing: a picture of a face -> the w+ latents with which StyleGAN2 draws it again.

Tov et al., *Designing an Encoder for StyleGAN Image Manipulation*, SIGGRAPH 2021, section 5: one w for all rows, plus a
small change for each further row, on features of three sizes (Richardson et al., *Encoding in Style*, CVPR 2021,
section 3). The preset `ffhq` has the layout of the public checkpoint's `encoder.` part.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.stylegan2 import UNUSED as STYLEGAN2_UNUSED
from core.models.stylegan2 import EqualLinear

MIDDLE = 4      # rows, after the coarse ones, that are read at the middle size


@dataclass(frozen=True)
class E4EConfig:
    """Sizes of the encoder."""

    size: int                           # height and width of the picture, in pixels
    widths: tuple[int, int, int, int]   # channels of the backbone's stages, at size / 2, / 4, / 8 and / 16
    depths: tuple[int, int, int, int]   # blocks per stage
    features: int                       # channels of the three feature maps that the heads read
    head: int                           # channels of the heads' convolutions
    last: int                           # height and width in pixels at which a head becomes one vector
    styles: int                         # rows of w+
    style: int                          # numbers of w
    coarse: int = 3                     # rows that are read at the smallest size
    squeeze: int = 16                   # reduction of squeeze-and-excitation


# The tiny heads end at 4x4 pixels: position says much about a face, and few convolutions are left to train.
PRESETS = {
    "tiny": E4EConfig(size=128, widths=(16, 32, 64, 128), depths=(1, 2, 3, 2), features=128, head=32, last=4,
                      styles=10, style=128),
    "tiny-128": E4EConfig(size=128, widths=(16, 32, 64, 128), depths=(1, 2, 3, 2), features=128, head=32, last=4,
                          styles=12, style=128),
    "ffhq": E4EConfig(size=256, widths=(64, 128, 256, 512), depths=(3, 4, 14, 3), features=512, head=512, last=1,
                      styles=18, style=512),
}

_STYLED = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias", "noise.weight", "activate.bias")
_RGB = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias", "bias")
# The public file also holds the generator it was trained with, StyleGAN2 of 1024 pixels.
UNUSED = frozenset(f"decoder.{key}" for key in (
    "input.input", *(f"style.{i}.{part}" for i in range(1, 9) for part in ("weight", "bias")),
    *(f"{layer}.{part}" for layer in ("conv1", *(f"convs.{i}" for i in range(16))) for part in _STYLED),
    *(f"{layer}.{part}" for layer in ("to_rgb1", *(f"to_rgbs.{i}" for i in range(8))) for part in _RGB),
    *(f"noises.noise_{i}" for i in range(17)), *STYLEGAN2_UNUSED))


def rename(key: str) -> str:
    """Our name for a key of the public file."""
    return key.removeprefix("encoder.")


class E4E(nn.Module):
    """The encoder. Its latents are relative to the generator's mean w: add that before drawing."""

    def __init__(self, config: E4EConfig) -> None:
        super().__init__()
        self.config = config
        widths = (config.widths[0], *config.widths)
        self.input_layer = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]),
                                         nn.PReLU(widths[0]))
        self.body = nn.Sequential(*(
            Unit(a if i == 0 else b, b, 2 if i == 0 else 1, config.squeeze)
            for a, b, depth in zip(widths[:-1], widths[1:], config.depths, strict=True) for i in range(depth)))
        self.latlayer1 = nn.Conv2d(widths[3], config.features, 1)
        self.latlayer2 = nn.Conv2d(widths[2], config.features, 1)
        sides = [config.size // {0: 16, 1: 8, 2: 4}[self.level(row)] for row in range(config.styles)]
        self.styles = nn.ModuleList(StyleHead(config, side) for side in sides)

    def forward(self, x: Tensor, rows: int | None = None) -> Tensor:
        """x: (N, 3, size, size) RGB in [-1, 1], an aligned face.

        rows: rows, after the first, that get a change of their own; all by default. Fewer serve progressive training
        (section 5.2). Returns (N, styles, style), relative to the generator's mean w.
        """
        return self.latents(self.pyramid(self.maps(x)), rows)

    def invert(self, x: Tensor, mean: Tensor) -> Tensor:
        """Latents (N, styles, style) for a generator. x: (N, 3, S, S), resized if need be. mean: the generator's w."""
        if x.shape[-1] != self.config.size:
            x = F.interpolate(x, size=self.config.size, mode="bilinear", antialias=True, align_corners=False)
        return self(x) + mean

    def maps(self, x: Tensor) -> list[Tensor]:
        """The backbone's last three stages: (N, widths[i], S, S) for i = 1, 2, 3 and S = size / 4, / 8, / 16."""
        x, maps = self.input_layer(x), []
        first = 0
        for depth in self.config.depths:
            x = self.body[first:first + depth](x)
            first += depth
            maps.append(x)
        return maps[1:]

    def pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        """What the heads read, (N, features, S, S), smallest first: each size gets the one before, doubled."""
        fine, middle, coarse = maps
        middle = _enlarge(coarse, middle) + self.latlayer1(middle)
        return [coarse, middle, _enlarge(middle, fine) + self.latlayer2(fine)]

    def latents(self, pyramid: list[Tensor], rows: int | None = None) -> Tensor:
        """The heads: the three maps of `pyramid` -> (N, styles, style). rows: as for `forward`."""
        rows = self.config.styles - 1 if rows is None else rows
        w = self.styles[0](pyramid[0])                                       # (N, style)
        changes = [self.styles[row](pyramid[self.level(row)]) for row in range(1, rows + 1)]
        return torch.stack([w, *(w + change for change in changes), *[w] * (self.config.styles - 1 - rows)], 1)

    def level(self, row: int) -> int:
        """Which map of `pyramid` a row of w+ is read from: 0, 1 or 2."""
        return (row >= self.config.coarse) + (row >= self.config.coarse + MIDDLE)


class Unit(nn.Module):
    """Norm, convolution, PReLU, convolution (with the stride), norm, squeeze-and-excitation, beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, squeeze: int) -> None:
        super().__init__()
        self.stride = stride
        if channels_in != channels:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False),
                                                nn.BatchNorm2d(channels))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in), nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False), nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels),
            Gate(channels, squeeze))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, S, S) -> (N, channels, S / stride, S / stride)."""
        shortcut = self.shortcut_layer(x) if hasattr(self, "shortcut_layer") else x[:, :, ::self.stride, ::self.stride]
        return self.res_layer(x) + shortcut


class Gate(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018, section 3), without biases, as 1x1 convolutions."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        hidden = max(channels // squeeze, 4)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, S, S) -> the same shape."""
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class StyleHead(nn.Module):
    """Convolutions that halve the map until it has config.last pixels a side, then a linear layer."""

    def __init__(self, config: E4EConfig, side: int) -> None:
        super().__init__()
        layers, channels = [], config.features
        for _ in range(round(math.log2(side / config.last))):
            layers += nn.Conv2d(channels, config.head, 3, 2, 1), nn.LeakyReLU(0.01)
            channels = config.head
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(channels * config.last ** 2, config.style)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, features, side, side) -> (N, style)."""
        return self.linear(self.convs(x).flatten(1))


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear, corner pixels on corner pixels, to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)
