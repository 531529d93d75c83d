"""ResNet-50: a picture -> 2048 features; trained on Stylized-ImageNet they tell shapes apart.

He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016; Geirhos et al., *ImageNet-trained CNNs are Biased
towards Texture*, ICLR 2019. XploreGAN (Bahng et al., CVPR 2020, section 3) clusters faces by these features: they
follow expression and pose. Keys and arithmetic are those of the published files.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4   # a bottleneck puts out this many times its width


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of the classifier: RGB pictures in, features and class logits out."""

    stem: int                           # channels of the first convolution
    widths: tuple[int, int, int, int]   # of the bottlenecks of the four stages; features have 4 x the last
    depths: tuple[int, int, int, int]   # bottlenecks per stage
    classes: int                        # of the task that it is trained on


PRESETS = {
    "tiny": ResNetConfig(stem=16, widths=(16, 32, 48, 64), depths=(1, 2, 2, 1), classes=4),    # a task of four classes
    "50":   ResNetConfig(stem=64, widths=(64, 128, 256, 512), depths=(3, 4, 6, 3), classes=1000),
}

UNUSED: frozenset[str] = frozenset()


class Bottleneck(nn.Module):
    """1x1, kernel x kernel (with the stride) and 1x1 convolutions with batch norm, beside a shortcut.

    Without padding the result is smaller than the shortcut, which then loses its last rows and columns.
    """

    def __init__(self, channels_in: int, width: int, stride: int, kernel: int = 3, padding: int = 1) -> None:
        super().__init__()
        channels = EXPANSION * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel, stride, padding, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = None if stride == 1 and channels_in == channels else nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, H, W) -> (N, 4 * width, H / stride, W / stride), less if not padded."""
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        h = self.bn3(self.conv3(h))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(h + shortcut[..., : h.shape[2], : h.shape[3]])


class ResNet(nn.Module):
    """The classifier. Call it for logits, `features` for clustering; `maps` gives what the stages put out."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        channels = (config.stem, *(EXPANSION * width for width in config.widths))
        for number, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True), 1):
            first = Bottleneck(channels[number - 1], width, 1 if number == 1 else 2)
            others = (Bottleneck(channels[number], width, 1) for _ in range(depth - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
        self.fc = nn.Linear(channels[-1], config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: as in `features`. Returns (N, classes) logits."""
        return self.fc(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """x: (N, 3, H, W) RGB in [0, 1], then less ImageNet's mean and divided by its deviation; H, W from 32 pixels.

        Returns (N, 4 * widths[3]) means of the last map, not normalised.
        """
        return self.maps(x)[-1].mean((2, 3))

    def maps(self, x: Tensor) -> list[Tensor]:
        """The outputs of the four stages: (N, 4 * widths[i], S, S) for S = 1/4, 1/8, 1/16 and 1/32 of the size."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps
