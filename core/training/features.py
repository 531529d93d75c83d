"""Recipe of the feature networks behind `clusters`: tasks that drawn faces set themselves, never their attributes.

    rotation    which of four ways is the picture turned
    jigsaw      which quarter of the face is this piece
    denoising   what did the face look like before noise was added, seen in the features alone, at 16 pixels

Presets: `texture`, a BagNet that sees 9 pixels at a time, learns colours and textures; `shape`, a ResNet whose pictures
lose their colours, learns outlines. Groups are found in their features (Bahng et al., XploreGAN, CVPR 2020, section
3.1, uses a BagNet-17 and a ResNet-50 for Stylized-ImageNet in the same two roles).

Time: 20 to 40 minutes on a core. Memory: 2 GB. Seed: the preset's.
Data: `aligned` drawn faces of 128 pixels, made smaller.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, hub, metrics
from core.clustering import PCA, k_means, unit
from core.faces import BINARY, NAMES
from core.features import resized
from core.images import imagenet
from core.models import build
from core.training.loop import Recipe, drawn_sets
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: name in core.models; its preset is "tiny". people × looks drawn faces. rate: peak learning rate.

    rotation, jigsaw, denoising: weights of the tasks; 0 leaves one out. noise: standard deviation that denoising
    removes. colour, grey, light: see `data.Augment`; strong ones leave little but shapes to learn from.
    """

    network: str
    name: str
    seed: int
    rotation: float = 0.0
    jigsaw: float = 0.0
    denoising: float = 0.0
    noise: float = 0.25
    colour: float = 0.0
    grey: float = 0.0
    light: float = 0.0
    people: int = 6000
    looks: int = 6
    batch: int = 64
    rate: float = 2e-3


PRESETS = {
    "texture": Preset("bagnet", "clusters-texture-tiny", seed=31, jigsaw=0.1, denoising=1.0),
    "shape":   Preset("resnet", "clusters-shape-tiny", seed=32, rotation=0.1, denoising=1.0, colour=0.4, grey=0.5,
                      light=0.3),
}
SIZE = 64               # pixels that the networks see
SMALL = 16              # pixels of the face that denoising draws
WAYS = 4                # to turn a picture, and pieces of it
CHECKED = (150, 8)      # validation people × looks
PARTS = 20              # groups that `check` finds


class Tasks(nn.ModuleDict):
    """What each task puts on top of features (N, D)."""

    def __init__(self, features: int, tasks: Iterable[str]) -> None:
        super().__init__({task: nn.Linear(features, WAYS) if task != "denoising" else
                          nn.Sequential(nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, 3 * SMALL**2))
                          for task in tasks})

    def forward(self, task: str, features: Tensor) -> Tensor:
        """Logits (N, WAYS), or of denoising the face (N, 3, SMALL, SMALL) in [-1, 1]."""
        found = self[task](features)
        return found.view(-1, 3, SMALL, SMALL) if task == "denoising" else found


