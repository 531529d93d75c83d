"""Groups in a crowd of faces: who is typical, who is borderline, what a group has in common. No labels find them.

    found = discover(vectors, k=50, traits=traits)      groups of the vectors that `core.clustering.PCA` gives
    found.groups[0].shared[0]                           "smiling 92 % (all: 31 %)"

Bahng et al., *Exploring Unlabeled Faces for Novel Attribute Discovery*, CVPR 2020, section 3.1.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.systems.clusters.words import Shared, shared

if TYPE_CHECKING:
    from torch import Tensor

    from core.clustering import Clusters

TYPICAL, BORDERLINE = 6, 2      # faces shown of a group


@dataclass(frozen=True)
class Group:
    """One group. number: 0 is the largest. size: its faces. share: of all faces.

    typical: rows of the faces nearest to its centre, the nearest first. borderline: rows of its faces for which another
    centre is nearly as near, and the number of that other group; the closest call first. shared: its over-represented
    traits, the clearest first.
    """

    number: int
    size: int
    share: float
    typical: tuple[int, ...]
    borderline: tuple[tuple[int, int], ...]
    shared: tuple[Shared, ...]

    @property
    def words(self) -> str:
        """What the group has in common, in words; "" where nothing stands out."""
        return ", ".join(each.trait for each in self.shared)


@dataclass(frozen=True)
class Discovery:
    """The groups of N faces. clusters: labels and centres. groups: one for each centre.

    nearest, distances: (N, 2), numbers of the two nearest groups and distances to their centres. points: (N, 2), where
    each face lies on a map: its first two principal components, which are cheap and the same for every k.
    """

    clusters: "Clusters"
    groups: tuple[Group, ...]
    nearest: "Tensor"
    distances: "Tensor"
    points: "Tensor"

    @property
    def k(self) -> int:
        """Number of groups."""
        return len(self.groups)


def discover(vectors: "Tensor", k: int, seed: int = 0, traits: "Tensor | None" = None) -> Discovery:
    """Groups of vectors (N, K). traits: (N, T) bool, see `words.traits_of`; None names nothing.

    Raises SettingsError where k is impossible.
    """
    from core.clustering import k_means

    return describe(vectors, k_means(vectors, k, seed), traits)


def describe(vectors: "Tensor", clusters: "Clusters", traits: "Tensor | None" = None) -> Discovery:
    """The same for groups that are known already; some may be empty."""
    from torch.nn import functional as F

    from core.clustering import two_nearest

    nearest, distances = two_nearest(vectors, clusters.centres)
    margins, k = distances[:, 1] - distances[:, 0], len(clusters.centres)
    named = shared(traits, clusters.labels, k) if traits is not None else [()] * k
    groups = []
    for number, size in enumerate(clusters.sizes.tolist()):
        rows = (clusters.labels == number).nonzero()[:, 0]
        typical = rows[distances[rows, 0].argsort(stable=True)[:TYPICAL]].tolist()
        close = [row for row in rows[margins[rows].argsort(stable=True)].tolist() if row not in typical][:BORDERLINE]
        borderline = tuple((row, int(nearest[row, 1])) for row in close)
        groups.append(Group(number, size, size / len(vectors), tuple(typical), borderline, named[number]))
    points = F.pad(vectors, (0, max(0, 2 - vectors.shape[1])))[:, :2]
    return Discovery(clusters, tuple(groups), nearest, distances, points)
