"""One seed per image; sampling people from the distribution of face vectors; variations, interpolation and edits.

A face vector is (512,) float32, the output of the embedder, not normalised. Noise is drawn on the CPU with one
generator per image, so that a seed gives the same picture alone, in a batch and on any device.
"""

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from core.checks import is_number, number, shown, whole
from core.errors import CheckpointError, SettingsError, VectorError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

SEEDS = 2**32     # seeds are 0 .. SEEDS - 1
WIDTH = 512       # numbers in a face vector
BLOCK = 2048      # people drawn and compared at once; bounds the memory
PATIENCE = 2048   # draws without a new person after which sampling stops
MAX_SIGMA = 10.0
MAX_OFFSET = 1000.0
MAX_NUMBER = 1e4  # of a face vector; what embedders give is below 100
GUIDANCE = 7.5    # default guidance scale; 1 disables guidance


# --------------------------------------------------------------------------------------------------------- seeds

def settle_seed(seed: float | None = None) -> int:
    """The seed to use, 0 .. 2³²-1: the one given, or a new one for None and -1.

    Raises SettingsError for anything else: fractions, NaN, true, text, numbers out of range.
    """
    if allowed := allowed_seed(seed):
        raise SettingsError(f"seed can't be {shown(seed)}.", allowed)
    return secrets.randbelow(SEEDS) if seed is None or seed == -1 else int(seed)


def allowed_seed(seed: object) -> str | None:
    """None for a seed, -1 or None, else a sentence on what is allowed."""
    fine = seed is None or (is_number(seed, -1, SEEDS - 1) and seed == int(seed))
    return None if fine else f"Choose a whole number from 0 to {SEEDS - 1}, or -1 for a new one."


def seeds_from(seed: float | None, count: int) -> list[int]:
    """`count` seeds, one per image: the seed itself, then the numbers after it, from 2³²-1 on to 0."""
    first = settle_seed(seed)
    return [(first + place) % SEEDS for place in range(whole(count, "count", 0, SEEDS))]


def generators(seeds: Sequence[int], device: "torch.device | str" = "cpu") -> "list[torch.Generator]":
    """A random generator per image, at the start of its seed's sequence."""
    import torch

    return [torch.Generator(device).manual_seed(whole(seed, "seed", 0, SEEDS - 1)) for seed in seeds]


def randn(seeds: Sequence[int], shape: Sequence[int], device: "torch.device | str" = "cpu") -> "Tensor":
    """Standard normal noise, (N, *shape) float32, row i made from seeds[i] alone."""
    import torch

    rows = [torch.randn(tuple(shape), generator=generator) for generator in generators(seeds)]
    return (torch.stack(rows) if rows else torch.zeros(0, *shape)).to(device)


# ------------------------------------------------------------------------------------------------------- vectors

