"""StyleGAN2: a latent vector -> a picture of a face.

Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, CVPR 2020: a mapping network turns a normally
distributed z into a style w; a synthesis network scales the inputs of its convolutions by that style (section 2.2,
weight demodulation) and sums RGB pictures of growing size (section 4.1, skip connections). Written from the paper; the
preset `ffhq-1024` has the layout of the public PyTorch checkpoints.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import SettingsError
from core.kernels.resample import resample

EPSILON = 1e-8      # under the roots of the pixel norm and of demodulation


@dataclass(frozen=True)
class StyleGAN2Config:
    """Sizes of the generator. The picture has 4 * 2 ** (len(channels) - 1) pixels a side."""

    channels: tuple[int, ...]   # of the feature maps at 4, 8, 16, ... pixels
    latent: int                 # numbers of z
    style: int                  # numbers of w
    mapping: int                # layers of the mapping network

    @property
    def size(self) -> int:
        """Height and width of the picture, in pixels."""
        return 2 ** (len(self.channels) + 1)

    @property
    def styles(self) -> int:
        """Rows of a w+ latent: one for each modulated layer, where a ToRGB layer shares the next block's first."""
        return 2 * len(self.channels)

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Sides of the noise maps, in pixels, in the order of the styled convolutions."""
        return tuple(2 ** ((i + 5) // 2) for i in range(2 * len(self.channels) - 1))


PRESETS = {
    "tiny":      StyleGAN2Config(channels=(128, 128, 128, 64, 32), latent=256, style=128, mapping=4),
    "tiny-128":  StyleGAN2Config(channels=(128, 128, 128, 64, 32, 16), latent=256, style=128, mapping=4),
    "ffhq-1024": StyleGAN2Config(channels=(512, 512, 512, 512, 512, 256, 128, 64, 32), latent=512, style=512,
                                 mapping=8),
}

# The filter taps, which are constants here; two entries for each of the eight doublings.
UNUSED = frozenset(key for i in range(8) for key in (f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel"))


class StyleGAN2(nn.Module):
    """The generator. Call it with z for pictures; `map`, `truncate` and `synthesize` are its three steps."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        sizes = (config.latent, *[config.style] * config.mapping)
        self.style = nn.Sequential(PixelNorm(), *(
            EqualLinear(a, b, rate=0.01, activated=True) for a, b in pairwise(sizes)))
        channels = config.channels
        self.input = ConstantInput(channels[0])
        self.conv1 = StyledConv(channels[0], channels[0], config.style)
        self.to_rgb1 = ToRGB(channels[0], config.style)
        self.convs = nn.ModuleList(layer for a, b in pairwise(channels) for layer in (
            StyledConv(a, b, config.style, upsample=True), StyledConv(b, b, config.style)))
        self.to_rgbs = nn.ModuleList(ToRGB(b, config.style) for b in channels[1:])
        self.noises = nn.Module()
        for i, size in enumerate(config.noise_sizes):
            self.noises.register_buffer(f"noise_{i}", torch.empty(1, 1, size, size).normal_())

    def forward(self, z: Tensor, *, truncation: float = 1.0, centre: Tensor | None = None,
                noise: str | Sequence[Tensor] = "constant", generator: torch.Generator | None = None,
                size: int | None = None) -> Tensor:
        """z: (N, latent), normally distributed. truncation, centre: see `truncate`. The others: see `synthesize`.

        Returns (N, 3, size, size) RGB, nominally in [-1, 1], not clipped.
        """
        return self.synthesize(self.truncate(self.map(z), truncation, centre), noise, generator, size=size)

    def map(self, z: Tensor) -> Tensor:
        """The mapping network: (N, latent) -> (N, style)."""
        return self.style(z)

    @torch.no_grad()
    def mean_style(self, count: int = 4096, seed: int = 0) -> Tensor:
        """The mean w of `count` random z, (1, style): the usual centre of truncation."""
        weight = self.input.input
        z = torch.randn(count, self.config.latent, generator=torch.Generator().manual_seed(seed))
        return self.map(z.to(weight.device, weight.dtype)).mean(0, keepdim=True)

    @staticmethod
    def truncate(w: Tensor, truncation: float, centre: Tensor | None) -> Tensor:
        """The truncation trick (Karras et al. 2019, appendix B): centre + truncation * (w - centre).

        w: (N, style) or (N, styles, style). truncation: from 0, all pictures alike, to 1, w unchanged; above 1 also
        leaves w unchanged. centre: broadcast to w. Raises SettingsError when truncation < 1 has no centre.
        """
        if truncation >= 1:
            return w
        if centre is None:
            raise SettingsError("Truncation below 1 needs a centre.", "Give centre=model.mean_style().")
        return centre + truncation * (w - centre)

    def synthesize(self, w: Tensor, noise: str | Sequence[Tensor] = "constant",
                   generator: torch.Generator | None = None, blend: Callable[[Tensor], Tensor] | None = None,
                   size: int | None = None) -> Tensor:
        """The synthesis network.

        w: (N, style), or w+ latents (N, styles, style), one row for each modulated layer.
        noise: "none"; "constant", the maps saved with the weights; "random", drawn with `generator`; or one map for
        each of config.noise_sizes, (1 or N, 1, S, S).
        blend: gets the feature maps (N, C, S, S) of each block, S = 4, 8, 16, ...; what it returns takes their place.
        size: pixels of the block to end after, for early training; None: the last.
        Returns (N, 3, size, size) RGB, nominally in [-1, 1], not clipped. Raises SettingsError for other shapes.
        """
        styles = self.styles(w)
        noises = self.noise_maps(noise, len(w), generator)
        x = self.input(len(w))                                               # (N, channels[0], 4, 4)
        x = self.conv1(x, styles[0], noises[0])
        x = x if blend is None else blend(x)
        rgb = self.to_rgb1(x, styles[1])
        for j, to_rgb in enumerate(self.to_rgbs):
            if rgb.shape[-1] == size:
                break
            x = self.convs[2 * j](x, styles[2 * j + 1], noises[2 * j + 1])   # (N, channels[j + 1], 8 * 2**j, 8 * 2**j)
            x = self.convs[2 * j + 1](x, styles[2 * j + 2], noises[2 * j + 2])
            x = x if blend is None else blend(x)
            rgb = to_rgb(x, styles[2 * j + 3], rgb)
        return rgb

    def styles(self, w: Tensor) -> tuple[Tensor, ...]:
        """The style of each modulated layer, (N, style) each. w: (N, style) or (N, styles, style)."""
        config = self.config
        if w.ndim == 2 and w.shape[1] == config.style:
            return (w,) * config.styles
        if w.ndim == 3 and w.shape[1:] == (config.styles, config.style):
            return w.unbind(1)
        raise SettingsError(f"The latent w can't have the shape {tuple(w.shape)}.",
                            f"Give (N, {config.style}) or (N, {config.styles}, {config.style}).")

    def noise_maps(self, noise: str | Sequence[Tensor], batch: int,
                   generator: torch.Generator | None = None) -> list[Tensor | None]:
        """One map for each styled convolution, (1 or N, 1, S, S); None for no noise. noise: see `synthesize`."""
        sizes = self.config.noise_sizes
        if noise == "none":
            return [None] * len(sizes)
        if noise == "constant":
            return [getattr(self.noises, f"noise_{i}") for i in range(len(sizes))]
        if noise == "random":
            like = self.noises.noise_0
            device = like.device if generator is None else generator.device
            return [torch.randn(batch, 1, size, size, generator=generator, device=device).to(like) for size in sizes]
        if isinstance(noise, str):
            raise SettingsError(f"There is no noise called {noise!r}.", "Choose from: none, constant, random.")
        shapes = [tuple(each.shape) for each in noise]
        if len(shapes) != len(sizes) or any(shape not in ((1, 1, size, size), (batch, 1, size, size))
                                            for shape, size in zip(shapes, sizes, strict=True)):
            raise SettingsError(f"The noise can't have the shapes {shapes}.",
                                f"Give (1 or {batch}, 1, S, S) for S in {', '.join(map(str, sizes))}.")
        return list(noise)


