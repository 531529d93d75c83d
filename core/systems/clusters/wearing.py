"""Wearing: a face and a group -> the face with what the group's faces have in common (XploreGAN), or with the style of
one of them (its AdaIN twin).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image

from core.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

    from core.systems.clusters.choices import ClustersChoice
    from core.systems.clusters.crowd import Faces
    from core.systems.clusters.discovery import Discovery
    from core.training.crowd import Groups

SHOWN = 256     # pixels of a finished picture


@dataclass(frozen=True, eq=False)
class Target:
    """A group to wear. mean, variance: (K,), of its vectors in the translator's space. exemplar: (K,), the vector of
    its most typical face. number: among the translator's own groups; None for a group found otherwise.
    """

    mean: "Tensor"
    variance: "Tensor"
    exemplar: "Tensor"
    number: int | None


class Wearing:
    """The translator, its twin and the network of its feature space."""

    def __init__(self, choice: "ClustersChoice", groups: "Groups", device: Any) -> None:
        self.choice, self.groups, self.device = choice, groups, device

    @cached_property
    def networks(self) -> dict[str, Any]:
        """Translators by method."""
        from core import hub

        return {"asin": hub.load(self.choice.translator, self.device), "adain": hub.load(self.choice.twin, self.device)}

    @cached_property
    def _extractor(self) -> Any:
        from core.features import network_of, space_of

        return network_of(space_of(self.groups.space), self.device)

    def vectors(self, faces: list[Image.Image]) -> "Tensor":
        """Where aligned faces of one size lie in the translator's space: (N, K)."""
        import numpy as np
        import torch

        from core.features import compute, space_of

        images = np.stack([np.asarray(face) for face in faces])
        return self.groups.vectors(torch.cat([*compute(space_of(self.groups.space), self._extractor, images)]))

    def own_target(self, number: int, faces: "Faces", found: "Discovery") -> Target:
        """One of the translator's own groups. found: the crowd's faces in these groups."""
        statistics, typical = self.groups.statistics, found.groups[number].typical
        if not typical:
            raise SettingsError(f"group can't be {number}: it has no faces.", "Choose another group.")
        exemplar = faces.vectors[self.groups.space][typical[0]]
        return Target(statistics.mean[number], statistics.variance[number], exemplar, number)

    def found_target(self, number: int, faces: "Faces", found: "Discovery", known: "Tensor | None" = None) -> Target:
        """A group that was found in any space; its statistics are taken in the translator's.

        known: (N, K), the faces' vectors there; None computes those of the group.
        """
        rows, typical = (found.clusters.labels == number).nonzero()[:, 0], found.groups[number].typical[0]
        vectors = self.vectors([faces.picture(row) for row in rows.tolist()]) if known is None else known[rows]
        exemplar = vectors[rows.tolist().index(typical)]
        return Target(vectors.mean(0), vectors.var(0, correction=0), exemplar, None)

    def wear(self, face: Image.Image, target: Target, strength: float, method: str) -> Image.Image:
        """One aligned face wearing a group: SHOWN × SHOWN pixels. strength: 0 is its own group, or by AdaIN itself."""
        import torch

        from core import images
        from core.features import resized

        network, larger = self.networks[method], face.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)
        with torch.inference_mode():
            x = resized(images.to_tensor(face).to(self.device), network.config.size)
            own, wanted = self._conditions(network, face, target)
            made = network(x, torch.lerp(own, wanted, strength), larger=images.to_tensor(larger).to(self.device))
        return images.to_pil(made.float().clamp(-1, 1))[0].resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)

    def _conditions(self, network: Any, face: Image.Image, target: Target) -> "tuple[Tensor, Tensor]":
        """Of the face's own group, or for AdaIN of the face, and of what it is to wear: (1, condition_size) each."""
        import torch

        from core.models.xploregan import GroupStatistics

        where = self.vectors([face])                                                                # (1, K)
        if network.config.norm == "adain":
            found = network.exemplar_condition(torch.cat([where, target.exemplar[None]]))
            return tuple(found.to(self.device).split(1))
        own = self.groups.assign(where)                                                             # (1,)
        if network.config.condition == "label":
            if target.number is None:
                raise SettingsError("This translator knows its own groups only.", "Leave space, k and grouping as they "
                                    "are.")
            numbers = torch.tensor([int(own), target.number])
            found = network.group_condition(self.groups.statistics, numbers)
        else:
            mean = torch.stack([self.groups.statistics.mean[int(own)], target.mean])
            variance = torch.stack([self.groups.statistics.variance[int(own)], target.variance])
            found = network.group_condition(GroupStatistics(mean, variance), torch.tensor([0, 1]))
        return tuple(found.to(self.device).split(1))

    def closer(self, before: list[Image.Image], after: list[Image.Image], target: Target) -> list[float]:
        """How much nearer each face came to the group's mean, as a share of the distance before: 1 is all the way."""
        apart = [(self.vectors(faces) - target.mean).norm(dim=1) for faces in (before, after)]
        return (1 - apart[1] / apart[0].clamp(min=1e-6)).tolist()
