"""Compiling with Numba, cached on disk under a name that changes with any source file of this folder.

Numba's own cache looks only at the file of the function that was called, and would go on using an old
`noise` inside a new `paint`.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from numba import config, njit

_HERE = Path(__file__).parent


def _folder():
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))).hexdigest()[:16]
    root = Path(os.environ.get("FACET_CACHE") or Path.home() / ".cache" / "facet").expanduser()
    try:
        (root / "numba").mkdir(parents=True, exist_ok=True)
    except OSError:                                        # a home that can't be written: compile into the temp folder
        root = Path(tempfile.gettempdir()) / "facet"
    return root / "numba" / digest


_FOLDER = str(_folder())


def jit(function):
    """Compile a function, strictly (no fast maths), and keep the result on disk."""
    before, config.CACHE_DIR = config.CACHE_DIR, _FOLDER
    try:
        return njit(cache=True)(function)
    finally:
        config.CACHE_DIR = before
