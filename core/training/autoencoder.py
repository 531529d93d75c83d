"""Recipe of the autoencoder of `aging-tiny`: faces of 128 x 128 pixels to 16 x 16 x 8 latents and back.

Time: estimated at 40 minutes on two CPU cores for recognisable faces (5 pictures a second per core), after drawing
18,000 pictures in about 20 minutes; 5 minutes on an H200 (700 to 1,400 pictures a second in batches of 64).
Memory: estimated at 2 GB. Seed: the preset's.
Data: `aligned` drawn faces at 128 pixels, reduced for the steering networks. Loss: see `terms`.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import data, hub, metrics
from core.images import recognisable
from core.models import build
from core.models.autoencoder import Autoencoder
from core.training.loop import Recipe
from core.training.losses import perceptual, seen_by
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: preset of `autoencoder`. people × looks drawn faces. pixel, perceptual, biometric, years, kl: weights.

    biometric: of the L1 distance between face vectors, 0.1 as in Banerjee et al. (arXiv 2307.08585).
    years: per year of age. Soft pictures lose wrinkles first, which makes people younger.
    kl: per latent value; small, but it keeps the latents smooth enough for diffusion.
    """

    network: str
    seed: int
    people: int = 1500
    looks: int = 12
    batch: int = 4
    rate: float = 8e-4
    pixel: float = 10.0
    perceptual: float = 0.5
    biometric: float = 0.1
    years: float = 2e-3
    kl: float = 1e-4
    steering: tuple[str, str] = ("embedder-tiny-v3", "judge-tiny-v3")
    name: str = "aging-autoencoder-tiny"


AUGMENT = data.Augment(flip=0.5)
MEASURED = 1024  # pictures for mean and standard deviation of the latents


class AutoencoderRecipe(Recipe):
    """One network, "autoencoder", averaged; the steering embedder and judge are frozen."""

    averaged = ("autoencoder",)

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet,
                 device: str | None = None) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        self.steering = [hub.load(name, device) for name in preset.steering]
        autoencoder = build("autoencoder", preset.network)     # channels first: faster group norms
        self.networks, self.shipped = {"autoencoder": autoencoder}, {"autoencoder": preset.name}
        self.optimizers = {"loss": adamw([autoencoder], preset.rate, decay=0.01)}

    def batches(self, start, shard, device):
        return data.batches(self.drawn, self.batch, self.preset.seed, device, AUGMENT, start, shard)

    def updates(self, networks, batch, progress):
        terms = self.terms(networks, batch["image"])
        loss = sum(getattr(self.preset, name) * term for name, term in terms.items())
        yield "loss", loss, {name: term.detach() for name, term in terms.items()}

    def terms(self, networks, image: Tensor) -> dict[str, Tensor]:
        """L1 of pixels, perception, L1 of face vectors and of years, KL divergence of the latents."""
        made, mean, logvar = networks["autoencoder"](image)
        with torch.no_grad():
            wanted, maps, age = self.seen(image)
        vectors, made_maps, made_age = self.seen(made)
        return {
            "pixel": (made - image).abs().mean(),
            "perceptual": perceptual(made_maps, maps),
            "biometric": (vectors - wanted).abs().mean(),
            "years": (made_age - age).abs().mean(),
            "kl": 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean(),
        }

    def seen(self, image: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Vectors, feature maps and years of faces (N, 3, 128, 128), resized for the steering networks."""
        return seen_by(self.steering, recognisable(image).contiguous(memory_format=torch.channels_last))

    def check(self, networks):
        """Pixel error, PSNR, cosine of face vectors and age error, on an eighth of the validation pictures."""
        image = self.shown(networks, np.arange(0, len(self.held_out), 8))
        made = networks["autoencoder"](image)[0].clamp(-1, 1)
        error = (made - image).square().mean((1, 2, 3))
        (vectors, _, age), (found, _, made_age) = self.seen(image), self.seen(made)
        return {"l1": float((made - image).abs().mean()), "psnr": float((10 * torch.log10(4 / error)).mean()),
                "cos": float(metrics.cosine(found, vectors).mean()), "years": float((made_age - age).abs().mean())}

    def sheet(self, networks):
        """Eight validation faces above their reconstructions."""
        from core.images import grid, to_pil

        image = self.shown(networks, np.linspace(0, len(self.held_out) - 1, 8).astype(int))
        return grid(to_pil(torch.cat([image, networks["autoencoder"](image)[0]])), columns=8)

    def shown(self, networks, rows: np.ndarray) -> Tensor:
        """Validation pictures on the network's device."""
        return data.rows_of(self.held_out, rows, next(networks["autoencoder"].parameters()).device)["image"]

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the checkpoint, with latents standardised; returns its path."""
        chosen, network = self.preset, networks["autoencoder"]
        rows = np.linspace(0, len(self.drawn) - 1, min(MEASURED, len(self.drawn))).astype(int)
        network = standardised(network, latents_of(network, self.drawn, rows))
        size, channels = network.config.size, network.config.channels
        about = (f"AutoencoderKL: a drawn face of {size} x {size} pixels in {size // 8} x {size // 8} x {channels} "
                 f"numbers; {chosen.people} people × {chosen.looks} looks, seed {chosen.seed}.")
        return [hub.save(network, chosen.name, network="autoencoder", preset=chosen.network, recipe=command,
                         about=about, folder=folder)]


@torch.no_grad()
def latents_of(autoencoder: Autoencoder, drawn: data.DrawnSet, rows: np.ndarray, mirrored: bool = False) -> Tensor:
    """The latents of some rows of a set, (N, C, h, w) on the CPU; of mirror images if `mirrored`."""
    device, found = next(autoencoder.parameters()).device, []
    for part in np.array_split(rows, max(len(rows) // 32, 1)):
        image = data.rows_of(drawn, part, device)["image"]
        image = image.flip(3) if mirrored else image
        found.append(autoencoder.encode(image).float().cpu())
    return torch.cat(found)


@torch.no_grad()
def standardised(autoencoder: Autoencoder, latents: Tensor) -> Autoencoder:
    """A copy with the same reconstructions, whose latents (N, C, h, w) have mean 0 and standard deviation 1.

    Shift and scale of each channel are merged into the last layer of the encoder and the first of the decoder. So the
    checkpoint needs no separate latent scale for diffusion.
    """
    autoencoder = copy.deepcopy(autoencoder)
    into, out = autoencoder.kl.quant_conv, autoencoder.kl.post_quant_conv
    mean, spread = (value.to(into.weight.device) for value in (latents.mean((0, 2, 3)), latents.std((0, 2, 3))))
    count = len(mean)
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= spread[:, None, None]
    into.weight[:count] /= spread[:, None, None, None]
    into.bias[:count] = (into.bias[:count] - mean) / spread
    into.bias[count:] -= 2 * spread.log()
    return autoencoder
