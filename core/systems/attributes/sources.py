"""Faces to start from: a latent, its picture, and what is seen in it, computed once for each face."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import faces
from core.cache import LRUCache
from core.engine.checks import crop_of, square
from core.errors import PictureError, SettingsError
from core.hub.files import sha256
from core.systems.attributes.inversion import Refined, refine
from core.systems.attributes.networks import Networks, Seen
from core.systems.attributes.request import FaceRequest

KEPT = 24       # faces in memory


class Progress(NamedTuple):
    """step: of the refinement, done so far. picture: (S, S, 3) uint8, as it is now."""

    step: int
    picture: np.ndarray


@dataclass(frozen=True, eq=False)
class Source:
    """A face to edit.

    w: (1, rows, style); None for a picture that was not inverted. picture: (S, S, 3) uint8, drawn from w if there is
    one. seen: in that picture. original: the picture that was inverted, if any, and original_seen: what is seen there.
    drawn: the drawn person, if it is one.
    """

    w: Tensor | None
    picture: np.ndarray
    seen: Seen
    original: np.ndarray | None = None
    original_seen: Seen | None = None
    drawn: faces.Face | None = None

    @property
    def as_drawn(self) -> Seen:
        """What is seen in the picture that was inverted, or in this one."""
        return self.original_seen or self.seen

    @cached_property
    def labels(self) -> np.ndarray:
        """Regions of the drawn person, (S, S) indices of `core.faces.REGIONS`."""
        return faces.regions(self.drawn, len(self.picture), "aligned")


class Sources:
    """The faces of a choice of checkpoints; the last ones are kept."""

    def __init__(self, networks: Networks, draw: Callable[[Tensor], np.ndarray]) -> None:
        """draw: a picture (S, S, 3) uint8 of a latent."""
        self.networks, self.draw = networks, draw
        self._kept, self._originals = LRUCache(KEPT), LRUCache(KEPT)

    def find(self, request: FaceRequest) -> Generator[Progress, None, Source]:
        """The face of a request; gives progress while it is refined. Raises FacetError for a photo without a face.

        A restored latent is used as it is.
        """
        key = self._key(request)
        found = self._kept.find(key)
        if found is None:
            made = yield from self._made(request)
            found = self._kept.get(key, lambda: made)
        return found

    def given(self, request: FaceRequest) -> Source:
        """The face of a request as it is, not inverted. Raises FacetError for a photo without a face."""
        if request.source == "random" or (request.pixels is None and request.latent is not None):
            return end_of(self.find(request))
        return self._kept.get(("given", *self._key(replace(request, latent=None, refine=0))), lambda: self._as_it_is(
            *self.picture_of(request)))

    def reference(self, picture: str | np.ndarray) -> Source:
        """The largest face of a file, or a restored picture. Raises FacetError for a file without a face."""
        held = {"file": picture} if isinstance(picture, str) else {"pixels": picture}
        return self.given(FaceRequest(source="photo", **held))

    def _as_it_is(self, picture: np.ndarray, drawn: faces.Face | None) -> Source:
        return Source(None, picture, self.networks.see(picture), drawn=drawn)

    def _key(self, request: FaceRequest) -> tuple:
        if request.latent is not None:
            return "latent", request.latent.shape, request.latent.tobytes()
        if request.pixels is not None:
            return "pixels", request.pixels.shape, request.pixels.tobytes(), request.refine
        if request.source == "random":
            return "random", request.seed, request.truncation
        if request.source == "example":
            return "example", request.person, request.refine
        return "photo", _digest(request.file), request.face, request.crop, request.refine

    def _made(self, request: FaceRequest) -> Generator[Progress, None, Source]:
        if request.latent is not None:
            return self._drawn(self._checked(request.latent))
        if request.source == "random":
            return self._drawn(self.networks.random(request.seed, request.truncation))
        original, drawn = self.picture_of(request)
        w = self.networks.invert(original)
        for done in self.refined(original, w, request.refine):
            w = done.w
            yield Progress(done.step, self.draw(w))
        return replace(self._drawn(w), original=original, original_seen=self.networks.see(original), drawn=drawn)

    def refined(self, original: np.ndarray, w: Tensor, steps: int) -> Iterator[Refined]:
        """See `inversion.refine`; nothing for no steps."""
        if not steps:
            return iter(())
        networks = self.networks
        return refine(networks.frozen.draw, networks.features, networks.tensor(original), w, networks.deviation, steps)

    def picture_of(self, request: FaceRequest) -> tuple[np.ndarray, faces.Face | None]:
        """What is to be inverted, (S, S, 3) uint8 in the generator's frame, and the drawn person if it is one.

        Raises PictureError, PhotoError, SettingsError.
        """
        return self._originals.get(self._key(replace(request, latent=None, refine=0)), lambda: self._found(request))

    def _found(self, request: FaceRequest) -> tuple[np.ndarray, faces.Face | None]:
        if request.pixels is not None:
            return self._restored(request.pixels), None
        if request.source == "photo":
            return self._aligned(request), None
        if not self.networks.choice.drawn:
            raise SettingsError(f"source example can't be used with {self.networks.choice.label}.",
                                "Choose source random or photo.")
        face = faces.frontal(request.person)
        return faces.draw(face, self.networks.size, "aligned"), face

    def _aligned(self, request: FaceRequest) -> np.ndarray:
        """The face of a photo, in the generator's frame. An aligned drawn face stays whole."""
        from core import photos, reading

        picture, size = reading.read(request.file), self.networks.size
        if self.networks.choice.drawn and not request.crop and photos.is_aligned(picture):
            return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))
        if request.crop:
            face = photos.face_in(picture, square(picture.size, *crop_of(request.crop)))
        else:
            face = photos.face_at(picture, request.face, "face")
        return np.asarray(photos.align(picture, face.points, size, self.networks.choice.frame))

    def _restored(self, pixels: np.ndarray) -> np.ndarray:
        """A restored picture. Raises SettingsError when it is none of this size."""
        size = self.networks.size
        if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
            raise SettingsError(f"The photo in this picture can't have the shape {pixels.shape}.",
                                "Choose the checkpoint that the picture was made with.")
        return pixels

    def _checked(self, latent: np.ndarray) -> Tensor:
        """A restored latent, (1, rows, style). Raises SettingsError when it is none of this generator's."""
        config = self.networks.frozen.generator.config
        if latent.ndim != 2 or latent.shape[0] not in (1, config.styles) or latent.shape[1] != config.style:
            raise SettingsError(f"The latent of this picture can't have the shape {latent.shape}.",
                                "Choose the checkpoint that the picture was made with.")
        return torch.from_numpy(np.array(latent, np.float32))[None].to(self.networks.device)

    def _drawn(self, w: Tensor) -> Source:
        picture = self.draw(w)
        return Source(w, picture, self.networks.see(picture))


def end_of(found: Generator[Progress, None, Source]) -> Source:
    """The face that a generator of `Sources` ends with, without its progress."""
    try:
        while True:
            next(found)
    except StopIteration as end:
        return end.value


def _digest(path: Any) -> str:
    """SHA-256 of a file. Raises PictureError when it can't be read."""
    try:
        return sha256(Path(path))
    except (OSError, ValueError) as error:
        raise PictureError(f"{Path(path).name or 'The file'} could not be opened.",
                           "Check its path, or choose the picture again.") from error
