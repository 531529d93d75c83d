"""What `aging` gives besides pictures: checked uploads, the progress of a training; the file name of a picture."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from core.subjects import Subject


@dataclass(frozen=True)
class Checked:
    """A checked upload.

    picture: PNG of the crop; None when there is none. problem: why it can't be used, one sentence; "" if it can. note:
    a remark on a usable picture, for example that it shows several faces; "" if none. vector: (512,) face vector; None
    where no face was found.
    """

    path: str
    picture: str | None = None
    problem: str = ""
    note: str = ""
    vector: "np.ndarray | None" = None

    @property
    def good(self) -> bool:
        """Whether it can be used for training."""
        return self.picture is not None and not self.problem


@dataclass(frozen=True)
class Taught:
    """Progress of a training. losses: by term, one value a step so far. preview: PNG of the person as trained so far.

    subject: the person as trained so far; None in the first steps and while waiting. adapter: path of the file, at the
    end. seconds: since the training began. left: estimated seconds to its end; None before the first step. waiting:
    estimated seconds to its begin; None once it has begun. calibration: progress of the age calibration after the last
    step, 0 to 1; None before.
    """

    step: int = 0
    steps: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)
    preview: str | None = None
    subject: "Subject | None" = None
    adapter: str | None = None
    seconds: float = 0.0
    left: float | None = None
    notes: tuple[str, ...] = ()
    waiting: float | None = None
    calibration: float | None = None


def file_name(kept: dict[str, Any]) -> str:
    """The file name of a picture with these settings."""
    subject = "".join(letter for letter in kept.get("subject") or "person" if letter.isalnum())[:20] or "person"
    return f"facet-{subject}-{kept['group'] or 'picture'}-seed{kept['seed']}-{kept['at']:02d}.png"
