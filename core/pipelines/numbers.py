"""A face as 512 numbers: checked, read from a file, written, packed into text, shown as a strip."""

import base64
import binascii
from pathlib import Path

import numpy as np
from PIL import Image

from core.errors import VectorError

LENGTH = 512
MOST = 64               # vectors in one file, pictures in one request
LARGEST = 1e4           # no recogniser gives a number beyond this
ROWS, COLUMNS = 16, 32  # of the strip
LOW, MIDDLE, HIGH = (24, 98, 110), (240, 236, 228), (196, 86, 52)      # colours of -3, 0 and 3 standard deviations


def checked(values: object) -> np.ndarray:
    """(512,) or (N, 512) numbers -> (N, 512) float32, a new array.

    Raises VectorError for another shape, more than MOST, numbers that are not finite or are absurdly large, and for a
    vector of zeros, which points nowhere.
    """
    try:
        vectors = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VectorError("This is not an array of numbers.", f"Save {LENGTH} numbers with numpy.save.") from error
    vectors = vectors[None] if vectors.ndim == 1 else vectors
    if vectors.ndim != 2 or vectors.shape[1] != LENGTH or not len(vectors):
        raise VectorError(f"A face is {LENGTH} numbers; this array has the shape {np.shape(values)}.",
                          f"Save one vector of shape ({LENGTH},), or several of shape (N, {LENGTH}).")
    if len(vectors) > MOST:
        raise VectorError(f"{len(vectors):,} vectors are too many at once.", f"Save at most {MOST} in one file.")
    if not np.isfinite(vectors).all() or np.abs(vectors).max() > LARGEST:
        raise VectorError("Some of these numbers are not finite, or far too large.",
                          f"Use finite numbers between {-LARGEST:g} and {LARGEST:g}.")
    if (np.linalg.norm(vectors, axis=1) < 1e-6).any():
        raise VectorError("A vector of zeros describes nobody.", "Use a vector that points somewhere.")
    return vectors.astype(np.float32)


def read(path: str | Path) -> np.ndarray:
    """The vectors in a `.npy` file: (N, 512) float32. Nothing in the file is executed. Raises VectorError."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)   # the header first: the file may claim any size
        shape, kind = mapped.shape, mapped.dtype.kind
    except (OSError, ValueError, AttributeError, EOFError) as error:
        raise VectorError("This file is not a NumPy array of numbers (.npy).",
                          f"Save {LENGTH} numbers with numpy.save.") from error
    if kind not in "fiu" or len(shape) not in (1, 2) or shape[-1] != LENGTH:
        raise VectorError(f"A face is {LENGTH} numbers; this array has the shape {shape} and holds {mapped.dtype}.",
                          f"Save one vector of shape ({LENGTH},), or several of shape (N, {LENGTH}).")
    if len(shape) == 2 and shape[0] > MOST:
        raise VectorError(f"{shape[0]:,} vectors are too many at once.", f"Save at most {MOST} in one file.")
    return checked(mapped)


def write(vectors: np.ndarray, path: Path) -> str:
    """Save vectors as `.npy`, float32: (512,) for one, (N, 512) for several; returns the path."""
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
        raise VectorError("The 512 numbers in this file can't be read.", "Use a picture as it was downloaded.") from error


def strip(vector: np.ndarray, cell: int = 12) -> Image.Image:
    """The vector as 16 × 32 coloured cells, first number top left: blue-green below zero, paper at it, orange above."""
    share = np.clip(vector / (3 * vector.std() + 1e-12), -1, 1).reshape(ROWS, COLUMNS, 1)
    low, middle, high = (np.array(colour, np.float64) for colour in (LOW, MIDDLE, HIGH))
    colours = middle + np.where(share < 0, (middle - low) * share, (high - middle) * share)
    return Image.fromarray(np.rint(colours).astype(np.uint8)).resize((COLUMNS * cell, ROWS * cell), Image.Resampling.NEAREST)
