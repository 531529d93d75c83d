"""AttrOP: vectors moved until the faces they give have a wanted pose and quality, and are still the same people.

Wu et al., *Vec2Face*, ICLR 2025, arXiv 2409.02979, section 3.3: gradient descent with Adam on the vectors, through the
generator and the networks that look at its pictures. Here every image is accepted on its own and moves no further, the
steps have a hard limit, and what comes back is the best picture seen, with the three numbers that were read off it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from core.checks import number, whole
from core.errors import VectorError
from core.metrics import cosine
from core.sampling import check_vector

LIKENESS = 100.0            # what a cosine of 1 weighs against a degree of yaw (the paper's λ of the identity loss)
BETAS, EPSILON = (0.9, 0.999), 1e-8
MAX_LIMIT = 1000
VIEWS = ((1.14, 0.05, -8.0), (0.89, -0.05, 8.0))    # zoom, shift in halves of the picture, turn in degrees
PART = 8                    # faces that pass through the networks at once
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))      # mean and deviation of red, green and blue

Reader = Callable[[Tensor], Tensor]     # pictures (N, 3, 112, 112) in [-1, 1] -> (N,), with gradients


@dataclass(frozen=True)
class Targets:
    """What is wanted of every face, and how nearly; None asks for nothing.

    yaw: degrees in [-90, 90], as the pose reader counts them. quality: at least this, in the quality reader's own unit.
    similarity: at least this cosine to the reference vector. The tolerances belong to acceptance.
    quality_weight: what one unit of quality weighs against a degree. either_side: only how far is asked, left or right.
    pull_to: the cosine up to which a face is drawn to its likeness; None, as in the paper, draws it all the way, and
    so holds it back from turning further than it must.
    """

    yaw: float | None = None
    quality: float | None = None
    similarity: float = 0.7
    yaw_tolerance: float = 5.0
    quality_tolerance: float = 1.0
    quality_weight: float = 1.0
    either_side: bool = False
    pull_to: float | None = None

    def __post_init__(self) -> None:
        """Raise SettingsError for what no face can have."""
        for name, low, high in (("yaw", -90, 90), ("quality", 0, 1000)):
            if getattr(self, name) is not None:
                number(getattr(self, name), name, low, high)
        number(self.similarity, "similarity", -1, 1)
        number(1.0 if self.pull_to is None else self.pull_to, "pull_to", self.similarity, 2)
        for name, high in (("yaw_tolerance", 90), ("quality_tolerance", 1000), ("quality_weight", 1000)):
            number(getattr(self, name), name, 0, high)


class Networks(NamedTuple):
    """vectors (N, 512) -> pictures (N, 3, 112, 112); pictures -> vectors (N, 512), yaw (N,), quality (N,)."""

    generator: Callable[[Tensor], Tensor]
    embed: Callable[[Tensor], Tensor]
    pose: Reader
    quality: Reader


@dataclass(frozen=True)
class Seen:
    """Vectors (N, 512), their pictures (N, 3, 112, 112) in [-1, 1], and what was read off these, (N,) each."""

    vectors: Tensor
    images: Tensor
    similarity: Tensor      # cosine to the reference vectors
    yaw: Tensor             # degrees
    quality: Tensor


@dataclass(frozen=True)
class Reached(Seen):
    """The best there is so far, image by image.

    missed: for each image the targets it misses, of "similarity", "yaw" and "quality"; () is an accepted image.
    found: the step each was found at, 0 for the vectors as they came. iteration: steps made, of `limit` at most.
    """

    missed: tuple[tuple[str, ...], ...]
    found: tuple[int, ...]
    iteration: int
    limit: int


def attrop(generator: Callable[[Tensor], Tensor], embed: Callable[[Tensor], Tensor], pose: Reader, quality: Reader,
           vectors: Tensor, targets: Targets, *, likeness: Tensor | None = None, limit: int = 40,
           rate: float = 0.1) -> Iterator[Reached]:
    """Steer faces (N, 512) towards targets: one `Reached` for the vectors as they are, and one after every step.

    The last is the outcome: everything is accepted, or `limit` steps were made. Closing the iterator stops at once.
    likeness: (N, 512) reference vectors; `vectors` when None. rate: of Adam, for vectors of the published
    length √512, and in proportion for others. Nothing given is changed, and nothing is shared between two runs.
    Raises VectorError and SettingsError before the first step.
    """
    vectors = checked(vectors)
    likeness = vectors if likeness is None else checked(likeness)
    if len(likeness) != len(vectors):
        raise VectorError(f"{len(vectors)} faces can't be held to the likeness of {len(likeness)}.",
                          "Give as many of the one as of the other.")
    limit = whole(limit, "limit", 0, MAX_LIMIT)
    rate = number(rate, "rate", 0, 10) * vectors.norm(dim=1, keepdim=True) / vectors.shape[1] ** 0.5        # (N, 1)
    return _steps(Networks(generator, embed, pose, quality), vectors, likeness, targets, limit, rate)


def checked(vectors: Tensor) -> Tensor:
    """(N, 512) vectors, each a face: a float32 copy on their own device. Raises VectorError."""
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or not len(vectors):
        raise VectorError("Faces to steer are rows of 512 numbers.", "Give a tensor of shape (N, 512), N at least 1.")
    return torch.stack([check_vector(row) for row in vectors]).to(vectors.device)


def _steps(networks: Networks, vectors: Tensor, likeness: Tensor, targets: Targets, limit: int,
           rate: Tensor) -> Iterator[Reached]:
    """See, keep what is better, move those that are not accepted; over and over."""
    moving = torch.arange(len(vectors), device=vectors.device)
    moments, best = Moments.none(vectors), None
    for iteration in range(limit + 1):
        seen, gradient = evaluated(networks, vectors[moving], likeness[moving], targets, iteration < limit)
        best = _first(seen, targets, limit) if best is None else _better(best, seen, moving, targets, iteration)
        yield best
        accepted = excess(seen, targets) == 0                                # NaN is never accepted
        if accepted.all() or iteration == limit:
            return
        moving, moments = moving[~accepted], moments.of(~accepted)
        step, moments = adam(gradient[~accepted], moments, iteration + 1)
        vectors = vectors.index_add(0, moving, -rate[moving] * step)


# --------------------------------------------------------------------------------------------------- one iteration

def evaluated(networks: Networks, vectors: Tensor, likeness: Tensor, targets: Targets,
           slope: bool = True) -> tuple[Seen, Tensor | None]:
    """What the networks see of vectors (N, 512), and the gradient (N, 512) of each one's loss; None without `slope`."""
    parts, gradients = [], []
    with torch.inference_mode(False), torch.set_grad_enabled(slope):
        for part, like in zip(vectors.split(PART), likeness.split(PART), strict=True):
            free = part.clone().requires_grad_(slope)
            seen = see(networks, free, like.clone())
            gradients += torch.autograd.grad(total(seen, targets).sum(), free) if slope else ()
            parts.append([value.detach() for value in vars(seen).values()])
    return Seen(*map(torch.cat, zip(*parts, strict=True))), torch.cat(gradients) if slope else None


