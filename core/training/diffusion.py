"""The denoiser of `aging-tiny`, and the text encoder that is trained along with it, for nothing pre-trained exists.

Time: estimated at 2 hours on two CPU cores for ages one recognises (one core makes 40 pictures a second), after some 10
minutes for the latents. Memory: estimated at 2 GB. Seed: the preset's.
Data: latents of drawn faces and of their mirror images, made once and cached, with captions drawn anew at every step.
Loss: squared error of the noise, weighted by min-SNR (Hang et al., ICCV 2023); see `snr_weights`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core import data, hub, words
from core.errors import CheckpointError
from core.faces import NAMES, VERSION
from core.hub.files import locked, replacing
from core.models import build
from core.models.autoencoder import Autoencoder
from core.models.unet import NOISE
from core.training.autoencoder import latents_of
from core.training.embedder import adamw
from core.training.loop import Recipe


@dataclass(frozen=True)
class Preset:
    """network: preset of `unet` and of `text`. people × looks drawn faces.

    silent: share of captions left out, so that guidance has something to compare with.
    snr: no noise level weighs more than one with this ratio of signal to noise.
    """

    network: str
    seed: int
    people: int = 1500
    looks: int = 12
    batch: int = 64
    rate: float = 6e-4
    silent: float = 0.1
    snr: float = 5.0
    autoencoder: str = "aging-autoencoder-tiny"
    name: str = "aging-unet-tiny"
    text_name: str = "aging-text-tiny"


BLOCK = 1024  # pictures between two lines of progress while latents are made
SHOWN = 2  # seeds on the sheet, at all six ages
LEVELS = 8  # noise levels at which a validation picture is checked
MIRRORED = np.where(np.isin(NAMES, data.MIRRORED), -1.0, 1.0)  # what a mirror does to a truth


class DiffusionRecipe(Recipe):
    """Networks "unet" and "text", both kept as averages, one optimiser; the autoencoder is frozen."""

    averaged = ("unet", "text")

    def __init__(self, preset: Preset, autoencoder: Autoencoder, drawn: data.DrawnSet, held_out: data.DrawnSet) -> None:
        from diffusers import DDPMScheduler

        torch.manual_seed(preset.seed)
        self.preset, self.autoencoder, self.batch = preset, autoencoder, preset.batch
        digest = hub.row(preset.autoencoder).sha256
        self.truth, self.held_out_truth = drawn.truth, held_out.truth
        self.latents, self.held_out = (cached_latents(autoencoder, each, digest) for each in (drawn, held_out))
        self.noise = DDPMScheduler(**NOISE)
        self.weights = snr_weights(self.noise.alphas_cumprod, preset.snr)
        self.networks = {"unet": build("unet", preset.network), "text": build("text", preset.network)}
        self.optimizers = {"loss": adamw(list(self.networks.values()), preset.rate, decay=0.01)}

    def batches(self, start, shard, device):
        """"latents" (B, 4, h, w) and "tokens" (B, T): each picture and mirror image once per epoch."""
        count, seed = 2 * len(self.latents), self.preset.seed
        per_epoch = max(count // self.batch, 1)
        step = start * shard[1] + shard[0]
        while True:
            epoch, part = divmod(step, per_epoch)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            chosen = order[part * self.batch : (part + 1) * self.batch]
            captions = self.captions(chosen, np.random.default_rng([seed, epoch, part]))
            batch = {"latents": torch.from_numpy(self.latents[chosen // 2, chosen % 2].astype(np.float32)),
                     "tokens": words.tokens(captions)}
            yield {name: value.to(device) if device is not None else value for name, value in batch.items()}
            step += shard[1]

    def captions(self, chosen: np.ndarray, rng: np.random.Generator) -> list[str]:
        """A caption for each chosen picture, twice its row and one more for its mirror image; some are empty."""
        truths = np.where((chosen % 2)[:, None], self.truth[chosen // 2] * MIRRORED, self.truth[chosen // 2])
        return ["" if rng.random() < self.preset.silent else words.caption(truth, rng) for truth in truths]

    def updates(self, networks, batch, progress):
        latents = batch["latents"]
        time = torch.randint(len(self.weights), (len(latents),), device=latents.device)
        error = self.error(networks, latents, torch.randn_like(latents), time, batch["tokens"])
        loss = (self.weights.to(time.device)[time] * error).mean()
        yield "loss", loss, {"plain": error.detach().mean()}

    def error(self, networks, latents: Tensor, noise: Tensor, time: Tensor, tokens: Tensor) -> Tensor:
        """Squared error of the noise found in noisy latents (N, 4, h, w) at times (N,): (N,), 1 for nothing found."""
        noisy = self.noise.add_noise(latents, noise, time)
        found = networks["unet"](noisy, time, networks["text"](tokens))
        return (found.float() - noise).square().mean((1, 2, 3))

    def check(self, networks):
        """Squared error of the noise in validation pictures, the same noise every time; and of the noisiest half."""
        device = next(networks["unet"].parameters()).device
        generator, rng, errors = torch.Generator().manual_seed(0), np.random.default_rng(0), []
        captions = [words.caption(truth, rng) for truth in self.held_out_truth]
        latents, tokens = torch.from_numpy(self.held_out[:, 0].astype(np.float32)), words.tokens(captions)
        level = torch.arange(len(latents)) % LEVELS                                        # of each picture
        time = ((level + 0.5) * len(self.weights) / LEVELS).long()
        noise = torch.randn(latents.shape, generator=generator)
        for part in torch.arange(len(latents)).split(64):
            given = (value[part].to(device) for value in (latents, noise, time, tokens))
            errors.append(self.error(networks, *given).cpu())
        errors = torch.cat(errors)
        return {"noise": float(errors.mean()), "noisiest": float(errors[level >= LEVELS // 2].mean())}

    def sheet(self, networks):
        """Rows: seeds. Columns: the six ages, youngest first."""
        from core.images import grid, to_pil

        device = next(networks["unet"].parameters()).device
        prompts = [words.PROMPT.format(group) for group in words.GROUPS]
        states = networks["text"](words.tokens(["", *prompts]).to(device))
        seeds = [seed for seed in range(SHOWN) for _ in prompts]
        made = sampled(networks["unet"], states[1:].repeat(SHOWN, 1, 1), states[:1], seeds)
        picture = self.autoencoder.decode(made.to(next(self.autoencoder.parameters()).device))
        return grid(to_pil(picture.clamp(-1, 1)), columns=len(prompts))

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write both checkpoints; returns their paths."""
        chosen = self.preset
        about = f"trained together on {chosen.people} drawn people × {chosen.looks} looks, seed {chosen.seed}."
        return [hub.save(networks[network], name, network=network, preset=chosen.network, recipe=command,
                         about=f"{what}; denoiser and text encoder {about}", folder=folder)
                for network, name, what in (
                    ("unet", chosen.name, "UNet2DConditionModel for the latents of drawn faces"),
                    ("text", chosen.text_name, "CLIPTextModel for the words of checkpoints/aging-words"))]


