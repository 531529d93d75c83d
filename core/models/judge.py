"""The judge: estimates attributes, pose, age and quality of a face.

A residual network with squeeze-and-excitation gates, and one linear output layer. Two are trained, with different
widths and seeds: one steers training and editing, the other only scores.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.faces import ATTRIBUTES, NAMES
from core.models.layers import residual_stage

POSE = ("yaw", "pitch", "roll")
BINARY = tuple(name for name, attribute in ATTRIBUTES.items() if attribute.kind == "binary")
CONTINUOUS = tuple(name for name, attribute in ATTRIBUTES.items()
                   if attribute.kind == "continuous" and name not in (*POSE, "age"))
MEASURES = (*CONTINUOUS, *POSE, "age")   # measures in their own units, in the order of the last layer
IN_ORDER = tuple((*BINARY, *MEASURES).index(name) for name in NAMES)     # columns of the answers, as in ATTRIBUTES
YES_NO = tuple(name in BINARY for name in NAMES)
SURE = 4.0      # logit beyond which a yes/no attribute is not asked for: a probability of 0.982


@dataclass(frozen=True)
class JudgeConfig:
    """Sizes of the judge."""

    widths: tuple[int, int, int, int, int]   # channels after the stem (56 pixels) and the stages (28, 14, 7, 4)
    depths: tuple[int, int, int, int]        # residual blocks per stage
    squeeze: int                             # channels per unit of the gates
    pooled: int                              # features before the output layers
    dropout: float                           # before the output layers, in training


PRESETS = {
    "tiny":       JudgeConfig(widths=(24, 32, 64, 112, 160), depths=(2, 2, 2, 1), squeeze=8, pooled=256, dropout=0.1),
    "tiny-check": JudgeConfig(widths=(16, 32, 56, 96, 144),  depths=(1, 2, 2, 1), squeeze=4, pooled=192, dropout=0.1),
}


class Judge(nn.Module):
    """All outputs for a picture. `pool` returns the pooled features, `maps` the stage outputs."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(
            residual_stage(channels_in, channels, depth, 2, config.squeeze)
            for channels_in, channels, depth in zip(widths[:-1], widths[1:], config.depths, strict=True))
        self.mix = nn.Linear(widths[-1] * 4, config.pooled, bias=False)
        self.mix_norm = nn.BatchNorm1d(config.pooled)
        self.dropout = nn.Dropout(config.dropout)
        self.answers = nn.Linear(config.pooled, len(BINARY) + len(MEASURES) + 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: (N, 3, 112, 112) RGB in [-1, 1], aligned.

        Returns "binary" (N, 27) logits, above 0 is yes, in the order of BINARY; "continuous" (N, 4) in the attributes'
        own units, in the order of CONTINUOUS; "pose" (N, 3) degrees of yaw, pitch and roll; "age" (N,) years;
        "quality" (N,) in [0, 1]. Measures are not clipped to their range.
        """
        return self.answer(self.pool(self.maps(x)[-1]))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Outputs of the stem and the stages: (N, widths[i], S, S) for S = 56, 28, 14, 7, 4."""
        x = F.relu(self.stem_norm(self.stem(x)))           # (N, widths[0], 56, 56)
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def pool(self, x: Tensor) -> Tensor:
        """x: the last of `maps` -> (N, pooled): the means of the four quarters, mixed."""
        x = F.adaptive_avg_pool2d(x, 2).flatten(1)         # (N, widths[4] * 4)
        return F.relu(self.mix_norm(self.mix(x)))          # (N, pooled)

    def answer(self, pooled: Tensor) -> dict[str, Tensor]:
        """pooled: (N, pooled), from `pool` -> outputs as in `forward`."""
        logits, measures, quality = self.answers(self.dropout(pooled)).split((len(BINARY), len(MEASURES), 1), 1)
        middle, half = measure_scale(measures)
        measures = middle + half * measures                # (N, 8) in natural units
        continuous, pose, age = measures.split((len(CONTINUOUS), len(POSE), 1), 1)
        return {"binary": logits, "continuous": continuous, "pose": pose, "age": age[:, 0],
                "quality": quality[:, 0].sigmoid()}


def attribute_table(answers: dict[str, Tensor]) -> Tensor:
    """A judge's answers for N faces as a table like the renderer's truth: (N, 35) in the order of core.faces.NAMES.

    Binary attributes are 0 or 1, the others in their own units.
    """
    measures = torch.cat([answers["continuous"], answers["pose"], answers["age"][:, None]], 1).float()
    table = measures.new_zeros(len(measures), len(NAMES))
    table[:, [NAMES.index(name) for name in BINARY]] = (answers["binary"] > 0).float()
    table[:, [NAMES.index(name) for name in MEASURES]] = measures
    return table


def measure_scale(like: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and half-width of each measure's range, (8,) each: natural = middle + half * network output."""
    rows = [ATTRIBUTES[name] for name in MEASURES]
    low, high = (like.new_tensor([getattr(row, end) for row in rows]) for end in ("low", "high"))
    return (low + high) / 2, (high - low) / 2


def scores_of(answers: dict[str, Tensor]) -> Tensor:
    """A judge's answers as one table (N, 35), in the order of ATTRIBUTES: yes/no attributes as logits, measures from 0
    to 1 over their range. Changes are measured on this scale, in standard deviations. Not clipped.
    """
    measures = torch.cat((answers["continuous"], answers["pose"], answers["age"][:, None]), 1)
    middle, half = measure_scale(measures)
    return torch.cat((answers["binary"], ((measures - middle) / half + 1) / 2), 1)[:, IN_ORDER].float()


def units_of(scores: Tensor) -> Tensor:
    """Scores (N, 35) -> units, what is asked for: a yes/no attribute as its probability, all from 0 to 1."""
    return torch.where(torch.tensor(YES_NO, device=scores.device), scores.sigmoid(), scores.clamp(0, 1))


def scores_at(units: Tensor) -> Tensor:
    """The reverse of `units_of`; logits are held within ±SURE."""
    return torch.where(torch.tensor(YES_NO, device=units.device), units.logit(1e-6).clamp(-SURE, SURE), units)
