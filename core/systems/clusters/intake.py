"""Pictures of a visitor: a ZIP file or a folder, checked one by one, held in memory only.

Nothing is unpacked to disk. An archive that names paths outside itself or unpacks to far more than it holds is refused
as a whole. A picture that is damaged, shows no face, or repeats another one is left out with a sentence; other kinds of
files are ignored.
"""

import hashlib
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image

from core.errors import FacetError, PhotoError, SettingsError

MAX_PICTURES = 2000
MAX_ENTRIES = 10_000        # of an archive or a folder, other files and folders included
MAX_PICTURE_MB = 64         # of one file, unpacked
MAX_TOTAL_MB = 4000         # of an archive, unpacked
MAX_RATIO = 100             # unpacked over packed size of one entry beyond RATIO_FROM_MB
RATIO_FROM_MB = 4
SIZE = 128                  # pixels of an aligned face
SMALL = 24                  # pixels at which faces are compared
SAME_PICTURE = 2.0          # mean difference at that size, of 255, below which two faces are one picture
HIDDEN = ("__MACOSX",)      # folders of copies that an operating system makes
MB = 1 << 20


@dataclass(frozen=True)
class CheckedPicture:
    """One file, checked. face: (SIZE, SIZE, 3) uint8, aligned; None where it can't be used.

    problem: why not, in one sentence; "" if it can.
    """

    name: str
    face: np.ndarray | None = None
    problem: str = ""


@dataclass(frozen=True)
class Entry:
    """A file that may be a picture. name: as shown. read: gives its bytes. Raises SettingsError for too many bytes."""

    name: str
    read: Callable[[], bytes]


def entries_in(path: str | Path) -> list[Entry]:
    """The pictures in a ZIP or in a folder and its sub-folders, by the ends of their names, in the order of these.

    Raises SettingsError for an archive that can't be trusted, too many pictures, and anything but a ZIP or a folder.
    """
    path = Path(path)
    try:
        found = _in_folder(path) if path.is_dir() else _in_archive(path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"images can't be {path.name or path}: it can't be opened.",
                            "Give a ZIP file or a folder of pictures.") from error
    if not found:
        raise SettingsError(f"images can't be {path.name or path}: there are no pictures in it.",
                            "Give a ZIP file or a folder of pictures.")
    if len(found) > MAX_PICTURES:
        raise SettingsError(f"images can't be {path.name or path}: it holds {len(found):,} pictures, and "
                            f"{MAX_PICTURES:,} is the most.", "Give fewer pictures.")
    return sorted(found, key=lambda entry: entry.name)


def check_pictures(entries: list[Entry], aligned: bool = False) -> Iterator[CheckedPicture]:
    """Each file, checked, in order. aligned: take the middle square as it is, without looking for a face."""
    hashes: dict[bytes, str] = {}
    names: list[str] = []
    faces = np.empty((len(entries), SMALL * SMALL * 3), np.float32)       # those taken so far, at SMALL pixels
    for entry in entries:
        one = _check_picture(entry, aligned, hashes)
        if one.face is not None:
            small = _small(one.face)
            apart = np.abs(faces[:len(names)] - small).mean(1)
            if len(names) and apart.min() < SAME_PICTURE:
                one = CheckedPicture(entry.name, problem=f"This is the same picture as {names[int(apart.argmin())]}.")
            else:
                faces[len(names)] = small
                names.append(entry.name)
        yield one


def _small(face: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(face).resize((SMALL, SMALL), Image.Resampling.BOX), np.float32).ravel()


def _check_picture(entry: Entry, aligned: bool, hashes: dict[bytes, str]) -> CheckedPicture:
    """One file by itself, and by the bytes of those before."""
    from core import reading

    try:
        content = entry.read()
        twin = hashes.setdefault(hashlib.sha256(content).digest(), entry.name)
        if twin != entry.name:
            return CheckedPicture(entry.name, problem=f"This is the same file as {twin}.")
        picture = reading.read(content)
        return CheckedPicture(entry.name, np.asarray(_middle(picture) if aligned else _aligned(picture)))
    except PhotoError as error:
        return CheckedPicture(entry.name, problem=error.message)
    except FacetError as error:
        return CheckedPicture(entry.name, problem=f"{error.message} {error.next_step}".strip())