def trained_autoencoder(name: str) -> Autoencoder:
    """The autoencoder whose latents are learnt. Raises CheckpointError, with the command that makes it."""
    if name not in {row.name for row in hub.rows()}:
        raise CheckpointError(f"the denoiser learns the latents of {name}, which is not among the checkpoints yet",
                              "train it first:  python -m core train aging --preset autoencoder --ship checkpoints")
    return hub.load(name)


def cached_latents(autoencoder: Autoencoder, drawn: data.DrawnSet, digest: str) -> np.ndarray:
    """The latents of a set's pictures and of their mirror images, (N, 2, 4, h, w) float16, made once, kept on disk.

    digest: SHA-256 of the autoencoder's file; with the pictures' truths it names what is kept.
    """
    pictures = hashlib.sha256(drawn.truth.tobytes()).hexdigest()
    key = data.key_of(version=VERSION, size=drawn.images.shape, pictures=pictures, autoencoder=digest)
    path = data.cache_dir() / "latents" / f"{key}.npy"
    with locked(path):
        if not path.exists():
            with replacing(path) as part, part.open("wb") as file:
                np.save(file, _latents_of_all(autoencoder, drawn))
    return np.load(path)


def _latents_of_all(autoencoder: Autoencoder, drawn: data.DrawnSet) -> np.ndarray:
    made = []
    for first in range(0, len(drawn), BLOCK):
        rows = np.arange(first, min(first + BLOCK, len(drawn)))
        sides = [latents_of(autoencoder, drawn, rows, mirrored).half().numpy() for mirrored in (False, True)]
        made.append(np.stack(sides, axis=1))
        print(f"latents of {rows[-1] + 1} of {len(drawn)} pictures", flush=True)
    return np.concatenate(made)


def snr_weights(alphas: Tensor, most: float) -> Tensor:
    """Weight of each noise level, (T,): min(SNR, most) / SNR, with SNR = ᾱ / (1 - ᾱ) of the schedule's ᾱ (T,).

    The squared error of the noise is that of the picture times the SNR: unweighted, the levels with hardly any noise
    would get nearly all of the attention.
    """
    snr = alphas / (1 - alphas)
    return snr.clamp(max=most) / snr


@torch.no_grad()
def sampled(unet: nn.Module, states: Tensor, silent: Tensor, seeds: list[int], steps: int = 20,
            guidance: float = 5.0) -> Tensor:
    """Latents (N, 4, h, w) drawn by DPM-Solver++ (Lu et al. 2022), one seed each.

    states: (N, T, C) of the prompts. silent: (1, T, C) of the empty one, from which guidance leads away.
    """
    from diffusers import DPMSolverMultistepScheduler

    solver, size, device = DPMSolverMultistepScheduler(**NOISE), unet.config.size, states.device
    solver.set_timesteps(steps, device=device)
    noise = [torch.randn(4, size, size, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    x, both = torch.stack(noise).to(device), torch.cat([silent.expand_as(states), states])
    for time in solver.timesteps:
        away, towards = unet(torch.cat([x, x]), time.expand(len(both)), both).chunk(2)
        x = solver.step(away + guidance * (towards - away), time, x).prev_sample
    return x
