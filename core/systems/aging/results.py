"""What `aging` gives besides pictures: uploads checked, a person being taught; and the file name of a picture."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from core.subjects import Subject


@dataclass(frozen=True)
class Checked:
    """An upload to teach from, looked at.

    picture: PNG of the crop used; None when there is none. problem: why it can't be used, one sentence; "" if it can.
    note: what there is to know of a picture that can be used, such as that others are in it too; "" if nothing.
    vector: (512,) what the embedder sees; None where no face was found.
    """

    path: str
    picture: str | None = None
    problem: str = ""
    note: str = ""
    vector: "np.ndarray | None" = None

    @property
    def good(self) -> bool:
        """Whether it can be taught from."""
        return self.picture is not None and not self.problem


@dataclass(frozen=True)
class Taught:
    """How far teaching is. losses: a curve for each, one value a step so far. preview: PNG of the person as known now.

    subject: the person as known now, to be used at once; None in the first steps and while waiting. adapter: path of
    the file, at the end. seconds: since teaching began. left: seconds that it still takes, roughly; None before the
    first step. waiting: seconds until it begins, roughly; None once it has. looked: after the steps, how far it is seen
    where the person's ages lie, 0 to 1; None before.
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
    looked: float | None = None


def file_name(kept: dict[str, Any]) -> str:
    """What a picture with these settings is called."""
    who = "".join(letter for letter in kept.get("subject") or "anybody" if letter.isalnum())[:20] or "somebody"
    return f"facet-{who}-{kept['group'] or 'picture'}-seed{kept['seed']}-{kept['at']:02d}.png"
