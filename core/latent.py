"""Latent diffusion: the networks of a checkpoint choice, prompt embeddings and sampling.

    load("tiny")            autoencoder, denoiser, text encoder and tokenizer
    denoise(unet, …)        sample latents, a step at a time (Song et al. 2021; Lu et al. 2022; Zhao et al. 2023)
    prior()                 the shipped regularisation set: other people, captioned with their age

The same code serves the tiny networks and Stable Diffusion 1.x; they differ in a row of CHOICES.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core import hub, words
from core.errors import SettingsError
from core.models.subject import mean_face
from core.models.unet import NOISE
from core.sampling import GUIDANCE, generators

if TYPE_CHECKING:
    from core.models.autoencoder import Autoencoder
    from core.models.subject import SubjectToken
    from core.models.text import TextEncoder
    from core.models.unet import UNet

PRIOR = "aging-prior-tiny"
PUBLISHED = 77      # tokens of a prompt of Stable Diffusion, with its start and end
SOLVERS = {     # name: class of diffusers, and its settings besides the noise schedule
    "dpm": ("DPMSolverMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "ddim": ("DDIMScheduler", {"steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}),
    "lcm": ("LCMScheduler", {"clip_sample": False}),
}


# ------------------------------------------------------------------------------------------------------- networks

@dataclass(frozen=True)
class Latent:
    """The networks of one choice, in eval mode, frozen, on one device and of one type.

    size: pixels of a picture. tokens: prompts -> (N, T) whole numbers. subject: maps face
    vectors to the initial embedding of a rare token; None if there is no such network.
    """

    name: str
    autoencoder: "Autoencoder"
    unet: "UNet"
    text: "TextEncoder"
    subject: "SubjectToken | None"
    size: int
    tokens: Callable[[list[str]], Tensor]
    rare_at: Callable[[Tensor], Tensor] = words.rare_at

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the denoiser's weights."""
        return next(self.unet.parameters()).dtype

    def encode_prompts(self, prompts: list[str], subject_embedding: Tensor | None = None,
                       ages: Sequence[Sequence[float] | None] | None = None) -> Tensor:
        """Prompt embeddings, (N, T, C). subject_embedding: (C,) or (N, C), replaces the embedding of a rare token.

        ages: for each prompt where `words.GROUPS` lie in years, see `interpolate_age_embeddings`; None, for one prompt
        or for all, keeps the embeddings of the age words.
        """
        tokens = self.tokens(prompts).to(self.device)
        if subject_embedding is not None:
            own, at = subject_embedding.to(self.device), self.rare_at(tokens)
        if ages is None or not any(ages):
            return self.text(tokens) if subject_embedding is None else self.text(tokens, own, at)
        table, group = self.text.clip.embeddings.token_embedding.weight, words.ages_at(tokens)      # (…, C), (N, T)
        known = table[words.age_tokens()]
        placed = torch.stack([known if row is None else interpolate_age_embeddings(known, row) for row in ages])
        embeddings = placed.gather(1, group.clamp(min=0)[..., None].expand(-1, -1, known.shape[1]))     # (N, T, C)
        if subject_embedding is None:
            return self.text(tokens, embeddings, group >= 0)
        embeddings = torch.where(at[..., None], own.to(table.dtype).expand(len(tokens), -1)[:, None], embeddings)
        return self.text(tokens, embeddings, at | (group >= 0))

    def negative_states(self, negative: str, ageless: list[str], subject_embedding: Tensor | None,
                        emphasis: float) -> Tensor:
        """Negative or unconditional prompt embeddings for classifier-free guidance, (1, T, C) or (N, T, C).

        ageless: the N prompts without their age; "" where a prompt names no age. emphasis: share of their embeddings
        mixed into the negative ones, 0 to 1. With it, more of the guidance goes into the age.
        """
        states = self.encode_prompts([negative])
        if not emphasis or not any(ageless):
            return states
        shares = torch.tensor([[[emphasis if prompt else 0.0]] for prompt in ageless]).to(states)      # (N, 1, 1)
        return torch.lerp(states.expand(len(ageless), -1, -1), self.encode_prompts(ageless, subject_embedding), shares)

    def subject_embedding(self, faces: Tensor) -> Tensor | None:
        """Initial token embedding (C,) for face vectors (K, 512); None if `subject` is None."""
        if self.subject is None:
            return None
        with torch.no_grad():
            return self.subject(mean_face(faces).to(self.device)[None])[0]


@dataclass(frozen=True)
class Choice:
    """Names of the checkpoints, picture size in pixels, and the tokenizer."""

    autoencoder: str
    unet: str
    text: str
    subject: str | None
    size: int
    tokens: Callable[[list[str]], Tensor]


def published_tokens(prompts: list[str]) -> Tensor:
    """Token ids of prompts for Stable Diffusion 1.x, (N, 77). Raises SettingsError for a prompt that is too long."""
    return words.numbered(_published_tokenizer(), prompts, PUBLISHED, "pieces of words")


@cache
def _published_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    vocabulary, merges = (str(hub.file(f"sd14-{name}")) for name in ("vocabulary", "merges"))
    ends = dict(bos_token=words.START, eos_token=words.END, pad_token=words.END, unk_token=words.END)
    return CLIPTokenizer(vocabulary, merges, model_max_length=PUBLISHED, **ends)


