"""Recipe of the landmark detector: five points and face presence, for drawn faces on any background.

Time: 15 minutes on one CPU core. Memory: 1 GB. Seed: the preset's.
Data: drawn portraits, scaled, rotated and recoloured, on synthetic backgrounds; two fifths without a face.
Loss: smooth L1 of the relative points, and cross-entropy of the presence.
"""

from dataclasses import dataclass
from itertools import count
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import data
from core.models import build
from core.training.loop import Recipe
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: preset of `landmarks`. people × looks drawn portraits. absent: share of pictures without a face."""

    network: str
    seed: int
    people: int = 6000
    looks: int = 1
    batch: int = 64
    rate: float = 2e-3
    absent: float = 0.4
    name: str = "landmarks-tiny"


PRESETS = {"tiny": Preset("tiny", seed=6)}
SIZE = 96  # pixels: input of the network
ZOOM = (0.45, 1.7)  # width of a portrait relative to the picture
TURN = 30.0  # degrees
DEGRADED = data.Augment(blur=0.8, noise=0.12, jpeg=0.3)  # degradation of a scene, after colour changes
DRAWN = 128  # pixels of the portraits
CHECKED = (150, 4)  # validation people × looks


class LandmarksRecipe(Recipe):
    """One network, "landmarks", averaged."""

    averaged, saved = ("landmarks",), ("landmarks", "landmarks")
    presets, checked = PRESETS, CHECKED
    set_options = MappingProxyType(dict(view="portrait", size=DRAWN, seed=1, version=4))

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        landmarks = build("landmarks", preset.network).to(memory_format=torch.channels_last)
        self.networks, self.shipped = {"landmarks": landmarks}, {"landmarks": preset.name}
        self.about = f"Five points and presence of drawn faces; {preset.people} people, seed {preset.seed}."
        self.optimizers = {"loss": adamw([landmarks], preset.rate, decay=0.01)}

    def batches(self, start, shard, device):
        seed = self.preset.seed
        steps = count(start * shard[1] + shard[0], shard[1])
        batches = data.batches(self.drawn, self.batch, seed, device, None, start, shard)
        for step, batch in zip(steps, batches, strict=False):
            generator = torch.Generator().manual_seed(data.look_seed("scene", step, 0, seed))
            yield scenes(batch["image"], batch["points"], self.preset.absent, generator)

    def updates(self, networks, batch, progress):
        points, presence = networks["landmarks"](batch["image"].contiguous(memory_format=torch.channels_last))
        present = batch["present"]
        error = F.smooth_l1_loss(points.float(), batch["points"], beta=0.02, reduction="none").mean((1, 2))
        placed = (error * present).sum() / present.sum().clamp(min=1)
        seen = F.binary_cross_entropy_with_logits(presence.float(), present)
        yield "loss", 5 * placed + seen, {"placed": placed.detach(), "seen": seen.detach()}

    def check(self, networks):
        """Mean point error relative to the eye distance, and accuracy of presence."""
        network = networks["landmarks"]
        device = next(network.parameters()).device
        batch = data.rows_of(self.held_out, np.arange(len(self.held_out)), device)
        scene = scenes(batch["image"], batch["points"], 0.25, torch.Generator().manual_seed(0))
        points, presence = network(scene["image"])
        there = scene["present"] > 0
        wanted = scene["points"]
        eyes = (wanted[:, 0] - wanted[:, 1]).norm(dim=1, keepdim=True)
        apart = ((points - wanted).norm(dim=2) / eyes)[there]
        return {"points": float(apart.mean()), "present": float(((presence > 0) == there).float().mean())}

    def sheet(self, networks):
        """Validation scenes with detected points as dots; gray where no face was detected."""
        from core.images import grid, to_pil

        network = networks["landmarks"]
        batch = data.rows_of(self.held_out, np.arange(24), next(network.parameters()).device)
        scene = scenes(batch["image"], batch["points"], 0.25, torch.Generator().manual_seed(0))
        points, presence = network(scene["image"])
        return grid([_dotted(*each) for each in zip(to_pil(scene["image"]), points, presence, strict=True)], columns=8)


recipe = LandmarksRecipe.of     # the judges use the same portraits


def scenes(image: Tensor, points: Tensor, absent: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Portraits (N, 3, H, W) in [-1, 1] with points (N, 5, 2) in pixels, placed into scenes of SIZE pixels.

    Returns "image" (N, 3, SIZE, SIZE), "points" (N, 5, 2) in [-1, 1], and "present" (N,) 1 or 0. A scene gets no face
    if its points do not all fit.
    """
    n, device = len(image), image.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator) * (high - low) + low).to(device)

    zoom = torch.exp(uniform(np.log(ZOOM[0]), np.log(ZOOM[1]), n))
    moved = data.affine(torch.ones(n, device=device), zoom, uniform(-TURN, TURN, n), torch.zeros(n, 2, device=device))
    unit = (points + 0.5) * 2 / image.shape[-1] - 1
    placed = _through(unit, moved)
    moved, placed = _shifted(moved, placed, uniform(-0.35, 0.35, n, 2))
    grid = F.affine_grid(moved, [n, 3, SIZE, SIZE], align_corners=False)
    shrunk = F.interpolate(image, size=image.shape[-1] // 2, mode="area")
    small = (zoom < 0.7)[:, None, None, None]
    face = torch.where(small, F.grid_sample(shrunk, grid, padding_mode="border", align_corners=False),
                       F.grid_sample(image, grid, padding_mode="border", align_corners=False))
    inside = (grid.abs().amax(3, keepdim=True) <= 1).permute(0, 3, 1, 2).float()  # (N, 1, SIZE, SIZE)
    present = (uniform(0, 1, n) >= absent) & (placed.abs().amax((1, 2)) < 0.97)
    behind = backgrounds(image, generator)
    scene = torch.where(present[:, None, None, None], inside * face + (1 - inside) * behind, behind)
    scene = data.blur_pictures(_recoloured(scene, uniform), DEGRADED.blur * uniform(-1, 1, n).clamp(min=0))
    return {"image": data.degrade(scene, DEGRADED, generator), "points": placed, "present": present.float()}


def backgrounds(image: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures without a face, (N, 3, SIZE, SIZE): noise, shapes, and shuffled, rotated or cropped portraits.

    image: (N, 3, H, W) portraits. A picture is one of these or a blend of two.
    """
    makers = (grain, things, shuffled, turned, cuts)
    kinds = [maker(image.roll(shift, 0), generator) for shift, maker in enumerate(makers)]
    stack, n = torch.stack(kinds), len(image)  # (kinds, N, 3, SIZE, SIZE)
    first, second = (torch.randint(len(kinds), (n,), generator=generator).to(image.device) for _ in range(2))
    share = (torch.rand(n, 1, 1, 1, generator=generator) * 2).clamp(max=1).to(image.device)
    rows = torch.arange(n, device=image.device)
    return share * stack[first, rows] + (1 - share) * stack[second, rows]


def grain(image: Tensor, generator: torch.Generator) -> Tensor:
    """Noise with natural image statistics: power falls with frequency."""
    n, layers = len(image), []
    slope = 0.5 + torch.rand(n, 1, 1, 1, generator=generator)
    for octave in range(1, 7):
        colour, grey = (torch.randn(n, c, 2**octave, 2**octave, generator=generator) for c in (3, 1))
        noise = 0.3 * colour + 0.8 * grey
        layers.append(F.interpolate(noise, size=SIZE, mode="bicubic", align_corners=False) * 2 ** (-slope * octave) * 2)
    tint = torch.randn(n, 3, 1, 1, generator=generator) * 0.3
    return (sum(layers) * 0.7 + tint).clamp(-1, 1).to(image.device)


def things(image: Tensor, generator: torch.Generator) -> Tensor:
    """Shaded ellipses and boxes on a uniform background."""
    n = len(image)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing="ij")
    scene = (torch.rand(n, 3, 1, 1, generator=generator) * 1.6 - 0.8).expand(n, 3, SIZE, SIZE)
    for _ in range(6):
        place = torch.rand(n, 2, 1, 1, generator=generator) * 2 - 1
        size = torch.exp(torch.rand(n, 2, 1, 1, generator=generator) * 2.3 - 2.6)
        angle = torch.rand(n, 1, 1, generator=generator) * 6.3
        dx, dy = x - place[:, 0], y - place[:, 1]
        u, v = (angle.cos() * dx + angle.sin() * dy) / size[:, 0], (angle.cos() * dy - angle.sin() * dx) / size[:, 1]
        power = torch.where(torch.rand(n, 1, 1, generator=generator) < 0.6, 2.0, 8.0)
        inside = (30 * size.amin(1) * (1 - u.abs() ** power - v.abs() ** power)).clamp(0, 1)[:, None]
        tone = torch.rand(n, 3, 1, 1, generator=generator) * 1.8 - 0.9 + (0.4 * u - 0.3 * v)[:, None].clamp(-0.6, 0.6)
        scene = scene * (1 - inside) + tone * inside
    return scene.clamp(-1, 1).to(image.device)


def shuffled(image: Tensor, generator: torch.Generator) -> Tensor:
    """Portraits with shuffled tiles of 8, 12, 16 or 24 pixels."""
    side = (8, 12, 16, 24)[int(torch.randint(4, (), generator=generator))]
    count = SIZE // side
    tiles = F.interpolate(image, size=SIZE, mode="bilinear", align_corners=False).unfold(2, side, side)
    tiles = tiles.unfold(3, side, side).flatten(2, 3)[:, :, torch.randperm(count * count, generator=generator)]
    return tiles.unflatten(2, (count, count)).permute(0, 1, 2, 4, 3, 5).reshape(len(image), 3, SIZE, SIZE)


def turned(image: Tensor, generator: torch.Generator) -> Tensor:
    """Portraits rotated by 90, 180 or 270 degrees, at any size."""
    small = F.interpolate(image, size=SIZE, mode="bilinear", align_corners=False)
    small = torch.rot90(small, int(torch.randint(1, 4, (), generator=generator)), (2, 3))
    return _zoomed(small, torch.rand(len(image), generator=generator) * 1.2 + 0.6, 0.6, generator)


def cuts(image: Tensor, generator: torch.Generator) -> Tensor:
    """Enlarged small crops of portraits."""
    return _zoomed(image, torch.rand(len(image), generator=generator) * 6 + 4, 0.9, generator)


def _zoomed(image: Tensor, zoom: Tensor, reach: float, generator: torch.Generator) -> Tensor:
    """Pictures enlarged by zoom (N,) around a point up to `reach` from the centre."""
    n, device = len(image), image.device
    place = (torch.rand(n, 2, generator=generator) * 2 - 1) * reach
    moved = data.affine(torch.ones(n), zoom, torch.zeros(n), place).to(device)
    grid = F.affine_grid(moved, [n, 3, SIZE, SIZE], align_corners=False)
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def _through(unit: Tensor, moved: Tensor) -> Tensor:
    """Points (N, 5, 2) of the portrait, in [-1, 1], after resampling with `moved`."""
    return (unit - moved[:, None, :, 2]) @ torch.linalg.inv(moved[:, :, :2]).transpose(1, 2)


def _shifted(moved: Tensor, placed: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Shift the content so that the mean of the points is at `shift` (N, 2)."""
    by = shift - placed.mean(1)  # (N, 2)
    turned = moved[:, :, :2]
    offset = moved[:, :, 2] - (turned @ by[:, :, None])[:, :, 0]
    return torch.cat([turned, offset[:, :, None]], 2), placed + by[:, None]


def _recoloured(image: Tensor, uniform) -> Tensor:
    n = len(image)
    image = image * uniform(0.6, 1.2, n, 1, 1, 1) + uniform(-0.25, 0.25, n, 3, 1, 1)
    grey = uniform(0, 1, n, 1, 1, 1) < 0.25
    return torch.where(grey, image.mean(1, keepdim=True), image).clamp(-1, 1)


def _dotted(picture, points: Tensor, presence: Tensor):
    """A picture with its points, or gray if no face was detected."""
    from PIL import Image, ImageDraw

    if presence <= 0:
        return Image.blend(picture, Image.new("RGB", picture.size, "grey"), 0.7)
    pen = ImageDraw.Draw(picture)
    for x, y in ((points + 1) * SIZE / 2).tolist():
        pen.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], fill="lime")
    return picture
