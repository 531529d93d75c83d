"""BagNet: a picture -> features of small patches, averaged; they tell textures and colours apart, not shapes.

Brendel and Bethge, *Approximating CNNs with Bag-of-local-Features Models Works Surprisingly Well on ImageNet*, ICLR
2019, section 2: a ResNet-50 most of whose 3x3 convolutions are 1x1, without padding, so that the last map sees 17x17
pixels at a time. XploreGAN (Bahng et al., CVPR 2020, section 3) clusters faces by these features: they follow skin,
hair, age and light. Keys and arithmetic are those of the published file.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from core.models.resnet import EXPANSION, Bottleneck


@dataclass(frozen=True)
class BagNetConfig:
    """Sizes of the classifier: RGB pictures in, features and class logits out."""

    stem: int                            # channels of the first two convolutions
    widths: tuple[int, int, int, int]    # of the bottlenecks of the four stages; features have 4 x the last
    depths: tuple[int, int, int, int]    # bottlenecks per stage
    strides: tuple[int, int, int, int]   # of the first bottleneck of each stage
    kernels: tuple[int, int, int, int]   # the size of its middle convolution; 1 in all other bottlenecks
    classes: int                         # of the task that it is trained on

    @property
    def receptive_field(self) -> int:
        """Side of the patch, in pixels, that one position of the last map sees."""
        field, step = 3, 1
        for stride, kernel in zip(self.strides, self.kernels, strict=True):
            field += (kernel - 1) * step
            step *= stride
        return field


# "tiny" sees 9x9 pixels and is meant for pictures of 64.
PRESETS = {
    "tiny": BagNetConfig(stem=16, widths=(16, 32, 48, 64), depths=(1, 2, 2, 1), strides=(2, 2, 1, 1),
                         kernels=(3, 3, 1, 1), classes=4),      # a task of four classes
    "17":   BagNetConfig(stem=64, widths=(64, 128, 256, 512), depths=(3, 4, 6, 3), strides=(2, 2, 2, 1),
                         kernels=(3, 3, 3, 1), classes=1000),
}

UNUSED: frozenset[str] = frozenset()


class BagNet(nn.Module):
    """The classifier. Call it for logits, `features` for clustering; `maps` gives what the stages put out."""

    def __init__(self, config: BagNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.stem, 1, bias=False)
        self.conv2 = nn.Conv2d(config.stem, config.stem, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem)
        channels = (config.stem, *(EXPANSION * width for width in config.widths))
        rows = zip(config.widths, config.depths, config.strides, config.kernels, strict=True)
        for number, (width, depth, stride, kernel) in enumerate(rows, 1):
            first = Bottleneck(channels[number - 1], width, stride, kernel, padding=0)
            others = (Bottleneck(channels[number], width, 1, kernel=1, padding=0) for _ in range(depth - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *others))
        self.fc = nn.Linear(channels[-1], config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: as in `features`. Returns (N, classes) logits, the mean of `patch_logits`."""
        return self.fc(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """x: (N, 3, H, W) RGB in [0, 1], then less ImageNet's mean and divided by its deviation; H, W from 24 pixels.

        Returns (N, 4 * widths[3]) means of the last map, not normalised.
        """
        return self.maps(x)[-1].mean((2, 3))

    def patch_logits(self, x: Tensor) -> Tensor:
        """The logits of every patch: (N, h, w, classes), where (h, w) is the size of the last map (section 2)."""
        return self.fc(self.maps(x)[-1].movedim(1, 3))

    def maps(self, x: Tensor) -> list[Tensor]:
        """The outputs of the four stages: (N, 4 * widths[i], S, S); "17" has S = 110, 54, 26, 26 for 224 pixels."""
        x = F.relu(self.bn1(self.conv2(self.conv1(x))))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps
