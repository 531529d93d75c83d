"""6DRepNet: a picture of a head -> its pose, as a rotation and as angles.

Hempel et al., *6D Rotation Representation for Unconstrained Head Pose Estimation*, ICIP 2022, on RepVGG-B1g2 (Ding et
al., *RepVGG: Making VGG-style ConvNets Great Again*, CVPR 2021) in its fused form: plain convolutions with a bias. Keys
and arithmetic are those of the published file.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class SixDRepNetConfig:
    """Sizes of the head pose network: 224x224 pictures in, six numbers out."""

    stem: int                           # channels of the first convolution, at 112x112
    widths: tuple[int, int, int, int]   # channels of the four stages, at 56, 28, 14 and 7 pixels
    depths: tuple[int, int, int, int]   # convolutions per stage
    groups: int                         # of every second convolution of the stages


PRESETS = {
    "b1g2": SixDRepNetConfig(stem=64, widths=(128, 256, 512, 2048), depths=(4, 6, 16, 1), groups=2),
}

UNUSED: frozenset[str] = frozenset()


class Pose(NamedTuple):
    """Head poses.

    rotation: (N, 3, 3), the head's axes as columns. euler: (N, 3) degrees of pitch, yaw and roll, signed as in 300W-LP.
    """

    rotation: Tensor
    euler: Tensor


class RepVGGBlock(nn.Module):
    """One convolution and ReLU: RepVGG's three branches, fused."""

    def __init__(self, channels_in: int, channels: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.rbr_reparam = nn.Conv2d(channels_in, channels, 3, stride, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, H, W) -> (N, channels, H / stride, W / stride)."""
        return F.relu(self.rbr_reparam(x))


class SixDRepNet(nn.Module):
    """The head pose network. `maps` returns the stage outputs."""

    def __init__(self, config: SixDRepNetConfig) -> None:
        super().__init__()
        self.config = config
        self.layer0 = RepVGGBlock(3, config.stem, 2)
        widths, first = (config.stem, *config.widths), 1
        for number, depth in enumerate(config.depths, 1):
            groups = [1 if count % 2 else config.groups for count in range(first, first + depth)]
            self.add_module(f"layer{number}", _stage(widths[number - 1], widths[number], groups))
            first += depth
        self.linear_reg = nn.Linear(widths[-1], 6)

    def forward(self, x: Tensor) -> Pose:
        """x: (N, 3, 224, 224) RGB in [0, 1], then less ImageNet's mean and divided by its deviation.

        Other sizes from 32 upwards are taken too. Returns rotations and angles.
        """
        rotation = rotation_of(self.six(self.maps(x)[-1]))
        return Pose(rotation, euler_of(rotation))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Outputs of the stem and the stages: (N, channels, S, S) for S = 112, 56, 28, 14, 7."""
        maps = [self.layer0(x)]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps

    def six(self, x: Tensor) -> Tensor:
        """x: the last of `maps` -> (N, 6), two directions for `rotation_of`."""
        return self.linear_reg(x.mean((2, 3)))


def _stage(channels_in: int, channels: int, groups: list[int]) -> nn.Sequential:
    """Convolutions with these groups; the first has stride 2."""
    first, *others = groups
    return nn.Sequential(RepVGGBlock(channels_in, channels, 2, first),
                         *(RepVGGBlock(channels, channels, 1, each) for each in others))


def rotation_of(six: Tensor) -> Tensor:
    """(N, 6), two directions -> (N, 3, 3) with columns x along the first, z across both, y across z and x (eq. 4)."""
    first, second = six.float().split(3, 1)
    x = F.normalize(first, dim=1, eps=1e-8)                                  # (N, 3)
    z = F.normalize(torch.linalg.cross(x, second), dim=1, eps=1e-8)
    return torch.stack((x, torch.linalg.cross(z, x), z), 2)


def euler_of(rotation: Tensor) -> Tensor:
    """(N, 3, 3) -> (N, 3) degrees of pitch, yaw and roll; at ±90° of pitch, roll is set to 0."""
    r = rotation
    level = (r[:, 0, 0] ** 2 + r[:, 1, 0] ** 2).clamp(min=1e-24).sqrt()      # (N,); clamped for finite gradients
    locked = level < 1e-6
    pitch = torch.atan2(torch.where(locked, -r[:, 1, 2], r[:, 2, 1]), torch.where(locked, r[:, 1, 1], r[:, 2, 2]))
    yaw = torch.atan2(-r[:, 2, 0], level)
    roll = torch.atan2(torch.where(locked, 0.0, r[:, 1, 0]), torch.where(locked, 1.0, r[:, 0, 0]))
    return torch.stack((pitch, yaw, roll), 1).rad2deg()
