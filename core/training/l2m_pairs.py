"""The l2m_pairs recipe: L2M-GAN from ideal pairs, as no photos have them: the renderer's own edits of drawn faces.

The networks, the split of the style code and two of the losses are the paper's (see `core.training.l2m`). In the place
of the adversarial and the cycle loss, stage A compares an edit with the renderer's, by pixels and by the features of an
autoencoder's encoder; pixels alone would leave out thin frames of glasses. Half of the edits take the related part of
the style code from the wanted picture instead of the transformer, as an edit by reference does; a fourth ask for
nothing, of many more faces. The style reconstruction compares both parts of the code with those of the wanted picture,
so that the unrelated part is the same before and after an edit. Stage B makes the pictures sharp against a patch
discriminator, which sees the source beside each edit (`sharpening`).

Faces of 64 pixels come first, in stage A alone: at 128 pixels edits begin late.

    python -m core train l2m_pairs --minutes 40 --out small
    python -m core train l2m_pairs --preset tiny-128 --minutes 120 --generator small/attributes-l2m-tiny-64.safetensors

Time at 128 pixels: a process for each of two AVX-512 cores makes 28 pictures a second in stage A and 20 in stage B, in
bf16; one process alone makes 16 and 10. Memory: 1.5 GB a process. Seed: the preset's. Two processes on a CPU:

    ACCELERATE_USE_CPU=true python -m torch.distributed.run --nproc_per_node 2 -m core train l2m_pairs --threads 1

Data: people in all eight combinations of smile, glasses and gender, and more people as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core import data, hub
from core.features import resized
from core.images import from_uint8
from core.models import build
from core.models.l2m_gan import L2MGAN, load_smaller
from core.training import adversarial
from core.training.l2m import check_domains, domains_of, orthogonality, share_as_asked
from core.training.loop import Recipe, beginning
from core.training.losses import encoder_maps, laplacian, paired_terms, perceptual
from core.training.optim import adam_without_momentum
from core.training.pairs import SIZE, Domains, in_every_domain
from core.training.sharpening import Critic, Sharpening, discriminator_loss, generator_loss

CHECKED = 100           # validation people
SHOWN = 8               # faces on a sheet
DIFFERENT = 0.06        # of the range of 2: a pixel that differs so much is changed
REFERRED, KEPT = 2, 4   # of so many edits, one follows a reference; of so many, one asks for nothing


@dataclass(frozen=True)
class Preset(Sharpening):
    """network: preset of `l2m_gan`. attributes: yes/no attributes of `core.faces`; 2 ** their number domains.

    switched: share of edits that switch each attribute; one that changes the whole face drowns the others when it is
    switched as often. style, orthogonal: weights of the paper's losses that stay; 0 leaves one out. coded: pictures
    after which they count; before an edit depends on the code, they would only shrink it. changed: weight of
    `changed_error`. people: each in every domain. plain, looks: people and pictures of each that are kept as they are.
    rate: of stage A. generator: an L2M-GAN for half the size to start from, by name or path.
    """

    network: str
    name: str
    seed: int
    attributes: tuple[str, ...] = ("smile", "glasses", "gender")
    switched: tuple[float, ...] = (0.5, 0.5, 0.1)
    style: float = 0.02
    orthogonal: float = 0.02
    coded: int = 8_000
    changed: float = 1.0
    people: int = 500
    plain: int = 2500
    looks: int = 6
    batch: int = 8
    rate: float = 1e-3
    generator: str = ""


_TINY = Preset("tiny", "attributes-l2m-tiny-64", seed=53, sharp_rate=3e-4, most=1.0, gamma=0.1,
               soft_images=10 ** 9)     # never sharpened
_LARGE = replace(_TINY, network="tiny-128", name="attributes-l2m-tiny", generator="attributes-l2m-tiny-64",
                 soft_images=36_000)
PRESETS = {
    "tiny": _TINY,
    "tiny-128": _LARGE,
    "tiny-loose": replace(_TINY, name="l2m-loose", orthogonal=0.0),
    "onward": replace(_LARGE, soft_images=0, start="attributes-l2m-tiny", generator=""),
}


class PairedEdit(nn.Module):
    """An L2M-GAN and what it does in a step, in one call."""

    def __init__(self, network: L2MGAN) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, source: Tensor, ideal: Tensor, target: Tensor, kind: Tensor) -> tuple[Tensor, dict]:
        """x, ideal: (N, 3, S, S) in [-1, 1], of domains source and target (N,).

        kind: (N,) 0 transforms, 1 follows `ideal` as a reference, 2 keeps the style. Returns the edits (N, 3, S, S) and
        the terms of the style code by name, not weighted.
        """
        encoder = self.network.style_encoder
        codes = encoder(x, source, target)
        unrelated, referred = encoder.split(encoder.code(ideal, target))
        size = codes.code.float().abs().mean() + 1e-6       # so that no term is smaller for a smaller code
        kind = kind[:, None]
        related = torch.where(kind == 0, codes.edited, torch.where(kind == 1, referred, codes.related))
        made = self.network.generator(x, codes.unrelated + related)
        style = (codes.unrelated - unrelated).float().abs().mean() + (codes.edited - referred).float().abs().mean()
        return made, {"style": style / size, "orthogonal": orthogonality(codes, "element") / size ** 2}


class PairedRecipe(Recipe):
    """Networks "editor" (kept as an average), a `PairedEdit`, and "discriminator"."""

    averaged, saved, bits = ("editor",), ("editor", "l2m_gan"), 8

    def __init__(self, preset: Preset, drawn: Domains, plain: data.DrawnSet, held_out: Domains,
                 smaller: L2MGAN | None = None) -> None:
        """smaller: for half the size, to begin with."""
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.plain, self.held_out, self.batch = preset, drawn, plain, held_out, preset.batch
        editor = preset.initialised(build("l2m_gan", preset.network))
        self.config, self.encoder = editor.config, hub.load(preset.encoder)
        if smaller is not None:
            load_smaller(editor, smaller.state_dict())
        check_domains(preset.attributes, self.config.domains, preset.network)
        critic = Critic(build("discriminator", "paired"), nn.Identity())     # its condition is the source
        self.networks = {"editor": PairedEdit(editor).to(memory_format=torch.channels_last),
                         "discriminator": critic.to(memory_format=torch.channels_last)}
        self.optimizers = {"editor": adam_without_momentum([editor.parameters()], preset.rate),
                           "discriminator": adam_without_momentum([critic.discriminator.parameters()],
                                                                  preset.discriminating)}
        self.set_stage(False)

    @property
    def about(self) -> str:
        """What the manifest says of the network."""
        chosen, images = self.preset, int(self.networks["discriminator"].images)
        return (f"L2M-GAN over {', '.join(chosen.attributes)}, from the renderer's own edits: faces of "
                f"{self.config.size} pixels; {len(self.drawn)} people in every domain, {len(self.plain)} other "
                f"pictures, {chosen.summary(images)}, seed {chosen.seed}.")

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the checkpoint; returns its path."""
        return super().finish({"editor": networks["editor"].network}, folder, command)

    def set_stage(self, adversarial_stage: bool) -> None:
        """Rate and momentum of the editor's optimiser."""
        chosen = self.preset
        for group in self.optimizers["editor"].param_groups:
            group["initial_lr"], group["betas"] = ((chosen.sharp_rate, (0.0, 0.99)) if adversarial_stage else
                                                   (chosen.rate, (0.9, 0.99)))

    def stage(self, progress):
        return self.networks["discriminator"].stage(progress)

    def batches(self, start, shard, device) -> Iterator[dict]:
        """"image" and "ideal" (N, 3, S, S), "source", "target" and "kind" (N,), see `PairedEdit`."""
        for step in count(start * shard[1] + shard[0], shard[1]):
            rng = np.random.default_rng([self.preset.seed, step])
            numbers = rng.integers(len(self.drawn), size=self.batch)
            source = rng.integers(self.config.domains, size=self.batch)
            bits = rng.random((self.batch, len(self.preset.switched))) < self.preset.switched
            target = source ^ (bits << np.arange(bits.shape[1])).sum(1)
            kind = np.where(rng.integers(REFERRED, size=self.batch) == 0, 1, 0)
            image, ideal = self.drawn.pictures(numbers, source), self.drawn.pictures(numbers, target)
            kept = rng.integers(KEPT, size=self.batch) == 0
            rows = np.sort(rng.integers(len(self.plain), size=kept.sum()))
            image[kept] = ideal[kept] = self.plain.images[rows]
            truth = torch.from_numpy(self.plain.truth[rows].astype(np.float32))
            source[kept] = target[kept] = domains_of(truth, self.preset.attributes).numpy()
            yield self.material(image, ideal, source, target, np.where(kept, 2, kind),
                                rng.integers(2, size=self.batch) == 0, device)

    def material(self, image: np.ndarray, ideal: np.ndarray, source: np.ndarray, target: np.ndarray, kind: np.ndarray,
                 mirrored: np.ndarray, device) -> dict:
        """A batch of pictures (N, S, S, 3) uint8 and what they shall become."""
        image, ideal = (from_uint8(each).to(device) for each in (image, ideal))
        flip = torch.from_numpy(mirrored).to(device)[:, None, None, None]
        image, ideal = (resized(torch.where(flip, each.flip(-1), each), self.config.size).contiguous(
            memory_format=torch.channels_last) for each in (image, ideal))
        return {"image": image, "ideal": ideal, **{name: torch.from_numpy(np.asarray(value)).to(device) for name, value
                                                   in (("source", source), ("target", target), ("kind", kind))}}

    def updates(self, networks, batch, progress):
        chosen, critic, image, ideal = self.preset, self.networks["discriminator"], batch["image"], batch["ideal"]
        seen = critic.count(len(image))
        sharp, coded = seen >= chosen.soft_images, seen >= chosen.coded
        self.set_stage(sharp)
        made, codes = networks["editor"](image, batch["source"], ideal, batch["target"], batch["kind"])
        others = {name: getattr(chosen, name) * term for name, term in codes.items() if getattr(chosen, name) and coded}
        others["changed"] = chosen.changed * changed_error(made, ideal, image)
        if not sharp:
            seen = encoder_maps(self.encoder, ideal)
            others["perceptual"] = chosen.perception * perceptual(encoder_maps(self.encoder, made), seen)
            terms = paired_terms(made, ideal) | others
            yield "editor", sum(terms.values()), {name: term.detach() for name, term in terms.items()}
            return
        if not int(critic.steps):
            critic.begin(nn.Identity(), progress)
        yield "discriminator", *discriminator_loss(networks["discriminator"], ideal, made.detach(), image, chosen.gamma,
                                                   int(critic.steps) % adversarial.LAZY == 0)
        last = self.networks["editor"].network.generator.to_rgb[-1].weight
        yield "editor", *generator_loss(critic, self.encoder, made, ideal, image, last, chosen, others)
        critic.steps += 1

    def check(self, networks):
        """Of held-out people, each edited to another domain: the share of attributes that `judge-tiny` sees as asked
        for, L1 to the renderer's edit, and the Laplacian energy in parts of the renderer's.
        """
        part, made = self.edits(networks, np.arange(len(self.held_out)))
        return {"as asked": share_as_asked(made, part["target"], self.preset.attributes),
                "l1": float((made - part["ideal"]).abs().mean()),
                "sharpness": float(laplacian(made) / laplacian(part["ideal"])),
                "images": int(self.networks["discriminator"].images)}

    def edits(self, networks: dict, numbers: np.ndarray, add: int | None = None) -> tuple[dict, Tensor]:
        """Held-out people edited from their own domain to another: their material and the edits.

        add: what the other domain differs by, as a number to XOR; None goes through all.
        """
        own = self.held_out.own[numbers]
        others = np.resize(np.arange(1, self.config.domains), len(numbers)) if add is None else np.full_like(own, add)
        network = networks["editor"].network
        part = self.material(self.held_out.pictures(numbers, own), self.held_out.pictures(numbers, own ^ others), own,
                             own ^ others, np.zeros_like(own), np.zeros(len(own), bool),
                             next(network.parameters()).device)
        return part, network(part["image"], part["source"], part["target"]).clamp(-1, 1)

    def sheet(self, networks):
        """Held-out faces; for each attribute a row of edits of it alone, over the renderer's."""
        from core.images import grid, to_pil

        numbers, rows = np.arange(SHOWN), []
        for bit in range(len(self.preset.attributes)):
            part, made = self.edits(networks, numbers, 1 << bit)
            rows += [made, part["ideal"]]
        return grid(to_pil(torch.cat([part["image"], *rows])), columns=SHOWN)


def changed_error(made: Tensor, ideal: Tensor, image: Tensor) -> Tensor:
    """The L1 distance to the renderer's edits in the pixels that they change; the mean over pictures (N, 3, S, S).

    A pair of glasses changes a fortieth of a picture, so in the mean over all pixels it hardly counts.
    """
    where = ((ideal - image).abs().amax(1, keepdim=True) > DIFFERENT).to(made.dtype)
    off = ((made - ideal).abs().mean(1, keepdim=True) * where).sum((1, 2, 3))
    return (off / where.sum((1, 2, 3)).clamp(min=1)).mean()


def recipe(preset: str, **asked: float) -> PairedRecipe:
    """The recipe of a preset; its faces are drawn if they are not yet."""
    chosen = replace(PRESETS[preset], **asked)
    smaller = beginning(chosen.generator, "l2m_gan", "l2m_pairs") if chosen.generator else None
    return PairedRecipe(chosen, in_every_domain(chosen.people, "train", chosen.attributes),
                        data.drawn_set("train", chosen.plain, chosen.looks, size=SIZE, version=4),
                        in_every_domain(CHECKED, "validation", chosen.attributes), smaller)