def check_vector(vector: "np.ndarray | Tensor | Sequence[float]") -> "Tensor":
    """Validate numbers as a face vector, (512,) float32 on the CPU; (1, 512) is accepted.

    Raises VectorError for another length, values that are not finite or above MAX_NUMBER, and zero norm.
    """
    import numpy as np
    import torch

    try:
        vector = vector.detach().float().cpu().numpy() if isinstance(vector, torch.Tensor) else vector
        values = np.array(vector, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise VectorError("The face vector is not a list of numbers.", f"Give {WIDTH} numbers.") from error
    if values.shape not in ((WIDTH,), (1, WIDTH)):
        raise VectorError(f"A face vector has {WIDTH} numbers, but these have the shape {values.shape}.",
                          "Give one vector, as the tab or `python -m core run vectors` exports it.")
    if not np.isfinite(values).all():
        raise VectorError("The face vector has values that are not finite.", "Export the vector again.")
    if (largest := np.abs(values).max()) > MAX_NUMBER:
        raise VectorError(f"The face vector has a number of {largest:g}; a face has numbers up to about 10.",
                          f"Use numbers from {-MAX_NUMBER:g} to {MAX_NUMBER:g}, or export the vector again.")
    if not np.isfinite(length := np.linalg.norm(values.astype(np.float64))) or length < 1e-6:
        raise VectorError("The face vector has zero norm.", "Use a vector made from a face.")
    return torch.from_numpy(values.reshape(WIDTH))


def vary(vector: "Tensor", sigma: float, seed: int) -> "Tensor":
    """A variation of the same person: v + σ·n, n standard normal, rescaled to the norm of v (Vec2Face, §3.3).

    vector: (512,); returns (512,). sigma: 0 .. 10, in units of the vector's own root mean square, |v| / √512.
    Published features have |v| ≈ √512, where this is the formula of the paper. With this unit, σ has the same effect
    for every embedder: the cosine to the source is about 1 / √(1 + σ²).
    """
    sigma, vector = number(sigma, "sigma", 0, MAX_SIGMA), check_vector(vector)
    noise = randn([seed], (WIDTH,))[0]
    length = vector.norm()
    moved = vector + sigma * (length / WIDTH ** 0.5) * noise
    return moved * (length / moved.norm())


def slerp(a: "Tensor", b: "Tensor", count: int) -> "Tensor":
    """Spherical interpolation from a to b in `count` equal steps, (count, 512); norms are interpolated linearly.

    The first row is a and the last is b; a count of 1 gives a alone. Raises VectorError for opposite directions, where
    the shortest path is not unique.
    """
    import torch

    a, b, count = check_vector(a), check_vector(b), whole(count, "count", 1, 10_000)
    start, end = a / a.norm(), b / b.norm()
    angle = torch.atan2((end - start).norm(), (end + start).norm()) * 2      # exact near 0 and π, unlike acos
    if torch.pi - angle < 1e-3:
        raise VectorError("The two face vectors are exact opposites, so the interpolation is not unique.",
                          "Vary one of them a little first.")
    part = torch.linspace(0, 1, count)[:, None]                              # (count, 1)
    if angle < 1e-4:
        direction = torch.lerp(start, end, part)                             # (count, 512)
    else:
        direction = (torch.sin((1 - part) * angle) * start + torch.sin(part * angle) * end) / torch.sin(angle)
    return direction / direction.norm(dim=1, keepdim=True) * torch.lerp(a.norm(), b.norm(), part)


def edit(vector: "Tensor", offsets: Mapping[int, float]) -> "Tensor":
    """The vector with {dimension: offset} added, (512,): exactly v[d] + offset there, and nothing else changes.

    Dimensions count from 0. Offsets are relative to the given vector, so 2 and then 4 gives v + 4. Raises SettingsError
    for invalid dimensions or offsets, VectorError if the result has zero norm.
    """
    if not isinstance(offsets, Mapping):
        raise SettingsError("`offsets` is not a mapping.", "Give them by dimension:  {7: 2.0, 300: -1.5}")
    moved = check_vector(vector)
    for dimension, offset in offsets.items():
        place = whole(dimension, "dimension", 0, WIDTH - 1)
        moved[place] += number(offset, f"The offset of dimension {place}", -MAX_OFFSET, MAX_OFFSET)
    return check_vector(moved)


# -------------------------------------------------------------------------------------------------------- people

class Trial(NamedTuple):
    """A candidate person; the seed of the most similar person accepted before, and the cosine to that person."""

    seed: int
    accepted: bool
    nearest: int | None = None
    similarity: float | None = None


class Pace:
    """The rate at which new people are found; decides when sampling `count` of them should stop."""

    def __init__(self, count: int) -> None:
        self.count, self.tried, self.found, self.waiting = count, 0, 0, 0
        self.doublings: list[int] = []                          # people found in 1, 2, 4, 8 … draws

    def should_stop_sampling(self, new: bool) -> bool:
        """Record a draw, `new` if it gave a new person; returns whether sampling should stop."""
        self.tried, self.found, self.waiting = self.tried + 1, self.found + new, 0 if new else self.waiting + 1
        if self.tried.bit_count() == 1:
            self.doublings.append(self.found)
            return self.tried >= 2 * PATIENCE and self.most() < self.count
        return self.waiting >= PATIENCE

    def most(self) -> float:
        """Upper estimate of the people that can be found within PATIENCE draws per person.

        The growth from one doubling of the draws to the next is at most the last growth: a factor of two at first, and
        less as the space fills. Both counts are taken one standard deviation up or down.
        """
        *_, first, second, third = self.doublings
        more, before = third - second, second - first
        more += more ** 0.5
        ratio = min(2.0, more / max(1.0, before - before ** 0.5))
        left = math.ceil(math.log2(PATIENCE * self.count)) - len(self.doublings) + 1
        return third + sum(more * ratio ** step for step in range(1, left + 1))


@dataclass(frozen=True)
class People:
    """Distribution of people among face vectors: principal components of real features (Vec2Face, §3.3).

    mean: (512,). components: (K, 512), orthonormal rows. sd: (K,), standard deviations. norm: (), the median norm of
    the features. All sampled people have it, because the norm depends on image quality and not on identity.
    """

    mean: "Tensor"
    components: "Tensor"
    sd: "Tensor"
    norm: "Tensor"

    @classmethod
    def fit(cls, features: "Tensor", components: int | None = None) -> "People":
        """Fit to features (N, 512), two or more; keeps the `components` largest, or all with variance."""
        import torch

        features = torch.as_tensor(features).detach().float().cpu()
        if features.ndim != 2 or features.shape[1] != WIDTH or len(features) < 2 or not features.isfinite().all():
            raise VectorError(f"People are fitted to (N, {WIDTH}) finite features, N at least 2; "
                              f"these are {tuple(features.shape)}.", "Embed more faces first.")
        mean = features.mean(0)
        centred = (features - mean).double()                                 # (N, 512)
        variance, directions = torch.linalg.eigh(centred.T @ centred / (len(features) - 1))
        variance, directions = variance.flip(0), directions.flip(1).T        # largest first; (512,), (512, 512)
        keep = int((variance > variance[0] * 1e-9).sum())
        keep = min(keep, components or keep)
        if keep == 0:
            raise VectorError("All features are equal.", "Embed faces of different people.")
        sd = variance[:keep].sqrt().float()
        return cls(mean, _signed(directions[:keep]).float(), sd, features.norm(dim=1).median())

    def draw(self, seeds: Sequence[int]) -> "Tensor":
        """The person of each seed, (N, 512), independent of the other seeds."""
        noise = randn(seeds, self.sd.shape).double()        # (N, K); double, so that rounding does not depend on N
        vectors = self.mean.double() + (noise * self.sd.double()) @ self.components.double()      # (N, 512)
        return (vectors * (self.norm.double() / vectors.norm(dim=1, keepdim=True))).float()

    @property
    def dimension(self) -> float:
        """Effective dimension (participation ratio): (Σ sd²)² / Σ sd⁴, which is K if all sd are equal."""
        variance = self.sd.double() ** 2
        return float(variance.sum() ** 2 / (variance ** 2).sum())

    def sample(self, count: int, seed: float | None, threshold: float = 0.3) -> "Tensor":
        """(count, 512): people whose pairwise cosines are below `threshold`, -1 .. 1. Raises as `trials` does."""
        import torch

        seeds = self.choose(count, seed, threshold)
        return torch.cat([self.draw(seeds[start:start + BLOCK]) for start in range(0, max(1, count), BLOCK)])

    def choose(self, count: int, seed: float | None, threshold: float = 0.3) -> list[int]:
        """The seeds behind `sample`: counted up from `seed`, without people too similar to an earlier one.

        `draw` gives the same person from such a seed alone. Raises as `trials` does.
        """
        return [trial.seed for trial in self.trials(count, seed, threshold) if trial.accepted]

    def trials(self, count: int, seed: float | None, threshold: float = 0.3) -> "Iterator[Trial]":
        """All candidates for `count` people, seed after seed; the last one is accepted.

        The person of a seed, and whether it is accepted, does not depend on `count`. Comparison goes by blocks, so
        memory grows only with accepted people (2 kB each, plus 150 MB); time grows with draws × people.
        `bench people`, one thread, threshold 0.3, 200 equal dimensions: 1,000 people in 0.1 s, 10,000 in 1.4 s with
        142 MB, 100,000 in 177 s with 373 MB; 300,000 are estimated at 9 times as long, 27 minutes.

        Raises SettingsError once `count` is out of reach: after PATIENCE draws without a new person, or when the rate
        of new people falls too fast. The possible number depends on `dimension`: at threshold 0.3, about 200 people
        in 30 dimensions and 10,000 in 130. Increasing small standard deviations does not help: vectors then differ
        more, but pictures follow them less.
        """
        count, threshold = whole(count, "count", 0, 10_000_000), number(threshold, "threshold", -1, 1)
        return self._trials(count, settle_seed(seed), threshold)

    def _trials(self, count: int, first: int, threshold: float) -> "Iterator[Trial]":
        """`trials` with validated arguments."""
        import torch

        kept, blocks, pace = [], [], Pace(count)
        while len(kept) < count:
            seeds = seeds_from((first + pace.tried) % SEEDS, min(BLOCK, 64 + 2 * (count - len(kept))))
            unit = torch.nn.functional.normalize(self.draw(seeds))                              # (B, 512)
            accepted, nearest, similarity = _compare(unit, blocks, threshold)
            for seed, new, who, alike in zip(seeds, accepted, nearest, similarity, strict=True):
                yield Trial(seed, new, kept[who], alike) if kept else Trial(seed, new)
                if new:
                    kept.append(seed)
                if pace.should_stop_sampling(new) and len(kept) < count:
                    raise self._too_many(count, len(kept), pace.tried, first, threshold)
                if len(kept) == count:
                    return
            _append(blocks, unit[accepted])

    def _too_many(self, count: int, found: int, tried: int, first: int, threshold: float) -> SettingsError:
        """The error for too many people, with a threshold at which each is too similar to at most 3 others."""
        import torch

        unit = torch.nn.functional.normalize(self.draw(seeds_from(first, BLOCK)))
        cosines = (unit @ unit.T).fill_diagonal_(-1).flatten()
        rare = cosines.topk(max(1, cosines.numel() * min(3, count - 1) // count)).values[-1].item()
        enough = min(1.0, max(math.ceil(100 * rare) / 100, threshold + 0.01))
        return SettingsError(
            f"Only {found:,} of {count:,} people with cosines below {threshold:g} were found in {tried:,} draws, for "
            f"they spread over about {self.dimension:.0f} dimensions.",
            f"Ask for {found:,} or fewer, or raise the threshold to {enough:.2f}.")

    def to_dict(self) -> "dict[str, Tensor]":
        """The arrays by name, to be stored in a checkpoint."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, arrays: "dict[str, Tensor]") -> "People":
        """Inverse of `to_dict`, for any float dtype; raises CheckpointError for missing arrays or wrong shapes."""
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in arrays]:
            raise CheckpointError(f"The checkpoint lacks {', '.join(missing)} of its people.", _MEND)
        people = cls(**{name: arrays[name].detach().float().cpu() for name in names})
        keep = people.sd.numel()
        shapes = {"mean": (WIDTH,), "components": (keep, WIDTH), "sd": (keep,), "norm": ()}
        for name, array in people.to_dict().items():
            if tuple(array.shape) != shapes[name] or not array.isfinite().all():
                raise CheckpointError(f"The checkpoint's people have a {name} of shape {tuple(array.shape)} "
                                      f"where {shapes[name]} finite numbers belong.", _MEND)
        return people


_MEND = "Fetch it again:  python -m core fetch vectors-tiny"


def _signed(directions: "Tensor") -> "Tensor":
    """Directions (K, 512) with signs chosen so that the largest entry is positive, for reproducibility."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))     # (K, 1)
    return directions * largest.sign()


def _compare(unit: "Tensor", blocks: "list[Tensor]", threshold: float) -> tuple[list[bool], list[int], list[float]]:
    """Compare rows of unit (B, 512) with the accepted people, parts of (P, 512), and then with each other in order.

    Returns for each row: whether it is accepted, i.e. all cosines to earlier people are below the threshold; the index
    of the most similar accepted person; and the cosine to that person.
    """
    import numpy as np

    best, who, people = np.full(len(unit), -np.inf, np.float32), np.zeros(len(unit), np.int64), 0
    for part in blocks:
        cosine, place = (found.numpy() for found in (unit @ part.T).max(1))                     # (B,), (B,)
        best, who = np.maximum(best, cosine), np.where(cosine > best, place + people, who)
        people += len(part)
    alike, accepted = (unit @ unit.T).numpy(), []                                               # (B, B)
    for row in range(len(unit)):
        accepted.append(bool(best[row] < threshold))
        if accepted[row]:
            nearer = np.flatnonzero(alike[row, row + 1:] > best[row + 1:]) + row + 1
            best[nearer], who[nearer] = alike[row, nearer], people
            people += 1
    return accepted, who.tolist(), best.tolist()


def _append(blocks: "list[Tensor]", new: "Tensor") -> None:
    """Append rows (B, 512) to the accepted people, in parts of a size that compares fast."""
    import torch

    if blocks and len(blocks[-1]) < 4 * BLOCK:
        new = torch.cat([blocks.pop(), new])
    blocks += [new] if len(new) else []
