"""XploreGAN: a picture and a group of pictures -> the picture with what the group has in common.

Bahng et al., *Exploring Unlabeled Faces for Novel Attribute Discovery*, CVPR 2020, section 3. Groups are
clusters of features, so nothing need be labelled. Their mean and variance set the scale and shift of the decoder's
norms (attribute summary instance norm, ASIN). The AdaIN twin takes the features of one exemplar picture instead, as its
style code (Huang et al., *MUNIT*, ECCV 2018): so it copies what is that picture's own, too.

Not in the paper: with `over`, the decoder also says how much of each pixel it replaces, as in Pumarola et al.,
*GANimation*, ECCV 2018. What a group does not change stays as sharp as it was, at any size. What is painted is
smoothed, because transposed convolutions leave checkerboards, which a short training does not remove.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from core.errors import SettingsError

EPS = 1e-5      # under the roots of variances
SLOPE = 0.01    # of the critic's leaky ReLUs
SMOOTH = (1, 4, 6, 4, 1)    # binomial filter of what is painted: it removes patterns that repeat every two pixels


@dataclass(frozen=True)
class XploreGANConfig:
    """Sizes of generator and critic: square RGB pictures in and out."""

    size: int               # side of a picture in pixels, a power of 2 from 32
    width: int              # channels at full size; 4 times as many in the residual blocks, at a quarter of the size
    blocks: int             # residual blocks of the encoder, and again of the decoder
    clusters: int           # groups, numbered from 0
    layers: int             # linear layers from a group's statistics to scale and shift, at least 2
    hidden: int             # their width
    features: int = 256     # numbers in a feature vector
    norm: Literal["asin", "adain"] = "asin"     # what the norms take: a group's statistics, or an exemplar's features
    condition: Literal["mean-variance", "mean", "label"] = "mean-variance"  # what ASIN knows of a group
    critic_width: int = 64  # channels of the critic at half the size; doubled at every halving
    critic_layers: int = 6  # halvings of the critic
    over: bool = False      # whether the decoder paints over the picture instead of drawing all of it

    @property
    def condition_size(self) -> int:
        """Numbers in a condition."""
        if self.norm == "adain":
            return self.features
        return {"mean-variance": 2 * self.features, "mean": self.features, "label": self.clusters}[self.condition]


_PAPER = XploreGANConfig(size=128, width=64, blocks=6, clusters=100, layers=3, hidden=256)      # CelebA

_TINY = XploreGANConfig(size=64, width=16, blocks=6, clusters=50, layers=3, hidden=128, critic_width=32,
                        critic_layers=4, over=True)

PRESETS = {
    "tiny":       _TINY,
    "tiny-adain": replace(_TINY, norm="adain"),
    "tiny-mean":  replace(_TINY, condition="mean"),
    "tiny-label": replace(_TINY, condition="label"),
    "paper-128":  _PAPER,
    "paper-256":  XploreGANConfig(size=256, width=64, blocks=6, clusters=50, layers=7, hidden=256),    # FFHQ, EmotioNet
}


class GroupStatistics(NamedTuple):
    """What the pictures of each group have in common: (groups, features) each, of vectors of mean squared length 1."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, features: Tensor, groups: Tensor, count: int) -> "GroupStatistics":
        """features: (N, features). groups: (N,) numbers in [0, count). A group without members gets zeros."""
        members = groups.new_zeros(count).index_add(0, groups, torch.ones_like(groups)).clamp(min=1)[:, None]
        total = features.new_zeros(count, features.shape[1])
        mean = total.index_add(0, groups, features) / members
        variance = total.index_add(0, groups, (features - mean[groups]).square()) / members
        return cls(mean, variance)


class Critique(NamedTuple):
    """What the critic says of pictures."""

    realness: Tensor    # (N, 1, h, w), one number a patch, unbounded: higher is more real
    clusters: Tensor    # (N, clusters) logits


