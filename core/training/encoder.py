"""Recipe of the encoder: a picture of a face -> the w+ latents with which a frozen StyleGAN2 draws it again.

Tov et al., *Designing an Encoder for StyleGAN Image Manipulation* (e4e), SIGGRAPH 2021, section 5, at small size: half
of each batch are drawn faces, compared by pixels and an autoencoder's features; half are the generator's own pictures,
whose latents are known. The changes between the rows of w+ are kept small, so that latents stay editable. There is no
latent discriminator: the known latents take its place.

Time: on one AVX2 core, in float32, a step of 16 takes 1.3 seconds. Memory: 2 GB. Seed: the preset's.
Data: `aligned` drawn faces of the generator's size, shared with `train stylegan2`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import data, hub, metrics
from core.models import build
from core.training.loop import Recipe, drawn_sets
from core.training.losses import encoder_maps, perceptual
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: preset of `e4e`. generator: a checkpoint, or a file of `train`. people × looks drawn faces.

    pixel, perceptual, latent, editable: weights of L1, of the features, of known latents, and of the changes between
    rows. features: autoencoder whose encoder compares pictures. embedder: for checks only.
    """

    network: str
    seed: int
    generator: str = "stylegan2-tiny"
    features: str = "aging-autoencoder-tiny"
    embedder: str = "embedder-tiny"
    people: int = 6000
    looks: int = 6
    batch: int = 16
    rate: float = 1e-3
    pixel: float = 1.0
    perceptual: float = 0.3
    latent: float = 0.3
    editable: float = 0.02
    name: str = "attributes-encoder-tiny"


PRESETS = {"tiny": Preset("tiny-128", seed=35)}
CHECKED = (150, 8)  # validation people × looks
SHOWN = 8  # columns of the sheet


class EncoderRecipe(Recipe):
    """One network, "encoder", averaged. The generator is frozen and draws with its saved noise, as in use."""

    averaged, saved, bits = ("encoder",), ("encoder", "e4e"), 8

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet,
                 device: str | None = None) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        self.generator = hub.network_of(preset.generator, "stylegan2", device)
        self.latent_width = self.generator.config.latent
        self.about = (f"Encoder: a drawn face to the w+ latents of {Path(preset.generator).name}; {preset.people} "
                      f"people × {preset.looks} looks, seed {preset.seed}.")
        self.features, self.embedder = hub.load(preset.features, device), hub.load(preset.embedder, device)
        self.mean = self.generator.mean_style()                                  # (1, style)
        encoder = build("e4e", preset.network).to(memory_format=torch.channels_last)
        self.networks = {"encoder": encoder}
        self.optimizers = {"loss": adamw([encoder], preset.rate, decay=0.0)}

    def batches(self, start: int, shard: tuple[int, int], device) -> Iterator[dict]:
        half, seed, step = self.batch // 2, self.preset.seed, start * shard[1] + shard[0]
        for batch in data.batches(self.drawn, half, seed, device, data.Augment(flip=0.5), start, shard):
            draw = torch.Generator().manual_seed(data.look_seed("z", step, 0, seed))
            z = torch.randn(self.batch - half, self.latent_width, generator=draw)
            yield {"image": batch["image"], "z": z if device is None else z.to(device)}
            step += shard[1]

    def updates(self, networks, batch, progress):
        with torch.no_grad():
            known = self.generator.map(batch["z"])                               # (N, style)
            own = self.generator.synthesize(known).clamp(-1, 1)
            wanted = encoder_maps(self.features, batch["image"])
        real = batch["image"]
        found = networks["encoder"](torch.cat((real, own)).contiguous(memory_format=torch.channels_last))
        made = self.generator.synthesize(found[:len(real)] + self.mean)
        spread = (known - self.mean).square().mean().sqrt()
        chosen = self.preset
        terms = {"pixel": (made - real).abs().mean(),
                 "perceptual": perceptual(encoder_maps(self.features, made), wanted),
                 "latent": F.smooth_l1_loss((found[len(real):] + self.mean) / spread,
                                            (known / spread)[:, None].expand_as(found[len(real):])),
                 "editable": ((found[:, 1:] - found[:, :1]) / spread).square().mean()}
        loss = sum(getattr(chosen, name) * term for name, term in terms.items())
        yield "loss", loss, {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def check(self, networks):
        """Of 64 validation faces: L1, and the cosine of face vectors before and after."""
        real, made = self.shown(networks, 64)
        before, after = (data.outputs(self.embedder, each.clamp(-1, 1)) for each in (real, made))
        return {"l1": float((made - real).abs().mean()), "identity": float(metrics.cosine(before, after).mean())}

    def sheet(self, networks):
        """Validation faces, and the same drawn from their latents."""
        from core.images import grid, to_pil

        return grid(to_pil(torch.cat(self.shown(networks, SHOWN))), columns=SHOWN)

    def shown(self, networks, count: int) -> tuple[Tensor, Tensor]:
        """Validation faces spread over the people, and what is drawn from their latents, (N, 3, S, S) each."""
        rows = np.linspace(0, len(self.held_out) - 1, min(count, len(self.held_out))).astype(int)
        real = data.rows_of(self.held_out, rows, self.mean.device)["image"]
        made = [self.generator.synthesize(networks["encoder"].invert(part, self.mean)) for part in real.split(16)]
        return real, torch.cat(made)


def recipe(preset: str, **asked) -> EncoderRecipe:
    """The recipe of a preset; missing faces are drawn. Needs the generator's checkpoint."""
    chosen = replace(PRESETS[preset], **asked)
    size = build("e4e", chosen.network).config.size
    return EncoderRecipe(chosen, *drawn_sets(chosen, CHECKED, size=size, version=4))
