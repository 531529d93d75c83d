"""Where a pipeline puts pictures: a folder per request, deleted when it is old; and what it computes on."""

import atexit
import platform
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Event, Lock
from typing import Any

from PIL import Image

from core import __version__
from core.output import new_file, writing

KEPT = 7200.0           # seconds that a request's files stay
FRAME_MS = 120          # that a picture of a film is shown
REST_MS = 600           # that its first and last picture are
LARGER = 2              # pictures of a film are enlarged


class Files:
    """Part of every pipeline."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """folder: where pictures go; a temporary one, emptied as it ages, when None."""
        self._temporary = not folder
        self.folder = _temporary_folder(self, "facet-") if self._temporary else Path(folder)

    def warm_more(self) -> None:
        """Do once what is slow the first time and asked for later than what `warm` does; nothing, in most systems."""

    @property
    def about(self) -> dict[str, str]:
        """What computes here: device, versions, checkpoints and their hashes."""
        return dict(self._constants)

    @property
    def opening_result(self) -> Any:
        """The pictures that a page opens with, if they are drawn already; else None."""
        return self._opening.ready

    def tidy(self) -> None:
        """Delete the files of requests older than KEPT seconds; a folder that the caller chose stays as it is."""
        if self._temporary:
            _delete_old(self.folder)

    def _new_folder(self) -> Path:
        """A folder for one request, or the one that the caller chose."""
        with writing(self.folder):
            if self._temporary:
                return Path(tempfile.mkdtemp(dir=self.folder))
            self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    @cached_property
    def _previews(self) -> Path:
        return _temporary_folder(self, "facet-previews-")

    def _preview_dir(self) -> Path:
        """A new folder for previews and crops, which are not results; never the folder that the caller chose."""
        if self._temporary:
            return self._new_folder()
        with writing(self._previews):
            return Path(tempfile.mkdtemp(dir=self._previews))

    def preview(self, photo: Any, longest: int = 640) -> str:
        """A photo upright and small, without its metadata: path of a PNG. Raises PictureError."""
        from core import reading

        picture = reading.read(photo)
        picture.thumbnail((longest, longest))
        return self._keep(picture, "photo")

    def _keep(self, picture: Image.Image, name: str) -> str:
        """A picture that no network made, as a plain PNG."""
        with new_file(self._new_folder(), f"{name}.png") as path:
            picture.save(path, compress_level=1)
        return str(path)


_folders: dict[Path, weakref.ref] = {}      # every temporary folder, and the pipeline that made it
_ended, _LOCK = Event(), Lock()


def _temporary_folder(owner: object, prefix: str) -> Path:
    """A new folder. It outlives its owner as long as it holds files of visitors, at most until the process ends."""
    with _LOCK:
        if _ended.is_set():
            raise RuntimeError("The process is ending: no new folder is made.")
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        _folders[folder] = weakref.ref(owner)
    return folder


def tidy() -> None:
    """Delete the files of requests older than KEPT seconds, then the empty folders of pipelines that are gone."""
    for folder, owner in [*_folders.items()]:
        _delete_old(folder)
        if owner() is None and not (folder.is_dir() and any(folder.iterdir())):
            _folders.pop(folder)
            _remove(folder)


def _delete_old(folder: Path) -> None:
    for old in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):       # its owner has deleted it meanwhile
            if old.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(old, ignore_errors=True)


@atexit.register
def _end() -> None:
    """Make no more folders, and delete those there are."""
    with _LOCK:
        _ended.set()
    for folder in [*_folders]:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Delete a folder, also while another thread still writes into it: then once more, for up to a second."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def save(pictures: Sequence[Image.Image], settings: Sequence[dict[str, Any]], folder: Path,
         named: Callable[[dict[str, Any]], str], marked: bool = True) -> list[str]:
    """PNGs with their settings inside, called what `named` makes of these; returns their paths.

    marked: as AI-generated; False only for photos as they were given.
    """
    from core import images

    return [images.save(picture, kept, folder, named(kept), marked)
            for picture, kept in zip(pictures, settings, strict=True)]


def zipped(paths: Sequence[str], settings: Sequence[dict[str, Any]], folder: Path) -> str:
    """Files and a table of settings in one ZIP, facet-pictures.zip; returns its path."""
    import json

    from core import images

    table = json.dumps(settings, indent=1, ensure_ascii=False)
    return images.zip_files(paths, {"settings.json": table}, folder, "facet-pictures.zip")


def film(paths: Sequence[str], path: Path) -> str:
    """Pictures of one size there and back as an endless GIF with the AI mark in a comment; returns its path."""
    frames = [Image.open(each).convert("RGB") for each in paths]
    frames = [frame.resize((LARGER * frame.width, LARGER * frame.height), Image.Resampling.LANCZOS)
              for frame in frames]
    there_and_back = [*frames, *frames[-2:0:-1]]
    shown = [FRAME_MS] * len(there_and_back)
    shown[0] = shown[len(frames) - 1] = REST_MS
    with new_file(path.parent, path.name) as made:
        there_and_back[0].save(made, save_all=True, append_images=there_and_back[1:], duration=shown, loop=0,
                               comment=b"Made by AI (Facet): trainedAlgorithmicMedia")
    return str(made)


def machine(device: Any) -> dict[str, str]:
    """What computes: our version, the device, torch's version."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"version": __version__, "device": f"{device.type} ({name})", "torch": torch.__version__}
