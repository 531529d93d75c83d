"""The l2m recipe: L2M-GAN, which changes attributes through the part of a style code that depends on them.

Yang et al., *L2M-GAN: Learning to Manipulate Latent Space Semantics for Facial Attribute Editing*, CVPR 2021, section
3. A domain is one combination of the attributes' values. Losses: adversarial with R1 on real pictures; cycle, L1 of the
way there and back; style reconstruction, L1; perceptual, by the features of an autoencoder's encoder, where the paper
has a ResNet-18; orthogonality of both parts of the style code. L1 norms are means over their entries. A loss whose
weight is 0 is not computed. Presets `tiny-base` to `tiny-inner` are the paper's ablation ladder.

`tiny-128` is `tiny` inside one more level, so train `tiny` first:

    python -m core train l2m --preset tiny --minutes 400 --out runs/l2m
    python -m core train l2m --preset tiny-128 --minutes 200 --generator runs/l2m/attributes-l2m-tiny-64.safetensors

Time: a step of eight faces takes about a second on an AVX2 core; the paper's 100,000 steps need a GPU. Memory: 2 GB,
besides the pictures of a folder. Seed: the preset's.
Data: `aligned` drawn faces, or `--data DIR`, a folder with pictures and labels.csv: a column `file`, and one of 0 and 1
for each attribute. Every tenth picture of a folder is held out.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import data, hub
from core.errors import SettingsError
from core.faces import BINARY, NAMES
from core.features import resized
from core.models import build, l2m_gan
from core.models.judge import attribute_table
from core.models.l2m_gan import L2MGAN, FaceMasks, StyleCodes, face_masks, load_smaller
from core.training.adversarial import LAZY
from core.training.loop import Recipe, beginning, drawn_sets
from core.training.losses import encoder_maps, perceptual


@dataclass(frozen=True)
class Preset:
    """network: preset of `l2m_gan`. attributes: yes/no attributes of `core.faces`; 2 ** their number domains.

    cycle, style, perception, orthogonal: weights of the losses beside the adversarial one. penalty: weight of R1.
    orthogonality: the paper's "element" (‖s_un ⊙ s_re‖₁ + ‖s_un ⊙ s̃_re‖₁), "inner" (products of both pairs), or
    "single" (the first summand of "element"). warmup: steps in which only the discriminator learns.
    features: checkpoint of the autoencoder. generator: an L2M-GAN for half the size to start from, by name or path.
    """

    network: str
    name: str
    seed: int
    attributes: tuple[str, ...] = ("smile", "glasses", "gender")
    cycle: float = 1.0
    style: float = 1.0
    perception: float = 1.0
    orthogonal: float = 1.0
    orthogonality: Literal["element", "inner", "single"] = "element"
    penalty: float = 1.0
    warmup: int = 0
    features: str = "aging-autoencoder-tiny"
    generator: str = ""
    people: int = 6000
    looks: int = 6
    batch: int = 8
    rate: float = 1e-4
    decay: float = 1e-4


_TINY = Preset("tiny", "attributes-l2m-tiny-64", seed=51)
PRESETS = {
    "tiny":            _TINY,
    "tiny-128":        replace(_TINY, network="tiny-128", name="attributes-l2m-tiny", warmup=500,
                               generator="attributes-l2m-tiny-64"),
    "tiny-base":       replace(_TINY, name="l2m-base", perception=0.0, orthogonal=0.0),
    "tiny-perceptual": replace(_TINY, name="l2m-perceptual", orthogonal=0.0),
    "tiny-single":     replace(_TINY, name="l2m-single", orthogonality="single"),
    "tiny-inner":      replace(_TINY, name="l2m-inner", orthogonality="inner"),
    "published":       Preset("published", "attributes-l2m-256", seed=51, attributes=("smile",)),
}
DRAWN = "drawn"         # the data of drawn people
CHECKED = (150, 8)      # validation people × looks
HELD_OUT = 10           # of so many pictures of a folder, one is held out
SHOWN = 8               # faces on a sheet


class EditCycle(nn.Module):
    """An L2M-GAN there and back, in one call."""

    def __init__(self, network: L2MGAN) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, source: Tensor, target: Tensor, masks: FaceMasks | None = None) -> (
            "tuple[Tensor, Tensor, Tensor, StyleCodes]"):
        """x: (N, 3, S, S) in [-1, 1]. source, target: (N,) domains. masks: of x.

        Returns the edited pictures, the pictures made back from them, (N, 3, S, S) each, the style codes that the
        encoder sees in the edited ones, (N, style), and the codes of the edit.
        """
        network = self.network
        codes = network.codes(x, source, target)
        made = network.generator(x, codes.style(), masks)
        back = network.generator(made, codes.code, masks)
        return made, back, network.style_encoder.code(made, target), codes


class L2MRecipe(Recipe):
    """Networks "editor" (kept as an average), an `EditCycle`, and "critic"."""

    averaged, saved = ("editor",), ("editor", "l2m_gan")

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet,
                 smaller: L2MGAN | None = None) -> None:
        """smaller: for half the size, to begin with. Raises SettingsError for attributes that the network has no
        domains for.
        """
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        editor, critic = (build(name, preset.network) for name in ("l2m_gan", "l2m_discriminator"))
        self.config = editor.config
        check_domains(preset.attributes, self.config.domains, preset.network)
        if smaller is not None:
            load_smaller(editor, smaller.state_dict())
        self.encoder = hub.load(preset.features) if preset.perception else None
        self.networks = {"editor": EditCycle(editor).to(memory_format=torch.channels_last),
                         "critic": critic.to(memory_format=torch.channels_last)}
        self.optimizers = {name: torch.optim.Adam(
            [{"params": list(network.parameters()), "initial_lr": preset.rate}], lr=preset.rate, betas=(0.0, 0.99),
            weight_decay=preset.decay) for name, network in self.networks.items()}
        critic.register_buffer("steps", torch.zeros((), dtype=torch.int64))     # a resumed run goes on counting

    @property
    def about(self) -> str:
        """What the manifest says of the network."""
        chosen = self.preset
        return (f"L2M-GAN over {', '.join(chosen.attributes)}: edits faces of {self.config.size} pixels; "
                f"{self.drawn.people} people, {len(self.drawn)} pictures, seed {chosen.seed}.")

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the checkpoint; returns its path."""
        return super().finish({"editor": networks["editor"].network}, folder, command)

    def batches(self, start, shard, device) -> Iterator[dict]:
        """"image" (N, 3, S, S), "source" and "target" (N,) domains, "points" (N, 5, 2) in pixels of the network."""
        steps = count(start * shard[1] + shard[0], shard[1])
        batches = data.batches(self.drawn, self.batch, self.preset.seed, device, data.Augment(flip=0.5), start, shard)
        for step, batch in zip(steps, batches, strict=False):
            draw = torch.Generator().manual_seed(data.look_seed("target", step, 0, self.preset.seed))
            target = torch.randint(self.config.domains, (len(batch["image"]),), generator=draw)
            yield self.material(batch) | {"target": target.to(batch["image"].device)}

    def material(self, batch: dict) -> dict:
        """What the losses take of a batch of `core.data`, without targets."""
        image, scale = batch["image"], self.config.size / batch["image"].shape[-1]
        return {"image": resized(image, self.config.size).contiguous(memory_format=torch.channels_last),
                "source": domains_of(batch["truth"], self.preset.attributes), "points": batch["points"] * scale}

    def masks(self, batch: dict) -> FaceMasks | None:
        """Where the high pass keeps details; None for a network without one."""
        return face_masks(batch["points"], self.config.size) if self.config.high_pass else None

    def updates(self, networks, batch, progress):
        image, source, target = batch["image"], batch["source"], batch["target"]
        with torch.no_grad():
            made, *_ = self.networks["editor"](image, source, target, self.masks(batch))
        steps = self.networks["critic"].steps
        penalised = (int(steps) + 1) % LAZY == 0        # so every other logged step has it
        yield "critic", *self.critic_loss(networks["critic"], image, source, made, target, penalised)
        steps += 1
        if int(steps) > self.preset.warmup:
            yield "editor", *self.editor_loss(networks, batch)

    def critic_loss(self, critic: nn.Module, real: Tensor, source: Tensor, made: Tensor, target: Tensor,
                    penalised: bool) -> tuple[Tensor, dict]:
        """Each picture is real or made, as the discriminator of its domain says; every few steps R1, so much more."""
        loss = F.softplus(-critic(real, source).float()).mean() + F.softplus(critic(made, target).float()).mean()
        numbers = {"critic": loss.detach()}
        if penalised:
            r1 = real_penalty(critic, real, source)
            loss, numbers["r1"] = loss + LAZY * self.preset.penalty / 2 * r1, r1.detach()
        return loss, numbers

    def editor_loss(self, networks: dict, batch: dict) -> tuple[Tensor, dict]:
        """The adversarial loss and those of the preset, each with its weight."""
        image, target, chosen = batch["image"], batch["target"], self.preset
        made, back, again, codes = networks["editor"](image, batch["source"], target, self.masks(batch))
        losses = {"cycle": lambda: (back - image).float().abs().mean(),
                  "style": lambda: (codes.style() - again).float().abs().mean(),
                  "perception": lambda: perceptual(encoder_maps(self.encoder, made),
                                                   encoder_maps(self.encoder, image)),
                  "orthogonal": lambda: orthogonality(codes, chosen.orthogonality)}
        terms = {"fooled": F.softplus(-networks["critic"](made, target).float()).mean()}
        terms |= {name: getattr(chosen, name) * loss() for name, loss in losses.items() if getattr(chosen, name)}
        return sum(terms.values()), {name: term.detach() for name, term in terms.items()}

    def check(self, networks):
        """Of an eighth of the held-out pictures: the share of attributes that `judge-tiny` sees as asked for in edits
        to random domains, the L1 of strength 0, and the degrees between both parts of the style code.
        """
        part, target, made, codes = self.shown(networks, np.arange(0, len(self.held_out), 8))
        image, source = part["image"], part["source"]
        kept = networks["editor"].network(image, source, source, 0.0, self.masks(part))
        return {"as asked": share_as_asked(made, target, self.preset.attributes),
                "strength 0 l1": float((kept - image).abs().mean()), "angle": float(codes.angle.mean())}

    def shown(self, networks, rows: np.ndarray) -> tuple[dict, Tensor, Tensor, StyleCodes]:
        """Held-out pictures edited to random domains: their material, the domains, the edits, their codes."""
        network = networks["editor"].network
        device = next(network.parameters()).device
        part = self.material(data.rows_of(self.held_out, rows, device))
        target = torch.randint(self.config.domains, (len(rows),), generator=torch.Generator().manual_seed(0)).to(device)
        codes = network.codes(part["image"], part["source"], target)
        return part, target, network.generator(part["image"], codes.style(), self.masks(part)).clamp(-1, 1), codes

    def sheet(self, networks):
        """Held-out faces in the first row; below, each with one attribute after the other changed."""
        from core.images import grid, to_pil

        network = networks["editor"].network
        rows = np.linspace(0, len(self.held_out) - 1, SHOWN).astype(int)
        part = self.material(data.rows_of(self.held_out, rows, next(network.parameters()).device))
        x, source, masks = part["image"], part["source"], self.masks(part)
        edits = [network(x, source, source ^ (1 << bit), 1.0, masks) for bit in range(len(self.preset.attributes))]
        return grid(to_pil(torch.cat([x, *edits]).clamp(-1, 1)), columns=SHOWN)


