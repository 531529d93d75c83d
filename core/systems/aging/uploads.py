"""The part of the pipeline `aging` that checks the pictures of a new person before training."""

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
SAME_PERSON = 0.38     # cosine to the middle of the others, below which a picture shows another person
SAME_PICTURE = 6.0      # mean difference of two crops at SMALL pixels, of 255, below which they are one picture twice
SMALL = 24


class Uploads:
    """Part of `core.systems.aging.pipeline.Aging`, which has the networks and the files."""

    latent: "Latent"
    reading: "Reading"

    def received(self, paths: Sequence[str | Path]) -> list[str]:
        """Copies of uploads under their own names, so that visitors who upload the same file do not share it."""
        copies = []
        for path in paths:
            with new_file(self._preview_dir(), Path(path).name) as copy:
                copies.append(str(shutil.copy(path, copy)))
        return copies

    def checked(self, paths: Sequence[str | Path]) -> list[Checked]:
        """Uploads checked in their order: the aligned face of each, or its problem."""
        uploads: list[Checked] = []
        for path in paths:
            usable = [each for each in uploads if each.good]
            if len(usable) >= MAX_TAUGHT:
                uploads.append(Checked(str(path), problem=f"{MAX_TAUGHT} pictures are enough: this one is left out."))
                continue
            uploads.append(_without_duplicate(self._check_one(path), usable))
        return without_outliers(uploads)

    def _check_one(self, path: str | Path) -> Checked:
        """One upload by itself."""
        from core import reading

        try:
            picture = reading.read(path)
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
        with new_file(self._preview_dir(), "face.png") as kept:
            crop.save(kept, pnginfo=mark, compress_level=1)
        note = f"{len(found)} faces are in it; the largest is taken." if len(found) > 1 else ""
        return Checked(path, str(kept), note=note, vector=self.reading.read([face], aligned=True)[0].vector)


def require_enough(uploads: Sequence[Checked]) -> None:
    """Raise SettingsError unless there are enough usable pictures."""
    usable, unusable = sum(each.good for each in uploads), [each for each in uploads if not each.good]
    if usable >= MIN_TAUGHT:
        return
    problem = "There are no pictures" if not uploads else "None of the pictures can be used" if not usable else \
        f"There {'is' if usable == 1 else 'are'} only {usable} usable picture{'s' if usable > 1 else ''} of one person"
    example = f" {Path(unusable[0].path).name}: {unusable[0].problem}" if unusable else ""
    raise SettingsError(f"{problem}, and {MIN_TAUGHT} to {MAX_TAUGHT} are needed.",
                        f"Add some of the same person, each different.{example}")


def _is_crop(path: str | Path) -> bool:
    """Whether a picture is an aligned face that `checked` has cropped."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return CROP in getattr(picture, "text", {})
    except Exception:       # `reading.read` has read it; whatever is odd about its texts, it is no crop
        return False


def _without_duplicate(one: Checked, before: Sequence[Checked]) -> Checked:
    """The upload, with a problem if it repeats one of the pictures before it."""
    if not one.good:
        return one
    pixels = _pixels(one)
    same = next((each for each in before if np.abs(_pixels(each) - pixels).mean() < SAME_PICTURE), None)
    return one if same is None else replace(one, problem=f"This is the same picture as {Path(same.path).name}.")


def _pixels(one: Checked) -> np.ndarray:
    small = Image.open(one.picture).convert("RGB").resize((SMALL, SMALL), Image.Resampling.BOX)
    return np.asarray(small).astype(np.float32)


def without_outliers(uploads: Sequence[Checked]) -> list[Checked]:
    """The uploads, with a problem for pictures of another person than most show; of two equally many the first stays.

    Each face vector is compared with the mean of those that are similar to the vector with the most similar ones.
    """
    import torch
    from torch.nn import functional as F

    from core.metrics import cosine, cosines

    usable = [each for each in uploads if each.good]
    if len(usable) < 2:
        return list(uploads)
    vectors = F.normalize(torch.from_numpy(np.stack([each.vector for each in usable])), dim=1)    # (K, 512)
    alike = cosines(vectors, vectors)                                                           # (K, K)
    chosen = alike[(alike >= SAME_PERSON).sum(1).argmax()] >= SAME_PERSON                       # (K,)
    to_middle = cosine(vectors, vectors[chosen].mean(0)).tolist()                               # (K,)
    outliers = {each.path: found for each, found in zip(usable, to_middle, strict=True) if found < SAME_PERSON}
    problem = "This shows another person than the others (similarity {:.2f})."
    return [replace(each, problem=problem.format(outliers[each.path])) if each.good and each.path in outliers else each
            for each in uploads]
