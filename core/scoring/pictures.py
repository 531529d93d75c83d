"""Picture bars: sharpness, fine detail, stripes and texture of a system's pictures, compared with real ones.

Every `score` prints them beside the method's own figures, because identity and attributes survive blur. All six bars
belong together: noise alone would raise sharpness.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from core import data
from core.scoring.bars import Bar, bar, bar_between

TEXTURE_MAPS = 2         # first feature maps of the judge that are used as texture
FINEST = 0.375           # cycles per pixel: lower end of the finest of four radial bands
STRIPES = (1 / 5, 1 / 3)  # cycles per pixel of stripes with periods of 3 to 5 pixels
RIDGE = 1.0              # regularisation of the real-or-fake test, features at unit deviation
FLOORS = {"texture Fréchet": 4.0, "deep Fréchet": 2.5}  # largest distance, as a multiple of the floor


@dataclass(frozen=True)
class PictureFeatures:
    """Features of N pictures: energies (N,) and features of the judge."""

    sharpness: Tensor   # (N,) energy of the Laplacian
    fine: Tensor        # (N,) energy of the finest radial band
    rows: Tensor        # (N,) energy of horizontal stripes
    columns: Tensor     # (N,) energy of vertical stripes
    texture: Tensor     # (N, T) means and deviations of the judge's first feature maps
    deep: Tensor        # (N, D) the judge's pooled features


def picture_bars(pictures, real: data.DrawnSet, judge) -> list[Bar]:
    """The six picture bars of a set of pictures, with the floor of real pictures against real ones.

    pictures: a DrawnSet, or a tensor (N, 3, H, W) in [-1, 1]. real: drawn test faces in the same view and size; half of
    its people are the reference, the other half give the floor. judge: one that did not steer.
    """
    half = real.person % 2 == 0
    reference, other = (measure_pictures(real.take(rows.nonzero()[0]), judge) for rows in (half, ~half))
    return compare(measure_pictures(pictures, judge), reference, other)


def compare(made: PictureFeatures, real: PictureFeatures, floor: PictureFeatures) -> list[Bar]:
    """The bars of generated against real pictures; `floor`: equally many other real pictures."""
    bars = [bar_between("sharpness, ratio to real", ratio(made.sharpness, real.sharpness), 0.6, 1.3),
            bar("fine detail, ratio to real", ratio(made.fine, real.fine), ">= 0.5"),
            bar_between("stripes, rows to columns over real", stripes(made) / stripes(real), 0.8, 1.25)]
    for name, part in (("texture Fréchet", "texture"), ("deep Fréchet", "deep")):
        scale = getattr(real, part).std(0).clamp(min=1e-6)
        value, least = (frechet(getattr(one, part) / scale, getattr(real, part) / scale) for one in (made, floor))
        bars.append(bar(f"{name} (real: {least:.3g})", value, f"<= {FLOORS[name] * least:.3g}"))
    return [*bars, bar("two-sample accuracy", two_sample_accuracy(made.texture, real.texture), "<= 0.9")]


def measure_pictures(pictures, judge, batch: int = 64) -> PictureFeatures:
    """Measure a set of pictures, a DrawnSet or a tensor (N, 3, H, W) in [-1, 1], with a judge on the CPU or a GPU."""
    from core.images import recognisable

    device, parts = next(judge.parameters()).device, []
    with torch.inference_mode():
        for image in data.image_batches(pictures, batch, device):
            maps = judge.maps(recognisable(image).contiguous(memory_format=torch.channels_last))
            texture = [part(each.float(), (2, 3)) for each in maps[:TEXTURE_MAPS] for part in (torch.mean, torch.std)]
            parts.append([*energies(image), torch.cat(texture, 1).cpu(), judge.pool(maps[-1]).float().cpu()])
    return PictureFeatures(*(torch.cat(column) for column in zip(*parts, strict=True)))


def energies(image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Energies of the brightness of pictures (N, 3, H, W): Laplacian, finest band, rows and columns; (N,) each."""
    light = image.float().mean(1, keepdim=True)
    kernel = light.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    laplacian = F.conv2d(light, kernel).square().mean((1, 2, 3))
    height, width = light.shape[-2:]
    window = torch.hann_window(height, device=light.device)[:, None] * torch.hann_window(width, device=light.device)
    power = torch.fft.fft2((light[:, 0] - light.mean((1, 2, 3))[:, None, None]) * window).abs().square()
    y, x = torch.fft.fftfreq(height, device=light.device)[:, None].abs(), torch.fft.fftfreq(width).to(light).abs()
    finest = torch.hypot(y, x) >= FINEST
    flat = [(STRIPES[0] <= along) & (along <= STRIPES[1]) & (across <= along / 4) for along, across in ((y, x), (x, y))]
    return laplacian.cpu(), *(power[:, where].mean(1).cpu() for where in (finest, *flat))


def ratio(made: Tensor, real: Tensor) -> float:
    """Mean energy of generated pictures relative to real ones."""
    return float(made.mean() / real.mean())


def stripes(found: PictureFeatures) -> float:
    """Energy of horizontal stripes relative to vertical ones."""
    return float(found.rows.mean() / found.columns.mean())


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two sets of features (N, D), (M, D), each modelled as a Gaussian (Heusel et al. 2017)."""
    a, b = a.double(), b.double()
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(0), torch.cov(x.T)) for x in (a, b))
    root = _root(cov_a)
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * shared)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def two_sample_accuracy(made: Tensor, real: Tensor) -> float:
    """Accuracy of ridge regression in separating features (N, D) and (M, D), two-fold cross-validated: 0.5 is best.

    Both sets are cut to the same size; the folds are even and odd rows.
    """
    count = min(len(made), len(real))
    x = torch.cat([made[:count], real[:count]]).double()
    y = torch.cat([-torch.ones(count), torch.ones(count)]).double()
    even = torch.cat([torch.arange(count) % 2 == 0] * 2)
    right = []
    for fitted in (even, ~even):
        middle, spread = x[fitted].mean(0), x[fitted].std(0) + 1e-9
        features = F.pad((x - middle) / spread, (0, 1), value=1.0)
        gram = features[fitted].T @ features[fitted] + RIDGE * torch.eye(features.shape[1]).double()
        weights = torch.linalg.solve(gram, features[fitted].T @ y[fitted])
        right.append(((features[~fitted] @ weights).sign() == y[~fitted]).double().mean())
    return float(sum(right) / 2)
