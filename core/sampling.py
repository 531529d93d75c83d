"""One seed per image; people sampled from the space of face vectors; the ways to move in it.

A face vector is (512,) float32, what the embedder gives, not normalised. Noise is drawn on the CPU from a generator of
each image's own and moved afterwards, so that a seed means the same picture alone, in a batch and on any device.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING

from core.errors import CheckpointError, SettingsError, VectorError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

SEEDS = 2**32     # seeds are 0 .. SEEDS - 1
WIDTH = 512       # numbers in a face vector
BLOCK = 2048      # people drawn and compared at once: bounds the memory, not the count
MAX_SIGMA = 10.0


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


# -------------------------------------------------------------------------------------------------------- people

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

    def sample(self, count: int, seed: float | None, threshold: float = 0.3) -> "Tensor":
        """(count, 512): people whose cosine to one another is below `threshold`, -1 .. 1.

        They are the people of `choose`. Memory grows with count alone, for comparing goes by blocks.
        Raises SettingsError when so many people so different are not found in 20 draws each.
        """
        return self._different(count, seed, threshold)[1]

    def choose(self, count: int, seed: float | None, threshold: float = 0.3) -> list[int]:
        """The seeds behind `sample`: counted up from `seed`, leaving out who is too like one before.

        `draw` makes the same person from such a seed, alone. Raises as `sample` does.
        """
        return self._different(count, seed, threshold)[0]

    def _different(self, count: int, seed: float | None, threshold: float) -> "tuple[list[int], Tensor]":
        """Seeds and vectors, (count, 512), of the first people that keep their distance."""
        import torch

        count, threshold = _whole(count, "A number of people", 0, 10_000_000), _within(threshold, "A threshold", -1, 1)
        first, tries, tried = settle_seed(seed), 20 * count + 4096, 0
        seeds, people, units = [], torch.empty(count, WIDTH), torch.empty(count, WIDTH)
        while len(seeds) < count and tried < tries:
            block = seeds_from((first + tried) % SEEDS, min(BLOCK, 64 + 2 * (count - len(seeds))))
            tried += len(block)
            vectors = self.draw(block)                                       # (B, 512)
            unit = vectors / vectors.norm(dim=1, keepdim=True)
            new = _apart(unit, units[:len(seeds)], threshold)[:count - len(seeds)]
            people[len(seeds):len(seeds) + len(new)], units[len(seeds):len(seeds) + len(new)] = vectors[new], unit[new]
            seeds += [block[row] for row in new]
        if len(seeds) < count:
            raise SettingsError(f"Only {len(seeds):,} of {count:,} people with cosines below {threshold:g} were found "
                                f"in {tried:,} draws.", "Raise the threshold, or ask for fewer people.")
        return seeds, people

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


def _apart(unit: "Tensor", others: "Tensor", threshold: float) -> list[int]:
    """Rows of unit (B, 512) whose cosine to every row of others (N, 512), and to every earlier row kept, is lower."""
    free = unit.new_ones(len(unit), dtype=bool)                                   # (B,)
    for part in others.split(4 * BLOCK):
        free &= (unit @ part.T).amax(1) < threshold if len(part) else True
    alike = (unit @ unit.T >= threshold).numpy()                                  # (B, B)
    free, kept = free.numpy(), []
    for row in range(len(free)):
        if free[row]:
            kept.append(row)
            free &= ~alike[row]
    return kept
