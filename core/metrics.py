"""Metrics: verification, identification, separability, accuracy, agreement of partitions, effective dimension, SSIM.

A measure that can't be taken, of nothing or of nan, is nan; `core.scoring` reports it as missing.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy as np


def cosine(a: "Tensor | np.ndarray", b: "Tensor | np.ndarray") -> Tensor:
    """Cosine similarity of matching rows: (..., D), (..., D) -> (...) in [-1, 1]."""
    return F.cosine_similarity(torch.as_tensor(a).float(), torch.as_tensor(b).float(), dim=-1)


def cosines(a: "Tensor | np.ndarray", b: "Tensor | np.ndarray") -> Tensor:
    """Cosine similarity of every row of a (N, D) with every row of b (M, D): (N, M) in [-1, 1]."""
    a, b = (F.normalize(torch.as_tensor(each).float(), dim=-1) for each in (a, b))
    return (a @ b.T).clamp(-1, 1)


def pairs(person: Tensor, count: int, seed: int, allowed: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Sample verification pairs, half of them genuine: rows (P,), rows (P,), same (P,) bool, in random order.

    person: (N,) numbers. allowed: (N, N) symmetric bool, which pairs may be used; None: all. If either kind has
    fewer than count / 2 allowed pairs, both are reduced to that number.
    """
    first, second = torch.triu_indices(len(person), len(person), offset=1)
    if allowed is not None:
        first, second = first[allowed[first, second]], second[allowed[first, second]]
    same = person[first] == person[second]
    draw = torch.Generator().manual_seed(seed)
    kinds = [same.nonzero()[:, 0], (~same).nonzero()[:, 0]]
    half = min(count // 2, *(len(kind) for kind in kinds))
    chosen = torch.cat([kind[torch.randperm(len(kind), generator=draw)[:half]] for kind in kinds])
    chosen = chosen[torch.randperm(len(chosen), generator=draw)]
    return first[chosen], second[chosen], same[chosen]


def verification(similarity: Tensor, same: Tensor, folds: int = 10) -> float:
    """Verification accuracy in [0, 1] by the k-fold protocol: the threshold of each fold comes from the other folds.

    similarity: (P,), higher is more similar. same: (P,) bool. nan for fewer than two pairs, or a similarity of nan.
    """
    if len(same) < 2 or similarity.isnan().any():
        return math.nan
    fold = torch.arange(len(same)) % folds
    right = 0
    for k in range(folds):
        threshold = best_threshold(similarity[fold != k], same[fold != k])
        right += int(((similarity >= threshold) == same)[fold == k].sum())
    return right / len(same)


def best_threshold(similarity: Tensor, same: Tensor) -> float:
    """The threshold with the highest accuracy, half-way between two similarities; "same" is at or above it."""
    order = similarity.argsort()
    sure = same[order].long()
    right_from = sure.flip(0).cumsum(0).flip(0) + (1 - sure).cumsum(0) - (1 - sure)  # genuine above + impostors below
    best = int(right_from.argmax())
    return float(similarity[order][max(best - 1, 0) : best + 1].mean())


def fnmr_at_fmr(genuine: Tensor, impostor: Tensor, fmr: float = 0.01) -> float:
    """False non-match rate of genuine pairs at the threshold with false match rate `fmr`; both (P,) similarities.

    nan where there are no pairs of a kind, or a similarity is nan.
    """
    if not len(genuine) or not len(impostor) or genuine.isnan().any() or impostor.isnan().any():
        return math.nan
    threshold = torch.quantile(impostor.double(), 1 - fmr)
    return float((genuine.double() < threshold).double().mean())


def separability(vectors: Tensor, threshold: float = 0.4, block: int = 4096) -> float:
    """Share of people whose cosine to every other stays below the threshold. (N, D) -> [0, 1]; memory N × block.

    nan where there are no people, or a number is nan.
    """
    if not len(vectors) or vectors.isnan().any():
        return math.nan
    unit = F.normalize(vectors.float(), dim=1)
    apart = 0
    for start in range(0, len(unit), block):
        close = unit[start : start + block] @ unit.T  # (block, N)
        rows = torch.arange(len(close))
        close[rows, rows + start] = -1
        apart += int((close.max(1).values < threshold).sum())
    return apart / len(unit)


def rank1(probe: Tensor, gallery: Tensor, person: Tensor) -> float:
    """Rank-1 identification rate of probes (P, D) in a gallery (G, D); `person` (P,) is the right row of each probe.

    nan where there are no probes, or a number is nan.
    """
    if probe.isnan().any() or gallery.isnan().any():
        return math.nan
    nearest = (F.normalize(probe.float(), dim=1) @ F.normalize(gallery.float(), dim=1).T).argmax(1)
    return float((nearest == person).double().mean())


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """Share of equal entries of two boolean tables (N, A), per column: (A,) in [0, 1]."""
    return (a.bool() == b.bool()).double().mean(0)


def balanced_accuracy(found: Tensor, wanted: Tensor) -> Tensor:
    """Balanced accuracy of boolean tables (N, A), per column: (A,) in [0, 1].

    nan where a column of `wanted` has only one class.
    """
    right, yes = (found.bool() == wanted.bool()).double(), wanted.bool().double()
    return ((right * yes).sum(0) / yes.sum(0) + (right * (1 - yes)).sum(0) / (1 - yes).sum(0)) / 2


def effective_dimension(vectors: Tensor, person: Tensor) -> float:
    """Participation ratio (Σλ)² / Σλ² of the people's mean vectors.

    vectors: (N, D), used at unit length. person: (N,) numbers from 0. λ: eigenvalues of the covariance.
    """
    unit = F.normalize(vectors.double(), dim=1)
    people = int(person.max()) + 1
    means = torch.zeros(people, unit.shape[1], dtype=torch.double).index_add_(0, person, unit)
    means = means / torch.bincount(person, minlength=people)[:, None]
    spread = torch.linalg.svdvals(means - means.mean(0)).square()
    return float(spread.sum().square() / spread.square().sum())


def confusion(asked: Tensor, found: Tensor, kinds: int) -> Tensor:
    """Confusion matrix (kinds, kinds) of counts, asked classes in rows and found ones in columns.

    asked, found: (N,) integers in [0, kinds).
    """
    return torch.bincount(asked * kinds + found, minlength=kinds * kinds).view(kinds, kinds)


def within(table: Tensor, off: int) -> float:
    """Share of a confusion matrix (K, K) of ordered classes that is at most `off` classes from the diagonal."""
    kinds = torch.arange(len(table))
    near = (kinds[:, None] - kinds).abs() <= off
    return float(table[near].sum() / table.sum())


def adjusted_rand(a: Tensor, b: Tensor) -> float:
    """Adjusted Rand index of two partitions, (N,) numbers from 0 each: 1 if equal, 0 for what chance gives.

    Hubert and Arabie, *Comparing Partitions*, 1985. nan where both have one part, or N parts.
    """
    table = confusion_of(a, b).double()
    both, rows, columns, whole = (float((counts * (counts - 1) / 2).sum())
                                  for counts in (table, table.sum(1), table.sum(0), table.sum()))
    chance, most = rows * columns / max(whole, 1), (rows + columns) / 2
    return (both - chance) / (most - chance) if most > chance else math.nan


def adjusted_mutual_information(a: Tensor, b: Tensor) -> float:
    """Adjusted mutual information of two partitions, (N,) numbers from 0 each: 1 if equal, 0 for what chance gives.

    Vinh, Epps and Bailey, JMLR 2010; the largest value is the mean of both entropies. nan where both have one part.
    """
    table = confusion_of(a, b).double()
    rows, columns, count = table.sum(1), table.sum(0), len(a)
    shared = table * (table * count / (rows[:, None] * columns)).clamp(min=1e-300).log() / count
    entropies = [float(-(part / count * (part / count).clamp(min=1e-300).log()).sum()) for part in (rows, columns)]
    chance, most = _expected_information(rows, columns, count), sum(entropies) / 2
    return (float(shared.sum()) - chance) / (most - chance) if most > chance else math.nan


def _expected_information(rows: Tensor, columns: Tensor, count: int) -> float:
    """Mutual information that partitions with parts of these sizes, (R,) and (C,), have by chance (their theorem 1)."""
    total, logs = 0.0, torch.lgamma(torch.arange(count + 1, dtype=torch.double) + 1)
    for size in rows[rows > 0].long().tolist():
        others = columns[columns > 0].long()[:, None]                                  # (C, 1)
        both = torch.arange(1, size + 1)[None]                                         # (1, size)
        possible = (both <= others) & (both >= size + others - count)
        left = torch.where(possible, others - both, 0)
        neither = torch.where(possible, count - size - others + both, 0)
        chance = (logs[size] + logs[others] + logs[count - size] + logs[count - others] - logs[count] - logs[both]
                  - logs[size - both] - logs[left] - logs[neither])
        gain = both / count * (count * both.double() / (size * others)).log()
        total += float(torch.where(possible, gain * chance.exp(), 0.0).sum())
    return total


def confusion_of(a: Tensor, b: Tensor) -> Tensor:
    """Counts of each pair of parts of two partitions (N,): (parts of a, parts of b)."""
    width = int(b.max()) + 1
    return torch.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).view(-1, width)