class FeaturesRecipe(Recipe):
    """Networks "features" and "tasks", both averaged, one optimiser over both."""

    averaged = ("features", "tasks")

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        network = build(preset.network, "tiny").to(memory_format=torch.channels_last)
        self.networks = {"features": Pooled(network), "tasks": Tasks(network.fc.in_features, self.tasks)}
        self.optimizers = {"loss": adamw(list(self.networks.values()), preset.rate, decay=0.02)}

    @property
    def about(self) -> str:
        """What the manifest says of the features."""
        chosen = self.preset
        return (f"Features of drawn faces from {' and '.join(self.tasks)}, without attribute labels; "
                f"{chosen.people} people × {chosen.looks} looks, seed {chosen.seed}.")

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the checkpoint; returns its path."""
        return [hub.save(networks["features"].network, self.preset.name, network=self.preset.network, preset="tiny",
                         recipe=command, about=self.about, folder=folder)]

    @property
    def tasks(self) -> dict[str, float]:
        """The weight of each task that takes part."""
        weights = {task: getattr(self.preset, task) for task in ("rotation", "jigsaw", "denoising")}
        return {task: weight for task, weight in weights.items() if weight}

    def batches(self, start, shard, device) -> Iterator[dict]:
        preset = self.preset
        augment = data.Augment(flip=0.5, colour=preset.colour, grey=preset.grey, light=preset.light)
        steps = count(start * shard[1] + shard[0], shard[1])
        batches = data.batches(self.drawn, self.batch, preset.seed, device, augment, start, shard)
        for step, batch in zip(steps, batches, strict=False):
            draw = torch.Generator().manual_seed(data.look_seed("task", step, 0, preset.seed))
            yield self.material(batch["image"], draw)

    def material(self, image: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
        """What each task is given, and its answer, of pictures (N, 3, H, W) in [-1, 1]."""
        image, found = resized(image, SIZE), {}
        ways = torch.randint(WAYS, (len(image),), generator=draw)
        noise = self.preset.noise * torch.randn(image.shape, generator=draw)
        if "rotation" in self.tasks:
            found |= {"rotation": turned(image, ways), "rotation answer": ways.to(image.device)}
        if "jigsaw" in self.tasks:
            found |= {"jigsaw": pieces(image, ways), "jigsaw answer": ways.to(image.device)}
        if "denoising" in self.tasks:
            found |= {"denoising": image + noise.to(image.device), "denoising answer": resized(image, SMALL)}
        return found

    def updates(self, networks, batch, progress):
        terms = {task: task_loss(task, self.answer(networks, task, batch), batch[f"{task} answer"])
                 for task in self.tasks}
        loss = sum(self.tasks[task] * term for task, term in terms.items())
        yield "loss", loss, {task: term.detach() for task, term in terms.items()}

    def answer(self, networks: dict, task: str, batch: dict) -> Tensor:
        """What the networks make of a task."""
        picture = imagenet(batch[task]).contiguous(memory_format=torch.channels_last)
        return networks["tasks"](task, networks["features"](picture))

    def check(self, networks):
        """Each task on an eighth of the validation pictures: accuracy, or L1 of the face; then, of all, how well PARTS
        groups agree with the attributes (mean adjusted mutual information). That is reported, never learned from.
        """
        device = next(networks["features"].parameters()).device
        rows = np.arange(0, len(self.held_out), 8)
        batch = self.material(data.rows_of(self.held_out, rows, device)["image"], torch.Generator().manual_seed(0))
        numbers = {}
        for task in self.tasks:
            found, wanted = self.answer(networks, task, batch), batch[f"{task} answer"]
            numbers[task] = float((found - wanted).abs().mean() if task == "denoising"
                                  else (found.argmax(1) == wanted).float().mean())
        return numbers | {"agreement": agreement(self.features_of(networks["features"]), self.held_out.truth)}

    def features_of(self, network: nn.Module) -> Tensor:
        """Features (N, D) of the validation pictures."""
        device = next(network.parameters()).device
        return torch.cat([network(imagenet(resized(image, SIZE))).float().cpu()
                          for image in data.image_batches(self.held_out, 64, device)])

    def sheet(self, networks):
        """Validation faces with noise, and below what their features say of them; None without that task."""
        from core.images import grid, to_pil

        if "denoising" not in self.tasks:
            return None
        device = next(networks["features"].parameters()).device
        rows = np.linspace(0, len(self.held_out) - 1, 8).astype(int)
        batch = self.material(data.rows_of(self.held_out, rows, device)["image"], torch.Generator().manual_seed(0))
        made = resized(self.answer(networks, "denoising", batch), SIZE)
        return grid(to_pil(torch.cat([batch["denoising"], made]).clamp(-1, 1)), columns=8)


class Pooled(nn.Module):
    """A feature network, called for its features. Its own last layer takes no part and stays as it began."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        network.fc.requires_grad_(False)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 3, H, W), normalised like ImageNet's. Returns (N, D)."""
        return self.network.features(x)


def turned(image: Tensor, ways: Tensor) -> Tensor:
    """Pictures (N, 3, S, S), each turned by 90° as many times as `ways` (N,) says."""
    found = image.clone()
    for way in range(1, WAYS):
        found[ways == way] = torch.rot90(image[ways == way], way, (2, 3))
    return found


def pieces(image: Tensor, ways: Tensor) -> Tensor:
    """A quarter of each picture (N, 3, S, S), counted row by row: (N, 3, S / 2, S / 2)."""
    half = image.shape[-1] // 2
    quarters = image.unfold(2, half, half).unfold(3, half, half).flatten(2, 3)      # (N, 3, 4, S / 2, S / 2)
    return quarters[torch.arange(len(image)), :, ways.to(image.device)]


def task_loss(task: str, found: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of the ways; smooth L1 of the face."""
    if task == "denoising":
        return F.smooth_l1_loss(found.float(), wanted, beta=0.1)
    return F.cross_entropy(found.float(), wanted)


def agreement(features: Tensor, truth: np.ndarray) -> float:
    """Mean adjusted mutual information of PARTS groups of features (N, D) with each yes/no attribute (N, 35)."""
    features = unit(features)
    labels = k_means(PCA.fit(features).apply(features), min(PARTS, len(features) // 2)).labels
    yes = torch.from_numpy(truth[:, [NAMES.index(name) for name in BINARY]] > 0.5).long()
    return float(np.nanmean([metrics.adjusted_mutual_information(labels, each) for each in yes.T]))


def recipe(preset: str, **asked: float) -> FeaturesRecipe:
    """The recipe of a preset; draws missing faces."""
    chosen = replace(PRESETS[preset], **asked)
    return FeaturesRecipe(chosen, *drawn_sets(chosen, CHECKED, size=128, version=4))
