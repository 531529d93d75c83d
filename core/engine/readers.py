"""Measures of pictures by the networks that steer: identity, age, quality. They never score."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from core.images import recognisable, to_tensor

if TYPE_CHECKING:
    from torch import Tensor


class Read(NamedTuple):
    """Measures of a picture; all None where no face is found.

    vector: (512,). years: 0 or more. quality: in [0, 1].
    """

    vector: np.ndarray | None = None
    years: float | None = None
    quality: float | None = None


class Reading:
    """The embedder and the judge, by name."""

    def __init__(self, embedder: str, judge: str, device: Any) -> None:
        self.names, self.device = (embedder, judge), device

    @cached_property
    def networks(self) -> tuple[Any, Any]:
        """Embedder and judge, loaded on first use. Raises CheckpointError."""
        from core import hub

        return tuple(hub.load(name, self.device) for name in self.names)

    def read(self, pictures: Sequence[Image.Image], aligned: bool) -> list[Read]:
        """Measure pictures. aligned: they are aligned faces of one size; otherwise the largest face of each is used."""
        faces = list(pictures) if aligned else [largest(picture) for picture in pictures]
        found = [face for face in faces if face is not None]
        if not found:
            return [Read()] * len(faces)
        seen = iter(self._seen(found))
        return [Read() if face is None else next(seen) for face in faces]

    def _seen(self, faces: list[Image.Image]) -> list[Read]:
        import torch

        embedder, judge = self.networks
        with torch.inference_mode():
            batch = recognisable(to_tensor(faces)).to(self.device)
            vectors, answers = embedder(batch).float().cpu().numpy(), judge(batch)
        years, quality = answers["age"].float().clamp(min=0).tolist(), answers["quality"].float().tolist()
        return [Read(*row) for row in zip(vectors, years, quality, strict=True)]


def largest(picture: Image.Image) -> Image.Image | None:
    """The largest face of a picture, aligned to 112 × 112; None when there is none."""
    from core import photos
    from core.errors import PhotoError

    try:
        return photos.align(picture, photos.find(picture)[0].points)
    except PhotoError:
        return None


def likeness(vector: np.ndarray | None, faces: "Tensor | None") -> float | None:
    """Cosine between a face vector (512,) and the mean of a person's (K, 512); None where either is missing."""
    if vector is None or faces is None:
        return None
    from core.metrics import cosine
    from core.models.subject import mean_face

    return float(cosine(vector, mean_face(faces).cpu()))