def mix(first: Tensor, second: Tensor, row: int, styles: int) -> Tensor:
    """Style mixing (Karras et al. 2019, section 3.1): w+ latents, `first` below `row`, `second` from it on.

    first, second: (N, style). row: from 0 to styles. styles: rows that come out. Returns (N, styles, style).
    """
    rows = torch.arange(styles, device=first.device)[:, None] < row
    return torch.where(rows, first[:, None], second[:, None])


def grow(model: StyleGAN2, channels: int) -> StyleGAN2:
    """A generator with one more block, for pictures of twice the size. At first these are the old ones, doubled.

    channels: of the new block's feature maps. All other weights are copied.
    """
    bigger = type(model)(replace(model.config, channels=(*model.config.channels, channels)))
    bigger.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        bigger.to_rgbs[-1].conv.weight.zero_()
    return bigger.to(model.input.input.device)


class PixelNorm(nn.Module):
    """Scales each vector to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C) -> the same shape."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + EPSILON)


class EqualLinear(nn.Module):
    """A linear layer with an equalised learning rate (Karras et al. 2018, section 4.1): weights are scaled when used.

    rate: multiplies the learning rate of weights and biases. bias: where biases begin. activated: leaky ReLU follows.
    """

    def __init__(self, width_in: int, width: int, *, rate: float = 1.0, bias: float = 0.0,
                 activated: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width_in).normal_(std=1 / rate))
        self.bias = nn.Parameter(torch.full((width,), bias / rate))
        self.rate, self.scale, self.activated = rate, rate / math.sqrt(width_in), activated

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, width_in) -> (N, width)."""
        x = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return activate(x) if self.activated else x