def _aligned(picture: Image.Image) -> Image.Image:
    """The largest face of a picture; all of it if it is an aligned face already. Raises PhotoError without one."""
    from core import photos

    if photos.is_aligned(picture):
        return _middle(picture)
    return photos.align(picture, photos.find(picture)[0].points, SIZE)


def _middle(picture: Image.Image) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


# --------------------------------------------------------------------------------------------------------- folders

def _in_folder(folder: Path) -> list[Entry]:
    """Files below a folder; a link that leads out of it is not followed."""
    root, found = folder.resolve(), []
    for number, path in enumerate(folder.rglob("*")):
        if number >= MAX_ENTRIES:
            raise SettingsError(f"images can't be {folder.name}: it holds more than {MAX_ENTRIES:,} files.",
                                "Give fewer pictures.")
        name = path.relative_to(folder).as_posix()
        if _is_picture(name) and path.is_file() and path.resolve().is_relative_to(root):
            found.append(Entry(name, lambda path=path, name=name: _bounded(path.open("rb"), name)))
    return found


# -------------------------------------------------------------------------------------------------------- archives

def _in_archive(path: Path) -> list[Entry]:
    """Files of a ZIP, by its table of contents; nothing is unpacked yet."""
    if not zipfile.is_zipfile(path):
        raise SettingsError(f"images can't be {path.name}: it is no ZIP file and no folder.",
                            "Pack the pictures into a ZIP file, or give their folder.")
    try:
        archive = zipfile.ZipFile(path)     # stays open for as long as an entry of it is held
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise SettingsError(f"images can't be {path.name}: the ZIP file is damaged.", "Pack it again.") from error
    _check(path.name, archive.infolist())
    return [Entry(row.filename, lambda row=row: _unpacked(archive, row)) for row in archive.infolist()
            if not row.is_dir() and _is_picture(row.filename)]


def _check(name: str, rows: list[zipfile.ZipInfo]) -> None:
    """Raise SettingsError for an archive that can't be trusted."""
    if len(rows) > MAX_ENTRIES:
        raise SettingsError(f"images can't be {name}: it holds more than {MAX_ENTRIES:,} files.",
                            "Give fewer pictures.")
    for row in rows:
        if _climbs_out(row.filename):
            raise SettingsError(f"images can't be {name}: it names a path outside itself, {row.filename[:60]!r}.",
                                "Pack the folder with the pictures again.")
        if row.flag_bits & 1:
            raise SettingsError(f"images can't be {name}: it is encrypted.", "Pack it without a password.")
        if row.file_size > RATIO_FROM_MB * MB and row.file_size > MAX_RATIO * max(row.compress_size, 1):
            raise SettingsError(f"images can't be {name}: {row.filename[:60]!r} unpacks to more than {MAX_RATIO} times "
                                "its size.", "Give pictures as PNG or JPEG files.")
    if sum(row.file_size for row in rows) > MAX_TOTAL_MB * MB:
        raise SettingsError(f"images can't be {name}: it unpacks to more than {MAX_TOTAL_MB:,} MB.",
                            "Make the pictures smaller.")


def _climbs_out(name: str) -> bool:
    """Whether a path is absolute, has a drive, or leads upwards, on any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.drive or windows.root) or ".." in (*posix.parts, *windows.parts)


DAMAGES = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, MemoryError,
           zlib.error, lzma.LZMAError)


def _unpacked(archive: zipfile.ZipFile, row: zipfile.ZipInfo) -> bytes:
    """The bytes of one entry; what it says of its own size is not trusted."""
    try:
        return _bounded(archive.open(row), row.filename)
    except DAMAGES as error:
        raise SettingsError("This file is damaged.", "Pack it again.") from error


def _bounded(stream, name: str) -> bytes:
    """All bytes of a stream. Raises SettingsError beyond MAX_PICTURE_MB."""
    with stream:
        content = stream.read(MAX_PICTURE_MB * MB + 1)
    if len(content) > MAX_PICTURE_MB * MB:
        raise SettingsError(f"{Path(name).name} is larger than {MAX_PICTURE_MB} MB.", "Make it smaller.")
    return content


def _is_picture(name: str) -> bool:
    """Whether a name ends like a picture's, outside hidden folders."""
    from core import reading

    path = PurePosixPath(name.replace("\\", "/"))
    hidden = any(part in HIDDEN or part.startswith(".") for part in path.parts)
    return not hidden and path.suffix.lower() in reading.suffixes()
