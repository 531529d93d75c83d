"""Training data of the denoiser, cached on disk: latents of drawn faces and face vectors of their people."""

import hashlib
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core import data, hub
from core.cache import cache_dir
from core.hub.files import locked, replacing
from core.images import recognisable
from core.models.autoencoder import Autoencoder
from core.models.subject import mean_face
from core.training.autoencoder import latents_of

BLOCK = 1024  # pictures between two lines of progress


@dataclass(frozen=True)
class People:
    """The people of a set. person: (N,) numbers. vectors: (N, 512), face vector of each picture."""

    person: np.ndarray
    vectors: Tensor

    @classmethod
    def of(cls, drawn: data.DrawnSet, embedder: str) -> "People":
        """The people of a set, with vectors of the checkpoint `embedder`."""
        return cls(drawn.person, torch.from_numpy(np.array(cached_vectors(embedder, drawn))))

    def others(self, rows: np.ndarray, rng: np.random.Generator, most: int) -> Tensor:
        """For each row the mean face vector of the same person's other pictures, 1 to `most` of them: (B, 512)."""
        return torch.stack([self._other(row, rng, most) for row in rows])

    def _other(self, row: int, rng: np.random.Generator, most: int) -> Tensor:
        first, last = np.searchsorted(self.person, [self.person[row], self.person[row] + 1])
        others = np.delete(np.arange(first, last), row - first)
        return mean_face(self.vectors[rng.permutation(others)[:rng.integers(1, most + 1)]])


def cached_vectors(embedder: str, drawn: data.DrawnSet) -> np.ndarray:
    """Face vectors of all pictures of a set, (N, 512) float32, cached on disk."""
    def made() -> np.ndarray:
        network = hub.load(embedder)
        device, found = next(network.parameters()).device, []
        with torch.inference_mode():
            for rows in blocks(len(drawn), 64):
                image = recognisable(data.rows_of(drawn, rows, device)["image"])
                found.append(network(image.contiguous(memory_format=torch.channels_last)).float().cpu().numpy())
        return np.concatenate(found)

    return _kept("vectors", drawn, dict(embedder=hub.row(embedder).sha256), made)


def cached_latents(autoencoder: Autoencoder, drawn: data.DrawnSet) -> np.ndarray:
    """The latents of a set's pictures and of their mirror images, (N, 2, C, h, w) float16, cached on disk.

    The cache key contains the encoder's weights and the pictures, but not the decoder.
    """
    parts = (autoencoder.kl.encoder, autoencoder.kl.quant_conv)
    weights = b"".join(p.detach().float().cpu().numpy().tobytes() for part in parts for p in part.parameters())
    facts = {"encoder": hashlib.sha256(weights).hexdigest()}
    return _kept("latents", drawn, facts, lambda: _latents_of_all(autoencoder, drawn))


def _kept(folder: str, drawn: data.DrawnSet, facts: dict, made) -> np.ndarray:
    """The cached array of these facts about a set; otherwise the result of `made()`, which is then cached.

    It stays on disk. A set is identified by its truth and its first and last pictures, because renderers differ.
    """
    pictures = hashlib.sha256(drawn.truth.tobytes() + drawn.images[[0, -1]].tobytes()).hexdigest()
    key = data.key_of(size=drawn.images.shape, pictures=pictures, **facts)
    path = cache_dir(folder) / f"{key}.npy"
    with locked(path):
        if not path.exists():
            with replacing(path) as part, part.open("wb") as file:
                np.save(file, made())
    return np.load(path, mmap_mode="r")


def blocks(count: int, size: int) -> list[np.ndarray]:
    """The numbers 0 .. count - 1 in blocks of `size`."""
    return np.split(np.arange(count), np.arange(size, count, size))


def _latents_of_all(autoencoder: Autoencoder, drawn: data.DrawnSet) -> np.ndarray:
    made = []
    for rows in blocks(len(drawn), BLOCK):
        sides = [latents_of(autoencoder, drawn, rows, mirrored).half().numpy() for mirrored in (False, True)]
        made.append(np.stack(sides, axis=1))
        print(f"latents of {rows[-1] + 1} of {len(drawn)} pictures", file=sys.stderr, flush=True)
    return np.concatenate(made)
