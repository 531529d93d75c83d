"""`vectors`: a face from 512 numbers, drawn at random, taken from a drawn face or a photo, or given exactly.

Wu et al., *Vec2Face*, ICLR 2025, arXiv 2409.02979. Every picture has a seed of its own, so it is the same alone and
in a batch of any size; every picture is a PNG that holds all it takes to make it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.checks import number, whole
from core.engine import choices, files
from core.engine.checks import crop_of, square
from core.engine.files import Files
from core.engine.replay import Opening
from core.engine.result import Restored, Result, last
from core.errors import SettingsError, VectorError
from core.metrics import cosine
from core.sampling import People, seeds_from, settle_seed, vary
from core.systems.vectors import SYSTEM, numbers
from core.systems.vectors.choices import people
from core.systems.vectors.moves import Moves
from core.systems.vectors.numbers import LENGTH
from core.systems.vectors.request import (
    MAX_COUNT,
    MAX_SIGMA,
    MAX_SIMILARITY,
    PEOPLE,
    Draw,
    Edit,
    FaceRequest,
    Source,
    Steer,
    Walk,
    restored,
)
from core.systems.vectors.results import file_name
from core.systems.vectors.steering import Steering

BATCHES = (1, 3, 4, 8)  # the first picture is shown at once; the last size repeats
OPENING = (344, 12, MAX_SIMILARITY)     # seed, count and threshold of the people that a page opens with; chosen


class Vectors(Files, Steering, Moves):
    """The pipeline. Methods that draw yield a `Result` after every few pictures; closing the iterator stops them."""

    def __init__(self, folder: str | Path | None = None, checkpoint: str = "tiny") -> None:
        """Load the networks of a choice, all on this machine already. Raises SettingsError, CheckpointError.

        folder: where pictures go; a temporary one, emptied as it ages, when None. checkpoint: see `core.systems`.
        """
        from core import hub

        self.choice = SYSTEM.choose(checkpoint)
        choices.require(self.choice)
        self.generator_name, self.embedder_name = self.choice.generator, self.choice.embedder
        self.people_name = self.choice.people
        self.generator = hub.load(self.generator_name)
        self.embedder = hub.load(self.embedder_name)
        self.device = next(self.generator.parameters()).device
        super().__init__(folder)
        self._opening = Opening(lambda: self._drawn_people(*OPENING))

    def opening(self) -> Draw:
        """The request of the people that a page opens with."""
        seed, count, threshold = OPENING
        return Draw(seed=seed, count=count, threshold=threshold)

    def warm(self) -> None:
        """Do once what is slow the first time: choose kernels, draw the opening faces."""
        last(self.people(*OPENING))

    def warm_more(self) -> None:
        """Compile the renderer of drawn people."""
        self.person(0)

    # --------------------------------------------------------------------------------------------- sources

    def person(self, number: int) -> Source:
        """A drawn person of the test split, frontal. number: 0 up to PEOPLE. Takes about a third of a second."""
        from core import faces

        number = whole(number, "person", 0, PEOPLE - 1)
        face = faces.frontal(number)
        drawn = Image.fromarray(faces.draw(face, size=112, view="aligned"))
        return self._taken(drawn, Source("drawn", np.empty(0), person=number, label=f"drawn person {number}"))

    def faces_in(self, photo: Any) -> list[Source]:
        """The faces in a photo, largest first, each aligned to 112 × 112. photo: anything `core.reading.read` takes.

        Raises PictureError for what is not a picture, PhotoError when no face is found.
        """
        from core import photos, reading

        picture = reading.read(photo)
        return [self._taken(photos.align(picture, face.points), Source("photo", np.empty(0), label=f"face {number}"))
                for number, face in enumerate(photos.find(picture)[:MAX_COUNT], 1)]

    def cropped(self, photo: Any, x: float = 0.5, y: float = 0.5, size: float = 0.5) -> Source:
        """A face marked by hand: the square around (x, y), `size` of the shorter side; all are parts in [0, 1]."""
        from core import photos, reading

        picture = reading.read(photo)
        face = photos.face_in(picture, square(picture.size, x, y, size))
        return self._taken(photos.align(picture, face.points), Source("photo", np.empty(0), label="marked by hand"))

    def vector(self, values: Any, label: str = "") -> list[Source]:
        """Exact vectors, given as an array or as the path of a `.npy` file: one source each."""
        vectors = numbers.read(values) if isinstance(values, str | Path) else numbers.checked(values)
        return [Source("vector", vector, label=label) for vector in vectors]

    def new_people(self, seed: int | None = None, count: int = 1,
                   threshold: float = MAX_SIMILARITY) -> tuple[list[Source], list[int]]:
        """New people, unlike one another, and the seed of each; see `people`, which draws them."""
        threshold = number(threshold, "threshold", -1.0, 1.0)
        seeds = self._people.choose(whole(count, "count", 1, MAX_COUNT), settle_seed(seed), threshold)
        return [Source("people", vector) for vector in self._people.draw(seeds).numpy()], seeds

    # ------------------------------------------------------------------------------------------------ draw

    def people(self, seed: int | None = None, count: int = 1, threshold: float = MAX_SIMILARITY) -> Iterator[Result]:
        """New people, unlike one another: the seed and those after it, leaving out who is too like one before.

        A seed's person is the same however many are asked for. seed: None or -1 takes a new one. threshold: the cosine
        that any two stay below, in [-1, 1]. Those of OPENING are drawn once and kept, unless the caller chose where
        pictures go. Raises SettingsError when so many can't be had.
        """
        seed, count = settle_seed(seed), whole(count, "count", 1, MAX_COUNT)
        if self._temporary and (seed, count, threshold) == OPENING:
            return iter(self._opening)
        return self._drawn_people(seed, count, threshold)

    def _drawn_people(self, seed: int, count: int, threshold: float) -> Iterator[Result]:
        """`people`, drawn now."""
        sources, seeds = self.new_people(seed, count, threshold)
        return self._draw(sources, seeds, [0.0] * len(seeds), [{"threshold": threshold}] * len(seeds))

    def variations(self, source: Source, sigma: float = 0.5, count: int = 8, seed: int | None = None,
                   itself: bool = False) -> Iterator[Result]:
        """The same person again and again; see `core.sampling.vary`.

        sigma: in [0, MAX_SIGMA]; 0 is the source's own vector, so one picture says it all.
        itself: begin with that one picture, before the `count` others.
        """
        sigma = number(sigma, "sigma", 0.0, MAX_SIGMA)
        seeds = seeds_from(seed, whole(count, "count", 1, MAX_COUNT) if sigma else 1)
        sigmas = [sigma] * len(seeds)
        if itself and sigma:
            seeds, sigmas = seeds[:1] + seeds, [0.0, *sigmas]
        return self._draw([source] * len(seeds), seeds, sigmas)

    def several(self, sources: Sequence[Source], sigma: float = 0.0, seed: int | None = None) -> Iterator[Result]:
        """One picture for each source, up to MAX_COUNT."""
        sigma = number(sigma, "sigma", 0.0, MAX_SIGMA)
        seeds = seeds_from(seed, whole(len(sources), "number of faces", 1, MAX_COUNT))
        return self._draw(list(sources), seeds, [sigma] * len(seeds))

    def sheet(self, sources: Sequence[Source], sigma: float = 0.5, count: int = 8,
              seed: int | None = None) -> Iterator[Result]:
        """What the tab shows: a picture of each of several sources; of one source `count` pictures, its own first."""
        if len(sources) > 1:
            return self.several(sources, sigma, seed)
        count = whole(count, "count", 1, MAX_COUNT)
        return self.variations(sources[0], sigma, max(1, count - 1), seed, itself=count > 1)

    def run(self, request: FaceRequest) -> Iterator[Result]:
        """The pictures of a request, one of `request.REQUESTS`, as they come. Raises FacetError before the first."""
        request = request.checked()
        return {Draw: self._run_draw, Walk: self._run_walk, Edit: self._run_edit, Steer: self._run_steer}[
            type(request)](request)

    def _run_draw(self, request: Draw) -> Iterator[Result]:
        if request.source == "people":
            return self.people(request.seed, request.count, request.threshold)
        return self.sheet(self.faces_of(request), request.sigma, request.count, request.seed)

    def _run_walk(self, request: Walk) -> Iterator[Result]:
        """To the goal; else to `to` or `to_file`; else to the second of several faces, or to a new person."""
        start, *more = self.faces_of(request, 2)
        end = request.goal or self._end_of(request) or (more[0] if more else self.new_people(request.seed, 1)[0][0])
        return self.walk(start, end, request.count)

    def _end_of(self, request: Walk) -> Source | None:
        if request.to is not None and request.to_file:
            raise SettingsError("to and to_file are two ends of one walk.", "Leave one of them out.")
        if request.to is not None:
            return self.person(request.to) if request.source == "drawn" else self.new_people(request.to, 1)[0][0]
        if not request.to_file:
            return None
        return self._one(self.vector(request.to_file) if request.to_file.endswith(".npy")
                         else self.faces_in(request.to_file)[:1])

    def _run_edit(self, request: Edit) -> Iterator[Result]:
        return self.edited(self._one(self.faces_of(request)), self.offsets(request.offsets), request.count)

    def _run_steer(self, request: Steer) -> Iterator[Result]:
        """Several people as they are, or variations of one."""
        usual = self.choice.quality.usual if request.quality is None else request.quality
        targets = request.yaw if request.pose else None, usual if request.improve else None
        if request.source == "people" and not request.faces:
            found, seeds = self.new_people(request.seed, request.count, request.threshold)
            return self.steer(found, *targets, request.limit, similarity=request.similarity, seeds=seeds)
        found = self.faces_of(request)
        sources, sigma = (found * request.count, request.sigma) if len(found) == 1 else (found, 0.0)
        return self.steer(sources, *targets, request.limit, request.seed, sigma, request.similarity)

    def faces_of(self, request: FaceRequest, count: int = 1) -> list[Source]:
        """The faces that a request starts from: those it holds, else those of its source; `count` of new people."""
        if request.faces:
            return [*request.faces]
        if request.source == "people":
            return self.new_people(request.seed, count)[0]
        if request.source == "drawn":
            return [self.person(request.person)]
        if request.source == "vector":
            return self.vector(request.file)
        if request.crop:
            return [self.cropped(request.file, *crop_of(request.crop))]
        found = self.faces_in(request.file)
        return [found[whole(request.face, "face", 0, len(found) - 1)]]

    @staticmethod
    def _one(faces: Sequence[Source]) -> Source:
        if len(faces) > 1:
            raise VectorError(f"This file holds {len(faces)} faces, and this takes one at a time.",
                              "Save one row of it, or draw them all.")
        return faces[0]

    def picture(self, source: Source) -> Result:
        """The one picture of the source's own vector."""
        return last(self.variations(source, sigma=0.0, seed=0))

    def from_photo(self, photo: Any, face: int = 0, sigma: float = 0.5, count: int = 8,
                   seed: int | None = None) -> Iterator[Result]:
        """Variations of a face in a photo; face: 0 is the largest."""
        found = self.faces_in(photo)
        return self.variations(found[whole(face, "face", 0, len(found) - 1)], sigma, count, seed)

    # --------------------------------------------------------------------------------------------- results

    def restored(self, path: str | Path) -> Restored | None:
        """The request that made a picture here; None for other files. The file is untrusted, so all values are checked.

        Raises SettingsError, VectorError.
        """
        from core import images

        kept = images.settings_of(path)
        if not kept or kept.get("system") != "vectors" or "sheet" in kept:
            return None
        made_by = {choice.generator: choice.name for choice in SYSTEM.choices}
        return Restored(restored(kept), made_by.get(str(kept.get("checkpoint"))))

    def files(self, result: Result) -> dict[str, str]:
        """What belongs to a result besides its pictures, by name: paths of "zip", "numbers", "strip" and, of a walk or
        an edit, "film".
        """
        vectors = self.npy(result.vectors)
        found = {"zip": self._zipped(result, vectors), "numbers": vectors, "strip": self.strip_of(result)}
        return found | ({"film": self.film(result)} if "move" in result.settings[0] else {})

    def strip(self, vector: np.ndarray) -> str:
        """The 512 numbers as a 16 × 32 strip: path of a PNG."""
        return self._keep(numbers.strip(vector), "numbers")

    def npy(self, vectors: np.ndarray) -> str:
        """Vectors (N, 512) as a `.npy` file; returns its path."""
        return numbers.write(vectors, self._new_folder())

    def npy_of(self, sources: Sequence[Source]) -> str:
        """The vectors of sources as a `.npy` file; returns its path."""
        return self.npy(np.stack([source.vector for source in sources]))

    def _zipped(self, result: Result, vectors: str) -> str:
        return files.zipped([*result.images, vectors], result.settings, self._new_folder())

    @property
    def about(self) -> dict[str, str]:
        """What computes here: attention kernel, device, versions, checkpoints and their hashes."""
        import torch

        from core.kernels.attention import kernel_for

        config = self.generator.config
        return self._constants | {"kernel": kernel_for(self.device, torch.float32, config.width // config.heads)}

    @cached_property
    def _constants(self) -> dict[str, str]:
        """The part of `about` that never changes."""
        return {"checkpoint": self.generator_name, "sha256": choices.sha256(self.generator_name),
                "embedder": self.embedder_name, "embedder_sha256": choices.sha256(self.embedder_name),
                "people": self.people_name, **files.machine(self.device)}

    # --------------------------------------------------------------------------------------------- private

    @cached_property
    def _people(self) -> People:
        """Where people lie among the vectors of this choice."""
        return people(self.choice)

    def _draw(self, sources: list[Source], seeds: list[int], sigmas: list[float],
              notes: Sequence[dict[str, Any]] = ()) -> Iterator[Result]:
        """Pictures batch by batch; each has a source, a seed and a sigma, and may have notes for its settings."""
        origins = np.stack([source.vector for source in sources])                       # (N, 512)
        vectors = varied(origins, sigmas, seeds)                                        # (N, 512)
        folder, done = self._new_folder(), 0
        similarity, result = (), Result(total=len(seeds), steps=len(seeds), vectors=np.empty((0, LENGTH), np.float32))
        for size in sizes(len(seeds)):
            part = slice(done, done + size)
            pictures, alike = self._pictures(vectors[part], origins[part])
            settings = [self._settings(*facts, len(seeds))
                        for facts in zip(sources[part], seeds[part], sigmas[part], alike, strict=True)]
            settings = [kept | note for kept, note in zip(settings, notes[part] or [{}] * size, strict=True)]
            done, similarity = done + size, (*similarity, *alike)
            result = replace(result, images=(*result.images, *self._save(pictures, settings, folder)),
                             seeds=tuple(seeds[:done]), settings=(*result.settings, *settings), step=done,
                             vectors=vectors[:done], scores={"similarity": similarity})
            yield result

    def _pictures(self, vectors: np.ndarray, origins: np.ndarray) -> tuple[list[Image.Image], list[float]]:
        """(N, 512) twice -> N pictures, and how like its origin the embedder finds each, as shown."""
        import torch

        from core import images

        with torch.inference_mode():
            made = images.to_pil(self.generator(torch.from_numpy(vectors).to(self.device)))
        return made, cosine(self._embedded(made), origins).tolist()

    def _embedded(self, pictures: list[Image.Image]) -> np.ndarray:
        """112 × 112 pictures -> (N, 512) float32, not normalised."""
        import torch

        from core import images

        with torch.inference_mode():
            return self.embedder(images.to_tensor(pictures).to(self.device)).float().cpu().numpy()

    def _taken(self, crop: Image.Image, source: Source) -> Source:
        """The source with its crop kept and its vector taken from it."""
        kept = self._keep(crop, "-".join(source.label.split()))
        return replace(source, vector=self._embedded([crop])[0], picture=kept)

    def _settings(self, source: Source, seed: int, sigma: float, similarity: float, count: int) -> dict[str, Any]:
        """All that made one picture."""
        person = {} if source.person is None else {"person": source.person}
        return {"system": "vectors", **self.about, "source": source.kind, **person, "label": source.label, "seed": seed,
                "sigma": sigma, "count": count, "similarity": round(similarity, 4),
                "vector": numbers.packed(source.vector)}

    def _save(self, pictures: list[Image.Image], settings: list[dict[str, Any]], folder: Path) -> list[str]:
        return files.save(pictures, settings, folder, file_name)


def varied(origins: np.ndarray, sigmas: Sequence[float], seeds: Sequence[int]) -> np.ndarray:
    """(N, 512) vectors, each moved by its own sigma and seed: (N, 512), a new array."""
    import torch

    rows = zip(torch.from_numpy(origins), sigmas, seeds, strict=True)
    return torch.stack([vary(*row) for row in rows]).numpy()


def sizes(total: int) -> Iterator[int]:
    """Batch sizes that add up to `total`: one picture first, then more at a time."""
    step = 0
    while total > 0:
        size = min(total, BATCHES[min(step, len(BATCHES) - 1)])
        yield size
        total, step = total - size, step + 1