class EqualConv2d(nn.Module):
    """A convolution without bias, with an equalised learning rate."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels_in, kernel, kernel).normal_())
        self.scale, self.stride, self.padding = 1 / math.sqrt(channels_in * kernel ** 2), stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, H, W) -> (N, channels, H', W')."""
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class BiasActivation(nn.Module):
    """Adds a bias to each channel, then activates."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) -> the same shape."""
        return activate(x + self.bias[:, None, None])


class ModulatedConv2d(nn.Module):
    """A convolution whose weights are scaled by a style, then normalised (section 2.2).

    The style scales the input and demodulation the output, so one convolution serves the whole batch, and a picture
    does not depend on its neighbours. The weight has a leading axis of 1, as in the published files.
    """

    def __init__(self, channels_in: int, channels: int, kernel: int, style: int, *, upsample: bool = False,
                 demodulated: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, channels_in, kernel, kernel).normal_())
        self.modulation = EqualLinear(style, channels_in, bias=1.0)
        self.scale, self.upsample, self.demodulated = 1 / math.sqrt(channels_in * kernel ** 2), upsample, demodulated

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """x: (N, channels_in, S, S), style: (N, style) -> (N, channels, S, S), or 2 S when up-sampled."""
        weight = self.weight[0]                                              # (channels, channels_in, k, k)
        scales = self.modulation(style) * self.scale                         # (N, channels_in)
        x = x * scales[:, :, None, None].to(x.dtype)
        if self.upsample:                                                      # S -> 2 S + 1 -> 2 S
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            x = resample(x, pad=(1, 1), gain=4)
        else:
            x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
        return x * self.demodulation(scales)[:, :, None, None].to(x.dtype) if self.demodulated else x

    def demodulation(self, scales: Tensor) -> Tensor:
        """What the outputs are multiplied with: (N, channels_in) -> (N, channels), in float32 at least."""
        with torch.autocast(scales.device.type, enabled=False):
            scales, weight = (each.to(torch.promote_types(each.dtype, torch.float32))
                              for each in (scales, self.weight[0]))
            return torch.rsqrt(scales.square() @ weight.square().sum((2, 3)).T + EPSILON)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Moves and converts the weight without its leading axis, since channels-last means four axes."""
        return super()._apply(lambda each: fn(each[0])[None] if each.ndim == 5 else fn(each), recurse)


class NoiseInjection(nn.Module):
    """Adds a noise map, the same for all channels, times a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """x: (N, C, S, S), noise: (1 or N, 1, S, S) or None -> the shape of x."""
        return x if noise is None else x + (self.weight * noise).to(x.dtype)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, activation."""

    def __init__(self, channels_in: int, channels: int, style: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(channels_in, channels, 3, style, upsample=upsample)
        self.noise = NoiseInjection()
        self.activate = BiasActivation(channels)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """x: (N, channels_in, S, S), style: (N, style) -> (N, channels, S, S), or 2 S when up-sampled."""
        return self.activate(self.noise(self.conv(x, style), noise))


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to RGB, added to the up-sampled picture of the block before."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.conv = ModulatedConv2d(channels, 3, 1, style, demodulated=False)

    def forward(self, x: Tensor, style: Tensor, rgb: Tensor | None = None) -> Tensor:
        """x: (N, channels, S, S), style: (N, style), rgb: (N, 3, S / 2, S / 2) -> (N, 3, S, S)."""
        added = self.conv(x, style) + self.bias
        return added if rgb is None else added + resample(rgb, up=2, pad=(2, 1), gain=4)


class ConstantInput(nn.Module):
    """The learned 4x4 feature map that synthesis begins with."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.empty(1, channels, 4, 4).normal_())

    def forward(self, batch: int) -> Tensor:
        """Returns (N, channels, 4, 4)."""
        return self.input.expand(batch, -1, -1, -1)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, times the root of 2 to keep the variance."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)
