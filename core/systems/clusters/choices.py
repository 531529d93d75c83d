"""Which checkpoints `clusters` can be made of: those that ship, and feature networks of others beside them."""

from dataclasses import dataclass
from typing import ClassVar

OWN = ("texture", "shape", "persons")       # feature spaces that ship


@dataclass(frozen=True)
class ClustersChoice:
    """Feature spaces by name, the first is the default; checkpoints of the translator, its AdaIN twin and the crowd.

    embedder, judge: read faces; they take no part in finding groups.
    """

    name: str
    label: str
    spaces: tuple[str, ...]
    translator: str = "clusters-asin-tiny"
    twin: str = "clusters-adain-tiny"
    crowd: str = "clusters-crowd-tiny"
    embedder: str = "embedder-tiny"
    judge: str = "judge-tiny"
    does: ClassVar[tuple[str, str]] = ("find groups", "find groups")

    def files(self, extra: bool = False) -> tuple[str, ...]:
        """The checkpoints that finding and wearing groups take; there is nothing extra."""
        from core.features import SPACES

        names = (self.translator, self.twin, self.crowd, *(SPACES[space].checkpoint for space in self.spaces),
                 self.embedder, self.judge)
        return () if extra else tuple(dict.fromkeys(names))


CHOICES = (     # the first ships with the project
    ClustersChoice("tiny", "Facet's own, trained on drawn faces", OWN),
    ClustersChoice("photos", "DINOv2-small, for photographs", ("dinov2", *OWN)),
    ClustersChoice("published", "BagNet-17 and ResNet-50, as in the paper", ("bagnet17", "resnet50-sin", *OWN)),
)
