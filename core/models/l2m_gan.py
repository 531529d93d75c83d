"""L2M-GAN: a picture and the attributes it shall have -> the edited picture.

Yang et al., *L2M-GAN: Learning to Manipulate Latent Space Semantics for Facial Attribute Editing*, CVPR 2021, section
3: a style code is split into a part without the attribute and a part with it, and only the second is transformed. The
networks are of the family of Choi et al., *StarGAN v2*, CVPR 2020. A domain is one combination of attribute values.
Keys and arithmetic are those of the published file.

Not in the paper: with `over`, the generator also says how much of each pixel it replaces, as in Pumarola et al.,
*GANimation*, ECCV 2018. What an edit does not change stays as sharp as it was.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import SettingsError

SLOPE = 0.2     # of every leaky ReLU
SPREAD = 0.04   # standard deviation of a landmark's spot, in parts of the picture
LAST = 4        # side in pixels of the last map of the style encoder and the discriminator


@dataclass(frozen=True)
class L2MGANConfig:
    """Sizes of the three networks: square RGB pictures in and out."""

    size: int               # side of a picture in pixels, a power of 2 from 64
    width: int              # channels at full size; doubled at every halving
    max_width: int          # but never more than this
    domains: int            # combinations of attribute values, numbered from 0
    style: int = 64         # numbers in a style code
    high_pass: float = 0.0  # divisor of the high-pass filter of the masks; 0: no masks, and skips in the decoder
    over: bool = False      # whether the generator paints over the picture instead of drawing all of it

    @property
    def bottleneck(self) -> int:
        """Side of the generator's smallest map in pixels."""
        return 8 if self.high_pass else 16

    def widths(self, smallest: int) -> list[int]:
        """Channels at size, size / 2, ..., smallest pixels."""
        halvings = int(math.log2(self.size // smallest))
        return [min(self.width * 2 ** i, self.max_width) for i in range(halvings + 1)]


# The domains of the small ones are smile, glasses and gender, each with or without. "tiny-128" is "tiny" inside one
# more level: `load_smaller` carries the weights over.
PRESETS = {
    "tiny":      L2MGANConfig(size=64, width=32, max_width=128, domains=8, over=True),
    "tiny-128":  L2MGANConfig(size=128, width=16, max_width=128, domains=8, over=True),
    "published": L2MGANConfig(size=256, width=64, max_width=512, domains=2, high_pass=1.0),
}


class StyleCodes(NamedTuple):
    """A style code, its two parts, and the second as another domain has it: (N, style) each."""

    code: Tensor        # s, the sum of the next two
    unrelated: Tensor   # s_un: what does not depend on the attributes
    related: Tensor     # s_re: what does
    edited: Tensor      # s_re transformed to the target domain

    @property
    def angle(self) -> Tensor:
        """Degrees between the two parts, (N,) in [0, 180]; training makes them orthogonal."""
        return F.cosine_similarity(self.unrelated, self.related).clamp(-1, 1).acos().rad2deg()

    def style(self, strength: float | Tensor = 1.0) -> Tensor:
        """The edited style code: (N, style). strength: 0 changes nothing, 1 is the edit, or (N,) of them."""
        return blend(self.unrelated, self.related, self.edited, strength)


class FaceMasks(NamedTuple):
    """Where details of the source are kept: (N, 1, size, size) in [0, 1] each."""

    whole: Tensor   # the face's lines, used at an eighth of the size
    steady: Tensor  # those that edits leave alone (no chin, brows or mouth), used at a quarter and half of the size


def blend(unrelated: Tensor, related: Tensor, edited: Tensor, strength: float | Tensor = 1.0) -> Tensor:
    """s_un + s_re + strength * (edited - s_re): (N, style) each; strength a number or (N,)."""
    if isinstance(strength, Tensor):
        strength = strength.to(related).reshape(-1, 1)
    return unrelated + related + strength * (edited - related)


class L2MGAN(nn.Module):
    """Generator and style encoder. Call it to edit pictures; `codes` gives what the edit consists of."""

    UNUSED = frozenset(f"{part}.attention.layers.{layer}.{kind}" for part in ("generator", "style_encoder")
                       for layer in (0, 2) for kind in ("weight", "bias")) | {
        f"generator.decode.{block}.conv1x1.weight" for block in (4, 5, 6)}     # with a high pass there are no skips

    def __init__(self, config: L2MGANConfig) -> None:
        super().__init__()
        self.config = config
        self.generator = Generator(config)
        self.style_encoder = StyleEncoder(config)

    def forward(self, x: Tensor, source: Tensor, target: Tensor, strength: float | Tensor = 1.0,
                masks: FaceMasks | None = None) -> Tensor:
        """x: (N, 3, size, size) RGB in [-1, 1]. source, target: (N,) its domain and the one asked for.

        strength: 0 reconstructs, 1 edits, more exaggerates; a number or (N,). masks: of x. Returns (N, 3, size, size),
        nominally in [-1, 1] but not clipped. Raises SettingsError for another size, or masks without a high pass.
        """
        return self.generator(x, self.codes(x, source, target).style(strength), masks)

    def codes(self, x: Tensor, source: Tensor, target: Tensor) -> StyleCodes:
        """The style codes behind an edit; arguments as in `forward`."""
        return self.style_encoder(x, source, target)

    def by_reference(self, x: Tensor, source: Tensor, reference: Tensor, domain: Tensor, target: Tensor | None = None,
                     strength: float | Tensor = 1.0, masks: FaceMasks | None = None) -> Tensor:
        """As `forward`, with the attribute-related part of reference pictures, (N, 3, size, size) of domain (N,).

        target: the domain that is wanted, where it is another than the reference's, whose part is then transformed.
        """
        encoder = self.style_encoder
        unrelated, related = encoder.split(encoder.code(x, source))
        _, wanted = encoder.split(encoder.code(reference, domain))
        if target is not None:
            wanted = torch.where((target == domain)[:, None], wanted, encoder.transform(wanted, target))
        return self.generator(x, blend(unrelated, related, wanted, strength), masks)


def face_masks(points: Tensor, size: int) -> FaceMasks:
    """Soft spots at the five landmarks (N, 5, 2), in pixels; the steady ones are those of the eyes and the nose.

    They stand in for the heat-maps of the paper's landmark network.
    """
    at = torch.arange(size, device=points.device).float()
    off = (points[..., None] - at).square()                                             # (N, 5, 2, size)
    spots = torch.exp(-(off[:, :, 1, :, None] + off[:, :, 0, None, :]) / (2 * (SPREAD * size) ** 2))
    return FaceMasks(spots.amax(1, keepdim=True), spots[:, :3].amax(1, keepdim=True))


def load_smaller(model: nn.Module, state: Mapping[str, Tensor]) -> set[str]:
    """Give a network the weights of one for half its size; the outermost level keeps its own.

    model: an L2MGAN or DomainDiscriminator with half the `width` and otherwise the settings of the smaller one.
    state: the smaller one's state dict. Returns the keys that kept their own values. Raises SettingsError where the
    sizes don't match.
    """
    own, given = model.state_dict(), {}
    for key, value in state.items():
        stack = re.match(r"(generator\.encode|style_encoder\.shared|main)\.(\d+)\.", key)
        if "_rgb." in key or (stack and stack[1] != "generator.encode" and stack[2] == "0"):
            continue                                            # the layers that touch pixels
        given[f"{stack[1]}.{int(stack[2]) + 1}.{key[stack.end():]}" if stack else key] = value
    wrong = sorted(key for key, value in given.items() if key not in own or own[key].shape != value.shape)
    if wrong:
        raise SettingsError(f"The smaller network does not fit inside this one: {', '.join(wrong[:3])}.",
                            "Build this one for twice the size with half the width.")
    model.load_state_dict(given, strict=False)
    return own.keys() - given.keys()


# The three networks


class StyleEncoder(nn.Module):
    """A picture -> its style code, split and transformed."""

    def __init__(self, config: L2MGANConfig) -> None:
        super().__init__()
        self.size = config.size
        channels = config.widths(LAST)[-1]
        self.shared = nn.Sequential(*_trunk(config))
        self.unshared = nn.ModuleList(nn.Linear(channels, config.style) for _ in range(config.domains))
        self.transform1 = _transformer(config.style)
        self.transform2 = nn.ModuleList(_transformer(config.style) for _ in range(config.domains))
        self.apply(_he)

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> StyleCodes:
        """x: (N, 3, size, size) in [-1, 1]. source, target: (N,) domains."""
        code = self.code(x, source)
        unrelated, related = self.split(code)
        return StyleCodes(code, unrelated, related, self.transform(related, target))

    def code(self, x: Tensor, domain: Tensor) -> Tensor:
        """The style code alone: (N, style)."""
        return _of_domain(self.unshared, _sized(x, self.size, self.shared), domain)

    def split(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """(N, style) -> the attribute-unrelated part and the related one, which add up to the code."""
        unrelated = self.transform1(code)
        return unrelated, code - unrelated

    def transform(self, related: Tensor, domain: Tensor) -> Tensor:
        """The attribute-related part as another domain has it: (N, style) -> (N, style)."""
        return _of_domain(self.transform2, related, domain)


class Generator(nn.Module):
    """A picture and a style code -> the picture in that style."""

    def __init__(self, config: L2MGANConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths(config.bottleneck)
        levels, last, skip = list(pairwise(widths)), widths[-1], not config.high_pass
        self.from_rgb = nn.Conv2d(3, config.width, 3, 1, 1)
        self.encode = nn.ModuleList(EncoderBlock(a, b, normalise=True, halve=True) for a, b in levels)
        self.encode.extend(EncoderBlock(last, last, normalise=True, halve=False) for _ in range(2))
        self.decode = nn.ModuleList(DecoderBlock(last, last, config.style, False, skip) for _ in range(2))
        self.decode.extend(DecoderBlock(b, a, config.style, True, skip) for a, b in reversed(levels))
        self.to_rgb = nn.Sequential(InstanceNorm(config.width), nn.LeakyReLU(SLOPE),
                                    nn.Conv2d(config.width, 3 + config.over, 1))
        self.apply(_he)

    def forward(self, x: Tensor, style: Tensor, masks: FaceMasks | None = None) -> Tensor:
        """x: (N, 3, size, size) in [-1, 1]. style: (N, style). masks: of x. Returns (N, 3, size, size), not clipped."""
        if masks is not None and not self.config.high_pass:
            raise SettingsError("Masks need a network with a high-pass filter.",
                                "Leave masks out, or build it with high_pass=1.0.")
        size, details = self.config.size, {}
        h = _sized(x, size, self.from_rgb)
        for block in self.encode:
            if masks is not None and h.shape[3] in (size // 2, size // 4, size // 8) and block.halve:
                details[h.shape[3]] = h
            h = block(h)
        for block in self.decode:
            h = block(h, style)
            if h.shape[3] in details:
                mask = masks.whole if h.shape[3] == size // 8 else masks.steady
                h = h + high_pass(_resized(mask, h) * details[h.shape[3]], self.config.high_pass)
        drawn = self.to_rgb(h)
        if not self.config.over:
            return drawn
        return torch.lerp(x, drawn[:, :3].to(x.dtype), drawn[:, 3:].sigmoid().to(x.dtype))


class DomainDiscriminator(nn.Module):
    """Real or made, one logit for every domain. For training only."""

    UNUSED: frozenset[str] = frozenset()

    def __init__(self, config: L2MGANConfig) -> None:
        super().__init__()
        self.config = config
        self.main = nn.Sequential(*_trunk(config), nn.Conv2d(config.widths(LAST)[-1], config.domains, 1))
        self.apply(_he)

    def forward(self, x: Tensor, domain: Tensor | None = None) -> Tensor:
        """x: (N, 3, size, size) in [-1, 1]. Returns (N,) logits for domain (N,), or (N, domains) without."""
        logits = _sized(x, self.config.size, self.main).flatten(1)
        return logits if domain is None else logits.gather(1, domain[:, None])[:, 0]


# Their blocks


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm with a learned scale and shift, in float32 under mixed precision too."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) -> the same shape and type."""
        return normed(x, self.weight.float()[:, None, None], self.bias.float()[:, None, None])


def normed(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Instance norm of (N, C, H, W), scaled and shifted by float32 (N or 1, C, 1, 1); statistics in float32.

    In one multiplication and addition, which is a fifth faster on CPUs than `F.instance_norm` and an affine map.
    """
    variance, mean = torch.var_mean(x.float(), (2, 3), keepdim=True, correction=0)
    factor = scale * (variance + 1e-5).rsqrt()
    return torch.addcmul((shift - mean * factor).to(x.dtype), x, factor.to(x.dtype))


class AdaIN(nn.Module):
    """Adaptive instance norm: scale and shift are a linear map of the style (Huang and Belongie 2017)."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (N, C, H, W). style: (N, style). Returns the shape and type of x."""
        scale, shift = self.fc(style).float()[..., None, None].chunk(2, 1)          # (N, C, 1, 1) each
        return normed(x, 1 + scale, shift)


class EncoderBlock(nn.Module):
    """Activation and convolution, twice, beside a shortcut; on request with instance norms and half the size."""

    def __init__(self, channels_in: int, channels: int, normalise: bool, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels_in, channels, 3, 1, 1)
        self.norm1, self.norm2 = (InstanceNorm(channels_in) if normalise else nn.Identity() for _ in range(2))
        self.conv1x1 = nn.Conv2d(channels_in, channels, 1, bias=False) if channels_in != channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, H, W) -> (N, channels, H, W), halved on request."""
        h = self._smaller(self.conv1(F.leaky_relu(self.norm1(x), SLOPE)))
        h = self.conv2(F.leaky_relu(self.norm2(h), SLOPE))
        return (h + self._smaller(self.conv1x1(x))) / 2 ** 0.5

    def _smaller(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halve else x


class DecoderBlock(nn.Module):
    """Adaptive norm, activation and convolution, twice; on request with a shortcut and twice the size."""

    def __init__(self, channels_in: int, channels: int, style: int, double: bool, skip: bool) -> None:
        super().__init__()
        self.double, self.skip = double, skip
        self.conv1 = nn.Conv2d(channels_in, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm1, self.norm2 = AdaIN(channels_in, style), AdaIN(channels, style)
        self.conv1x1 = nn.Conv2d(channels_in, channels, 1, bias=False) if skip and channels_in != channels else (
            nn.Identity())

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (N, channels_in, H, W). style: (N, style). Returns (N, channels, H, W), doubled on request."""
        h = self.conv1(self._larger(F.leaky_relu(self.norm1(x, style), SLOPE)))
        h = self.conv2(F.leaky_relu(self.norm2(h, style), SLOPE))
        return (h + self._larger(self.conv1x1(x))) / 2 ** 0.5 if self.skip else h

    def _larger(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.double else x


def high_pass(x: Tensor, divisor: float) -> Tensor:
    """(N, C, H, W) -> the same shape: 8 times each pixel less its 8 neighbours, zeros outside, over the divisor."""
    return (x - F.avg_pool2d(x, 3, 1, 1)) * (9 / divisor)


def _trunk(config: L2MGANConfig) -> list[nn.Module]:
    """From the picture to (N, C, 1, 1): halved to 4x4 pixels without norms, then one 4x4 convolution."""
    widths = config.widths(LAST)
    return [nn.Conv2d(3, config.width, 3, 1, 1),
            *(EncoderBlock(a, b, normalise=False, halve=True) for a, b in pairwise(widths)),
            nn.LeakyReLU(SLOPE), nn.Conv2d(widths[-1], widths[-1], LAST), nn.LeakyReLU(SLOPE)]


def _transformer(style: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(style, style), nn.ReLU(), nn.Linear(style, style), nn.ReLU(),
                         nn.Linear(style, style))


def _of_domain(heads: nn.ModuleList, x: Tensor, domain: Tensor) -> Tensor:
    """What each row's own head says: (N, C) or (N, C, 1, 1), (N,) -> (N, style)."""
    x = x.flatten(1)
    said = torch.stack([head(x) for head in heads], 1)                              # (N, domains, style)
    return said[torch.arange(len(x), device=x.device), domain]


def _sized(x: Tensor, size: int, first: nn.Module) -> Tensor:
    if x.ndim != 4 or x.shape[1:] != (3, size, size):
        raise SettingsError(f"Pictures of shape {tuple(x.shape)} don't fit a network for {size} pixels.",
                            f"Resize to (N, 3, {size}, {size}).")
    return first(x)


def _resized(mask: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(mask, size=like.shape[2:], mode="bilinear", align_corners=False).to(like.dtype)


def _he(module: nn.Module) -> None:
    """He's initialisation, biases zero (StarGAN v2, appendix)."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
