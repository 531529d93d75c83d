"""Recipe of the embedders: an IResNet trained on drawn people by ArcFace.

Time: 17 minutes an epoch of 36,000 pictures on one core with AVX2. Memory: 3 GB. Seed: the preset's.
Data: `aligned` drawn faces of 128 pixels, people as classes, moved, relit, blurred, with noise and JPEG traces.
Loss: ArcFace, scale 64, margin growing from 0 to 0.5. A linear layer on the features also predicts the person's known
traits (smooth L1), which speeds up the start. Another one predicts the look (age, pose, expression…), so that the
vectors keep some of it: a generator cannot draw a pose from a vector without it.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, faces, metrics
from core.images import recognisable
from core.models import build
from core.training.loop import Recipe
from core.training.losses import ArcFace
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: preset of `iresnet`. people × looks drawn faces. rate: peak learning rate. margin: final, in radians."""

    network: str
    seed: int
    people: int = 6000
    looks: int = 6
    batch: int = 64
    rate: float = 1e-3
    scale: float = 64.0
    margin: float = 0.5
    traits: float = 10.0  # weight of the traits; falls to a tenth in the second half
    looks_weight: float = 5.0  # weight of the look; falls to a half over the first 60 %
    apart_from: float = 0.05  # initial weight of ArcFace, relative to the one from the middle on
    name: str = "embedder-tiny"


PRESETS = {
    "tiny": Preset("tiny", seed=1),
    "tiny-check": Preset("tiny-check", seed=2, name="embedder-check-tiny"),
}
AUGMENT = data.Augment(flip=0.5, shift=0.03, zoom=0.05, turn=3, light=0.12, colour=0.04, blur=1.2, noise=0.08, jpeg=0.3)
SIZE = 128  # pixels of the drawn faces; the network gets them at 112
CHECKED = (150, 8)  # validation people × looks


class EmbedderRecipe(Recipe):
    """Networks "embedder" (averaged), "head", "traits" and "looks", one optimiser over all."""

    averaged, saved = ("embedder",), ("embedder", "iresnet")
    bits = 8
    presets, checked, set_options = PRESETS, CHECKED, MappingProxyType(dict(size=SIZE, version=4))

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        embedder = build("iresnet", preset.network).to(memory_format=torch.channels_last)
        self.traits = torch.from_numpy(faces.traits_of(drawn.people))
        self.networks = {"embedder": embedder, "head": ArcFace(512, drawn.people, preset.scale),
                         "traits": nn.Linear(512, self.traits.shape[1]),
                         "looks": nn.Linear(512, len(faces.NAMES))}
        self.shipped = {"embedder": preset.name}
        self.about = (f"IResNet recogniser of drawn people: {preset.people} people × {preset.looks} looks, ArcFace, "
                      f"seed {preset.seed}.")
        self.optimizers = {"loss": adamw(list(self.networks.values()), preset.rate)}

    def batches(self, start, shard, device):
        return data.batches(self.drawn, self.batch, self.preset.seed, device, AUGMENT, start, shard)

    def updates(self, networks, batch, progress):
        margin = margin_at(progress, self.preset.margin)
        image = recognisable(batch["image"]).contiguous(memory_format=torch.channels_last)
        found = networks["embedder"](image)
        look = F.smooth_l1_loss(networks["looks"](found).float(), scaled(batch["truth"]), beta=0.5)
        apart, own = networks["head"](found, batch["person"], margin)
        wanted = self.traits.to(image.device)[batch["person"]]
        known = F.smooth_l1_loss(networks["traits"](found).float(), wanted, beta=0.5)
        share = apart_share(progress, self.preset.apart_from)
        aside = self.preset.looks_weight * (1 - 0.5 * min(progress / 0.6, 1.0))
        loss = share * apart + self.preset.traits * traits_share(progress) * known + aside * look
        yield "loss", loss, {"arcface": apart.detach(), "traits": known.detach(), "look": look.detach(), "own": own,
                             "margin": margin}

    def check(self, networks):
        vectors = data.outputs(networks["embedder"], self.held_out)
        person = torch.from_numpy(self.held_out.person)
        return {"verification": verified(vectors, person), "dimension": metrics.effective_dimension(vectors, person)}


recipe = EmbedderRecipe.of


def scaled(truth: Tensor) -> Tensor:
    """The 35 attributes of a look, scaled to [-1, 1] over their ranges: (N, 35)."""
    low, high = (torch.tensor([getattr(faces.ATTRIBUTES[name], end) for name in faces.NAMES], device=truth.device)
                 for end in ("low", "high"))
    return (truth - (low + high) / 2) / ((high - low) / 2)


def margin_at(progress: float, full: float) -> float:
    """The ArcFace margin: 0 until 30 % of the run, then linear, full from 75 % on."""
    return full * min(max((progress - 0.3) / 0.45, 0.0), 1.0)


def apart_share(progress: float, start: float) -> float:
    """Weight of ArcFace: small at first, because at scale 64 its gradient would dominate the traits'."""
    return start + (1 - start) * min(progress / 0.5, 1.0) ** 2


def traits_share(progress: float) -> float:
    """Weight of the traits: small at the end, because they span few dimensions."""
    return 1 - 0.9 * min(max((progress - 0.5) / 0.35, 0.0), 1.0)


def verified(vectors: Tensor, person: Tensor, count: int = 6000) -> float:
    """Verification accuracy (10 folds) of vectors (N, D) of people (N,) on random pairs."""
    first, second, same = metrics.pairs(person, count, seed=0)
    return metrics.verification(metrics.cosine(vectors[first], vectors[second]), same)
