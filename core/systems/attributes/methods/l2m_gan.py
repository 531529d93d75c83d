"""L2M-GAN (Yang et al., CVPR 2021): edits the picture itself, so that no latent of a generator is needed.

It knows an attribute as there or not; the strength says how far to go from one to the other, and beyond.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from core.faces import NAMES
from core.systems.attributes.request import SWITCHED, THERE

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from core.models.l2m_gan import L2MGAN, FaceMasks


class Given(NamedTuple):
    """A picture (1, 3, S, S) in [-1, 1], and the units (1, 35) of its attributes."""

    picture: "Tensor"
    units: "Tensor"


class Repainted(NamedTuple):
    """picture: (1, 3, S, S) in [-1, 1]. angle: degrees between the two parts of the style code; 90 is orthogonal."""

    picture: "Tensor"
    angle: float


@dataclass(frozen=True, eq=False)
class PictureEditor:
    """An L2M-GAN over some attributes. points: (5, 2), landmarks of an aligned face, in parts of the width."""

    network: "L2MGAN"
    attributes: tuple[str, ...]
    points: "np.ndarray"

    @property
    def offered(self) -> tuple[str, ...]:
        """The attributes that can be asked for. The small network repaints a whole face for gender, and badly."""
        return tuple(name for name in self.attributes if name in SWITCHED)

    def has(self, units: "Tensor", name: str) -> bool:
        """Whether an attribute is there, by units (1, 35)."""
        return bool(units[0, NAMES.index(name)] > THERE)

    def repainted(self, given: Given, asked: Mapping[str, bool], references: Mapping[str, Given],
                  strength: float = 1.0) -> Repainted:
        """The picture with attributes there or not.

        asked: all at once, but for those with a reference: they follow one after the other, each as its reference has
        it. strength: 0 reconstructs, 1 edits.
        """
        import torch
        from torch.nn import functional as F

        from core.features import resized

        with torch.no_grad():
            config, network, masks = self.network.config, self.network, self._masks(given.picture)
            side, x = given.picture.shape[-1], resized(given.picture, config.size)
            now = self._domain({name: self.has(given.units, name) for name in self.attributes})
            plain = {name: there for name, there in asked.items() if name not in references}
            target = self._changed(now, plain)
            codes = network.codes(x, now, target)
            if plain or not references:
                x = network.generator(x, codes.style(strength), masks)
            for name, reference in references.items():
                now, target = target, self._changed(target, {name: self.has(reference.units, name)})
                own = self._domain({each: self.has(reference.units, each) for each in self.attributes})
                x = network.by_reference(x.clamp(-1, 1), now, resized(reference.picture, config.size), own, target,
                                         strength, masks)
            made = x if side == config.size else F.interpolate(x, size=(side, side), mode="bicubic",
                                                               align_corners=False)
            return Repainted(made.clamp(-1, 1), float(codes.angle))

    def _domain(self, there: Mapping[str, bool]) -> "Tensor":
        """The domain with these attributes, (1,); bit i is attribute i."""
        import torch

        bits = sum(int(there[name]) << bit for bit, name in enumerate(self.attributes))
        return torch.tensor([bits], device=next(self.network.parameters()).device)

    def _changed(self, domain: "Tensor", there: Mapping[str, bool]) -> "Tensor":
        """The domain with some attributes replaced."""
        found = {name: bool(domain >> bit & 1) for bit, name in enumerate(self.attributes)}
        return self._domain(found | {name: bool(value) for name, value in there.items()})

    def _masks(self, picture: "Tensor") -> "FaceMasks | None":
        """Where a network with a high pass keeps details."""
        import torch

        from core.models.l2m_gan import face_masks

        size = self.network.config.size
        if not self.network.config.high_pass:
            return None
        return face_masks(torch.tensor(self.points * size, dtype=torch.float32, device=picture.device)[None], size)
