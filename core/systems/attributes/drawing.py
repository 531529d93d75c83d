"""From a latent to a picture: the generator, with frozen regions kept and the picture turned for `roll`.

A region is frozen twice: its feature maps are those of the source in every block, so
that its surroundings fit to it, and its pixels are pasted back, so that it does not change at all.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.cache import LRUCache
from core.systems.attributes import masks
from core.systems.attributes.networks import Networks
from core.systems.attributes.sources import Source

MAPS_BYTES = 256 << 20      # of feature maps in memory; 3 MB a face of 128 pixels


class Drawing:
    """Draws one latent at a time."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self._maps = LRUCache(MAPS_BYTES, lambda maps: sum(each.nbytes for each in maps))

    @torch.no_grad()
    def picture(self, w: Tensor) -> np.ndarray:
        """A latent (1, rows, style) -> (S, S, 3) uint8."""
        return _pixels(self.networks.frozen.draw(w))

    @torch.no_grad()
    def edited(self, w: Tensor, source: Source, frozen: np.ndarray | None,
               turn: float) -> tuple[np.ndarray, np.ndarray]:
        """The picture of an edited latent, upright and as it is shown, (S, S, 3) uint8 each.

        frozen: (S, S) bool; those pixels are exactly the source's. turn: degrees, positive clockwise; frozen regions
        are not turned.
        """
        weights = None if frozen is None else masks.weights_of(frozen).to(self.networks.device)
        drawn = self.networks.frozen.draw(w, blend=None if weights is None else self._blend(source, weights))
        upright, shown = (_pixels(each) for each in (drawn, turned(drawn, turn)))
        if weights is None:
            return upright, shown
        return pasted(upright, source.picture, weights), pasted(shown, source.picture, weights)

    def _blend(self, source: Source, weights: Tensor):
        """Keeps the source's feature maps where something is frozen; one map after another."""
        maps: Iterator[Tensor] = iter(self._maps.get(source, lambda: self._source_maps(source.w)))
        return lambda x: torch.lerp(x, next(maps), masks.at_size(weights, x.shape[-1]))

    def _source_maps(self, w: Tensor) -> list[Tensor]:
        """The feature maps of each block, (1, C, S, S)."""
        maps: list[Tensor] = []

        def keep(x: Tensor) -> Tensor:
            maps.append(x)
            return x

        self.networks.frozen.draw(w, blend=keep)
        return maps


def turned(picture: Tensor, degrees: float) -> Tensor:
    """Pictures (N, 3, S, S) turned about their middle, positive clockwise; mirrored beyond the edge."""
    if not degrees:
        return picture
    angle = math.radians(degrees)
    matrix = picture.new_tensor([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0]])
    grid = F.affine_grid(matrix.expand(len(picture), 2, 3), list(picture.shape), align_corners=False)
    return F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)


def pasted(picture: np.ndarray, source: np.ndarray, weights: Tensor) -> np.ndarray:
    """A picture with the source's pixels where weights (1, 1, S, S) are 1, and a mixture where they are between."""
    share = weights[0, 0, :, :, None].cpu().numpy().astype(np.float64)
    return np.rint(picture * (1 - share) + source * share).astype(np.uint8)


def _pixels(picture: Tensor) -> np.ndarray:
    from core.images import to_uint8

    return to_uint8(picture)[0]