def see(networks: Networks, vectors: Tensor, likeness: Tensor) -> Seen:
    """The pictures of vectors (N, 512), clipped to [-1, 1], and what is read off them."""
    images = networks.generator(vectors).clamp(-1, 1)                        # (N, 3, 112, 112)
    return Seen(vectors, images, cosine(networks.embed(images), likeness), networks.pose(images).float(),
                networks.quality(images).float())


def losses(seen: Seen, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """The paper's three terms, (N,) each: identity, 1 - cosine; quality, what it lacks; yaw, how far it is off."""
    nothing = torch.zeros_like(seen.similarity)
    identity = 1 - seen.similarity if targets.pull_to is None else (targets.pull_to - seen.similarity).relu()
    quality = nothing if targets.quality is None else (targets.quality - seen.quality).relu()
    if targets.yaw is None:
        return identity, quality, nothing
    if targets.either_side:
        return identity, quality, (abs(targets.yaw) - seen.yaw.abs()).abs()
    return identity, quality, (targets.yaw - seen.yaw).abs()


def total(seen: Seen, targets: Targets) -> Tensor:
    """(N,): what is minimised, in degrees of yaw."""
    identity, quality, yaw = losses(seen, targets)
    return LIKENESS * identity + targets.quality_weight * quality + yaw


class Moments(NamedTuple):
    """What Adam remembers of each vector: the running means of its gradient and of its square, (N, 512) each."""

    mean: Tensor
    square: Tensor

    @classmethod
    def none(cls, vectors: Tensor) -> "Moments":
        """Before the first step."""
        return cls(torch.zeros_like(vectors), torch.zeros_like(vectors))

    def of(self, rows: Tensor) -> "Moments":
        """Those of some vectors."""
        return Moments(self.mean[rows], self.square[rows])


def adam(gradient: Tensor, moments: Moments, step: int) -> tuple[Tensor, Moments]:
    """Adam's direction at step 1, 2, … (N, 512), to be taken `rate` times downhill (Kingma and Ba 2015, algorithm 1).

    Row by row, so that a vector's way does not depend on who is steered beside it.
    """
    mean = BETAS[0] * moments.mean + (1 - BETAS[0]) * gradient
    square = BETAS[1] * moments.square + (1 - BETAS[1]) * gradient.square()
    unbiased, spread = mean / (1 - BETAS[0] ** step), square / (1 - BETAS[1] ** step)
    return unbiased / (spread.sqrt() + EPSILON), Moments(mean, square)


# ------------------------------------------------------------------------------------------------------ acceptance

def shortfalls(seen: Seen, targets: Targets) -> dict[str, Tensor]:
    """For each target how far beyond its tolerance it is missed, (N,) each, 0 where it is met."""
    _, quality, yaw = losses(seen, targets)
    return {"similarity": LIKENESS * (targets.similarity - seen.similarity).relu(),
            "yaw": (yaw - targets.yaw_tolerance).relu(),
            "quality": targets.quality_weight * (quality - targets.quality_tolerance).relu()}


def excess(seen: Seen, targets: Targets) -> Tensor:
    """(N,): all that is missed, in degrees of yaw; 0 is accepted, NaN where a network saw none."""
    return sum(shortfalls(seen, targets).values())


def _missed(seen: Seen, targets: Targets) -> tuple[tuple[str, ...], ...]:
    """The names of the targets that each image misses."""
    short = {name: (value != 0).tolist() for name, value in shortfalls(seen, targets).items()}
    return tuple(tuple(name for name in short if short[name][row]) for row in range(len(seen.vectors)))


def _first(seen: Seen, targets: Targets, limit: int) -> Reached:
    """The vectors as they came are the best so far."""
    return Reached(**vars(seen), missed=_missed(seen, targets), found=(0,) * len(seen.vectors), iteration=0,
                   limit=limit)


def _better(best: Reached, seen: Seen, rows: Tensor, targets: Targets, iteration: int) -> Reached:
    """The best so far with those rows replaced in which `seen`, (M, …), misses by less."""
    before, after = excess(best, targets)[rows], excess(seen, targets)
    better = (after < before) | (before.isnan() & ~after.isnan())            # (M,)
    into = rows[better]
    newer = {field.name: getattr(best, field.name).index_copy(0, into, getattr(seen, field.name)[better])
             for field in fields(Seen)}
    best = replace(best, **newer, iteration=iteration,
                   found=tuple(iteration if row in set(into.tolist()) else at for row, at in enumerate(best.found)))
    return replace(best, missed=_missed(best, targets))


# --------------------------------------------------------------------------------------------------------- readers

def judged(judge: Callable[[Tensor], dict[str, Tensor]]) -> tuple[Reader, Reader]:
    """Yaw in degrees, positive towards the right of the picture, and quality in [0, 1], as a judge reads them.

    Yaw is the mean of several views, and of each in the mirror, where it has the other sign: a gradient finds patterns
    that please one reading and turn no face, but hardly such as please them all (Athalye et al., ICML 2018).
    """
    def yaw(images: Tensor) -> Tensor:
        seen = torch.cat([each for view in views(images) for each in (view, view.flip(3))])              # (2 V N, …)
        here, mirrored = judge(seen)["pose"][:, 0].unflatten(0, (-1, 2, len(images))).unbind(1)          # (V, N) each
        return (here - mirrored).mean(0) / 2

    return yaw, (lambda images: judge(images)["quality"])


def views(images: Tensor) -> Iterator[Tensor]:
    """Pictures (N, 3, H, W) as they are, then larger and smaller, shifted and turned by a little."""
    yield images
    for zoom, shift, turn in VIEWS:
        cos, sin = math.cos(math.radians(turn)) / zoom, math.sin(math.radians(turn)) / zoom
        moved = images.new_tensor([[cos, sin, shift], [-sin, cos, -shift]])                              # (2, 3)
        grid = F.affine_grid(moved.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        yield F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def head_yaw(network: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Reader:
    """Yaw in degrees as 6DRepNet reads it, positive towards the right of the picture; 300W-LP counts it the other way.

    Pictures are enlarged to the 224 pixels, and brought to the ImageNet range, that the network was trained on.
    """
    def read(images: Tensor) -> Tensor:
        mean, deviation = (images.new_tensor(each)[:, None, None] for each in IMAGENET)                 # (3, 1, 1)
        large = F.interpolate((images + 1) / 2, size=(224, 224), mode="bilinear", align_corners=False)
        return -network((large - mean) / deviation)[1][:, 1]

    return read


def feature_norm(network: Callable[[Tensor], Tensor]) -> Reader:
    """Quality as MagFace reads it: the length of the embedding, about 20 to 30 for photos (Meng et al., CVPR 2021)."""
    return lambda images: network(images).norm(dim=1)

