"""Clustering of feature vectors: principal components, then k-means with a k-means++ start.

    pca = PCA.fit(unit(features))           features (N, D) of any network; at most 256 components
    vectors = pca.apply(unit(features))     computed once; every k starts from them
    found = k_means(vectors, k=50)          labels and centres, in an order that does not depend on chance

The steps are those of Bahng et al., *XploreGAN*, CVPR 2020, section 3.1. Besides, components are whitened, as in Caron
et al., *Deep Clustering for Unsupervised Learning of Visual Features*, ECCV 2018: otherwise light and pose, which vary
most, decide all groups. The same seed gives the same clusters.

Size: k-means++ and the first rounds of Lloyd's algorithm run on at most SAMPLE vectors, and FULL_ROUNDS rounds on all
of them. So a round costs 2·N·k·256 operations, and memory is the vectors plus BLOCK × k distances.
Plan for 1,000,000 faces: their vectors take 1 GB in float32 and may be a memory-mapped file, because every function
here reads them in order. PCA and the start see SAMPLE vectors as before. A full round at k = 100 is 51 GFLOP, about
two seconds on two cores with AVX2, so all rounds take under half a minute. The features themselves take longest: an
hour at 300 pictures a second; they are computed in blocks and kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import SettingsError

COMPONENTS = 256        # of the features, at most
SHARE = 4               # features for each component, at least: the deviations of more could not be told from chance
FLAT = 0.05             # deviation, relative to the largest, below which components are not whitened further
SAMPLE = 20_000         # vectors that PCA, k-means++ and the first rounds see
BLOCK = 16_384          # vectors compared with the centres at once
ROUNDS = 40             # of Lloyd's algorithm on the sample, at most
FULL_ROUNDS = 6         # on all vectors, where there are more
STEADY = 1e-3           # share of vectors that may still change their cluster when the rounds end
SAME = 1e-6             # squared distance, relative to the squared lengths, below which two vectors are equal


def unit(features: Tensor) -> Tensor:
    """Features (N, D) at length 1, float32. Raises SettingsError for values that are not finite."""
    features = features.float()
    if not bool(features.isfinite().all()):
        raise SettingsError("The features have values that are not finite.",
                            "Check the network's weights:  python -m core verify")
    return F.normalize(features, dim=1)


@dataclass(frozen=True)
class PCA:
    """Principal components of features. mean: (D,). components: (K, D), orthonormal rows, largest variance first.

    scale: (K,) divides what `apply` gives: on the fitted features, components of equal deviation, and a mean squared
    length of 1. Components whose deviation is less than FLAT of the largest stay smaller than the others.
    """

    mean: Tensor
    components: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, features: Tensor, size: int = COMPONENTS) -> "PCA":
        """Fit to features (N, D), N at least 2; K is `size`, or less where D or N / SHARE is less; at least 1.

        Of more than SAMPLE features, evenly spaced ones are used.
        """
        rows = torch.linspace(0, len(features) - 1, min(len(features), SAMPLE)).long()
        features = features[rows].float()
        mean = features.mean(0)
        centred = features - mean
        _, rows = torch.linalg.eigh((centred.T @ centred).double() / len(features))
        kept = min(size, features.shape[1], max(len(features) // SHARE, 1))
        components = _signed(rows.flip(1)[:, :kept].T.float())
        found = centred @ components.T
        scale = found.square().mean(0).sqrt()
        scale = scale.clamp(min=max(FLAT * float(scale.max()), 1e-12))
        return cls(mean, components, scale * (found / scale).square().sum(1).mean().sqrt().clamp(min=1e-12))

    def apply(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, K) float32."""
        parts = [(part.float() - self.mean) @ self.components.T / self.scale for part in features.split(BLOCK)]
        return torch.cat(parts)


def _signed(rows: Tensor) -> Tensor:
    """Rows (K, D) with signs chosen so that the largest entry is positive: the same on every machine."""
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return rows * torch.where(largest < 0, -1.0, 1.0)


@dataclass(frozen=True)
class Clusters:
    """A partition. labels: (N,) int64, the number of the nearest centre. centres: (k, K).

    Clusters are numbered by size, largest first; of equal sizes the one with the earliest member comes first.
    """

    labels: Tensor
    centres: Tensor

    @property
    def sizes(self) -> Tensor:
        """(k,) members of each cluster, at least one."""
        return self.labels.bincount(minlength=len(self.centres))


def k_means(vectors: Tensor, k: int, seed: int = 0) -> Clusters:
    """Partition vectors (N, K) into k clusters, none of them empty.

    Raises SettingsError unless 2 ≤ k ≤ N and at least k of the vectors differ.
    """
    _check(k, len(vectors))
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(vectors), generator=draw)[:SAMPLE].sort().values
    sample = vectors if len(rows) == len(vectors) else vectors[rows]
    centres = lloyd(sample, plus_plus(sample, k, draw), ROUNDS)
    if len(vectors) > len(sample):
        centres = lloyd(vectors, centres, FULL_ROUNDS)
    return in_order(nearest(vectors, centres)[0], centres)


