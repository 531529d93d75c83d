"""InceptionResnetV1: a picture of a face -> 512 numbers that say who it is. The recogniser that the paper uses.

Szegedy et al., *Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning*, AAAI 2017, section
3.2, trained as in Schroff et al., *FaceNet*, CVPR 2015. Keys and arithmetic are those of the public PyTorch files.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class InceptionResnetConfig:
    """Sizes of the recogniser: 160x160 pictures in, embeddings out."""

    depths: tuple[int, int, int] = (5, 10, 5)   # blocks at 17, 8 and 3 pixels
    dropout: float = 0.6                        # before the last linear layer, in training
    embedding: int = 512                        # numbers that come out


PRESETS = {
    "vggface2": InceptionResnetConfig(),
}

# The classifier that the recogniser was trained with.
UNUSED = frozenset({"logits.weight", "logits.bias"})


class InceptionResnet(nn.Module):
    """The recogniser. Call it for embeddings of length 1."""

    def __init__(self, config: InceptionResnetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv2d_1a = BasicConv(3, 32, 3, 2)
        self.conv2d_2a = BasicConv(32, 32, 3)
        self.conv2d_2b = BasicConv(32, 64, 3, padding=1)
        self.conv2d_3b = BasicConv(64, 80, 1)
        self.conv2d_4a = BasicConv(80, 192, 3)
        self.conv2d_4b = BasicConv(192, 256, 3, 2)
        self.repeat_1 = _repeat(config.depths[0], block35)
        self.mixed_6a = Mixed(BasicConv(256, 384, 3, 2), nn.Sequential(
            BasicConv(256, 192, 1), BasicConv(192, 192, 3, padding=1), BasicConv(192, 256, 3, 2)))
        self.repeat_2 = _repeat(config.depths[1], block17)
        self.mixed_7a = Mixed(*(nn.Sequential(*layers) for layers in (
            (BasicConv(896, 256, 1), BasicConv(256, 384, 3, 2)),
            (BasicConv(896, 256, 1), BasicConv(256, 256, 3, 2)),
            (BasicConv(896, 256, 1), BasicConv(256, 256, 3, padding=1), BasicConv(256, 256, 3, 2)))))
        self.repeat_3 = _repeat(config.depths[2], block8)
        self.block8 = block8(1.0, activated=False)
        self.dropout = nn.Dropout(config.dropout)
        self.last_linear = nn.Linear(1792, config.embedding, bias=False)
        self.last_bn = nn.BatchNorm1d(config.embedding, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 3, 160, 160) RGB, a cropped face, (pixel - 127.5) / 128. Returns (N, 512), of length 1."""
        return F.normalize(self.embed(self.maps(x)["block8"]))

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """What the stages see on the way, by layer name: (N, C, S, S), from 17 pixels to 3."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))                # (N, 64, 77, 77)
        x = self.conv2d_3b(F.max_pool2d(x, 3, 2))                            # (N, 80, 38, 38)
        x = self.conv2d_4b(self.conv2d_4a(x))                                # (N, 256, 17, 17)
        maps = {"conv2d_4b": x}
        for name in ("repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8"):
            x = maps[name] = getattr(self, name)(x)
        return maps

    def embed(self, x: Tensor) -> Tensor:
        """x: (N, 1792, 3, 3), the last of `maps` -> (N, 512), not normalised."""
        return self.last_bn(self.last_linear(self.dropout(x.mean((2, 3)))))


class BasicConv(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(self, channels_in: int, channels: int, kernel: int | tuple[int, int], stride: int = 1,
                 padding: int | tuple[int, int] = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, H, W) -> (N, channels, H', W')."""
        return F.relu(self.bn(self.conv(x)))


class InceptionBlock(nn.Module):
    """Branches side by side, a 1x1 convolution back to the input's channels, scaled and added to the input."""

    def __init__(self, channels: int, branched: int, scale: float, *branches: nn.Module,
                 activated: bool = True) -> None:
        super().__init__()
        self.scale, self.activated, self.branches = scale, activated, len(branches)
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)
        self.conv2d = nn.Conv2d(branched, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, S, S) -> the same shape."""
        branches = torch.cat([getattr(self, f"branch{number}")(x) for number in range(self.branches)], 1)
        x = x + self.scale * self.conv2d(branches)
        return F.relu(x) if self.activated else x


class Mixed(nn.Module):
    """Branches that halve the map, beside a max pooling."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = len(branches)
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, S, S) -> (N, C + branches, (S - 1) / 2, (S - 1) / 2), rounded down."""
        branches = [getattr(self, f"branch{number}")(x) for number in range(self.branches)]
        return torch.cat((*branches, F.max_pool2d(x, 3, 2)), 1)


def block35(scale: float = 0.17) -> InceptionBlock:
    """The block at 17 pixels (figure 10 of the paper)."""
    return InceptionBlock(256, 96, scale, BasicConv(256, 32, 1),
                          nn.Sequential(BasicConv(256, 32, 1), BasicConv(32, 32, 3, padding=1)),
                          nn.Sequential(BasicConv(256, 32, 1), BasicConv(32, 32, 3, padding=1),
                                        BasicConv(32, 32, 3, padding=1)))


def block17(scale: float = 0.10) -> InceptionBlock:
    """The block at 8 pixels (figure 11)."""
    return InceptionBlock(896, 256, scale, BasicConv(896, 128, 1),
                          nn.Sequential(BasicConv(896, 128, 1), BasicConv(128, 128, (1, 7), padding=(0, 3)),
                                        BasicConv(128, 128, (7, 1), padding=(3, 0))))


def block8(scale: float = 0.20, activated: bool = True) -> InceptionBlock:
    """The block at 3 pixels (figure 13)."""
    return InceptionBlock(1792, 384, scale, BasicConv(1792, 192, 1),
                          nn.Sequential(BasicConv(1792, 192, 1), BasicConv(192, 192, (1, 3), padding=(0, 1)),
                                        BasicConv(192, 192, (3, 1), padding=(1, 0))), activated=activated)


def _repeat(depth: int, block: Callable[[], InceptionBlock]) -> nn.Sequential:
    return nn.Sequential(*(block() for _ in range(depth)))
