"""Latent-to-Latent: the latent of a face and the wanted attributes -> the latent of the edited face.

Khodadadeh et al., *Latent to Latent: A Learned Mapper for Identity Preserving Editing of Multiple Face Attributes in
StyleGAN-generated Images*, WACV 2022, section 3: one fully connected mapper M edits all attributes at once. Here it
predicts a change, M(w, a) = w + D(w, a - a_w), where a_w are the attributes that w has already and D(w, 0) is exactly
zero by construction. So an empty request returns exactly w. The layers of D are the project's choice.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import SettingsError
from core.faces import CONFLICTS, NAMES

PAIRS = tuple((NAMES.index(a), NAMES.index(b)) for first, second, _ in CONFLICTS
              for a, b in ((first, second), (second, first)))


@dataclass(frozen=True)
class LatentToLatentConfig:
    """Sizes of the mapper."""

    style: int              # numbers of w
    width: int              # of the hidden layers
    depth: int              # hidden blocks
    rows: int = 1           # 1: edits w, or all rows of w+ alike; else the rows of w+, each with a change of its own
    attributes: int = 35    # numbers of a request


PRESETS = {
    "tiny":      LatentToLatentConfig(style=128, width=256, depth=3),
    "tiny-plus": LatentToLatentConfig(style=128, width=256, depth=3, rows=10),
    "ffhq":      LatentToLatentConfig(style=512, width=512, depth=4),
    "ffhq-plus": LatentToLatentConfig(style=512, width=512, depth=4, rows=18),
}


class LatentToLatent(nn.Module):
    """The mapper. A network without biases carries the request; the latent scales its channels in every block."""

    def __init__(self, config: LatentToLatentConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.style))      # of the latents; see `calibrate`
        self.register_buffer("deviation", torch.ones(config.style))
        self.latent = nn.Sequential(nn.Linear(config.rows * config.style, config.width), nn.SiLU(),
                                    nn.Linear(config.width, config.width), nn.SiLU())
        self.request = nn.Linear(config.attributes, config.width, bias=False)
        self.blocks = nn.ModuleList(GatedBlock(config.width) for _ in range(config.depth))
        self.out = nn.Linear(config.width, config.rows * config.style, bias=False)
        nn.init.normal_(self.out.weight, std=0.1 / config.width ** 0.5)     # small changes at first

    def forward(self, w: Tensor, wanted: Tensor, current: Tensor) -> Tensor:
        """w: latents, (N, style) or w+ (N, rows, style). With config.rows = 1 a w+ latent may have any number of rows.

        wanted, current: (N, attributes), what the edited face should have and what w has, in config order and on any
        common scale, best 0 to 1 over each attribute's range. To keep an attribute, ask for its current value.
        Returns edited latents in the shape of w; where wanted equals current everywhere, exactly w.
        Raises SettingsError for other shapes.
        """
        return w + self.change(w, wanted - current)

    def change(self, w: Tensor, request: Tensor) -> Tensor:
        """D(w, request): (N, ..., style) and (N, attributes) -> what is added to w, broadcast to its shape.

        request: wanted minus current attributes; zero where nothing should change.
        """
        config = self.config
        if request.ndim != 2 or request.shape[1] != config.attributes or len(request) != len(w):
            raise SettingsError(f"A request can't have the shape {tuple(request.shape)}.",
                                f"Give ({len(w)}, {config.attributes}).")
        context = self.latent(self._standardise(w))                         # (N, width)
        x = self.request(request)                                            # (N, width)
        for block in self.blocks:
            x = block(x, context)
        change = self.out(x)                                                 # (N, rows * style)
        if config.rows > 1:
            change = change.unflatten(1, (config.rows, config.style))
        elif w.ndim == 3:
            change = change[:, None]
        return change * self.deviation

    @torch.no_grad()
    def calibrate(self, w: Tensor) -> None:
        """Store mean and standard deviation of many latents, (N, style) or (N, rows, style), before training."""
        w = w.flatten(0, -2)
        self.mean.copy_(w.mean(0))
        self.deviation.copy_(w.std(0).clamp(min=1e-6))

    def _standardise(self, w: Tensor) -> Tensor:
        """(N, rows * style), mean 0 and deviation 1; with one row, the mean over the rows of w+."""
        config = self.config
        rows = w.shape[1:-1]
        fits = len(rows) <= 1 if config.rows == 1 else rows == (config.rows,)
        if w.ndim not in (2, 3) or w.shape[-1] != config.style or not fits:
            shapes = (f"(N, {config.style}) or (N, rows, {config.style})" if config.rows == 1
                      else f"(N, {config.rows}, {config.style})")
            raise SettingsError(f"The latent w can't have the shape {tuple(w.shape)}.", f"Give {shapes}.")
        if config.rows == 1 and w.ndim == 3:
            w = w.mean(1)
        return ((w - self.mean) / self.deviation).flatten(1)


class GatedBlock(nn.Module):
    """A residual block without biases: zero in, zero out. Its hidden channels are scaled by the latent's features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, width, bias=False)
        self.fc2 = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """x, context: (N, width) -> (N, width)."""
        return x + self.fc2(F.silu(self.fc1(x) * (1 + self.scale(context))))


def complete(wanted: Tensor, asked: Tensor) -> Tensor:
    """What a request takes from attributes that were not asked for: a face that gets a hat has no fringe.

    wanted: (N, 35) units from 0 to 1. asked: (N, 35) bool. Of two attributes that no face has at once, the one that was
    not asked for gets at most what the asked one leaves of 1.
    """
    wanted = wanted.clone()
    for first, second in PAIRS:
        limited = torch.minimum(wanted[:, second], 1 - wanted[:, first])
        wanted[:, second] = torch.where(asked[:, first] & ~asked[:, second], limited, wanted[:, second])
    return wanted
