"""Compile functions with Numba and cache them on disk under a hash of every file here that holds compiled code.

Numba's own cache checks only the file of the function that was called: after an edit of `raster.py` it would keep
running old kernels that another file has inlined.
"""

import hashlib
import tempfile
from pathlib import Path

from numba import config, njit

from core.cache import cache_dir
from core.errors import OutputError

_SOURCE_DIR = Path(__file__).parent


def _cache_dir() -> Path:
    """In the cache folder, or in the temporary folder where that can't be written to."""
    sources = (path.read_bytes() for path in sorted(_SOURCE_DIR.glob("*.py")))
    digest = hashlib.sha256(b"".join(text for text in sources if b"@jit" in text)).hexdigest()[:16]
    try:
        return cache_dir("numba") / digest
    except OutputError:
        return Path(tempfile.gettempdir()) / "facet" / "numba" / digest


_CACHE_DIR = str(_cache_dir())


def jit(function):
    """Compile a function on its first call: strict floating-point maths, division by zero gives inf as in NumPy."""
    before, config.CACHE_DIR = config.CACHE_DIR, _CACHE_DIR
    try:
        return njit(cache=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
