"""Recipe of the denoiser of `aging-tiny`, trained together with its text encoder.

A third network is trained too: it predicts the initial embedding of a rare token (core/models/subject.py) from face
vectors of the person's other pictures. Many captions name the person by such a token. So the denoiser learns which
properties depend on a token, and which on words.

Time: estimated at 2 hours on two CPU cores for recognisable ages (40 pictures a second per core), after 10 minutes for
the latents; 4 minutes on an H200 (2,400 a second in batches of 256, beside another run). Memory:
estimated at 2 GB. Seed: the preset's.
Data: latents of drawn faces and of their mirror images, cached, with new random captions at every step.
Loss: squared error of the noise, weighted by min-SNR (Hang et al., ICCV 2023); see `snr_weights`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import data, hub, words
from core.errors import CheckpointError
from core.faces import NAMES
from core.latent import denoise, write_prior
from core.models import build
from core.models.autoencoder import Autoencoder
from core.models.unet import NOISE
from core.training.latents import People, cached_latents
from core.training.loop import Recipe
from core.training.optim import adamw


@dataclass(frozen=True)
class Preset:
    """network: preset of `unet` and of `text`. people × looks drawn faces.

    unconditional: share of empty captions, for classifier-free guidance.
    named: share of the others that name the person by a rare token, from up to `seen` other pictures.
    snr: γ of min-SNR loss weights.
    """

    network: str
    seed: int
    people: int = 1500
    looks: int = 12
    batch: int = 64
    rate: float = 6e-4
    unconditional: float = 0.1
    named: float = 0.6
    seen: int = 8
    snr: float = 5.0
    autoencoder: str = "aging-autoencoder-tiny"
    name: str = "aging-unet-tiny"
    text_name: str = "aging-text-tiny"
    subject_name: str = "aging-subject-tiny"
    prior_name: str = "aging-prior-tiny"
    embedder: str = "embedder-tiny-v3"


PRIOR = 612  # pictures of the regularisation set, as in the public code
SHOWN = 2  # rows of the sheet: seeds, and as many people
LEVELS = 8  # noise levels of validation
MIRRORED = np.where(np.isin(NAMES, data.MIRRORED), -1.0, 1.0)  # factors of a mirrored truth


class DiffusionRecipe(Recipe):
    """Networks "unet", "text" and "subject", all averaged, one optimiser; the autoencoder is frozen."""

    averaged = ("unet", "text", "subject")

    def __init__(self, preset: Preset, autoencoder: Autoencoder, drawn: data.DrawnSet, held_out: data.DrawnSet) -> None:
        from diffusers import DDPMScheduler

        torch.manual_seed(preset.seed)
        self.preset, self.autoencoder, self.batch = preset, autoencoder, preset.batch
        self.truth, self.held_out_truth = drawn.truth, held_out.truth
        self.latents, self.held_out = (cached_latents(autoencoder, each) for each in (drawn, held_out))
        self.people, self.held_out_people = (People.of(each, preset.embedder) for each in (drawn, held_out))
        self.noise = DDPMScheduler(**NOISE)
        self.weights = snr_weights(self.noise.alphas_cumprod, preset.snr)
        self.networks = {name: build(name, preset.network) for name in self.averaged}
        self.shipped = {"unet": preset.name, "text": preset.text_name, "subject": preset.subject_name}
        self.optimizers = {"loss": adamw(list(self.networks.values()), preset.rate, decay=0.01)}

    def batches(self, start, shard, device):
        """"latents" (B, C, h, w), "tokens" (B, T), "faces" (B, 512): each picture and mirror image once per epoch."""
        count, seed = 2 * len(self.latents), self.preset.seed
        per_epoch = max(count // self.batch, 1)
        step = start * shard[1] + shard[0]
        while True:
            epoch, part = divmod(step, per_epoch)
            order = np.random.default_rng([seed, epoch]).permutation(count)
            chosen = order[part * self.batch : (part + 1) * self.batch]
            rng = np.random.default_rng([seed, epoch, part])
            batch = {"latents": torch.from_numpy(self.latents[chosen // 2, chosen % 2].astype(np.float32)),
                     "tokens": words.tokens(self.captions(chosen, rng)),
                     "faces": self.people.others(chosen // 2, rng, self.preset.seen)}
            yield {name: value.to(device) if device is not None else value for name, value in batch.items()}
            step += shard[1]

    def captions(self, chosen: np.ndarray, rng: np.random.Generator) -> list[str]:
        """Captions of pictures, some empty. chosen: twice the row, plus one for the mirror image."""
        truths = np.where((chosen % 2)[:, None], self.truth[chosen // 2] * MIRRORED, self.truth[chosen // 2])
        return ["" if rng.random() < self.preset.unconditional else self.caption(truth, rng) for truth in truths]

    def caption(self, truth: np.ndarray, rng: np.random.Generator) -> str:
        """A caption with or without a rare token."""
        token = words.RARE[rng.integers(len(words.RARE))] if rng.random() < self.preset.named else None
        return words.caption(truth, rng, token=token)

    def updates(self, networks, batch, progress):
        latents = batch["latents"]
        time = torch.randint(len(self.weights), (len(latents),), device=latents.device)
        states = encode_captions(networks, batch["tokens"], batch["faces"])
        error = self.error(networks, latents, torch.randn_like(latents), time, states)
        loss = (self.weights.to(time.device)[time] * error).mean()
        yield "loss", loss, {"plain": error.detach().mean()}

    def error(self, networks, latents: Tensor, noise: Tensor, time: Tensor, states: Tensor) -> Tensor:
        """Squared error of the predicted noise in latents (N, C, h, w) at times (N,): (N,)."""
        noisy = self.noise.add_noise(latents, noise, time)
        found = networks["unet"](noisy, time, states)
        return (found.float() - noise).square().mean((1, 2, 3))

    def check(self, networks):
        """Squared error of the noise on validation pictures with fixed noise; also for the noisier half."""
        device = next(networks["unet"].parameters()).device
        generator, rng, errors = torch.Generator().manual_seed(0), np.random.default_rng(0), []
        captions = [self.caption(truth, rng) for truth in self.held_out_truth]
        latents, tokens = torch.from_numpy(self.held_out[:, 0].astype(np.float32)), words.tokens(captions)
        people = self.held_out_people.others(np.arange(len(latents)), rng, self.preset.seen)
        level = torch.arange(len(latents)) % LEVELS                                        # of each picture
        time = ((level + 0.5) * len(self.weights) / LEVELS).long()
        noise = torch.randn(latents.shape, generator=generator)
        for part in torch.arange(len(latents)).split(64):
            given = [value[part].to(device) for value in (latents, noise, time)]
            states = encode_captions(networks, tokens[part].to(device), people[part].to(device))
            errors.append(self.error(networks, *given, states).cpu())
        errors = torch.cat(errors)
        return {"noise": float(errors.mean()), "noisiest": float(errors[level >= LEVELS // 2].mean())}

    def sheet(self, networks):
        """Columns: the six ages, youngest first. Rows: seeds, then validation people by a rare token."""
        from core.images import grid, to_pil

        device, rng = next(networks["unet"].parameters()).device, np.random.default_rng(0)
        first = np.flatnonzero(np.diff(self.held_out_people.person, prepend=-1))[:SHOWN]       # a picture of each
        people = self.held_out_people.others(first, rng, self.preset.seen)
        prompts = ["", *[words.PROMPT.format(group) for group in words.GROUPS] * SHOWN,
                   *[words.OF_SUBJECT.format(words.RARE[0], group) for group in words.GROUPS] * SHOWN]
        rows = torch.arange(len(prompts)).clamp(min=1) - 1
        faces = people[rows // len(words.GROUPS) % SHOWN]
        states = encode_captions(networks, words.tokens(prompts).to(device), faces.to(device))
        seeds = (rows[1:] // len(words.GROUPS)).tolist()
        *_, made = denoise(networks["unet"], states[1:], states[:1], seeds)
        picture = self.autoencoder.decode(made.latents.to(next(self.autoencoder.parameters()).device))
        return grid(to_pil(picture.clamp(-1, 1)), columns=len(words.GROUPS))

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the checkpoints and the regularisation set; returns their paths."""
        chosen = self.preset
        about = f"trained together on {chosen.people} drawn people × {chosen.looks} looks, seed {chosen.seed}."
        paths = [hub.save(networks[network], name, network=network, preset=chosen.network, recipe=command,
                          about=f"{what}; the networks of aging-tiny {about}", folder=folder)
                 for network, name, what in (
                     ("unet", chosen.name, "UNet2DConditionModel for the latents of drawn faces"),
                     ("text", chosen.text_name, "CLIPTextModel for the words of checkpoints/aging-words"),
                     ("subject", chosen.subject_name, "Initial embedding of a person's rare token"))]
        return [*paths, self.save_prior(folder, command)]

    def save_prior(self, folder: Path, command: str) -> Path:
        """Write captioned latents of PRIOR people, one picture each, equally many per age group."""
        rng = np.random.default_rng(self.preset.seed)
        ages = self.truth[:, NAMES.index("age")]
        groups = np.array([words.group_of(age) for age in ages])
        taken, rows = set(), []
        for number in range(PRIOR):
            group = list(words.GROUPS)[number % len(words.GROUPS)]
            free = [row for row in rng.permutation(np.flatnonzero(groups == group))
                    if self.people.person[row] not in taken]
            rows += free[:1]
            taken |= {self.people.person[row] for row in free[:1]}
        captions = [words.caption(self.truth[row], rng) for row in rows]
        return write_prior(torch.from_numpy(self.latents[rows, 0]), captions, self.preset.prior_name, folder, command)


def encode_captions(networks: dict, tokens: Tensor, faces: Tensor) -> Tensor:
    """States (N, T, C) of prompts (N, T); rare tokens get the embeddings of mean face vectors (N, 512)."""
    return networks["text"](tokens, networks["subject"](faces), words.rare_at(tokens))


def trained_autoencoder(name: str) -> Autoencoder:
    """Load the autoencoder. Raises CheckpointError if it is missing."""
    if not hub.known(name):
        raise CheckpointError(f"The denoiser needs {name}, which is not among the checkpoints.",
                              "Train it first:  python -m core train aging --preset autoencoder --ship checkpoints")
    return hub.load(name)


def snr_weights(alphas: Tensor, most: float) -> Tensor:
    """Weight of each noise level, (T,): min(SNR, most) / SNR, with SNR = ᾱ / (1 - ᾱ) of the schedule's ᾱ (T,).

    Without weights, levels with little noise would dominate, because the squared error of the noise is that of the
    picture times the SNR.
    """
    snr = alphas / (1 - alphas)
    return snr.clamp(max=most) / snr
