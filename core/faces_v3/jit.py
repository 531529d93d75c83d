"""Compiling with Numba, cached on disk under a name that changes with any source file of this folder.

Numba's own cache looks only at the file of the function that was called, and would go on using an old
`noise` inside a new `paint`.
"""

import hashlib
import tempfile
from pathlib import Path

from numba import config, njit

from core.cache import cache_dir
from core.errors import OutputError

_HERE = Path(__file__).parent


def _folder():
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))).hexdigest()[:16]
    try:
        return cache_dir("numba") / digest
    except OutputError:
        return Path(tempfile.gettempdir()) / "facet" / "numba" / digest


_FOLDER = str(_folder())


def jit(function):
    """Compile a function, strictly (no fast maths), and keep the result on disk."""
    before, config.CACHE_DIR = config.CACHE_DIR, _FOLDER
    try:
        return njit(cache=True)(function)
    finally:
        config.CACHE_DIR = before
