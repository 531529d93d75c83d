"""The clusters recipe: XploreGAN, which makes a face wear what a group of faces has in common; and its AdaIN twin.

Bahng et al., *Exploring Unlabeled Faces for Novel Attribute Discovery*, CVPR 2020, section 3: WGAN-GP on patches,
classification of clusters, cycle consistency and a latent loss. Preset `paper-128` has the paper's weights; the tiny
ones weigh latents less, and also the change of the picture. The groups come from the crowd file
(`core.training.crowd`), which must be built first. The twin takes its condition from the features of one picture of the
group instead of the group's statistics, and begins as the trained translator. So it has had more training.

Time: hours on a core. Memory: 2 GB. Seed: the preset's.
Data: `aligned` drawn faces of 128 pixels, made smaller; never mirrored, because groups may differ by side.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data
from core.errors import SettingsError
from core.features import compute, network_of, remember, resized, space_of
from core.models import build
from core.models.xploregan import GroupStatistics, XploreGAN
from core.training.crowd import CROWD, Groups, read_groups, set_facts
from core.training.loop import Recipe, beginning


@dataclass(frozen=True)
class Preset:
    """network: preset of `xploregan`, which has the norm and the condition. crowd: checkpoint with the groups.

    critics: updates of the critic for one of the generator. classification, cycle, penalty, latent: weights of the
    losses (λ_cls, λ_rec, λ_gp, λ_lnt). change: weight of the L1 between a picture and its translation, which the paper
    does not have; it stands for the penalty on the mask of Pumarola et al., *GANimation*, ECCV 2018.
    rate, discriminating: peak learning rates of generator and critic. ahead: share of the run at whose start only the
    critic learns, and only to tell groups. generator: of the AdaIN twin: checkpoint of the ASIN translator that it
    begins as, by name or path, see `first_weights`.
    """

    network: str
    name: str
    seed: int
    crowd: str = CROWD
    critics: int = 5
    classification: float = 1.0
    cycle: float = 10.0
    penalty: float = 10.0
    latent: float = 10.0
    change: float = 0.0
    people: int = 6000
    looks: int = 6
    batch: int = 16
    rate: float = 1e-4
    discriminating: float = 1e-4
    ahead: float = 0.0
    generator: str = ""


# An hour on a core allows a few thousand steps: smaller batches, fewer updates of the critic and larger steps than
# the paper's, and a critic that knows the groups when the generator begins. The AdaIN twin begins as the ASIN network,
# with groups that weigh more and small steps: in other ways it learnt to copy the picture, and stayed there.
_TINY = Preset("tiny", "clusters-asin-tiny", seed=41, critics=2, latent=2.0, change=12.0, batch=8, rate=3e-4,
               discriminating=2e-4, ahead=0.02)
PRESETS = {
    "tiny":       _TINY,
    "tiny-adain": replace(_TINY, network="tiny-adain", name="clusters-adain-tiny", generator="clusters-asin-tiny",
                          classification=3.0, rate=1e-4),
    "tiny-mean":  replace(_TINY, network="tiny-mean", name="clusters-mean-tiny"),       # ablations of the condition
    "tiny-label": replace(_TINY, network="tiny-label", name="clusters-label-tiny"),
    "paper-128":  Preset("paper-128", "clusters-asin-128", seed=41, crowd="clusters-crowd-100", batch=32),
}
CHECKED = (150, 8)      # validation people × looks
SHOWN = 8               # faces on a sheet, and groups that each wears


class GroupedFaces(NamedTuple):
    """Pictures, the group of each, (N,), and its own condition, (N, C): of its group, or for AdaIN of itself."""

    drawn: data.DrawnSet
    labels: Tensor
    conditions: Tensor


class Cycle(nn.Module):
    """The generator there and back, in one call."""

    def __init__(self, generator: XploreGAN) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor, target: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (N, 3, S, S), N at least 2. target, own: conditions, of the group asked for and of the picture's own.

        Returns the translation and the picture made back from it, (N, 3, S, S) each, and the latent distance (N,):
        the root mean square of h(x) - h(translation), relative to the deviation of h across the pictures. A distance
        that is not relative would be least for an encoder that shrinks all h to 0, and with them what pictures show.
        """
        h = self.generator.encode(x)
        made = self.generator.decode(h, target, x)
        h_made = self.generator.encode(made)
        back = self.generator.decode(h_made, own, made)
        apart = (h - h_made).float().square().mean((1, 2, 3)).clamp(min=1e-12).sqrt()
        return made, back, apart / h.float().var(0, correction=0).mean().clamp(min=1e-12).sqrt()

    def translate(self, x: Tensor, target: Tensor) -> Tensor:
        """The way there alone: (N, 3, S, S)."""
        return self.generator(x, target)


