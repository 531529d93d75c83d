"""Files that other processes may be reading: atomic replacement, locks, hashes."""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from core.cache import cache_dir
from core.errors import LFS_POINTER, LFS_STEP, CheckpointError
from core.output import writing

ABANDONED = 3600.0      # seconds after which a half-written file belongs to a process that was killed


@contextmanager
def draft(folder: Path, name: str) -> Iterator[Path]:
    """A unique path to write to, in a folder that is created if missing; what is left there is deleted.

    Raises OutputError if it can't be written.
    """
    with writing(folder / name):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, ".*.part")
        part = folder / f".{name}.{uuid.uuid4().hex[:8]}.part"
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what is written there takes the place of `path` in one step when the block ends well.

    Raises OutputError if it can't be written.
    """
    with draft(path.parent, path.name) as part:
        yield part
        os.replace(part, path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process and thread at a time for `path`. The lock lies in the cache folder and dies with its process."""
    from filelock import FileLock

    with FileLock(cache_dir("locks") / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.lock"):
        yield


def sweep(folder: Path, pattern: str) -> None:
    """Delete what killed processes left behind: matching files unchanged for an hour."""
    for path in folder.glob(pattern):
        try:
            if path.stat().st_mtime < time.time() - ABANDONED:
                path.unlink()
        except OSError:
            continue        # another process was quicker, or the folder is read-only


def sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits. A file that has not changed is read once per process."""
    state = path.stat()
    return _sha256(str(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _sha256(path: str, changed: int, size: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Whether Git LFS has not replaced a file by its content."""
    with path.open("rb") as stream:
        return stream.read(len(LFS_POINTER)) == LFS_POINTER


def unreadable(path: Path | str, mend: str, kind: str = "safetensors file") -> CheckpointError:
    """The error for a file that could not be read: missing, without permission, a Git LFS pointer, or damaged.

    mend: the next step for a missing or damaged one.
    """
    try:
        is_pointer = is_lfs_pointer(Path(path))
    except FileNotFoundError:
        return CheckpointError(f"{path} is missing.", mend)
    except OSError:
        return CheckpointError(f"{path} can't be read.", "Give a file, and one that you have the permission to read.")
    if is_pointer:
        return CheckpointError(f"{path} is a Git LFS pointer, not the file itself.", LFS_STEP)
    return CheckpointError(f"{path} is cut off or damaged, or is no {kind}.", mend)
