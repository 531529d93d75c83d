"""Where a pipeline puts pictures: a folder per request, deleted when it is old; and what it computes on."""

import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from core import __version__

KEPT = 7200.0           # seconds that a request's files stay


class Files:
    """Part of every pipeline."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """folder: where pictures go; a temporary one, emptied as it ages, when None."""
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="facet-", ignore_cleanup_errors=True)
        self.folder = Path(folder or self._temporary.name)

    def warm_more(self) -> None:
        """Do once what is slow the first time and asked for later than what `warm` does; nothing, in most pipelines."""

    def tidy(self) -> None:
        """Delete the files of requests older than KEPT seconds; a folder that the caller chose stays as it is."""
        for old in self.folder.iterdir() if self._temporary else ():
            if old.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(old, ignore_errors=True)

    def _new_folder(self) -> Path:
        """A folder for one request, or the one that the caller chose."""
        if self._temporary is None:
            from core import images

            with images.writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            return self.folder
        return Path(tempfile.mkdtemp(dir=self.folder))

    @cached_property
    def _passing(self) -> tempfile.TemporaryDirectory:
        return tempfile.TemporaryDirectory(prefix="facet-passing-", ignore_cleanup_errors=True)

    def _passing_folder(self) -> Path:
        """A folder for what is looked at once and not kept; never the one that the caller chose."""
        return Path(tempfile.mkdtemp(dir=self._passing.name)) if self._temporary is None else self._new_folder()

    def _keep(self, picture: Image.Image, name: str) -> str:
        """A picture that no network made, as a plain PNG."""
        path = self._new_folder() / f"{name}.png"
        picture.save(path, compress_level=1)
        return str(path)


def save(pictures: Sequence[Image.Image], settings: Sequence[dict[str, Any]], folder: Path,
         named: Callable[[dict[str, Any]], str]) -> list[str]:
    """PNGs with their settings inside, called what `named` makes of these; returns their paths."""
    from core import images

    paths = [Path(images.save(picture, kept, folder)) for picture, kept in zip(pictures, settings, strict=True)]
    return [str(path.replace(folder / named(kept))) for path, kept in zip(paths, settings, strict=True)]


def zipped(paths: Sequence[str], settings: Sequence[dict[str, Any]], folder: Path) -> str:
    """Files and a table of settings in one ZIP, facet-pictures.zip; returns its path."""
    import json

    from core import images

    table = json.dumps(settings, indent=1, ensure_ascii=False)
    archive = Path(images.zip_files(paths, {"settings.json": table}, folder))
    return str(archive.replace(archive.with_name("facet-pictures.zip")))


def machine(device: Any) -> dict[str, str]:
    """What computes: our version, the device, torch's version."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"version": __version__, "device": f"{device.type} ({name})", "torch": torch.__version__}
