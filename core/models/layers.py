"""Blocks that two or more networks use."""

import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut (He et al. 2016), with squeeze-and-excitation on request.

    stride 2 halves height and width; the shortcut is then averaged over 2x2 pixels before its 1x1 convolution, so no
    pixel is thrown away.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1, squeeze: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.squeeze = SqueezeExcite(channels, squeeze) if squeeze else nn.Identity()
        self.shortcut = nn.Identity() if stride == 1 and channels_in == channels else nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
            nn.Conv2d(channels_in, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, H, W) -> (N, channels, H / stride, W / stride), rounded up."""
        h = F.relu(self.norm1(self.conv1(x)))
        h = self.squeeze(self.norm2(self.conv2(h)))
        return F.relu(h + self.shortcut(x))


class SqueezeExcite(nn.Module):
    """Weighs each channel by a gate in (0, 1) computed from all channels' means (Hu et al. 2018, section 3)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.down = nn.Linear(channels, max(channels // reduction, 4))
        self.up = nn.Linear(max(channels // reduction, 4), channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) -> the same shape."""
        gate = self.up(F.relu(self.down(x.mean((2, 3))))).sigmoid()     # (N, C)
        return x * gate[:, :, None, None]


def residual_stage(channels_in: int, channels: int, depth: int, stride: int, squeeze: int = 0) -> nn.Sequential:
    """`depth` residual blocks in a row, the first of which has the stride."""
    first = Residual(channels_in, channels, stride, squeeze)
    return nn.Sequential(first, *(Residual(channels, channels, 1, squeeze) for _ in range(depth - 1)))
