"""Training data of a person: latents, face vectors and prompt embeddings, computed once; and the batch of a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.data import look_seed
from core.images import recognisable
from core.latent import Latent
from core.models.unet import NOISE

TIMES = NOISE["num_train_timesteps"]


@dataclass(frozen=True)
class Batch:
    """A training batch: first B pictures of the person, then P captioned pictures of others."""

    latents: Tensor     # (B + P, C, h, w)
    noise: Tensor       # the same shape
    time: Tensor        # (B + P,) timesteps, stratified separately for the person and the others
    rows: Tensor        # (B,) rows of the person's latents, of different pictures if possible
    captions: Tensor    # (P,) indices of the captions
    negatives: Tensor   # (M, C, h, w) latents of other pictures


@dataclass(frozen=True)
class Material:
    """Data shared by all steps. Rows are the person's pictures, then optionally their mirror images."""

    latents: Tensor     # (R, C, h, w)
    vectors: Tensor     # (R, 512)
    picture: Tensor     # (R,) which picture a row shows
    others: Tensor      # (M, C, h, w), the captioned set; M may be 0
    caption: Tensor     # (M,) its captions
    states: Tensor      # (captions, T, C)

    @property
    def pictures(self) -> int:
        """Number of pictures of the person."""
        return int(self.picture.max()) + 1

    def batch(self, step: int, seed: int, own: int, others: int, negatives: int) -> Batch:
        """The batch of step `step`, independent of earlier steps. own, others: numbers of pictures.

        negatives: latents drawn from the captioned set; without one, the person's pictures that are not in the batch
        are used.
        """
        device, generator = self.latents.device, torch.Generator().manual_seed(look_seed("lesson", seed, step, 0))
        rows = self._rows(own, generator).to(device)
        drawn = torch.randint(max(len(self.others), 1), (others + negatives,), generator=generator).to(device)
        captioned, more = drawn[:others], drawn[others:]
        latents = torch.cat([self.latents[rows], self.others[captioned]]) if others else self.latents[rows]
        time = torch.cat([_times(own, generator), _times(others, generator)])
        noise = torch.randn(latents.shape, generator=generator)
        left_out = self.latents[~torch.isin(self.picture, self.picture[rows])]
        return Batch(latents, noise.to(device), time.to(device), rows, self.caption[captioned] if others else rows[:0],
                     self.others[more] if len(self.others) else left_out[:negatives])

    def _rows(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows of `count` pictures without replacement per round, each mirrored or not at random."""
        rounds = -(-count // self.pictures)
        picture = torch.cat([torch.randperm(self.pictures, generator=generator) for _ in range(rounds)])[:count]
        sides = len(self.latents) // self.pictures
        return picture + self.pictures * torch.randint(sides, (count,), generator=generator)


def _times(count: int, generator: torch.Generator) -> Tensor:
    """Stratified timesteps, one in each of `count` equal parts of [0, TIMES), shuffled: (count,) integers."""
    place = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (place / max(count, 1) * TIMES).long().clamp(max=TIMES - 1)


@torch.no_grad()
def gathered(latent: Latent, embedder: nn.Module, images: Tensor, mirrored: bool,
             prior: tuple[Tensor, Sequence[str]] | None) -> Material:
    """Compute the material of aligned pictures (N, 3, S, S) in [-1, 1]. prior: see core.latent."""
    device = latent.device
    shown = torch.cat([images, images.flip(3)] if mirrored else [images]).to(device)
    latents = torch.cat([latent.autoencoder.encode(part.to(latent.dtype)) for part in shown.split(8)]).float()
    vectors = torch.cat([embedder(recognisable(part)) for part in shown.split(32)]).float()
    picture = torch.arange(len(images), device=device).repeat(len(shown) // len(images))
    others, said = (latents[:0], []) if prior is None else (prior[0].to(device).float(), list(prior[1]))
    captions = {text: number for number, text in enumerate(dict.fromkeys(said))}
    caption = torch.tensor([captions[text] for text in said], dtype=torch.long, device=device)
    parts = [list(captions)[start : start + 64] for start in range(0, len(captions), 64)]
    states = torch.cat([latent.encode_prompts(part) for part in parts]) if parts else latent.encode_prompts([""])[:0]
    return Material(latents, vectors, picture, others, caption, states)
