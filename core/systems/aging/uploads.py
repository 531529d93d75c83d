"""Uploads, the part of the pipeline `aging` that looks pictures of a new person over before it is taught them."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.errors import FacetError, SettingsError
from core.output import new_file
from core.systems.aging.request import MAX_TAUGHT, MIN_TAUGHT
from core.systems.aging.results import Checked

if TYPE_CHECKING:
    from core.engine.readers import Reading
    from core.latent import Latent

CROP = "facet-crop"     # the text in a PNG that says it is an aligned face, cut out here
SAME_PERSON = 0.38     # cosine to the middle of the others, below which a picture shows somebody else
SAME_PICTURE = 6.0      # mean difference of two crops at SMALL pixels, of 255, below which they are one picture twice
SMALL = 24


class Uploads:
    """Part of `core.systems.aging.pipeline.Aging`, which has the networks and the files."""

    latent: "Latent"
    reading: "Reading"

    def received(self, paths: Sequence[str | Path]) -> list[str]:
        """Copies of uploads under their own names: two people's uploads of one file may be one file, a copy is not."""
        copies = []
        for path in paths:
            with new_file(self._passing_folder(), Path(path).name) as copy:
                copies.append(str(shutil.copy(path, copy)))
        return copies

    def checked(self, paths: Sequence[str | Path]) -> list[Checked]:
        """Uploads looked at one by one, in their order: the aligned face of each, or what is wrong with it."""
        looked: list[Checked] = []
        for path in paths:
            good = sum(each.good for each in looked)
            if good >= MAX_TAUGHT:
                looked.append(Checked(str(path), problem=f"{MAX_TAUGHT} pictures are enough: this one is left out."))
                continue
            looked.append(_twice(self._looked_at(path), [each for each in looked if each.good]))
        return others_out(looked)

    def _looked_at(self, path: str | Path) -> Checked:
        """One upload by itself."""
        from core import images

        try:
            picture = images.read(path)
            if _is_crop(path) and picture.size == (self.latent.size,) * 2:
                return Checked(str(path), str(path), vector=self.reading.read([picture], aligned=True)[0].vector)
            return self._cut_out(str(path), picture)
        except FacetError as error:
            return Checked(str(path), problem=f"{error.message} {error.next_step}".strip())

    def _cut_out(self, path: str, picture: Image.Image) -> Checked:
        """The largest face of a picture; all of it if it is an aligned face. Raises PhotoError when there is none."""
        from core import photos

        if photos.is_aligned(picture):
            found = [None]
            face = crop = picture.resize((self.latent.size,) * 2, Image.Resampling.LANCZOS)
        else:
            found = photos.find(picture)
            face = photos.align(picture, found[0].points)
            crop = photos.align(picture, found[0].points, self.latent.size)
        mark = PngInfo()
        mark.add_text(CROP, "1")
        with new_file(self._passing_folder(), "face.png") as kept:
            crop.save(kept, pnginfo=mark, compress_level=1)
        note = f"{len(found)} faces are in it; the largest is taken." if len(found) > 1 else ""
        return Checked(path, str(kept), note=note, vector=self.reading.read([face], aligned=True)[0].vector)


def enough(looked: Sequence[Checked]) -> None:
    """Raise SettingsError unless there are pictures enough to teach from."""
    good, bad = sum(each.good for each in looked), [each for each in looked if not each.good]
    if good >= MIN_TAUGHT:
        return
    said = "There are no pictures" if not looked else "None of the pictures can be used" if not good else \
        f"There {'is' if good == 1 else 'are'} only {good} usable picture{'s' if good > 1 else ''} of one person"
    why = f" {Path(bad[0].path).name}: {bad[0].problem}" if bad else ""
    raise SettingsError(f"{said}, and {MIN_TAUGHT} to {MAX_TAUGHT} are needed.",
                        f"Add some of the same person, each different.{why}")


def _is_crop(path: str | Path) -> bool:
    """Whether a picture is an aligned face that `checked` has cut out."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return CROP in getattr(picture, "text", {})
    except Exception:       # `images.read` has read it; whatever is odd about its texts, it is no crop
        return False


def _twice(one: Checked, before: Sequence[Checked]) -> Checked:
    """The same, unless it shows one of the pictures before it again."""
    if not one.good:
        return one
    pixels = _pixels(one)
    same = next((each for each in before if np.abs(_pixels(each) - pixels).mean() < SAME_PICTURE), None)
    return one if same is None else replace(one, problem=f"This is the same picture as {Path(same.path).name}.")


def _pixels(one: Checked) -> np.ndarray:
    small = Image.open(one.picture).convert("RGB").resize((SMALL, SMALL), Image.Resampling.BOX)
    return np.asarray(small).astype(np.float32)


def others_out(looked: Sequence[Checked]) -> list[Checked]:
    """The same, with those who are somebody else than most said to be; of two equally frequent people the first stays.

    Each is compared with the middle of those that are like the picture which most are like.
    """
    import torch
    from torch.nn import functional as F

    from core.metrics import cosine, cosines

    good = [each for each in looked if each.good]
    if len(good) < 2:
        return list(looked)
    vectors = F.normalize(torch.from_numpy(np.stack([each.vector for each in good])), dim=1)    # (K, 512)
    alike = cosines(vectors, vectors)                                                           # (K, K)
    chosen = alike[(alike >= SAME_PERSON).sum(1).argmax()] >= SAME_PERSON                       # (K,)
    to_middle = cosine(vectors, vectors[chosen].mean(0)).tolist()                               # (K,)
    strangers = {each.path: found for each, found in zip(good, to_middle, strict=True) if found < SAME_PERSON}
    said = "This looks like somebody else than the others (similarity {:.2f})."
    return [replace(each, problem=said.format(strangers[each.path])) if each.good and each.path in strangers else each
            for each in looked]
