"""One seed per image; people sampled from the space of face vectors; the ways to move in it.

A face vector is (512,) float32, what the embedder gives, not normalised. Noise is drawn on the CPU from a generator of
each image's own and moved afterwards, so that a seed means the same picture alone, in a batch and on any device.
"""

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

from core.errors import CheckpointError, SettingsError, VectorError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

SEEDS = 2**32     # seeds are 0 .. SEEDS - 1
WIDTH = 512       # numbers in a face vector
BLOCK = 2048      # people drawn and compared at once: bounds the memory, not the count
PATIENCE = 2048   # draws in a row that may bring nobody new
MAX_SIGMA = 10.0
MAX_OFFSET = 1000.0
GUIDANCE = 7.5    # how hard a prompt pulls, unless asked otherwise; 1 is no more than it says


# --------------------------------------------------------------------------------------------------------- seeds

def settle_seed(seed: float | None = None) -> int:
    """The seed to use, 0 .. 2³²-1: the one given, or a new one for None and -1.

    Raises SettingsError for anything else: fractions, NaN, true, text, numbers out of range.
    """
    if seed is None or (_is_number(seed) and seed == -1):
        return secrets.randbelow(SEEDS)
    if not _is_number(seed) or not 0 <= seed < SEEDS or seed != int(seed):
        raise SettingsError(f"{_shown(seed)} is not a seed.",
                            f"Use a whole number from 0 to {SEEDS - 1}, or -1 for a new one.")
    return int(seed)


def seeds_from(seed: float | None, count: int) -> list[int]:
    """`count` seeds, one per image: the seed itself, then the numbers after it, from 2³²-1 on to 0."""
    first = settle_seed(seed)
    return [(first + number) % SEEDS for number in range(_whole(count, "A count", 0, SEEDS))]


def generators(seeds: Sequence[int], device: "torch.device | str" = "cpu") -> "list[torch.Generator]":
    """A random generator per image, at the start of its seed's sequence."""
    import torch

    return [torch.Generator(device).manual_seed(_whole(seed, "A seed", 0, SEEDS - 1)) for seed in seeds]


def randn(seeds: Sequence[int], shape: Sequence[int], device: "torch.device | str" = "cpu") -> "Tensor":
    """Standard normal noise, (N, *shape) float32, row i made from seeds[i] alone."""
    import torch

    rows = [torch.randn(tuple(shape), generator=generator) for generator in generators(seeds)]
    return (torch.stack(rows) if rows else torch.zeros(0, *shape)).to(device)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """A stranger's value, short enough for a sentence."""
    if isinstance(value, int) and abs(value) > 10**30:
        return "A very large number"
    return text if len(text := repr(value)) <= 40 else f"{text[:40]}…"


def _whole(value: object, name: str, low: int, high: int) -> int:
    if not _is_number(value) or not low <= value <= high or value != int(value):
        raise SettingsError(f"{name} of {_shown(value)} is not possible.", f"Use a whole number from {low} to {high}.")
    return int(value)


def _within(value: object, name: str, low: float, high: float) -> float:
    if not _is_number(value) or not low <= value <= high:
        raise SettingsError(f"{name} of {_shown(value)} is not possible.", f"Use a number from {low:g} to {high:g}.")
    return float(value)


# ------------------------------------------------------------------------------------------------------- vectors

