"""IResNet: a picture of a face -> an identity embedding of 512 numbers.

Duta et al., *Improved Residual Networks for Image and Video Recognition*, 2020, in the form that face recognition uses
(Deng et al., *ArcFace*, CVPR 2019). Keys and arithmetic are those of the published ArcFace and MagFace files.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class IResNetConfig:
    """Sizes of the recogniser: 112x112 pictures in, embeddings out."""

    stem: int                           # channels after the first convolution
    stem_stride: int                    # 1: the stem works at 112x112 and the first stage halves; 2: the stem halves
    widths: tuple[int, int, int, int]   # channels of the four stages, at 56, 28, 14 and 7 pixels
    depths: tuple[int, int, int, int]   # blocks per stage
    dropout: float                      # before the last linear layer, in training
    embedding: int = 512                # output numbers


# Channel counts are multiples of 16: other counts are slower on a CPU, and 12 crashes its channels-last convolutions.
PRESETS = {
    "tiny":       IResNetConfig(stem=16, stem_stride=2, widths=(16, 48, 96, 128),   depths=(1, 2, 3, 2),   dropout=0.2),
    "tiny-check": IResNetConfig(stem=16, stem_stride=2, widths=(16, 32, 64, 160),   depths=(1, 2, 4, 1),   dropout=0.2),
    "50":         IResNetConfig(stem=64, stem_stride=1, widths=(64, 128, 256, 512), depths=(3, 4, 14, 3),  dropout=0.4),
    "100":        IResNetConfig(stem=64, stem_stride=1, widths=(64, 128, 256, 512), depths=(3, 13, 30, 3), dropout=0.4),
}

UNUSED: frozenset[str] = frozenset()


class PReLU(nn.PReLU):
    """PReLU with one slope per channel, in a form with three times faster gradients on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) -> the same shape."""
        slope = self.weight.to(x.dtype)
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return F.prelu(x, slope)
        slope = slope[:, None, None]                                         # (C, 1, 1)
        return slope * x + (1 - slope) * F.relu(x)


class IResNetBlock(nn.Module):
    """Norm, convolution, norm, PReLU, convolution (with the stride), norm; nothing after the addition."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = None if stride == 1 and channels_in == channels else nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, H, W) -> (N, channels, H / stride, W / stride)."""
        h = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        h = self.bn3(self.conv2(h))
        return h + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """The recogniser. Call it for embeddings; `maps` returns the stage outputs, for perceptual losses."""

    def __init__(self, config: IResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.stem, 3, config.stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        self.prelu = PReLU(config.stem)
        widths = (config.stem, *config.widths)
        strides = (2 // config.stem_stride, 2, 2, 2)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(*sizes) for sizes in zip(widths[:-1], widths[1:], config.depths, strides, strict=True))
        self.bn2 = nn.BatchNorm2d(widths[-1])
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(widths[-1] * 7 * 7, config.embedding)
        self.features = nn.BatchNorm1d(config.embedding)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 3, 112, 112) RGB in [-1, 1], aligned. Returns (N, 512), not normalised: compare by cosine."""
        return self.embed(self.maps(x)[-1])

    def maps(self, x: Tensor) -> list[Tensor]:
        """The outputs of the four stages: (N, widths[i], S, S) for S = 56, 28, 14, 7."""
        x = self.prelu(self.bn1(self.conv1(x)))                              # (N, stem, 112, 112), or 56
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps

    def embed(self, x: Tensor) -> Tensor:
        """x: (N, widths[3], 7, 7), the last of `maps` -> (N, 512)."""
        x = self.dropout(self.bn2(x).flatten(1))                             # (N, widths[3] * 49)
        return self.features(self.fc(x))


def _stage(channels_in: int, channels: int, depth: int, stride: int) -> nn.Sequential:
    return nn.Sequential(IResNetBlock(channels_in, channels, stride),
                         *(IResNetBlock(channels, channels, 1) for _ in range(depth - 1)))
