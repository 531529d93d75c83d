"""Files that a run writes: no other file is replaced, no draft is left behind, and one error names the path."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import OutputError, SettingsError

if TYPE_CHECKING:
    from PIL.Image import Image

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None}      # None: numpy and Pillow, when a file stays incomplete


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Turn any error of the disk, also those of safetensors and torch, into an OutputError.

    path: what is written; named unless the error names another path, such as the cache folder.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(error, path) from error
    except Exception as error:
        if (found := _disk_error(error)) is None:
            raise
        raise unwritable(found, path) from error


@contextmanager
def new_file(folder: Path | str, name: str) -> Iterator[Path]:
    """A path to write to in an existing folder: `name`, numbered if there is such a file. It vanishes on any error.

    Raises OutputError if it can't be written.
    """
    with writing(Path(folder) / name):
        path = _claimed(Path(folder), name)
        try:
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def check_ending(path: Path, option: str) -> None:
    """Raise SettingsError unless pictures can be written to files with this ending. option: that names the path."""
    from PIL import Image

    Image.init()
    if Image.EXTENSION.get(path.suffix.lower()) not in Image.SAVE:
        raise SettingsError(f"{option} {path} does not end like a picture file.",
                            f"Name for example a .png file:  {option} {path.stem or 'sheet'}.png")


def save_picture(picture: "Image", path: Path, option: str) -> None:
    """Save a picture where the user wants it, in a folder that is created if missing; an older file is replaced.

    option: that names the path. Raises OutputError, and SettingsError for an ending that is no picture's.
    """
    check_ending(path, option)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def _claimed(folder: Path, name: str) -> Path:
    """An empty new file, so that two runs at once never get the same name."""
    stem, suffix = os.path.splitext(name)
    for tried in chain([name], (f"{stem}-{number}{suffix}" for number in count(2))):
        try:
            (folder / tried).open("xb").close()
        except FileExistsError:
            continue
        return folder / tried
    raise AssertionError("unreachable")


def unwritable(error: OSError, path: Path | str, problem: str = "can't be written") -> OutputError:
    """The error for a path that can't be written to, with the step that mends the cause."""
    other = Path(error.filename) if isinstance(error.filename, str) else Path(path)
    path = Path(path) if other.suffix == ".part" else other         # a draft is named by what it becomes
    reason = "the file stays incomplete" if error.errno is None else os.strerror(error.errno).lower()
    return OutputError(f"{path} {problem}: {reason}.", _mend(error.errno, path))


def _mend(code: int | None, path: Path) -> str:
    cache = Path(os.path.expanduser(os.environ.get("FACET_CACHE") or "~/.cache/facet"))
    for variable, folder in (("FACET_CACHE", cache), ("TMPDIR", Path(tempfile.gettempdir()) / "facet")):
        if str(path).startswith(str(folder)):
            return f"{'Free some space, or point' if code in FULL else 'Point'} {variable} to a folder of yours."
    if code in FULL:
        return "Free some space, or name a folder on another disk."
    if code in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return "Name a folder; a file is in the way."
    if code == errno.ENAMETOOLONG:
        return "Use a shorter name."
    return "Name a folder that exists or can be made, and that you have the permission to write to."


def _disk_error(error: Exception) -> OSError | None:
    """The error of the disk behind one of safetensors or torch."""
    if type(error).__name__ == "SafetensorError" and (found := re.search(r"\(os error (\d+)\)", str(error))):
        return OSError(int(found[1]), os.strerror(int(found[1])))
    return OSError("torch.save") if isinstance(error, RuntimeError) and "inline_container" in str(error) else None