def check_vector(vector: "np.ndarray | Tensor | Sequence[float]") -> "Tensor":
    """A stranger's numbers as a face vector, (512,) float32 on the CPU; (1, 512) is taken as well.

    Raises VectorError: another length, not numbers, not finite, all zero.
    """
    import numpy as np
    import torch

    try:
        vector = vector.detach().float().cpu().numpy() if isinstance(vector, torch.Tensor) else vector
        values = np.array(vector, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise VectorError("This is not a list of numbers.", f"Give {WIDTH} numbers.") from error
    if values.shape not in ((WIDTH,), (1, WIDTH)):
        raise VectorError(f"A face is {WIDTH} numbers, and these have the shape {values.shape}.",
                          "Give one vector, as the tab or `python -m core run vectors` exports it.")
    if not np.isfinite(values).all():
        raise VectorError("A number of this face vector is not finite.", "Export the vector again.")
    if not np.isfinite(length := np.linalg.norm(values.astype(np.float64))) or length < 1e-6:
        raise VectorError("This face vector is zero, which is nobody.", "Use a vector made from a face.")
    return torch.from_numpy(values.reshape(WIDTH))


def vary(vector: "Tensor", sigma: float, seed: int) -> "Tensor":
    """Another picture of the same person: v + σ·n, n standard normal, brought back to the old length (Vec2Face, §3.3).

    vector: (512,); returns (512,). sigma: 0 .. 10, in units of the vector's own root mean square, |v| / √512.
    That is the published features' scale, |v| ≈ √512, where the formula holds as printed; measured this way, σ turns
    every embedder's vectors by the same angle: the cosine to the source is about 1 / √(1 + σ²).
    """
    sigma, vector = _within(sigma, "A sigma", 0, MAX_SIGMA), check_vector(vector)
    noise = randn([seed], (WIDTH,))[0]
    length = vector.norm()
    moved = vector + sigma * (length / WIDTH ** 0.5) * noise
    return moved * (length / moved.norm())


def slerp(a: "Tensor", b: "Tensor", count: int) -> "Tensor":
    """A walk from a to b in `count` equal turns on the sphere, (count, 512); the length goes linearly.

    The first row is a and the last is b; a count of 1 is a alone. Raises VectorError when they point in opposite
    directions, for then every way round is as short as any other.
    """
    import torch

    a, b, count = check_vector(a), check_vector(b), _whole(count, "A walk", 1, 10_000)
    start, end = a / a.norm(), b / b.norm()
    angle = torch.atan2((end - start).norm(), (end + start).norm()) * 2      # exact near 0 and π, unlike acos
    if torch.pi - angle < 1e-3:
        raise VectorError("These two faces are exact opposites, and no way between them is the shortest.",
                          "Vary one of them a little first.")
    part = torch.linspace(0, 1, count)[:, None]                              # (count, 1)
    if angle < 1e-4:
        direction = torch.lerp(start, end, part)                             # (count, 512)
    else:
        direction = (torch.sin((1 - part) * angle) * start + torch.sin(part * angle) * end) / torch.sin(angle)
    return direction / direction.norm(dim=1, keepdim=True) * torch.lerp(a.norm(), b.norm(), part)


def edit(vector: "Tensor", offsets: Mapping[int, float]) -> "Tensor":
    """The vector with {dimension: offset} added, (512,): exactly v[d] + offset there, and nothing else changes.

    Dimensions count from 0. An offset is always from the vector given: 2, then 4, ends at v + 4. Raises SettingsError
    for a dimension or an offset that isn't one, VectorError when nothing is left.
    """
    if not isinstance(offsets, Mapping):
        raise SettingsError("These are not offsets.", "Give them by dimension:  {7: 2.0, 300: -1.5}")
    moved = check_vector(vector)
    for dimension, offset in offsets.items():
        place = _whole(dimension, "A dimension", 0, WIDTH - 1)
        moved[place] += _within(offset, f"An offset of dimension {place}", -MAX_OFFSET, MAX_OFFSET)
    return check_vector(moved)


# -------------------------------------------------------------------------------------------------------- people

class Trial(NamedTuple):
    """A person considered; the seed of whoever is nearest among those accepted before, and the cosine to them."""

    seed: int
    accepted: bool
    nearest: int | None = None
    similarity: float | None = None


class Pace:
    """How fast new people are found; says when to give up on `count` of them."""

    def __init__(self, count: int) -> None:
        self.count, self.tried, self.found, self.waiting = count, 0, 0, 0
        self.doublings: list[int] = []                          # how many were found in 1, 2, 4, 8 … draws

    def hopeless(self, new: bool) -> bool:
        """Whether there is no hope left after one more draw, which was or wasn't somebody new."""
        self.tried, self.found, self.waiting = self.tried + 1, self.found + new, 0 if new else self.waiting + 1
        if self.tried.bit_count() == 1:
            self.doublings.append(self.found)
            return self.tried >= 2 * PATIENCE and self.most() < self.count
        return self.waiting >= PATIENCE

    def most(self) -> float:
        """The most that can be found while patience lasts.

        A doubling of the draws finds at most as many times more people than the one before as that did itself: twice
        as many at first, and ever fewer as it gets crowded. Both counts may be off by their standard deviation.
        """
        *_, first, second, third = self.doublings
        more, before = third - second, second - first
        more += more ** 0.5
        ratio = min(2.0, more / max(1.0, before - before ** 0.5))
        left = math.ceil(math.log2(PATIENCE * self.count)) - len(self.doublings) + 1
        return third + sum(more * ratio ** step for step in range(1, left + 1))


@dataclass(frozen=True)
class People:
    """Where people lie among the vectors: the principal components of real features (Vec2Face, §3.3).

    mean: (512,). components: (K, 512), orthonormal rows. sd: (K,), the spread along each. norm: (), the median length
    of the features; every person drawn has it, because length says how clear a photo is rather than whose.
    """

    mean: "Tensor"
    components: "Tensor"
    sd: "Tensor"
    norm: "Tensor"

    @classmethod
    def fit(cls, features: "Tensor", components: int | None = None) -> "People":
        """Fit to features (N, 512), two or more; keeps the `components` widest directions, or all that have a width."""
        import torch

        features = torch.as_tensor(features).detach().float().cpu()
        if features.ndim != 2 or features.shape[1] != WIDTH or len(features) < 2 or not features.isfinite().all():
            raise VectorError(f"People are fitted to (N, {WIDTH}) finite features, N at least 2; "
                              f"these are {tuple(features.shape)}.", "Embed more faces first.")
        mean = features.mean(0)
        centred = (features - mean).double()                                 # (N, 512)
        variance, directions = torch.linalg.eigh(centred.T @ centred / (len(features) - 1))
        variance, directions = variance.flip(0), directions.flip(1).T        # widest first; (512,), (512, 512)
        keep = int((variance > variance[0] * 1e-9).sum())
        keep = min(keep, components or keep)
        if keep == 0:
            raise VectorError("These features are all the same person.", "Embed faces of different people.")
        sd = variance[:keep].sqrt().float()
        return cls(mean, _signed(directions[:keep]).float(), sd, features.norm(dim=1).median())

    def draw(self, seeds: Sequence[int]) -> "Tensor":
        """(N, 512): the person of each seed, whoever else is drawn."""
        noise = randn(seeds, self.sd.shape).double()        # (N, K); double, so that N does not show in the rounding
        vectors = self.mean.double() + (noise * self.sd.double()) @ self.components.double()      # (N, 512)
        return (vectors * (self.norm.double() / vectors.norm(dim=1, keepdim=True))).float()

    @property
    def dimension(self) -> float:
        """Over how many dimensions people are spread: (Σ sd²)² / Σ sd⁴, which is K when all are equally wide."""
        variance = self.sd.double() ** 2
        return float(variance.sum() ** 2 / (variance ** 2).sum())

    def sample(self, count: int, seed: float | None, threshold: float = 0.3) -> "Tensor":
        """(count, 512): people whose cosine to one another is below `threshold`, -1 .. 1. Raises as `trials` does."""
        import torch

        seeds = self.choose(count, seed, threshold)
        return torch.cat([self.draw(seeds[start:start + BLOCK]) for start in range(0, max(1, count), BLOCK)])

    def choose(self, count: int, seed: float | None, threshold: float = 0.3) -> list[int]:
        """The seeds behind `sample`: counted up from `seed`, leaving out who is too like one before.

        `draw` makes the same person from such a seed, alone. Raises as `trials` does.
        """
        return [trial.seed for trial in self.trials(count, seed, threshold) if trial.accepted]

    def trials(self, count: int, seed: float | None, threshold: float = 0.3) -> "Iterator[Trial]":
        """Everybody considered on the way to `count` people, seed after seed; the last one is accepted.

        Whom a seed makes, and whether they are accepted, does not depend on how many are asked for. Comparing goes by
        blocks, so memory grows with the people kept alone, 2 kB each on top of 150 MB; time grows with draws × people.
        `bench people`, one thread, threshold 0.3, 200 equal dimensions: 1,000 people in 0.1 s, 10,000 in 1.4 s with
        142 MB, 100,000 in 177 s with 373 MB; on paper 300,000 take 9 times as long, 27 minutes.

        Raises SettingsError as soon as it shows that `count` can't be had: after PATIENCE draws in a row that brought
        nobody new, or when new people grow rare too fast. How many there is room for depends on `dimension`: at a
        threshold of 0.3, about 200 people in 30 dimensions and 10,000 in 130. Widening the narrow directions is no way
        round it: vectors then differ more, but pictures follow their vectors less, and differ no more than before.
        """
        count, threshold = _whole(count, "A number of people", 0, 10_000_000), _within(threshold, "A threshold", -1, 1)
        return self._trials(count, settle_seed(seed), threshold)

    def _trials(self, count: int, first: int, threshold: float) -> "Iterator[Trial]":
        """`trials`, of settings that have been checked."""
        import torch

        kept, crowd, pace = [], [], Pace(count)
        while len(kept) < count:
            seeds = seeds_from((first + pace.tried) % SEEDS, min(BLOCK, 64 + 2 * (count - len(kept))))
            unit = torch.nn.functional.normalize(self.draw(seeds))                              # (B, 512)
            accepted, nearest, similarity = _meet(unit, crowd, threshold)
            for seed, new, who, alike in zip(seeds, accepted, nearest, similarity, strict=True):
                yield Trial(seed, new, kept[who], alike) if kept else Trial(seed, new)
                if new:
                    kept.append(seed)
                if pace.hopeless(new) and len(kept) < count:
                    raise self._too_many(count, len(kept), pace.tried, first, threshold)
                if len(kept) == count:
                    return
            _join(crowd, unit[accepted])

    def _too_many(self, count: int, found: int, tried: int, first: int, threshold: float) -> SettingsError:
        """Why `count` people can't be had, and what can: a threshold at which each is too like 3 others at most."""
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
        """The arrays by name, to be stored beside the weights of a network."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, arrays: "dict[str, Tensor]") -> "People":
        """What `to_dict` gave, in any float dtype; raises CheckpointError when arrays are missing or don't fit."""
        try:
            people = cls(**{field.name: arrays[field.name].detach().float().cpu() for field in fields(cls)})
        except KeyError as error:
            raise CheckpointError(f"The checkpoint lacks {error} of its people.", _MEND) from error
        keep = people.sd.numel()
        shapes = {"mean": (WIDTH,), "components": (keep, WIDTH), "sd": (keep,), "norm": ()}
        for name, array in people.to_dict().items():
            if tuple(array.shape) != shapes[name] or not array.isfinite().all():
                raise CheckpointError(f"The checkpoint's people have a {name} of shape {tuple(array.shape)} "
                                      f"where {shapes[name]} finite numbers belong.", _MEND)
        return people


_MEND = "Fetch it again:  python -m core fetch vectors-tiny"


def _signed(directions: "Tensor") -> "Tensor":
    """Directions (K, 512), each turned so that its largest number is positive: the same on every machine."""
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))     # (K, 1)
    return directions * largest.sign()


def _meet(unit: "Tensor", crowd: "list[Tensor]", threshold: float) -> tuple[list[bool], list[int], list[float]]:
    """Rows of unit (B, 512) meet the crowd, (P, 512) each, and then one another in order.

    Returns whether each is accepted, that is, has a lower cosine to everybody before; who of those is nearest, counted
    through the crowd and on through the accepted rows; and that cosine.
    """
    import numpy as np

    best, who, people = np.full(len(unit), -np.inf, np.float32), np.zeros(len(unit), np.int64), 0
    for part in crowd:
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


def _join(crowd: "list[Tensor]", new: "Tensor") -> None:
    """Add rows (B, 512) to a crowd, in parts neither so many nor so large that comparing gets slow."""
    import torch

    if crowd and len(crowd[-1]) < 4 * BLOCK:
        new = torch.cat([crowd.pop(), new])
    crowd += [new] if len(new) else []