class ClustersRecipe(Recipe):
    """Networks "generator" (kept as an average), a `Cycle`, and "critic"."""

    averaged, saved = ("generator",), ("generator", "xploregan")

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet, groups: Groups, vectors: Tensor,
                 held_out_vectors: Tensor, asin: XploreGAN | None = None) -> None:
        """groups: to be worn. vectors, held_out_vectors: of both sets, as `groups` gives them, (N, K). asin: what an
        AdaIN twin begins as.
        """
        torch.manual_seed(preset.seed)
        self.preset, self.groups, self.batch = preset, groups, preset.batch * preset.critics
        generator, critic = (build(name, preset.network) for name in ("xploregan", "xploregan_critic"))
        self.config = generator.config
        if len(groups.centres) != self.config.clusters or groups.centres.shape[1] != self.config.features:
            raise SettingsError(
                f"{preset.crowd} has {len(groups.centres)} groups of {groups.centres.shape[1]} numbers, and the "
                f"network {preset.network} takes {self.config.clusters} of {self.config.features}.",
                f"Build another crowd:  python -m core build crowd --k {self.config.clusters} --name {preset.crowd}")
        if asin is not None:
            generator.load_state_dict(first_weights(asin, groups.statistics))
        self.of_groups = None if self.config.norm == "adain" else generator.group_condition(
            groups.statistics, torch.arange(self.config.clusters))
        self.train, self.validation = (
            GroupedFaces(each, labels, generator.exemplar_condition(theirs) if self.of_groups is None else
                         self.of_groups[labels])
            for each, theirs, labels in ((drawn, vectors, groups.assign(vectors)),
                                        (held_out, held_out_vectors, groups.assign(held_out_vectors))))
        self.members = [(self.train.labels == group).nonzero()[:, 0] for group in range(self.config.clusters)]
        self.wearable = self.train.labels.unique()      # few pictures may leave a group empty
        self.networks = {"generator": Cycle(generator).to(memory_format=torch.channels_last),
                         "critic": critic.to(memory_format=torch.channels_last)}
        self.optimizers = {"critic": _adam(critic, preset.discriminating), "generator": _adam(generator, preset.rate)}

    @property
    def about(self) -> str:
        """What the manifest says of the translator."""
        chosen, config = self.preset, self.config
        kind = "AdaIN twin of XploreGAN" if config.norm == "adain" else f"XploreGAN, condition {config.condition}"
        return (f"{kind}: drawn faces of {config.size} pixels wear one of {config.clusters} groups of {chosen.crowd}; "
                f"{chosen.people} people × {chosen.looks} looks, seed {chosen.seed}.")

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the generator's checkpoint; returns its path."""
        return super().finish({"generator": networks["generator"].generator}, folder, command)

    def batches(self, start, shard, device) -> Iterator[dict]:
        """Pictures for one step: `critics` times `batch`, each with its group and one to wear."""
        steps = count(start * shard[1] + shard[0], shard[1])
        batches = data.batches(self.train.drawn, self.batch, self.preset.seed, device, None, start, shard)
        for step, batch in zip(steps, batches, strict=False):
            draw = torch.Generator().manual_seed(data.look_seed("target", step, 0, self.preset.seed))
            rows = batch["row"].cpu()
            rows = rows[torch.randperm(len(rows), generator=draw)]      # they come sorted, and `updates` divides them
            yield self.material(self.train, rows, draw, device)

    def material(self, faces: GroupedFaces, rows: Tensor, draw: torch.Generator, device) -> dict:
        """The pictures in some rows of a set: "image" (N, 3, S, S), "row", "group" and "target" (N,).

        "own" and "wanted": conditions (N, C), the picture's own and the target's; for AdaIN of a random training
        picture of the target.
        """
        device = device or "cpu"
        image = self.sized(data.rows_of(faces.drawn, rows.numpy(), device)["image"])
        target = self.wearable[torch.randint(len(self.wearable), (len(rows),), generator=draw)]
        if self.of_groups is None:
            chosen = [self.members[each][torch.randint(len(self.members[each]), (), generator=draw)] for each in target]
            wanted = self.train.conditions[torch.stack(chosen)]
        else:
            wanted = self.of_groups[target]
        own, group = faces.conditions[rows], faces.labels[rows]
        return {"image": image, "row": rows.to(device), "group": group.to(device), "target": target.to(device),
                "own": own.to(device), "wanted": wanted.to(device)}

    def sized(self, image: Tensor) -> Tensor:
        """Pictures at the size of the network."""
        return resized(image, self.config.size).contiguous(memory_format=torch.channels_last)

    def updates(self, networks, batch, progress):
        """`critics` updates of the critic, each on a part of the batch, then one of the generator on the last part.

        While the critic is ahead, the generator waits.
        """
        parts = [{name: value[at: at + self.preset.batch] for name, value in batch.items()}
                 for at in range(0, len(batch["image"]), self.preset.batch)]
        if progress < self.preset.ahead:
            for part in parts:
                yield "critic", *self.critic_loss(networks["critic"], part, None)
            return
        for part in parts:
            with torch.no_grad():
                made = self.networks["generator"].translate(part["image"], part["wanted"])
            yield "critic", *self.critic_loss(networks["critic"], part, made)
        yield "generator", *self.generator_loss(networks, parts[-1])

    def critic_loss(self, critic: nn.Module, part: dict, made: Tensor | None) -> tuple[Tensor, dict]:
        """WGAN-GP on the mean over patches, and the group of real pictures; without `made` the group alone."""
        real = critic(part["image"])
        known = F.cross_entropy(real.clusters.float(), part["group"])
        if made is None:
            return self.preset.classification * known, {"real group": known.detach()}
        apart = real.realness.float().mean() - critic(made).realness.float().mean()
        steep = gradient_penalty(critic, part["image"], made)
        loss = -apart + self.preset.classification * known + self.preset.penalty * steep
        return loss, {"apart": apart.detach(), "real group": known.detach(), "penalty": steep.detach()}

    def generator_loss(self, networks: dict, part: dict) -> tuple[Tensor, dict]:
        """To look real, to be taken for the target group, to come back, to keep what the encoder sees, and pixels."""
        made, back, apart = networks["generator"](part["image"], part["wanted"], part["own"])
        seen = networks["critic"](made)
        terms = {"real": -seen.realness.float().mean(),
                 "group": self.preset.classification * F.cross_entropy(seen.clusters.float(), part["target"]),
                 "cycle": self.preset.cycle * (back.float() - part["image"]).abs().mean(),
                 "latent": self.preset.latent * apart.mean()}
        if self.preset.change:
            terms["change"] = self.preset.change * (made.float() - part["image"]).abs().mean()
        return sum(terms.values()), {name: term.detach() for name, term in terms.items()}

    def check(self, networks):
        """Of an eighth of the validation pictures: the share of translations that are nearest to the group asked for,
        the share that already were, and the L1 of the cycle.
        """
        rows = torch.arange(0, len(self.validation.drawn), 8)
        device = next(networks["generator"].parameters()).device
        part = self.material(self.validation, rows, torch.Generator().manual_seed(0), device)
        made, back, _ = networks["generator"](part["image"], part["wanted"], part["own"])
        found, target = self.groups_of(made), part["target"].cpu()
        return {"worn": float((found == target).float().mean()),
                "worn before": float((self.validation.labels[rows] == target).float().mean()),
                "cycle l1": float((back - part["image"]).abs().mean())}

    def groups_of(self, made: Tensor) -> Tensor:
        """The group that each picture (N, 3, S, S) in [-1, 1] is nearest to: (N,)."""
        from core.images import to_uint8

        space = space_of(self.groups.space)
        return self.groups.assign(self.groups.vectors(torch.cat([
            *compute(space, network_of(space), to_uint8(made))])))

    def sheet(self, networks):
        """Validation faces in the first row; below, each wearing one of eight groups."""
        from core.images import grid, to_pil

        network = networks["generator"]
        rows = np.linspace(0, len(self.validation.drawn) - 1, SHOWN).astype(int)
        image = self.sized(data.rows_of(self.validation.drawn, rows, next(network.parameters()).device)["image"])
        conditions = [self.train.conditions[self.members[group][0]].to(image) for group in self.wearable[:SHOWN]]
        pictures = [image, *(network.translate(image, each.expand(len(rows), -1)) for each in conditions)]
        return grid(to_pil(torch.cat(pictures)), columns=len(rows))


