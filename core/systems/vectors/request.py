"""The actions of `vectors`, the settings of each, and where a face comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from core.engine.checks import crop_of
from core.engine.request import Request, choice, file, flag, number, seed, text, whole
from core.errors import SettingsError, VectorError

if TYPE_CHECKING:
    import numpy as np

MAX_COUNT = 64          # pictures of one request, vectors in one file
MAX_SIGMA = 1.5         # beyond about 0.9 the person is lost
MAX_YAW = 90.0          # degrees; the judge that ships has seen 60
MAX_STEPS = 200         # of steering
PEOPLE = 100_000        # drawn test people to choose from
MAX_SIMILARITY = 0.3    # two new people have a cosine below this
SOURCES = {"people": "Random people", "drawn": "Drawn examples", "photo": "Your photo", "vector": "Vector file"}


@dataclass(frozen=True)
class Source:
    """A face to start from: its 512 numbers, and the picture they were taken from, if any.

    kind: one of SOURCES. vector: (512,) float32. picture: path of a 112 × 112 PNG. person: number of the drawn person.
    """

    kind: str
    vector: "np.ndarray"
    picture: str | None = None
    person: int | None = None
    label: str = ""


@dataclass(frozen=True)
class FaceRequest(Request):
    """What all actions share: the face to start from. faces: those that the caller holds already; `source` is then
    where they came from.
    """

    system: ClassVar[str] = "vectors"
    expected: ClassVar[float] = 2.0

    source: str = choice("people", SOURCES, "Start from")
    person: int = whole(0, 0, PEOPLE - 1, "Drawn person", "The number of the person, for source drawn")
    file: str | None = file("Photo or vector file", "A picture with a face, or a .npy file of 512 numbers, or of rows")
    face: int = whole(0, 0, MAX_COUNT - 1, "Face", "Which face of the photo; 0 is the largest")
    crop: str = text("", "Crop", "Marks a face by hand: middle across, middle down, size, like 0.5,0.4,0.3", 60)
    faces: tuple[Source, ...] = ()

    def checked(self) -> Self:
        """As `Request.checked`; also refuses a missing file, a file or a crop without use, and a crop that is none."""
        request = super().checked()
        if request.faces:
            return request
        if request.source in ("photo", "vector") and not request.file:
            needed = "a photo" if request.source == "photo" else "a .npy file with 512 numbers"
            raise SettingsError(f"source {request.source} needs {needed} as file.", "Give it, or change the source.")
        if request.source in ("people", "drawn") and request.file:
            raise SettingsError(f"file has no use with source {request.source}.",
                                "Choose source photo or vector, or leave file out.")
        if request.crop:
            crop_of(request.crop)
        if request.crop and request.source != "photo":
            raise SettingsError(f"crop has no use with source {request.source}.",
                                "Choose source photo, or leave crop out.")
        return request

    @classmethod
    def from_png(cls, stored: Mapping[str, Any]) -> Self:
        """As `Request.from_png`. A picture keeps no photo and no vector file: it keeps the numbers of the face."""
        names = cls.settings().keys() - {"file", "face", "crop"}
        known = {name: stored[name] for name in names if name in stored}
        if stored.get("source") == "people":
            return cls(**known | {"person": 0}).checked()
        face = source_in(stored, "vector")
        if stored.get("source") != "drawn":
            known |= {"source": "vector", "person": 0}
        return cls(**known | {"faces": (face,)}).checked()


def source_in(stored: Mapping[str, Any], name: str, kind: str | None = None) -> Source:
    """The face whose 512 numbers a picture stores under a name. Raises VectorError, SettingsError."""
    from core.checks import whole as checked_whole
    from core.systems.vectors import numbers

    kind = kind or next((known for known in SOURCES if known == stored.get("source")), "vector")
    person = checked_whole(stored.get("person"), "person", 0, PEOPLE - 1) if kind == "drawn" else None
    return Source(kind, numbers.unpacked(stored.get(name)), None, person, str(stored.get("label", ""))[:80])


@dataclass(frozen=True)
class Draw(FaceRequest):
    """New people who do not exist, or variations of a face: the picture of its own numbers first, then pictures that
    differ from it by σ.
    """

    action: ClassVar[str] = "draw"

    count: int = whole(8, 1, MAX_COUNT, "Count")
    sigma: float = number(0.5, 0, MAX_SIGMA, "Variation (σ)", "0.3 a little, 0.9 another person")
    seed: int = seed()
    threshold: float = number(MAX_SIMILARITY, -1, 1, "Max similarity", "Any two new people have a cosine below this")


@dataclass(frozen=True)
class Walk(FaceRequest):
    """From one face to another in equal turns on the sphere, both ends included; also as a strip and a film.

    goal: the other face, where the caller holds it already.
    """

    action: ClassVar[str] = "walk"

    count: int = whole(8, 2, MAX_COUNT, "Steps")
    to: int | None = whole(None, 0, 2**32 - 1, "Walk to", "The number of a drawn person; from random people, a seed")
    to_file: str | None = file("Walk to this file", "A photo, or a .npy file with one face")
    seed: int = seed()
    goal: Source | None = None

    @classmethod
    def from_png(cls, stored: Mapping[str, Any]) -> Self:
        """Both ends as numbers."""
        start, end = source_in(stored, "walk_from", "vector"), source_in(stored, "walk_to", "vector")
        return cls(source="vector", faces=(start,), goal=end, count=stored.get("steps"), seed=0).checked()


@dataclass(frozen=True)
class Edit(FaceRequest):
    """Chosen numbers of a face moved, the others exactly as they were; the first picture is the face as it is, the last
    has the whole offsets.
    """

    action: ClassVar[str] = "edit"

    offsets: str = text("7: 2.0", "Offsets", "Dimension from 0 to 511, and what is added to it", 8000)
    count: int = whole(8, 2, MAX_COUNT, "Steps")
    seed: int = seed()

    @classmethod
    def from_png(cls, stored: Mapping[str, Any]) -> Self:
        """The face that was edited, as numbers, and its offsets."""
        offsets = stored.get("offsets")
        if not isinstance(offsets, dict):
            raise VectorError("The offsets in this file can't be read.", "Use the picture as it was downloaded.")
        offsets = ", ".join(f"{place}: {offset}" for place, offset in offsets.items())
        return cls(source="vector", faces=(source_in(stored, "edit_from", "vector"),), count=stored.get("steps"),
                   offsets=offsets, seed=0).checked()


@dataclass(frozen=True)
class Steer(FaceRequest):
    """Faces turned to a yaw and improved in quality, step by step (AttrOP, Vec2Face §3.3); it always ends, and says
    which target a face misses.
    """

    action: ClassVar[str] = "steer"

    pose: bool = flag(True, "Change the pose")
    yaw: float = number(30, -MAX_YAW, MAX_YAW, "Yaw, degrees", "Positive towards the right of the picture", 1)
    improve: bool = flag(False, "Improve the quality")
    quality: float | None = number(None, 0, 60, "Min quality",
                                   "Up to 1, or 60 with the published checkpoint; left out: the checkpoint's usual")
    limit: int = whole(40, 0, MAX_STEPS, "Max steps")
    similarity: float | None = number(None, -1, 1, "Min similarity",
                                      "A cosine; left out: the checkpoint's usual")
    count: int = whole(1, 1, MAX_COUNT, "Count", "New people, or variations of the face")
    sigma: float = number(0.0, 0, MAX_SIGMA, "Variation (σ)", "Steers variations of the face; 0: the face itself")
    seed: int = seed()
    threshold: float = number(MAX_SIMILARITY, -1, 1, "Max similarity", "Any two new people have a cosine below this")

    @classmethod
    def from_png(cls, stored: Mapping[str, Any]) -> Self:
        """The face before it was steered, as numbers, and the targets."""
        yaw, quality = stored.get("yaw_target"), stored.get("quality_target")
        origin = stored | {"source": stored.get("origin", "vector"), "person": stored.get("origin_person")}
        if origin["source"] == "people":
            origin = origin | {"source": "vector"}
        face = source_in(origin, "origin_vector")
        sigma = stored.get("origin_sigma", 0)
        return cls(source=face.kind, person=face.person or 0, faces=(face,), pose=yaw is not None,
                   yaw=30 if yaw is None else yaw, improve=quality is not None, quality=quality,
                   limit=stored.get("limit"), similarity=stored.get("similarity_target"),
                   count=stored.get("count") if sigma else 1, sigma=sigma, seed=stored.get("seed")).checked()


REQUESTS = (Draw, Walk, Edit, Steer)


def restored(stored: Mapping[str, Any]) -> FaceRequest:
    """The request that made a picture. Raises SettingsError, VectorError."""
    if stored.get("move") == "walk":
        return Walk.from_png(stored)
    if stored.get("move") == "edit":
        return Edit.from_png(stored)
    return (Steer if "missed" in stored else Draw).from_png(stored)