def check_domains(attributes: tuple[str, ...], domains: int, network: str) -> None:
    """Raise SettingsError for an attribute that is no yes/no attribute, or a network with another number of domains."""
    unknown = [name for name in attributes if name not in BINARY]
    if unknown or len(set(attributes)) < len(attributes):
        raise SettingsError(f"L2M-GAN can't take the attributes {', '.join(attributes)}.",
                            f"Choose different ones from: {', '.join(BINARY)}.")
    if 2 ** len(attributes) != domains:
        raise SettingsError(f"There are {2 ** len(attributes)} domains of {len(attributes)} attributes, and {network} "
                            f"has {domains}.", "Choose more or fewer attributes.")


def domains_of(truth: Tensor, attributes: tuple[str, ...]) -> Tensor:
    """The domain of each row of attribute values (N, 35): (N,) int64; bit i says whether attribute i is there."""
    yes = truth[:, [NAMES.index(name) for name in attributes]] > 0.5
    return (yes.long() << torch.arange(len(attributes), device=truth.device)).sum(1)


def share_as_asked(pictures: Tensor, target: Tensor, attributes: tuple[str, ...]) -> float:
    """The share of attributes that `judge-tiny` sees as the domains (N,) ask for, in pictures (N, 3, S, S)."""
    seen = domains_of(attribute_table(data.outputs(hub.load("judge-tiny"), pictures.cpu())), attributes)
    wrong = sum(((seen ^ target.cpu()) >> bit) & 1 for bit in range(len(attributes)))
    return 1 - float(wrong.float().mean()) / len(attributes)


