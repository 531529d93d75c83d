"""Landmark detector: five points and face presence, for drawn faces, which photo detectors miss.

Heat maps read by their centre of mass (Sun et al., *Integral Human Pose Regression*, ECCV 2018), on a small
residual encoder with one step back up.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.layers import residual_stage

POINTS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")   # left of the picture


@dataclass(frozen=True)
class LandmarksConfig:
    """Sizes of the landmark detector."""

    widths: tuple[int, int, int, int]   # channels after the stem (48 pixels) and the stages (24, 12, 6)
    depths: tuple[int, int, int]        # residual blocks per stage
    heat: int                           # channels of the features before the heat maps, at 24 pixels


PRESETS = {
    "tiny": LandmarksConfig(widths=(16, 32, 64, 96), depths=(1, 1, 1), heat=48),
}


class Landmarks(nn.Module):
    """The landmark detector."""

    def __init__(self, config: LandmarksConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(
            residual_stage(channels_in, channels, depth, 2)
            for channels_in, channels, depth in zip(widths[:-1], widths[1:], config.depths, strict=True))
        self.sides = nn.ModuleList(nn.Conv2d(channels, config.heat, 1) for channels in widths[1:])
        self.heat_norm = nn.BatchNorm2d(config.heat)
        self.heat = nn.Conv2d(config.heat, len(POINTS), 3, 1, 1)
        self.presence = nn.Linear(widths[-1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (N, 3, 96, 96) RGB in [-1, 1], a square crop or a whole picture resized.

        Returns (N, 5, 2) points in the order of POINTS, x right and y down, -1 and 1 the picture's edges; and (N,)
        logits, above 0 when there is a face. Without a face the points are meaningless.
        """
        maps = self.maps(x)
        heat = sum(F.interpolate(side(m), size=maps[0].shape[2:], mode="bilinear", align_corners=False)
                   for side, m in zip(self.sides, maps, strict=True))        # (N, heat, 24, 24)
        heat = self.heat(F.relu(self.heat_norm(heat)))                       # (N, 5, 24, 24)
        return centres(heat), self.presence(maps[-1].mean((2, 3)))[:, 0]

    def maps(self, x: Tensor) -> list[Tensor]:
        """Outputs of the stages: (N, widths[i + 1], S, S) for S = 24, 12, 6."""
        x = F.relu(self.stem_norm(self.stem(x)))                             # (N, widths[0], 48, 48)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def centres(heat: Tensor) -> Tensor:
    """Centres of mass of softmaxed heat maps: (N, P, H, W) -> (N, P, 2), x and y in (-1, 1)."""
    weights = heat.flatten(2).softmax(2).reshape(heat.shape)                 # (N, P, H, W), each map sums to 1
    x, y = (_pixel_centres(size, heat) for size in (heat.shape[3], heat.shape[2]))
    return torch.stack(((weights.sum(2) * x).sum(2), (weights.sum(3) * y).sum(2)), 2)


def _pixel_centres(size: int, like: Tensor) -> Tensor:
    """Pixel centres with edges at -1 and 1: (size,)."""
    return (torch.arange(size, dtype=like.dtype, device=like.device) * 2 + 1) / size - 1
