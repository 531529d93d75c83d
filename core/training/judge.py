"""Recipe of the judges: attributes, pose, age and quality, from portraits and aligned crops.

Time: 6 minutes an epoch of the aligned pictures on one core with AVX2. Memory: 3 GB. Seed: the preset's.
Data: half of every batch `aligned`, half `portrait` drawn faces of 128 pixels, augmented geometrically, with
blur, noise and JPEG. Loss: see `judge_loss`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, metrics
from core.faces import NAMES
from core.images import recognisable
from core.models import build
from core.models.judge import BINARY, MEASURES, measure_scale
from core.training.loop import Recipe
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: preset of `judge`. people × looks drawn faces in each of the two views. rate: peak learning rate."""

    network: str
    seed: int
    people: int = 6000
    looks: int = 6
    portrait_looks: int = 1
    batch: int = 64
    rate: float = 2e-3
    name: str = "judge-tiny"


PRESETS = {
    "tiny": Preset("tiny", seed=3),
    "tiny-check": Preset("tiny-check", seed=4, name="judge-check-tiny"),
}
ALIGNED = data.Augment(flip=0.5, shift=0.03, zoom=0.05, light=0.06, colour=0.04, blur=1.0, noise=0.06, jpeg=0.3)
PORTRAIT = replace(ALIGNED, shift=0.08, zoom=0.2, turn=8)
SIZE = 128  # pixels of the drawn faces; the network gets them at 112
CHECKED = (150, 8, 4)  # validation people × looks, aligned and portraits
YES_NO = [NAMES.index(name) for name in BINARY]
MEASURED = [NAMES.index(name) for name in MEASURES]
WEIGHTS = {"age": 4.0, "yaw": 3.0}  # of the measures; others: 1


class JudgeRecipe(Recipe):
    """One network, "judge", averaged."""

    averaged, saved = ("judge",), ("judge", "judge")
    bits = 8

    def __init__(self, preset: Preset, views: dict[str, data.DrawnSet], held_out: dict[str, data.DrawnSet]) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.views, self.held_out, self.batch = preset, views, held_out, preset.batch
        judge = build("judge", preset.network).to(memory_format=torch.channels_last)
        self.networks, self.shipped = {"judge": judge}, {"judge": preset.name}
        self.about = (f"Estimates 35 attributes, pose, age, quality of drawn faces; {preset.people} people, seed "
                      f"{preset.seed}.")
        self.class_weights = class_weights(views["aligned"].truth)
        self.optimizers = {"loss": adamw([judge], preset.rate, decay=0.02)}

    def batches(self, start, shard, device) -> Iterator[dict]:
        half, seed = self.batch // 2, self.preset.seed
        aligned = data.batches(self.views["aligned"], half, seed, device, ALIGNED, start, shard)
        portrait = data.batches(self.views["portrait"], half, seed + 1, device, PORTRAIT, start, shard)
        for a, b in zip(aligned, portrait, strict=True):
            upright = torch.arange(len(a["image"]) + len(b["image"]), device=a["image"].device) < len(a["image"])
            yield {name: torch.cat([a[name], b[name]]) for name in ("image", "truth")} | {"upright": upright}

    def updates(self, networks, batch, progress):
        answers = networks["judge"](recognisable(batch["image"]).contiguous(memory_format=torch.channels_last))
        yield "loss", *judge_loss(answers, batch["truth"], batch["upright"], self.class_weights)

    def check(self, networks):
        return {
            f"{view} {name}": value
            for view, drawn in self.held_out.items()
            for name, value in judged(networks["judge"], drawn).items()
        }


def recipe(preset: str, **asked: float) -> JudgeRecipe:
    """The recipe of a preset; draws missing faces. looks: of the aligned view."""
    chosen = replace(PRESETS[preset], **asked)
    portrait_looks = min(chosen.portrait_looks, chosen.looks)
    views = {
        "aligned": data.drawn_set("train", chosen.people, chosen.looks, size=SIZE, version=4),
        "portrait": data.drawn_set("train", chosen.people, portrait_looks, "portrait", SIZE, seed=1, version=4),
    }
    people, looks, portraits = CHECKED
    held_out = {"aligned": data.drawn_set("validation", people, looks, size=SIZE, version=4),
                "portrait": data.drawn_set("validation", people, portraits, "portrait", SIZE, seed=1, version=4)}
    return JudgeRecipe(chosen, views, held_out)