def first_weights(asin: XploreGAN, statistics: GroupStatistics) -> dict[str, Tensor]:
    """The weights of a translator by mean and variance, for the AdaIN twin: an exemplar's features take the place of
    the mean, and the variance becomes the average group's. Raises SettingsError for another translator.
    """
    if (asin.config.norm, asin.config.condition) != ("asin", "mean-variance"):
        raise SettingsError("The AdaIN twin can't begin as a translator whose condition is not mean and variance.",
                            "Choose one that was trained with --preset tiny.")
    state, size = asin.state_dict(), asin.config.features
    weight, bias = state["mapping.0.weight"], state["mapping.0.bias"]
    variance = (statistics.variance.mean(0) * size).to(weight)
    return state | {"mapping.0.weight": weight[:, :size].clone(), "mapping.0.bias": bias + weight[:, size:] @ variance}


def gradient_penalty(critic: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    """WGAN-GP's penalty (Gulrajani et al. 2017): (‖∂ realness / ∂ picture‖ - 1)² between real and made pictures.

    real, made: (N, 3, S, S).
    """
    with torch.autocast(real.device.type, enabled=False):
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        mixed = torch.lerp(made.detach().float(), real.float(), share).requires_grad_()
        slope, = torch.autograd.grad(critic(mixed).realness.mean((1, 2, 3)).sum(), mixed, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def _adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    return torch.optim.Adam([{"params": list(network.parameters()), "initial_lr": rate}], lr=rate, betas=(0.5, 0.999))


def recipe(preset: str, **asked: float) -> ClustersRecipe:
    """The recipe of a preset; its faces are drawn and their features computed if they are not yet.

    Raises CheckpointError unless the crowd file and the feature network are on this machine, and SettingsError without
    the translator that a twin begins as.
    """
    chosen = replace(PRESETS[preset], **asked)
    asin = beginning(chosen.generator, "xploregan", "clusters") if chosen.generator else None
    groups = read_groups(chosen.crowd)
    found = []
    for split, people, looks in (("train", chosen.people, chosen.looks), ("validation", *CHECKED)):
        drawn = data.drawn_set(split, people, looks, size=128, version=4)
        features = remember(space_of(groups.space), drawn.images, set_facts(split, people, looks))
        found.append((drawn, groups.vectors(features)))
    (drawn, vectors), (held_out, held_out_vectors) = found
    return ClustersRecipe(chosen, drawn, held_out, groups, vectors, held_out_vectors, asin)
