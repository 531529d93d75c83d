"""Straight directions in StyleGAN2's w, one for each attribute: InterFaceGAN's boundaries and GANSpace's components.

Shen et al., *Interpreting the Latent Space of GANs for Semantic Face Editing* (InterFaceGAN), CVPR 2020: a linear
boundary for each attribute; moving along its normal changes the attribute, and projecting other normals out leaves
theirs alone (section 3.2, conditional manipulation). Härkönen et al., *GANSpace*, NeurIPS 2020: principal components of
w (section 2); here each attribute uses the component that correlates most with it.

Scores are a judge's (`core.models.judge.scores_of`). A slope is how much a score changes with one unit of length.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST = 0.05    # length that a normal keeps of 1, below which nothing is left to move along
FARTHEST = 4.0  # standard deviations of w: no attribute moves a latent farther along its direction


@dataclass(frozen=True)
class DirectionsConfig:
    """Sizes of the directions."""

    style: int              # numbers of w
    attributes: int = 35


PRESETS = {
    "tiny": DirectionsConfig(style=128),
    "ffhq": DirectionsConfig(style=512),
}


class Directions(nn.Module):
    """What was measured on many latents; nothing is trained by gradients here."""

    def __init__(self, config: DirectionsConfig) -> None:
        super().__init__()
        self.config = config
        style, count = config.style, config.attributes
        self.register_buffer("normals", torch.zeros(count, style))              # of unit length, towards yes and more
        self.register_buffer("slopes", torch.ones(count))                       # of the scores along the normals
        self.register_buffer("components", torch.zeros(style, style))           # rows, the largest variance first
        self.register_buffer("deviations", torch.ones(style))                   # of the latents along the components
        self.register_buffer("chosen", torch.zeros(count, dtype=torch.int64))   # the component of each attribute
        self.register_buffer("chosen_slopes", torch.ones(count))
        self.register_buffer("spread", torch.ones(count))                       # standard deviations of the scores

    def interfacegan(self, change: Tensor, frozen: Tensor | None = None) -> Tensor:
        """What is added to w: (N, attributes) changes of scores -> (N, style).

        change: 0 where nothing is asked. frozen: (attributes,) bool, whose boundaries are moved along, not across; an
        asked attribute is not held by its own. Where a boundary lies within the frozen ones, nothing moves.
        """
        moves = torch.zeros(len(change), self.config.style, device=change.device)
        for row in change.any(0).nonzero()[:, 0].tolist():
            along = self.conditional(row, frozen)
            if along.any():
                reach = self.slopes[row] * (along @ self.normals[row])   # change of the score with one unit of length
                farthest = FARTHEST * (self.components @ along * self.deviations).norm()
                moves = moves + (change[:, row] / reach).clamp(-farthest, farthest)[:, None] * along
        return moves

    def conditional(self, row: int, frozen: Tensor | None = None) -> Tensor:
        """The unit direction (style,) of an attribute, orthogonal to the frozen normals; zeros if nothing is left."""
        normal = self.normals[row]
        others = [] if frozen is None else [other for other in frozen.nonzero()[:, 0].tolist() if other != row]
        if others:
            basis = torch.linalg.qr(self.normals[others].T)[0]                # (style, K), orthonormal
            normal = normal - basis @ (basis.T @ normal)
        length = normal.norm()
        return normal / length if length > LEAST else torch.zeros_like(normal)

    def ganspace(self, change: Tensor) -> Tensor:
        """What is added to w: (N, attributes) changes of scores -> (N, style), each along its own component."""
        farthest = FARTHEST * self.deviations[self.chosen]
        return (change / self.chosen_slopes).clamp(-farthest, farthest) @ self.components[self.chosen]