def orthogonality(codes: StyleCodes, kind: str) -> Tensor:
    """How far the part without the attributes is from orthogonal to the one with them, before and after the edit."""
    pairs = [codes.unrelated.float() * related.float() for related in (codes.related, codes.edited)]    # (N, style)
    if kind == "inner":
        return sum(pair.sum(1).abs().mean() for pair in pairs)
    return sum(pair.abs().mean() for pair in (pairs[:1] if kind == "single" else pairs))


def real_penalty(critic: nn.Module, real: Tensor, domain: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): the squared gradient of real pictures' logits, summed over pixels."""
    with torch.autocast(real.device.type, enabled=False):
        real = real.detach().float().requires_grad_()
        slope, = torch.autograd.grad(critic(real, domain).sum(), real, create_graph=True)
        return slope.square().sum((1, 2, 3)).mean()


def labelled_folder(folder: str | Path, attributes: tuple[str, ...], size: int) -> data.DrawnSet:
    """A folder of pictures with labels.csv, as the top of this file says. Raises FacetError."""
    from core.reading import pictures_below

    folder = Path(folder)
    try:
        with (folder / "labels.csv").open(newline="", encoding="utf-8-sig") as lines:
            rows = {row.get("file"): row for row in csv.DictReader(lines)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{folder} has no labels.csv that can be read.",
                            f"Write one in UTF-8 with the columns file, {', '.join(attributes)}.") from error
    names = [path.relative_to(folder).as_posix() for path in pictures_below(folder)]
    for name in names:
        wrong = [attribute for attribute in attributes if rows.get(name, {}).get(attribute) not in ("0", "1")]
        if wrong:
            raise SettingsError(f"In labels.csv there is neither 0 nor 1 for {wrong[0]} of {name}.",
                                "Give a row for each picture, with 0 or 1 for each attribute.")
    pictures = data.folder(folder, size)
    for attribute in attributes:
        pictures.truth[:, NAMES.index(attribute)] = [float(rows[name][attribute]) for name in names]
    return pictures


