"""Latents of a frozen StyleGAN2 with what a judge and an embedder see in their pictures, computed once.

The mapper and the directions learn from them. Every third latent is a drawn face through the encoder, where there is
one; the others come from z. Cached in blocks, so an interrupted call is continued by the next one.
"""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from core import data, hub
from core.cache import cache_dir
from core.hub.files import locked, replacing
from core.images import aligned_from_ffhq, recognisable
from core.models.judge import scores_of
from core.training.latents import blocks

BLOCK = 1024        # latents in one file
BATCH = 32          # pictures at once
INVERTED = 3        # every so many-th latent is a drawn face, inverted
FRAMES = {"aligned": recognisable, "ffhq": aligned_from_ffhq}     # how a generator's pictures become a judge's


@dataclass(frozen=True)
class LatentSet:
    """N latents on the CPU.

    w: (N, rows, style) float16; rows is 1 without an encoder. scores: (N, 35), see `core.models.judge.scores_of`.
    vectors: (N, 512) float16 face vectors.
    """

    w: Tensor
    scores: Tensor
    vectors: Tensor

    def __len__(self) -> int:
        return len(self.w)


@dataclass(frozen=True)
class Frozen:
    """The networks around a mapper, none of which is trained. frame: one of FRAMES."""

    generator: nn.Module
    judge: nn.Module
    embedder: nn.Module
    encoder: nn.Module | None = None
    frame: str = "aligned"

    @classmethod
    def load(cls, preset, device: str | None = None) -> "Frozen":
        """The networks that a preset names in its fields of these names: checkpoints, or files of `train`."""
        encoder = None if preset.encoder is None else hub.network_of(preset.encoder, "e4e", device)
        kinds = {"generator": "stylegan2", "judge": "judge", "embedder": "iresnet"}
        return cls(*(hub.network_of(getattr(preset, name), kind, device) for name, kind in kinds.items()), encoder,
                   preset.frame)

    @property
    def device(self) -> torch.device:
        return self.generator.input.input.device

    def draw(self, w: Tensor, blend: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Pictures (N, 3, S, S) of latents (N, style) or (N, rows, style), with the noise saved in the generator.

        blend: see `StyleGAN2.synthesize`.
        """
        return self.generator.synthesize(w[:, 0] if w.ndim == 3 and w.shape[1] == 1 else w, blend=blend)

    def see(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, 35) and face vectors (N, 512) of the generator's pictures, with gradients."""
        faces = FRAMES[self.frame](pictures).contiguous(memory_format=torch.channels_last)
        return scores_of(self.judge(faces)), self.embedder(faces).float()

    def invert(self, pictures: Tensor) -> Tensor:
        """Latents (N, styles, style) of pictures (N, 3, S, S) in the generator's own frame."""
        return self.encoder.invert(pictures, self.mean)

    @cached_property
    def mean(self) -> Tensor:
        """The generator's mean w, (1, style)."""
        return self.generator.mean_style()


def latent_set(frozen: Frozen, count: int, seed: int, drawn: data.DrawnSet | None = None,
               block: int = BLOCK) -> LatentSet:
    """`count` latents. drawn: faces to invert, in the frame of the generator. block: latents in one file.

    z is drawn by block from the seed, so a larger count begins with the same latents. Cached by the networks' weights.
    """
    block = min(block, count)
    drawn = drawn if frozen.encoder is not None else None
    networks = (frozen.generator, frozen.judge, frozen.embedder, *([frozen.encoder] if drawn is not None else []))
    facts = dict(networks=[fingerprint(each) for each in networks], seed=seed, block=block, frame=frozen.frame,
                 drawn=None if drawn is None else hashlib.sha256(drawn.truth.tobytes()).hexdigest(), layout=1)
    home = cache_dir("face-latents", data.key_of(**facts))
    paths = [home / f"{number:05d}.npz" for number in range(-(-count // block))]
    with locked(home):
        for number, path in enumerate(paths):
            if not path.exists():
                with replacing(path) as part, part.open("wb") as file:
                    np.savez(file, **_made(frozen, number, block, seed, drawn))
                print(f"latents {(number + 1) * block} of {count}", file=sys.stderr, flush=True)
    parts = [np.load(path) for path in paths]
    return LatentSet(*(torch.from_numpy(np.concatenate([part[name] for part in parts])[:count])
                       for name in ("w", "scores", "vectors")))


@torch.inference_mode()
def _made(frozen: Frozen, number: int, block: int, seed: int, drawn: data.DrawnSet | None) -> dict[str, np.ndarray]:
    """One block of latents."""
    rows = np.arange(number * block, (number + 1) * block)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
    z = torch.randn(block, frozen.generator.config.latent, generator=generator)
    found = {"w": [], "scores": [], "vectors": []}
    for part in blocks(block, BATCH):
        w = _latents(frozen, rows[part], z[part].to(frozen.device), drawn).half()
        scores, vectors = frozen.see(frozen.draw(w.float()))
        for name, value in (("w", w), ("scores", scores), ("vectors", vectors.half())):
            found[name].append(value.cpu().numpy())
    return {name: np.concatenate(values) for name, values in found.items()}


def _latents(frozen: Frozen, rows: np.ndarray, z: Tensor, drawn: data.DrawnSet | None) -> Tensor:
    """Latents of these rows, (B, rows, style)."""
    w = frozen.generator.map(z)[:, None]
    if drawn is None:
        return w
    w = w.repeat(1, frozen.generator.config.styles, 1)
    chosen = (rows % INVERTED == INVERTED - 1) & (rows // INVERTED < len(drawn))
    if chosen.any():
        pictures = data.rows_of(drawn, rows[chosen] // INVERTED, frozen.device)["image"]
        w[torch.from_numpy(chosen).to(w.device)] = frozen.invert(pictures)
    return w


def fingerprint(network: nn.Module) -> str:
    """SHA-256 over a network's weights."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
