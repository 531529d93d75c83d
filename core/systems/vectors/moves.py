"""The part of the pipeline `vectors` that interpolates and edits faces, and sums up results: strip, film, histogram."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from core.checks import whole
from core.engine import files
from core.engine.result import Result
from core.errors import SettingsError
from core.metrics import cosines
from core.systems.vectors import numbers
from core.systems.vectors.request import MAX_COUNT, Source
from core.systems.vectors.results import BULKY

BINS = 40               # of the histogram, from -1 to 1


class Alike(NamedTuple):
    """How like one another people are, over all pairs: cosines between their numbers, and between their pictures as the
    embedder sees them. edges: (BINS + 1,) from -1 to 1. numbers, pictures: pairs per bin, (BINS,). largest: of each.
    """

    edges: np.ndarray
    numbers: np.ndarray
    pictures: np.ndarray
    largest: tuple[float, float]


class Moves:
    """Part of `core.systems.vectors.pipeline.Vectors`, which has the networks and the files."""

    def walk(self, start: Source, end: Source, steps: int = 8) -> Iterator[Result]:
        """From one face to another in equal turns on the sphere, both ends included.

        steps: pictures, 2 to MAX_COUNT. A picture's similarity is to the numbers it was drawn from. Raises VectorError
        for exact opposites.
        """
        import torch

        from core.sampling import slerp

        ends = [torch.from_numpy(source.vector) for source in (start, end)]
        steps = whole(steps, "steps", 2, MAX_COUNT)
        made = {"move": "walk", "walk_from": numbers.packed(start.vector), "walk_to": numbers.packed(end.vector)}
        return self._along(slerp(*ends, steps).numpy(), made)

    def edited(self, source: Source, offsets: Mapping[int, float], steps: int = 5) -> Iterator[Result]:
        """Chosen numbers moved from where they are to v + offset, the others exactly as they were.

        offsets: {dimension from 0: offset}. steps: pictures, 2 to MAX_COUNT; the first is the source's own, the last
        has the whole offsets. Raises SettingsError, VectorError when nothing is left of the vector.
        """
        import torch

        from core.sampling import edit

        if not offsets:
            raise SettingsError("There is nothing to edit.", "Name a dimension and an offset, like  7: 2.0")
        steps, vector = whole(steps, "steps", 2, MAX_COUNT), torch.from_numpy(source.vector)
        parts = [step / (steps - 1) for step in range(steps)]
        rows = [edit(vector, {place: offset * part for place, offset in offsets.items()}) for part in parts]
        made = {"move": "edit", "edit_from": numbers.packed(source.vector),
                "offsets": {str(place): float(offset) for place, offset in offsets.items()}}
        return self._along(torch.stack(rows).numpy(), made)

    def _along(self, vectors: np.ndarray, made: dict[str, Any]) -> Iterator[Result]:
        """A picture of each of these exact vectors (N, 512), in order; nothing random has a part in them."""
        count = len(vectors)
        notes = [made | {"step": step, "steps": count} for step in range(1, count + 1)]
        sources = [Source("vector", vector, label=f"{made['move']}, {step} of {count}")
                   for step, vector in enumerate(vectors, 1)]
        return self._draw(sources, [0] * count, [0.0] * count, notes)

    def offsets(self, text: str) -> dict[int, float]:
        """Offsets as people write them, "7: 2.0, 300: -1.5". Raises SettingsError for anything else."""
        return numbers.offsets(text)

    def with_offset(self, text: str, x: int, y: int, offset: float) -> str:
        """The same text with the offset of the dimension whose cell of the strip has the pixel (x, y) set."""
        found = numbers.offsets(text) | {numbers.cell_at(x, y): offset}
        return ", ".join(f"{place}: {value:.15g}" for place, value in found.items())

    def strip_of(self, result: Result) -> str:
        """All pictures in one, in rows of up to 8, with the settings of each but for its numbers: path of a PNG."""
        from core import images

        pictures = [Image.open(path) for path in result.images]
        sheet = images.grid(pictures, columns=min(8, len(pictures)))
        kept = {"system": "vectors", "sheet": [{key: value for key, value in each.items() if key not in BULKY}
                                               for each in result.settings]}
        return images.save(sheet, kept, self._new_folder(), "facet-strip.png")

    def film(self, result: Result) -> str:
        """The pictures there and back as an endless GIF, which says in a comment that an AI made it: its path."""
        path = self._new_folder() / f"facet-{result.settings[0].get('move', 'faces')}.gif"
        return files.film(result.images, path)

    def alike(self, result: Result) -> Alike:
        """How like one another the people of a result are. Raises SettingsError for fewer than two."""
        if len(result.vectors) < 2:
            raise SettingsError("Similarity needs at least two people.", "Draw two or more.")
        edges = np.linspace(-1, 1, BINS + 1)
        seen = self._embedded([Image.open(path) for path in result.images])                    # (N, 512)
        pairs = [_pairwise(vectors) for vectors in (result.vectors, seen)]
        counts = [np.histogram(each, edges)[0] for each in pairs]
        return Alike(edges, *counts, largest=tuple(float(each.max()) for each in pairs))


def _pairwise(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs of rows (N, 512): (N (N - 1) / 2,)."""
    return cosines(vectors, vectors).numpy()[np.triu_indices(len(vectors), 1)]