def class_weights(truth: np.ndarray) -> Tensor:
    """Class weights of "no" and "yes" per attribute, (2, 27), inverse to their frequency, at most 6.

    truth: (N, 35) of the training pictures. The bars use balanced accuracy, and most attributes are rare.
    """
    yes = torch.from_numpy(truth[:, YES_NO] > 0.5).float().mean(0)
    return (0.5 / torch.stack([1 - yes, yes]).clamp(min=1e-3)).clamp(max=6)


def judge_loss(answers: dict[str, Tensor], truth: Tensor, upright: Tensor,
               weights: Tensor | None = None) -> tuple[Tensor, dict]:
    """Cross-entropy of the yes/no answers (a truth above 0.5 is yes), smooth L1 of the measures, L1 of the quality.

    answers: of a judge for (N, 3, 112, 112). truth: (N, 35). upright: (N,) bool, aligned pictures, whose roll is
    ignored. weights: class weights of "no" and "yes", (2, 27); see `class_weights`. Errors of a measure
    are in half-widths of its range.
    """
    yes = (truth[:, YES_NO] > 0.5).float()
    each = None if weights is None else torch.lerp(*weights.to(yes.device).unbind(0), yes)
    binary = F.binary_cross_entropy_with_logits(answers["binary"].float(), yes, each)
    _, half = measure_scale(truth)
    error = F.smooth_l1_loss(measures(answers).float() / half, truth[:, MEASURED] / half, beta=0.1, reduction="none")
    weight = torch.tensor([WEIGHTS.get(name, 1.0) for name in MEASURES], device=truth.device).repeat(len(truth), 1)
    weight[upright, MEASURES.index("roll")] = 0.0
    measured = (error * weight).sum(1).mean() / len(MEASURES)
    quality = F.l1_loss(answers["quality"].float(), quality_of(truth))
    loss = binary + 2 * measured + 0.5 * quality
    return loss, {"binary": binary.detach(), "measured": measured.detach(), "quality": quality.detach()}


def measures(answers: dict[str, Tensor]) -> Tensor:
    """The measures of a judge's answers in one table, (N, 8), in the order of MEASURES."""
    return torch.cat([answers["continuous"], answers["pose"], answers["age"][:, None]], dim=1)


def quality_of(truth: Tensor) -> Tensor:
    """Quality label of pictures with truth (N, 35): (N,) in [0, 1].

    (1 - blur) · (1 - exposure² / 2) · cos(yaw): 1 for a sharp, well-lit frontal picture.
    """
    blur, exposure, yaw = (truth[:, NAMES.index(name)] for name in ("blur", "exposure", "yaw"))
    return ((1 - blur) * (1 - exposure.square() / 2) * torch.cos(torch.deg2rad(yaw))).clamp(0, 1)


def judged(judge: nn.Module, drawn: data.DrawnSet) -> dict[str, float]:
    """Accuracy of a judge on a set: balanced accuracy of yes/no attributes, mean absolute errors by name."""
    answers, truth = data.outputs(judge, drawn), torch.from_numpy(drawn.truth)
    right = metrics.balanced_accuracy(answers["binary"] > 0, truth[:, YES_NO] > 0.5)
    errors = (measures(answers) - truth[:, MEASURED]).abs().mean(0)
    by_name = dict(zip(MEASURES, errors.tolist(), strict=True))
    worst = right.nan_to_num(1.0).argmin()
    return {"balanced": float(right.nanmean()), f"worst({BINARY[worst]})": float(right[worst]), **by_name,
            "quality": metrics.mean_error(answers["quality"], quality_of(truth))}
