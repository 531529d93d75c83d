"""The last stage of the autoencoder of `aging-tiny`: its decoder alone, against a patch discriminator (`sharpening`).

The encoder and its latents stay as they are, so denoisers stay valid. The frozen encoder also compares pictures, and
the decoder that the stage began with draws the discriminator's condition.

Time: estimated at three hours on one core with bf16 units. Memory: estimated at 2 GB. Seed: the preset's.
Data: `aligned` drawn faces of 128 pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from core import data, hub
from core.models import build
from core.training import adversarial
from core.training.loop import Recipe
from core.training.losses import laplacian
from core.training.optim import adam_without_momentum
from core.training.sharpening import Critic, Sharpening, discriminator_loss, generator_loss


@dataclass(frozen=True)
class Preset(Sharpening):
    """network: preset of `autoencoder`. people × looks drawn faces."""

    network: str
    seed: int
    people: int = 1500
    looks: int = 12
    batch: int = 8
    name: str = "aging-autoencoder-tiny"


AUGMENT = data.Augment(flip=0.5)
SHOWN = 8   # columns of the sheet


class Decoding(nn.Module):
    """Training wrapper of the autoencoder: its picture of a picture, with a gradient to the decoder only."""

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        autoencoder.kl.encoder.requires_grad_(False)
        autoencoder.kl.quant_conv.requires_grad_(False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """image: (N, 3, S, S) -> the same from its latents, and these, (N, C, S / 8, S / 8)."""
        latents = self.autoencoder.encode(image)
        return self.autoencoder.decode(latents), latents


class DecoderRecipe(Recipe):
    """Networks "autoencoder" (kept as an average) and "discriminator", a `Critic`."""

    averaged = ("autoencoder",)

    def __init__(self, preset: Preset, drawn: data.DrawnSet, held_out: data.DrawnSet,
                 device: str | None = None) -> None:
        torch.manual_seed(preset.seed)
        self.preset, self.drawn, self.held_out, self.batch = preset, drawn, held_out, preset.batch
        self.encoder = hub.load(preset.encoder, device)
        autoencoder = preset.initialised(build("autoencoder", preset.network))
        self.networks = {"autoencoder": Decoding(autoencoder),
                         "discriminator": Critic(build("discriminator", "paired"), autoencoder)}
        self.optimizers = {
            "loss": adam_without_momentum([[p for p in autoencoder.parameters() if p.requires_grad]],
                                          preset.sharp_rate),
            "discriminator": adam_without_momentum([self.networks["discriminator"].discriminator.parameters()],
                                                   preset.discriminating)}

    def batches(self, start: int, shard: tuple[int, int], device) -> Iterator[dict]:
        return data.batches(self.drawn, self.batch, self.preset.seed, device, AUGMENT, start, shard)

    def updates(self, networks, batch, progress):
        critic, image = self.networks["discriminator"], batch["image"]
        critic.count(len(image))
        made, latents = networks["autoencoder"](image)
        with torch.no_grad():
            condition = critic.soft.decode(latents)
        yield "discriminator", *discriminator_loss(networks["discriminator"], image, made.detach(), condition,
                                                   self.preset.gamma, int(critic.steps) % adversarial.LAZY == 0)
        last = self.networks["autoencoder"].autoencoder.kl.decoder.conv_out.weight
        yield "loss", *generator_loss(critic, self.encoder, made, image, condition, last, self.preset)
        critic.steps += 1

    def check(self, networks):
        """Of an eighth of the validation pictures: L1, and the Laplacian energy of theirs in parts of the real one."""
        image, made = self.shown(networks, torch.arange(0, len(self.held_out), 8))
        return {"l1": float((made - image).abs().mean()), "sharpness": float(laplacian(made) / laplacian(image)),
                "images": int(self.networks["discriminator"].images)}

    def sheet(self, networks):
        """Eight validation faces above the same from their latents."""
        from core.images import grid, to_pil

        rows = torch.linspace(0, len(self.held_out) - 1, SHOWN).long()
        return grid(to_pil(torch.cat(self.shown(networks, rows))), columns=SHOWN)

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the autoencoder; returns its path."""
        chosen, network = self.preset, networks["autoencoder"].autoencoder
        size, channels = network.config.size, network.config.channels
        images = int(self.networks["discriminator"].images)
        about = (f"AutoencoderKL: a drawn face of {size} x {size} pixels in {size // 8} x {size // 8} x {channels} "
                 f"numbers; the decoder alone, {chosen.people} people × {chosen.looks} looks, "
                 f"{chosen.summary(images)}, seed {chosen.seed}.")
        return [hub.save(network, chosen.name, network="autoencoder", preset=chosen.network, recipe=command,
                         about=about, folder=folder)]

    def shown(self, networks, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Some validation pictures and the same from their latents, both (N, 3, S, S)."""
        network = networks["autoencoder"].autoencoder
        image = data.rows_of(self.held_out, rows.numpy(), network.kl.decoder.conv_out.weight.device)["image"]
        return image, torch.cat([network(part)[0] for part in image.split(32)])