class XploreGAN(nn.Module):
    """The generator. Call it with a condition: of groups by `group_condition`, of exemplars by `exemplar_condition`."""

    def __init__(self, config: XploreGANConfig) -> None:
        super().__init__()
        self.config = config
        width, wide = config.width, 4 * config.width
        self.encoder = nn.Sequential(
            spectral_norm(nn.Conv2d(3, width, 7, 1, 3)), nn.ReLU(),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1)), nn.ReLU(),
            spectral_norm(nn.Conv2d(2 * width, wide, 4, 2, 1)), nn.ReLU(),
            *(EncoderBlock(wide) for _ in range(config.blocks)))
        self.mapping = _mapping(config)
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.blocks))
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(wide, 2 * width, 4, 2, 1), LayerNorm(2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), LayerNorm(width), nn.ReLU())
        self.to_rgb = nn.Conv2d(width, 3 + config.over, 7, 1, 3)

    def forward(self, x: Tensor, condition: Tensor, generator: torch.Generator | None = None,
                larger: Tensor | None = None) -> Tensor:
        """x: (N, 3, size, size) RGB in [-1, 1]. condition: (N, condition_size) of the groups asked for.

        generator: draws the decoder's per-pixel noise; without one there is noise in training only. larger: the same
        pictures with more pixels, (N, 3, S, S); a network with `over` paints over them instead. Returns (N, 3, size,
        size) in [-1, 1], or (N, 3, S, S). Raises SettingsError for other shapes.
        """
        return self.decode(self.encode(x), condition, x if larger is None else larger, generator)

    def encode(self, x: Tensor) -> Tensor:
        """The features h that the latent loss compares: (N, 3, size, size) -> (N, 4 * width, size / 4, size / 4)."""
        size = self.config.size
        if x.ndim != 4 or x.shape[1:] != (3, size, size):
            raise SettingsError(f"Pictures of shape {tuple(x.shape)} don't fit a network for {size} pixels.",
                                f"Resize to (N, 3, {size}, {size}).")
        return self.encoder(x)

    def decode(self, h: Tensor, condition: Tensor, picture: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The second half of `forward`. picture: (N, 3, S, S), painted over by a network with `over`."""
        if condition.shape != (len(h), self.config.condition_size):
            raise SettingsError(f"Conditions of shape {tuple(condition.shape)} don't fit {len(h)} pictures.",
                                f"Give ({len(h)}, {self.config.condition_size}).")
        style = self.mapping(condition)                                     # (N, hidden)
        for block in self.decoder:
            h = block(h, style, generator)
        drawn = self.to_rgb(self.enlarge(h))
        if not self.config.over:
            return drawn.tanh()
        colour, share = _smoothed(drawn[:, :3].tanh()), _smoothed(drawn[:, 3:].sigmoid())
        if picture.shape[-2:] != drawn.shape[-2:]:
            colour, share = (F.interpolate(each, picture.shape[-2:], mode="bilinear") for each in (colour, share))
        return torch.lerp(picture, colour.to(picture.dtype), share.to(picture.dtype))

    def group_condition(self, statistics: GroupStatistics, groups: Tensor) -> Tensor:
        """groups: (N,) numbers of groups. Returns (N, condition_size), of order one, for ASIN.

        Vectors of length 1 have entries of order 1 / sqrt(features); means and variances are scaled by that.
        Mixtures of conditions are conditions too. Raises SettingsError for the AdaIN twin.
        """
        config = self.config
        if config.norm == "adain":
            raise SettingsError("The norm 'adain' takes its condition from exemplars.",
                                "Call exemplar_condition instead.")
        if config.condition == "label":
            return F.one_hot(groups, config.clusters).to(statistics.mean)
        mean = statistics.mean[groups] * config.features ** 0.5
        if config.condition == "mean":
            return mean
        return torch.cat((mean, statistics.variance[groups] * config.features), 1)

    def exemplar_condition(self, vectors: Tensor) -> Tensor:
        """For the AdaIN twin. vectors: of exemplars, (N, features). Returns them scaled to order one, in that shape.

        Raises SettingsError for ASIN.
        """
        if self.config.norm == "asin":
            raise SettingsError("The norm 'asin' takes its condition from groups.", "Call group_condition instead.")
        return vectors * self.config.features ** 0.5


class Critic(nn.Module):
    """Real or made, patch by patch, and of which cluster. For training only."""

    def __init__(self, config: XploreGANConfig) -> None:
        super().__init__()
        self.config = config
        widths = [3, *(config.critic_width * 2 ** i for i in range(config.critic_layers))]
        layers = ((nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(SLOPE)) for a, b in pairwise(widths))
        self.main = nn.Sequential(*(layer for pair in layers for layer in pair))
        self.realness = nn.Conv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.clusters = nn.Conv2d(widths[-1], config.clusters, config.size >> config.critic_layers, bias=False)

    def forward(self, x: Tensor) -> Critique:
        """x: (N, 3, size, size) RGB in [-1, 1]. Without batch statistics, as the gradient penalty needs it."""
        size = self.config.size
        if x.shape[2:] != (size, size):
            raise SettingsError(f"Pictures of shape {tuple(x.shape)} don't fit a network for {size} pixels.",
                                f"Resize to (N, 3, {size}, {size}).")
        h = self.main(x)
        return Critique(self.realness(h), self.clusters(h).flatten(1))


# Their blocks


class ASIN(nn.Module):
    """Attribute summary instance norm: gamma * (x - mean(x)) / deviation(x) + beta, both from a group, or in the AdaIN
    twin from an exemplar.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.affine = nn.Linear(hidden, 2 * channels)
        with torch.no_grad():                                               # near 1 and 0 before training
            self.affine.bias.copy_(torch.tensor((1.0, 0.0)).repeat_interleave(channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (N, C, H, W). style: (N, hidden), what the mapping makes of a condition. Returns the shape of x."""
        gamma, beta = self.affine(style).float()[..., None, None].chunk(2, 1)       # (N, C, 1, 1) each
        return (gamma * F.instance_norm(x.float(), eps=EPS) + beta).to(x.dtype)


class EncoderBlock(nn.Module):
    """Two convolutions with spectral norm beside a shortcut; no other norm, so that channels keep their statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (spectral_norm(nn.Conv2d(channels, channels, 3, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) -> the same shape."""
        return x + self.conv2(F.relu(self.conv1(x)))


class DecoderBlock(nn.Module):
    """Convolution, per-pixel noise and conditional norm, twice, beside a shortcut."""

    def __init__(self, config: XploreGANConfig) -> None:
        super().__init__()
        channels = 4 * config.width
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, 1, 1, bias=False) for _ in range(2))
        self.noise1, self.noise2 = (Noise(channels) for _ in range(2))
        self.norm1, self.norm2 = (ASIN(channels, config.hidden) for _ in range(2))

    def forward(self, x: Tensor, style: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x: (N, C, H, W). style: (N, hidden). Returns the shape of x."""
        h = F.relu(self.norm1(self.noise1(self.conv1(x), generator), style))
        return x + self.norm2(self.noise2(self.conv2(h), generator), style)


class Noise(nn.Module):
    """Adds one random map, scaled by a learned strength per channel (Karras et al., *StyleGAN*, CVPR 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """x: (N, C, H, W) -> the same shape; unchanged outside training where no generator is given."""
        if generator is None and not self.training:
            return x
        where = x.device if generator is None else generator.device
        noise = torch.randn(len(x), 1, *x.shape[2:], generator=generator, device=where).to(x)
        return x + self.strength[:, None, None].to(x.dtype) * noise


class LayerNorm(nn.GroupNorm):
    """Norm over channels and pixels together, in float32: it keeps what sets channels apart (as in MUNIT's decoder)."""

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) -> the same shape and type."""
        return F.group_norm(x.float(), 1, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)


def _smoothed(x: Tensor) -> Tensor:
    """(N, C, H, W) -> the same shape, filtered by SMOOTH along both sides."""
    taps = torch.tensor(SMOOTH, dtype=x.dtype, device=x.device) / sum(SMOOTH)
    kernel, channels, edge = torch.outer(taps, taps), x.shape[1], len(SMOOTH) // 2
    return F.conv2d(F.pad(x, (edge,) * 4, mode="reflect"), kernel.expand(channels, 1, -1, -1), groups=channels)


def _mapping(config: XploreGANConfig) -> nn.Sequential:
    """All linear layers but the last, which each norm has for itself: (N, condition_size) -> (N, hidden)."""
    widths = [config.condition_size, *[config.hidden] * (config.layers - 1)]
    layers = ((nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths))
    return nn.Sequential(*(layer for pair in layers for layer in pair))
