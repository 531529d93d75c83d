"""Recipe of the straight directions in w: InterFaceGAN's boundaries and GANSpace's components, for 35 attributes.

InterFaceGAN (Shen et al., CVPR 2020, section 3.2): a linear boundary for each attribute, here by logistic regression on
latents that a judge has labelled, both classes weighted alike; a measure is split at its median. GANSpace (Härkönen et
al., NeurIPS 2020, section 2): principal components of the same latents; each attribute gets the component that
correlates most with its score. See `core.models.directions`, and `core.training.mapper` for the published StyleGAN2.

Time: minutes, once the latents are there; they are those of `train mapper`. Memory: 1 GB.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import metrics
from core.faces import NAMES
from core.models import build
from core.models.directions import Directions
from core.models.judge import YES_NO
from core.training import mapper
from core.training.face_latents import Frozen, LatentSet
from core.training.loop import Recipe
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: preset of `directions`. The other fields are those of `core.training.mapper.Preset`."""

    network: str
    seed: int
    generator: str = mapper.TINY.generator
    encoder: str | None = mapper.TINY.encoder
    judge: str = mapper.TINY.judge
    embedder: str = mapper.TINY.embedder
    frame: str = "aligned"
    latents: int = mapper.TINY.latents
    people: int = mapper.TINY.people
    looks: int = mapper.TINY.looks
    batch: int = 1024
    rate: float = 3e-2
    name: str = "attributes-directions-tiny"


PRESETS = {
    "tiny": Preset("tiny", seed=33),
    "ffhq": Preset("ffhq", seed=33, generator=mapper.FFHQ.generator, encoder=None, judge=mapper.FFHQ.judge,
                   embedder=mapper.FFHQ.embedder,
                   frame="ffhq", name="attributes-directions-ffhq"),
}
RAREST = 0.02   # share of a class below which it is not weighted up any further


class DirectionsRecipe(Recipe):
    """One network, "boundaries": a linear layer on standardised latents; `measured` makes directions of it."""

    saved = ("directions", "directions")

    def __init__(self, preset: Preset, latents: LatentSet, held_out: LatentSet) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.batch = preset, preset.batch
        w, self.scores = latents.w.float().mean(1), latents.scores              # (N, style), (N, 35)
        self.mean, self.deviation = w.mean(0), w.std(0).clamp(min=1e-6)
        self.splits = torch.where(torch.tensor(YES_NO), 0.0, self.scores.median(0).values)
        self.w, self.labels = (w - self.mean) / self.deviation, (self.scores > self.splits).float()
        self.held_out = (held_out.w.float().mean(1) - self.mean) / self.deviation, held_out.scores > self.splits
        yes = self.labels.mean(0).clamp(RAREST, 1 - RAREST)
        self.class_weights = torch.stack([0.5 / (1 - yes), 0.5 / yes])          # (2, 35), of no and yes
        boundaries = nn.Linear(w.shape[1], len(NAMES))
        nn.init.zeros_(boundaries.weight)
        self.networks = {"boundaries": boundaries}
        self.optimizers = {"loss": adamw([boundaries], preset.rate, decay=1e-3)}

    @property
    def about(self) -> str:
        """What the manifest says of the directions."""
        return (f"Directions in w of {Path(self.preset.generator).name}: InterFaceGAN boundaries and GANSpace "
                f"components of 35 attributes, from {len(self.w)} latents; seed {self.preset.seed}.")

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the directions measured from the trained boundaries; returns the path."""
        return super().finish({"directions": self.measured(networks["boundaries"])}, folder, command)

    def batches(self, start: int, shard: tuple[int, int], device) -> Iterator[dict]:
        step = start * shard[1] + shard[0]
        while True:
            draw = torch.Generator().manual_seed(self.preset.seed * 1_000_003 + step)
            rows = torch.randint(len(self.w), (self.batch,), generator=draw)
            yield {"w": self.w[rows].to(device), "labels": self.labels[rows].to(device)}
            step += shard[1]

    def updates(self, networks, batch, progress):
        weights = torch.lerp(*self.class_weights.to(batch["w"].device), batch["labels"])
        yield "loss", F.binary_cross_entropy_with_logits(networks["boundaries"](batch["w"]), batch["labels"],
                                                         weights), {}

    def check(self, networks):
        """Balanced accuracy of the boundaries on held-out latents, by the judge that labelled them."""
        boundaries = networks["boundaries"]
        w, labels = (part.to(boundaries.weight.device) for part in self.held_out)
        right = metrics.balanced_accuracy(boundaries(w) > 0, labels).nan_to_num(1.0)
        worst = int(right.argmin())
        return {"balanced": float(right.mean()), f"worst({NAMES[worst]})": float(right[worst])}

    @torch.no_grad()
    def measured(self, boundaries: nn.Module) -> Directions:
        """The directions of trained boundaries: unit normals, principal components, and how scores change along."""
        found = build("directions", self.preset.network)
        w = self.w * self.deviation                                             # (N, style), centred
        normals = F.normalize(boundaries.weight.float().cpu() / self.deviation)
        values, rows = torch.linalg.eigh(w.T @ w / len(w))
        components = rows.flip(1).T                                             # (style, style)
        along = w @ components.T                                                # (N, style)
        scores = self.scores - self.scores.mean(0)
        spread = scores.std(0).clamp(min=1e-6)
        alike = along.T @ scores / len(w) / (along.std(0).clamp(min=1e-6)[:, None] * spread)
        chosen = alike.abs().argmax(0)                                          # (35,)
        for name, value in {"normals": normals, "slopes": slopes(w @ normals.T, scores),
                            "components": components, "deviations": values.flip(0).clamp(min=0).sqrt(),
                            "chosen": chosen, "chosen_slopes": slopes(along[:, chosen], scores),
                            "spread": spread}.items():
            getattr(found, name).copy_(value)
        return found.eval()


def slopes(along: Tensor, scores: Tensor) -> Tensor:
    """Least-squares slope of each centred score on its centred coordinate, both (N, 35): (35,), never 0."""
    found = (along * scores).sum(0) / along.square().sum(0).clamp(min=1e-12)
    return torch.where(found.abs() < 1e-6, 1e-6, found)


def recipe(preset: str, **asked) -> DirectionsRecipe:
    """The recipe of a preset; missing faces are drawn, missing latents computed. Needs the checkpoints it names."""
    chosen = replace(PRESETS[preset], **asked)
    return DirectionsRecipe(chosen, *mapper.latents_for(chosen, Frozen.load(chosen)))
