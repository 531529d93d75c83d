"""A face as 512 numbers: checked, read from a file, written, packed into text, shown as a strip."""

import base64
import binascii
import re
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import SettingsError, VectorError
from core.output import new_file
from core.sampling import MAX_OFFSET
from core.systems.vectors.request import MAX_COUNT

LENGTH = 512
HOW = f"Save {LENGTH} numbers, or N rows of them, with numpy.save, or export them here."
ROWS, COLUMNS = 16, 32  # of the strip
CELL = 12               # pixels of its cells, each way
LOW, MIDDLE, HIGH = (24, 98, 110), (240, 236, 228), (196, 86, 52)      # colours of -3, 0 and 3 standard deviations


def checked(values: object) -> np.ndarray:
    """(512,) or (N, 512) numbers -> (N, 512) float32, a new array.

    Raises VectorError for another shape, more than MAX_COUNT rows, or a row that `core.sampling.check_vector` refuses.
    """
    from core.sampling import check_vector

    try:
        rows = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise VectorError("This is not an array of numbers.", HOW) from error
    _check_shape(rows.shape)
    return np.stack([check_vector(row).numpy() for row in rows.reshape(-1, LENGTH)])


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (1, 2) or shape[-1] != LENGTH or 0 in shape:
        raise VectorError(f"A face is {LENGTH} numbers, and these have the shape {shape}.", HOW)
    if len(shape) == 2 and shape[0] > MAX_COUNT:
        raise VectorError(f"{shape[0]:,} faces are too many at once.", f"Save at most {MAX_COUNT} in one file.")


def read(path: str | Path) -> np.ndarray:
    """The vectors in a `.npy` file: (N, 512) float32. Nothing in the file is executed. Raises VectorError."""
    stored = header_first(path)
    _check_shape(stored.shape)
    return checked(stored)


def header_first(path: str | Path) -> np.ndarray:
    """The array of real numbers in a `.npy` file, left on disk: it may claim any size. Raises VectorError."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored.dtype.kind not in "fiu":
            raise ValueError(f"numbers of the type {stored.dtype}")
    except FileNotFoundError as error:
        raise VectorError(f"{Path(path).name} is not there.", "Check its path, or choose the file again.") from error
    except Exception as error:      # a header is Python's syntax, and fails in more ways than can be listed
        raise VectorError("This file is not a NumPy array of numbers (.npy).", HOW) from error
    return stored


def write(vectors: np.ndarray, folder: Path, name: str = "facet-vectors.npy") -> str:
    """Save vectors as a new `.npy` file, float32: (512,) for one, (N, 512) for several; returns its path."""
    with new_file(folder, name) as path:
        np.save(path, (vectors[0] if len(vectors) == 1 else vectors).astype(np.float32))
    return str(path)


def packed(vector: np.ndarray) -> str:
    """(512,) -> text that JSON can hold: the little-endian float32 bytes in base64, exact."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def unpacked(text: object) -> np.ndarray:
    """The (512,) float32 vector that `packed` wrote. Raises VectorError for anything else."""
    try:
        return checked(np.frombuffer(base64.b64decode(text, validate=True), "<f4"))[0]
    except (TypeError, ValueError, binascii.Error) as error:
        raise VectorError("The 512 numbers in this file can't be read.",
                          "Use the picture as it was downloaded.") from error


def offsets(text: str) -> dict[int, float]:
    """Offsets as people write them, "7: 2.0, 300: -1.5": {dimension from 0: offset}. Raises SettingsError."""
    found = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,;\n]", text or ""))):
        place, _, offset = part.partition(":")
        try:
            dimension, value = int(place), float(offset)
        except ValueError as error:
            raise SettingsError(f"{part[:30]!r} is not a dimension and an offset.",
                                "Write them like this:  7: 2.0, 300: -1.5") from error
        if not abs(value) <= MAX_OFFSET:
            raise SettingsError(f"{offset.strip()[:30]!r} is no offset for dimension {dimension}.",
                                f"Choose a number from {-MAX_OFFSET:g} to {MAX_OFFSET:g}.")
        found[dimension] = value
    return found


def cell_at(x: int, y: int, cell: int = CELL) -> int:
    """The dimension whose cell of the strip has the pixel (x, y)."""
    return min(max(y // cell, 0), ROWS - 1) * COLUMNS + min(max(x // cell, 0), COLUMNS - 1)


def strip(vector: np.ndarray, cell: int = CELL) -> Image.Image:
    """The vector as 16 × 32 coloured cells, first number top left: blue-green below zero, paper at it, orange above."""
    share = np.clip(vector / (3 * vector.std() + 1e-12), -1, 1).reshape(ROWS, COLUMNS, 1)
    low, middle, high = (np.array(colour, np.float64) for colour in (LOW, MIDDLE, HIGH))
    colours = middle + np.where(share < 0, (middle - low) * share, (high - middle) * share)
    cells = Image.fromarray(np.rint(colours).astype(np.uint8))
    return cells.resize((COLUMNS * cell, ROWS * cell), Image.Resampling.NEAREST)