CHOICES = {
    "tiny": Choice("aging-autoencoder-tiny", "aging-unet-tiny", "aging-text-tiny", "aging-subject-tiny", 128,
                   words.tokens),
    "sd14": Choice("sd14-autoencoder", "sd14-unet", "sd14-text", None, 512, published_tokens),
}


def load(choice: str = "tiny", device: "str | torch.device | None" = None, dtype: str = "float32") -> Latent:
    """The networks of a choice. dtype: as for `hub.load`.

    Raises SettingsError for an unknown choice, CheckpointError for missing files.
    """
    if choice not in CHOICES:
        raise SettingsError(f"There is no latent diffusion called {choice!r}.", f"Choose from: {', '.join(CHOICES)}.")
    row = CHOICES[choice]
    names = (row.autoencoder, row.unet, row.text, row.subject)
    autoencoder, unet, text, subject = (name and hub.load(name, device, dtype=dtype) for name in names)
    return Latent(choice, autoencoder, unet, text, subject, row.size, row.tokens)


def interpolate_age_embeddings(embeddings: Tensor, ages: Sequence[float]) -> Tensor:
    """Piecewise-linear interpolation of the six age-word embeddings (6, C) at ages in years: (K, C).

    The embedding of a group belongs to the middle of its years, see `words.MIDDLES`. Ages beyond the first and the last
    middle are extrapolated.
    """
    years, middles = embeddings.new_tensor(ages), embeddings.new_tensor(words.MIDDLES)
    left = (torch.searchsorted(middles, years) - 1).clamp(0, len(middles) - 2)                      # (K,)
    share = (years - middles[left]) / (middles[left + 1] - middles[left])
    return torch.lerp(embeddings[left], embeddings[left + 1], share[:, None])


# ------------------------------------------------------------------------------------------------------- sampling

@dataclass(frozen=True)
class Step:
    """One sampling step. latents: (N, C, h, w) after this step. estimate: of the clean latents, for previews."""

    index: int
    total: int
    latents: Tensor
    estimate: Tensor


def scheduler(solver: str, steps: int, device: "str | torch.device" = "cpu") -> Any:
    """The diffusers scheduler of a solver with its timesteps set. It has a state: make one per request."""
    import diffusers

    if solver not in SOLVERS:
        raise SettingsError(f"There is no solver called {solver!r}.", f"Choose from: {', '.join(SOLVERS)}.")
    name, settings = SOLVERS[solver]
    made = getattr(diffusers, name)(**NOISE, **settings)
    made.set_timesteps(steps, device=device)
    return made


def denoise(unet: nn.Module, states: Tensor, negative: Tensor, seeds: Sequence[int], solver: str = "dpm",
            steps: int = 20, guidance: float = GUIDANCE) -> Iterator[Step]:
    """Sample latents with classifier-free guidance (Ho & Salimans 2022); each row's noise comes from its own seed.

    unet: (latents, time, states) -> noise. states: (N, T, C), prompt embeddings. negative: (1, T, C) or (N, T, C),
    negative or unconditional prompt embeddings. Yields after every step; closing it stops.
    """
    shape, device, dtype = (unet.config.channels, unet.config.size, unet.config.size), states.device, states.dtype
    solve, alone = scheduler(solver, steps, device), guidance == 1
    both = states if alone else torch.cat([negative.expand_as(states), states])
    draws = generators(seeds)       # one per picture, for the initial noise and for stochastic solvers
    noise = torch.stack([torch.randn(shape, generator=draw) for draw in draws])
    x = noise.to(device, dtype) * solve.init_noise_sigma
    for index, time in enumerate(solve.timesteps):
        with torch.no_grad():
            given = solve.scale_model_input(x, time)
            found = unet(given if alone else torch.cat([given, given]), time.expand(len(both)), both)
        if not alone:
            away, towards = found.chunk(2)
            found = away + guidance * (towards - away)
        estimate = clean(x, found, solve.alphas_cumprod[time.long().cpu()].to(device, x.dtype))
        extra = {"generator": draws} if solver == "lcm" else {}
        x = solve.step(found, time, x, **extra).prev_sample
        yield Step(index + 1, steps, x, estimate)


def clean(noisy: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
    """ẑ₀, the clean latents (N, C, h, w) estimated from noisy ones and their noise. alpha: ᾱ, scalar or (N, 1, 1, 1).

    Ho et al. 2020, equation 15.
    """
    return (noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt()


# --------------------------------------------------------------------------------------------- the captioned set

def prior() -> tuple[Tensor, list[str]]:
    """Latents (M, C, 16, 16) float32 of drawn training people for the tiny networks, with a caption each."""
    from safetensors import safe_open

    with safe_open(hub.file(PRIOR), "pt") as stored:
        return stored.get_tensor("latents").float(), json.loads(stored.metadata()["captions"])


def write_prior(latents: Tensor, captions: list[str], name: str, folder: Path, command: str) -> Path:
    """Write a captioned set as <folder>/<name>.safetensors, with a manifest row; returns its path."""
    from safetensors.torch import save_file

    from core.hub import manifest
    from core.hub.files import replacing

    path = Path(folder) / f"{name}.safetensors"
    with replacing(path) as part:
        save_file({"latents": latents.half().contiguous()}, part, metadata={"captions": json.dumps(captions)})
    about = f"Regularisation set: captioned latents of {len(captions)} drawn training people, one picture each."
    return manifest.enter(path, name, command, about)