def _check(k: int, count: int) -> None:
    if count < 2:
        raise SettingsError(f"Groups need at least two faces, and there {'is one' if count else 'are none'}.",
                            "Give more pictures.")
    if not 2 <= k <= count:
        raise SettingsError(f"k can't be {k} with {count:,} faces.", f"Choose a whole number from 2 to {count:,}.")


def plus_plus(vectors: Tensor, k: int, draw: torch.Generator) -> Tensor:
    """The start of k-means++ (Arthur and Vassilvitskii 2007): (k, K), each drawn by its squared distance to the others.

    Raises SettingsError when fewer than k of the vectors (N, K) differ.
    """
    lengths = vectors.square().sum(1)                                       # (N,)
    chosen = [int(torch.randint(len(vectors), (1,), generator=draw))]
    apart = _squared(vectors, lengths, chosen[0])
    while len(chosen) < k:
        total = apart.sum(dtype=torch.float64)
        if total <= 0:
            raise SettingsError(f"k can't be {k}: only {len(chosen)} of the {len(vectors):,} faces differ.",
                                f"Choose {len(chosen)} or less, or give other pictures.")
        place = torch.rand((), generator=draw, dtype=torch.float64) * total
        found = int(torch.searchsorted(apart.cumsum(0, dtype=torch.float64), place).clamp(max=len(vectors) - 1))
        found = found if apart[found] > 0 else int(apart.argmax())          # rounding may end on one chosen before
        chosen.append(found)
        apart = torch.minimum(apart, _squared(vectors, lengths, found))
    return vectors[chosen].clone()


def _squared(vectors: Tensor, lengths: Tensor, row: int) -> Tensor:
    """Squared distances (N,) to one of the vectors; 0 for those that equal it."""
    apart = lengths + lengths[row] - 2 * (vectors @ vectors[row])
    return torch.where(apart <= SAME * (lengths + lengths[row]), 0.0, apart)


def lloyd(vectors: Tensor, centres: Tensor, rounds: int) -> Tensor:
    """Lloyd's algorithm from given centres (k, K): new centres, each with at least one vector (N, K) nearest to it.

    It ends when at most STEADY of the vectors change their cluster, or after `rounds`.
    """
    labels, squared = nearest(vectors, centres)
    for _ in range(rounds):
        centres = means(vectors, _without_empty(labels, squared, len(centres)), len(centres))
        before = labels
        labels, squared = nearest(vectors, centres)
        full = int(labels.bincount(minlength=len(centres)).min()) > 0
        if full and int((labels != before).sum()) <= STEADY * len(vectors):
            break
    return centres if full else means(vectors, _without_empty(labels, squared, len(centres)), len(centres))


def nearest(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centre of each vector, (N,) int64, and the squared distance to it, (N,)."""
    half = centres.square().sum(1) / 2
    found = [torch.addmm(-half, part, centres.T).max(1) for part in vectors.split(BLOCK)]
    best, labels = (torch.cat(column) for column in zip(*found, strict=True))
    return labels, (vectors.square().sum(1) - 2 * best).clamp(min=0)


def two_nearest(vectors: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The two nearest centres of each vector, nearest first: numbers (N, 2) and distances (N, 2). Needs k ≥ 2."""
    half = centres.square().sum(1) / 2
    found = [torch.addmm(-half, part, centres.T).topk(2) for part in vectors.split(BLOCK)]
    best, labels = (torch.cat(column) for column in zip(*found, strict=True))
    return labels, (vectors.square().sum(1)[:, None] - 2 * best).clamp(min=0).sqrt()


def means(vectors: Tensor, labels: Tensor, k: int) -> Tensor:
    """The mean of each cluster's vectors, (k, K)."""
    total = vectors.new_zeros(k, vectors.shape[1]).index_add_(0, labels, vectors)
    return total / labels.bincount(minlength=k)[:, None]


def _without_empty(labels: Tensor, squared: Tensor, k: int) -> Tensor:
    """The labels with each empty cluster given the vector farthest from its centre whose cluster can spare it."""
    sizes = labels.bincount(minlength=k)
    empty = (sizes == 0).nonzero()[:, 0].tolist()
    if not empty:
        return labels
    labels, far = labels.clone(), iter(squared.argsort(descending=True).tolist())
    for cluster in empty:
        row = next(row for row in far if sizes[labels[row]] > 1)
        sizes[labels[row]] -= 1
        labels[row], sizes[cluster] = cluster, 1
    return labels


def in_order(labels: Tensor, centres: Tensor) -> Clusters:
    """The same clusters, numbered as `Clusters` says."""
    k = len(centres)
    first = torch.full((k,), len(labels)).scatter_reduce(0, labels, torch.arange(len(labels)), "amin")
    sizes = labels.bincount(minlength=k)
    order = torch.tensor(sorted(range(k), key=lambda cluster: (-int(sizes[cluster]), int(first[cluster]))))
    return Clusters(order.argsort()[labels], centres[order])
