"""Recipe of a recogniser to compare training data: plain ArcFace on any set of people. It is not shipped.

Does a recogniser trained on generated people match one trained on as many drawn ones (Wu et al., *Vec2Face*, ICLR
2025)? Generate a folder, train one recogniser on it and one on drawn faces with equal people, pictures and steps. Then
`python -m core score recogniser --weights … --weights …` compares both on test people.

Time: the embedder's, 40 minutes to 2 hours on one CPU core. Memory: 1.5 GB, and 38 kB for every picture of a folder.
Seed: the preset's. Data: `aligned` drawn faces, or a folder with a sub-folder per person; people are classes, and no
labels are used, because generated people have none. Loss: ArcFace, scale 64, margin growing from 0 to 0.5.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core import data as sets
from core.errors import SettingsError
from core.models import build
from core.training.embedder import AUGMENT, CHECKED, margin_at, verified
from core.training.loop import Recipe
from core.training.losses import ArcFace
from core.training.optim import adamw

DRAWN = "drawn"  # the drawn training set; other names are folders


@dataclass(frozen=True)
class Preset:
    """network: preset of `iresnet`. people × looks: only for the drawn set. rate: peak learning
    rate. margin: final, in radians."""

    network: str
    seed: int
    people: int = 1500
    looks: int = 12
    batch: int = 32
    rate: float = 1e-3
    scale: float = 64.0
    margin: float = 0.5


PRESETS = {"tiny": Preset("tiny", seed=7)}


class RecogniserRecipe(Recipe):
    """Networks "recogniser" (averaged) and "head", one optimiser over both."""

    averaged = ("recogniser",)

    def __init__(self, preset: Preset, faces: sets.DrawnSet, held_out: sets.DrawnSet, name: str = DRAWN) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.faces, self.held_out, self.name = preset, faces, held_out, name
        self.batch = preset.batch
        recogniser = build("iresnet", preset.network).to(memory_format=torch.channels_last)
        self.networks = {"recogniser": recogniser, "head": ArcFace(512, faces.people, preset.scale)}
        self.optimizers = {"loss": adamw(list(self.networks.values()), preset.rate)}

    def batches(self, start, shard, device):
        return sets.batches(self.faces, self.batch, self.preset.seed, device, AUGMENT, start, shard)

    def updates(self, networks, batch, progress):
        margin = margin_at(progress, self.preset.margin)
        found = networks["recogniser"](batch["image"].contiguous(memory_format=torch.channels_last))  # (N, 512)
        loss, own = networks["head"](found, batch["person"], margin)
        yield "loss", loss, {"own": own, "margin": margin}

    def finish(self, networks, folder, command):
        """Write the checkpoint, named after its training data; returns its path."""
        from core import hub

        chosen, seen = self.preset, self.faces
        about = (f"IResNet recogniser to compare training data: plain ArcFace on {seen.people:,} people and "
                 f"{len(seen):,} pictures of {self.name!r}, seed {chosen.seed}.")
        return [hub.save(networks["recogniser"], f"recogniser-{self.name}", network="iresnet", preset=chosen.network,
                         recipe=command, about=about, folder=folder)]

    def check(self, networks):
        vectors = sets.outputs(networks["recogniser"], self.held_out)
        return {"verification": verified(vectors, torch.from_numpy(self.held_out.person))}


def recipe(preset: str, data: str = DRAWN, **asked: float) -> RecogniserRecipe:
    """The recipe of a preset on `data`: drawn faces or the pictures of a folder.

    Raises SettingsError for `people` or `looks` with a folder, FacetError for a folder with too few pictures.
    """
    chosen = replace(PRESETS[preset], **asked)
    if data == DRAWN:
        faces = sets.drawn_set("train", chosen.people, chosen.looks, version=4)
    elif asked.keys() & {"people", "looks"}:
        raise SettingsError("--people and --looks are not available for a folder.",
                            "Leave --people and --looks out; they are for drawn faces.")
    else:
        faces = people_of(data)
    return RecogniserRecipe(chosen, faces, sets.drawn_set("validation", *CHECKED, version=4), Path(data).resolve().name)


def people_of(folder: str | Path) -> sets.DrawnSet:
    """The pictures of a folder, a sub-folder per person. Raises FacetError for fewer than two people or pictures."""
    found = sets.folder(folder)
    if found.people < 2 or np.bincount(found.person).max() < 2:
        raise SettingsError(f"{folder} holds {found.people:,} people in {len(found):,} pictures, which is too few "
                            "for training.", "Give a folder with a sub-folder per person, as  python -m core generate "
                            "writes it.")
    return found
