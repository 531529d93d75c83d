"""What a person is taught with: latents, face vectors and text states, made once; and what each step takes of them."""

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
    """One step's: first B pictures of the person, then P captioned ones of others."""

    latents: Tensor     # (B + P, C, h, w)
    noise: Tensor       # the same shape
    time: Tensor        # (B + P,), spread evenly over all times, among the person's and among the others'
    rows: Tensor        # (B,) which of the person's latents; of different pictures while there are enough
    captions: Tensor    # (P,) which of the captions
    negatives: Tensor   # (M, C, h, w) more latents that are not these pictures'


@dataclass(frozen=True)
class Material:
    """All that is the same at every step. Rows are a person's pictures and then, if they count, their mirror images."""

    latents: Tensor     # (R, C, h, w)
    vectors: Tensor     # (R, 512)
    picture: Tensor     # (R,) which picture a row shows
    others: Tensor      # (M, C, h, w), the captioned set; M may be 0
    caption: Tensor     # (M,) its captions
    states: Tensor      # (captions, T, C)

    @property
    def pictures(self) -> int:
        """How many there are of the person."""
        return int(self.picture.max()) + 1

    def batch(self, step: int, seed: int, own: int, others: int, negatives: int) -> Batch:
        """What step `step` takes, whatever came before it: own pictures of the person, others of the captioned set.

        negatives: latents to draw from the captioned set; where there is none, the person's pictures that the batch
        leaves out stand in.
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
        """Rows of `count` pictures: none twice before all came, each as it is or mirrored."""
        rounds = -(-count // self.pictures)
        picture = torch.cat([torch.randperm(self.pictures, generator=generator) for _ in range(rounds)])[:count]
        sides = len(self.latents) // self.pictures
        return picture + self.pictures * torch.randint(sides, (count,), generator=generator)


def _times(count: int, generator: torch.Generator) -> Tensor:
    """One time in each of `count` equal parts of [0, TIMES), in any order: (count,) whole numbers."""
    place = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (place / max(count, 1) * TIMES).long().clamp(max=TIMES - 1)


@torch.no_grad()
def gathered(latent: Latent, embedder: nn.Module, images: Tensor, mirrored: bool,
             prior: tuple[Tensor, Sequence[str]] | None) -> Material:
    """The material of pictures (N, 3, S, S) in [-1, 1], aligned; prior: latents and captions, as core.latent.prior."""
    device = latent.device
    shown = torch.cat([images, images.flip(3)] if mirrored else [images]).to(device)
    latents = torch.cat([latent.autoencoder.encode(part.to(latent.dtype)) for part in shown.split(8)]).float()
    vectors = torch.cat([embedder(recognisable(part)) for part in shown.split(32)]).float()
    picture = torch.arange(len(images), device=device).repeat(len(shown) // len(images))
    others, said = (latents[:0], []) if prior is None else (prior[0].to(device).float(), list(prior[1]))
    captions = {text: number for number, text in enumerate(dict.fromkeys(said))}
    caption = torch.tensor([captions[text] for text in said], dtype=torch.long, device=device)
    parts = [list(captions)[start : start + 64] for start in range(0, len(captions), 64)]
    states = torch.cat([latent.states(part) for part in parts]) if parts else latent.states([""])[:0]
    return Material(latents, vectors, picture, others, caption, states)