def recipe(preset: str, data: str = DRAWN, **asked: float) -> L2MRecipe:
    """The recipe of a preset; its faces are drawn if they are not yet. data: DRAWN, or a folder with labels.csv."""
    chosen = replace(PRESETS[preset], **asked)
    smaller = beginning(chosen.generator, "l2m_gan", "l2m") if chosen.generator else None
    size = l2m_gan.PRESETS[chosen.network].size
    if data == DRAWN:
        return L2MRecipe(chosen, *drawn_sets(chosen, CHECKED, size=max(size, 128), version=4), smaller)
    if asked.keys() & {"people", "looks"}:
        raise SettingsError("--people and --looks are not available for a folder.",
                            "Leave --people and --looks out; they are for drawn faces.")
    if l2m_gan.PRESETS[chosen.network].high_pass:
        raise SettingsError(f"The preset {preset} needs landmarks, which a folder does not have.",
                            "Train it on drawn faces, or choose tiny.")
    pictures = labelled_folder(data, chosen.attributes, size)
    held_out = np.arange(len(pictures)) % HELD_OUT == HELD_OUT - 1
    if not held_out.any():
        raise SettingsError(f"{data} has {len(pictures)} pictures.", f"Give {HELD_OUT} or more.")
    return L2MRecipe(chosen, pictures.take(np.flatnonzero(~held_out)), pictures.take(np.flatnonzero(held_out)), smaller)