def wilson_lower(hits: Tensor, count: Tensor, z: float = 1.96) -> Tensor:
    """Lower end of the Wilson score interval of a share, `hits` of `count`, in [0, 1]; 0 where `count` is 0.

    z: in standard deviations; 1.96 gives the interval of 95 %.
    """
    share, count = hits / count.clamp(min=1), count.double()
    middle, half = share + z * z / (2 * count), z * (share * (1 - share) / count + (z / (2 * count)) ** 2).sqrt()
    return torch.where(count > 0, (middle - half) / (1 + z * z / count), 0.0).clamp(min=0)


def mean_error(a: Tensor, b: Tensor) -> float:
    """Mean absolute difference, in the unit of the inputs."""
    return float((a.double() - b.double()).abs().mean())


def ssim(a: Tensor, b: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Structural similarity (Wang et al. 2004) of pictures (N, 3, H, W) in [-1, 1]: (N,), 1 if equal."""
    with torch.autocast(a.device.type, enabled=False):  # squares of small differences need float32
        a, b = (a.float() + 1) / 2, (b.float() + 1) / 2
        offset = torch.arange(window, device=a.device) - window // 2
        line = torch.softmax(-(offset.float() ** 2) / (2 * sigma**2), dim=0)

        def blur(x: Tensor) -> Tensor:
            kernel = line.to(x.dtype).expand(x.shape[1], 1, -1)
            x = F.conv2d(x, kernel[..., None], groups=x.shape[1])
            return F.conv2d(x, kernel[:, :, None], groups=x.shape[1])

        blurred = blur(torch.cat([a, b, a * a, b * b, a * b], 1)).split(a.shape[1], 1)
        mean_a, mean_b, square_a, square_b, product = blurred
        spread_a, spread_b, shared = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
        light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        structure = (2 * shared + 0.03**2) / (spread_a + spread_b + 0.03**2)
    return (light * structure).mean((1, 2, 3))
