"""The actions of `attributes`, the settings of each, and what a request can't ask."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from core import checks
from core.engine.checks import crop_of
from core.engine.request import Request, choice, file, number, seed, text, whole
from core.errors import SettingsError
from core.faces import ATTRIBUTES, CONFLICTS

if TYPE_CHECKING:
    import numpy as np

MAX_REFINE = 200        # steps of refining an inversion
MAX_COUNT = 15          # pictures of a sweep
MAX_FACES = 64          # of one photo
PEOPLE = 100_000        # drawn test people to choose from
SOURCES = {"random": "Random face", "example": "Drawn example", "photo": "Your photo"}
OF_LATENTS = {"latent-to-latent": "Latent-to-Latent", "interfacegan": "InterFaceGAN", "ganspace": "GANSpace"}
L2M = "l2m"             # the method that edits pictures, without a latent
METHODS = OF_LATENTS | {L2M: "L2M-GAN"}
SWITCHED = ("smile", "glasses")     # the attributes that it is offered for, each as there or not
THERE = 0.5             # more than this is there
GROUPS = {      # of the sliders, as a page shows them
    "Age and person": ("age", "gender"),
    "Expression": ("smile", "mouth_open", "anger", "sadness", "surprise", "eyes_closed"),
    "Pose": ("yaw", "pitch", "roll"),
    "Hair": ("bald", "hair_length", "fringe", "curly", "black_hair", "brown_hair", "blond_hair", "red_hair",
             "gray_hair"),
    "Facial hair": ("beard", "moustache", "sideburns", "bushy_eyebrows"),
    "Accessories": ("glasses", "sunglasses", "hat", "earrings"),
    "Make-up": ("lip_makeup", "eye_makeup"),
    "Shape": ("chubby", "big_nose"),
    "Photo": ("exposure", "blur", "light_side"),
}
REGIONS = {     # what can stay as it is: its regions in `core.faces.REGIONS`
    "hair": ("hair",), "brows": ("brows",), "eyes": ("eyes",), "nose": ("nose",), "mouth": ("lips", "teeth"),
    "skin": ("skin", "nose"), "beard": ("beard",), "glasses": ("glasses",), "hat": ("hat",), "clothes": ("clothes",),
    "background": ("background",),
}
PRESETS = MappingProxyType({
    "older": {"age": 70.0},
    "younger": {"age": 20.0},
    "smiling with glasses": {"smile": 1.0, "glasses": 1.0},
    "blond": {"blond_hair": 1.0},
    "bald with a beard": {"bald": 1.0, "beard": 1.0},
    "angry": {"anger": 1.0, "smile": 0.0},
    "turned": {"yaw": 30.0},
})
Class = TypeVar("Class", bound=type)


def with_attributes(cls: Class) -> Class:
    """Add an optional number for each of the 35 attributes to a class, before it becomes a dataclass."""
    for name, attribute in ATTRIBUTES.items():
        cls.__annotations__[name] = float | None
        label, about = name.replace("_", " ").capitalize(), attribute.about[0].upper() + attribute.about[1:]
        step = 1 if attribute.unit in ("years", "degrees") else 0.05
        setattr(cls, name, number(None, attribute.low, attribute.high, label, f"{about}. Left out: as it is", step))
    return cls


def check_conflicts(asked: Mapping[str, float]) -> None:
    """Raise SettingsError for two attributes that no face has together."""
    for first, second, why in CONFLICTS:
        if asked.get(first, 0) > 0.5 and asked.get(second, 0) > 0.5:
            raise SettingsError(f"{first} and {second} can't both be asked for: {why}.",
                                f"Leave out {first} or {second}.")


@dataclass(frozen=True)
class FaceRequest(Request):
    """What all actions share: the face to start from.

    latent: (rows, style) of the face of a restored photo, and pixels: (S, S, 3) uint8, its picture; a given file or
    another source replaces them.
    """

    system: ClassVar[str] = "attributes"
    expected: ClassVar[float] = 1.0

    source: str = choice("random", SOURCES, "Start from")
    seed: int = seed()
    person: int = whole(0, 0, PEOPLE - 1, "Drawn person", "The number of the person, for source example")
    file: str | None = file("Photo", "A picture with a face, for source photo")
    face: int = whole(0, 0, MAX_FACES - 1, "Face", "Which face of the photo; 0 is the largest")
    crop: str = text("", "Crop", "Marks a face by hand: middle across, middle down, size, like 0.5,0.4,0.3", 60)
    refine: int = whole(0, 0, MAX_REFINE, "Refine", "Gradient steps after the encoder, for an example or a photo")
    truncation: float = number(0.7, 0, 1, "Truncation", "Random faces: 0 is the average face, 1 the most varied")
    latent: "np.ndarray | None" = None
    pixels: "np.ndarray | None" = None

    def checked(self) -> Self:
        """As `Request.checked`; also refuses a photo without a file, and settings that the source doesn't take."""
        request = super().checked()
        if request.is_restored and (request.file or request.source != "photo"):
            request = replace(request, latent=None, pixels=None)
        if request.crop:
            crop_of(request.crop)
        if request.source == "photo" and not request.file and not request.is_restored:
            raise SettingsError("source photo needs a picture as file.", "Give it, or change the source.")
        for name in ("file", "crop", "face"):
            if request.source != "photo" and getattr(request, name):
                raise SettingsError(f"{name} can't be used with source {request.source}.",
                                    f"Choose source photo, or leave {name} out.")
        if request.source == "random" and request.refine:
            raise SettingsError("refine can't be used with source random, whose latent is known.",
                                "Choose source example or photo, or leave refine out.")
        return request

    @property
    def inverts(self) -> bool:
        """Whether a method needs the latent of the face."""
        return True

    @property
    def is_restored(self) -> bool:
        """Whether the photo comes out of a picture made here."""
        return self.latent is not None or self.pixels is not None


@dataclass(frozen=True)
@with_attributes
class EditRequest(FaceRequest):
    """Attributes to change, and attributes and regions to freeze.

    frozen: (S, S) bool, the painted mask where the caller holds it.
    """

    strength: float = number(1.0, -0.5, 2, "Strength", "How much of the edit: 0 none, 1 as asked, below 0 its opposite")
    keep: str = text("", "Frozen attributes", "Names with commas between", 600)
    regions: str = text("", "Frozen regions", f"Of a drawn example: {', '.join(REGIONS)}", 200)
    mask: str | None = file("Mask", "A picture of the same size, white where nothing may change")
    frozen: "np.ndarray | None" = None

    def checked(self) -> Self:
        """As `FaceRequest.checked`; also refuses unknown names, and what contradicts itself."""
        request = super().checked()
        kept, asked = request.kept, request.asked
        for name in asked:
            if name in kept:
                raise SettingsError(f"{name} can't change while it is frozen.",
                                    f"Leave {name} out of keep, or don't ask for it.")
        check_conflicts(asked)
        if request.frozen_regions and request.source != "example":
            raise SettingsError(f"regions can't be used with source {request.source}; only drawn people have them.",
                                "Choose source example, or paint a mask.")
        return request

    @property
    def asked(self) -> dict[str, float]:
        """The attributes that are asked for and their values, in their own units."""
        return {name: value for name in ATTRIBUTES if (value := getattr(self, name)) is not None}

    @property
    def kept(self) -> tuple[str, ...]:
        """The frozen attributes. Raises SettingsError for an unknown name."""
        return names_in(self.keep, "keep", tuple(ATTRIBUTES))

    @property
    def frozen_regions(self) -> tuple[str, ...]:
        """The frozen regions. Raises SettingsError for an unknown name."""
        return names_in(self.regions, "regions", tuple(REGIONS))


@dataclass(frozen=True)
class MethodRequest(EditRequest):
    """An edit by any method. References are for L2M-GAN: pictures that pass on how they have an attribute.

    held: attribute to the picture (S, S, 3) uint8 of a restored reference; a given file replaces it.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    smile_reference: str | None = file("Reference for smile", "A face whose smile is taken over, for L2M-GAN")
    glasses_reference: str | None = file("Reference for glasses", "A face whose glasses are taken over, for L2M-GAN")
    held: "Mapping[str, np.ndarray] | None" = None

    def checked(self) -> Self:
        """As `EditRequest.checked`; also refuses what the method can't do."""
        request = super().checked()
        if request.methods == (L2M,):
            check_switched(request.asked, SWITCHED)
        if L2M not in request.methods and request.references:
            name = next(iter(request.references))
            raise SettingsError(f"{name}_reference can't be used with the method {METHODS[request.methods[0]]}.",
                                f"Choose the method {METHODS[L2M]}, or leave {name}_reference out.")
        for name in request.references:
            if name in request.kept:
                raise SettingsError(f"{name} can't change while it is frozen.",
                                    f"Leave {name} out of keep, or {name}_reference out.")
        return request

    @property
    def inverts(self) -> bool:
        """Whether a method needs the latent of the face."""
        return self.methods != (L2M,)

    @property
    def references(self) -> "dict[str, str | np.ndarray]":
        """Attribute to its reference: a path, or the picture of a restored one."""
        found = dict(self.held or {}) | {name: path for name in SWITCHED
                                         if (path := getattr(self, f"{name}_reference")) is not None}
        return {name: found[name] for name in SWITCHED if name in found}

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that edit."""
        return (self.method,)

    @property
    def stops(self) -> list[float]:
        """The strengths of the edits."""
        return [self.strength]


@dataclass(frozen=True)
class Edit(MethodRequest):
    """A face with chosen attributes changed, all at once; the others are asked to stay. The face as it was comes with
    it, and of a drawn example also the ideal edit.
    """

    action: ClassVar[str] = "edit"

    method: str = choice("latent-to-latent", METHODS, "Method")


OPENING = Edit(seed=25, mouth_open=1.0)     # what a page opens with; chosen


@dataclass(frozen=True)
class Sweep(EditRequest):
    """One attribute in equal steps from one value to another, the rest as asked: a strip."""

    action: ClassVar[str] = "sweep"
    expected: ClassVar[float] = 3.0

    method: str = choice("latent-to-latent", OF_LATENTS, "Method")
    attribute: str = choice("age", {name: name.replace("_", " ") for name in ATTRIBUTES}, "Attribute")
    count: int = whole(7, 2, MAX_COUNT, "How many steps")
    start: float | None = number(None, -90, 90, "From", "In the attribute's unit; left out: its lowest value")
    end: float | None = number(None, -90, 90, "To", "In the attribute's unit; left out: its highest value")

    def checked(self) -> Self:
        """As `EditRequest.checked`; also refuses ends beyond the attribute's range, and an attribute that is held."""
        request = super().checked()
        swept = request.attribute
        for name in ("start", "end"):
            if (value := getattr(request, name)) is not None:
                checks.number(value, name, ATTRIBUTES[swept].low, ATTRIBUTES[swept].high)
        if swept in request.kept or swept in request.asked:
            raise SettingsError(f"attribute can't be {swept}, which is frozen or asked for by value.",
                                f"Leave {swept} out of the request, or sweep another attribute.")
        check_conflicts(request.asked | {swept: max(request.stops)})
        return request

    @property
    def stops(self) -> list[float]:
        """The values of the attribute, in its own unit."""
        low, high = (ATTRIBUTES[self.attribute].low if self.start is None else self.start,
                     ATTRIBUTES[self.attribute].high if self.end is None else self.end)
        return steps(low, high, self.count)


@dataclass(frozen=True)
class Strengths(MethodRequest):
    """One edit at growing strengths, from its opposite to beyond what is asked: a strip."""

    action: ClassVar[str] = "strengths"
    expected: ClassVar[float] = 3.0
    hidden: ClassVar[frozenset[str]] = frozenset({"strength"})

    method: str = choice("latent-to-latent", METHODS, "Method")
    count: int = whole(5, 2, MAX_COUNT, "How many steps")
    first: float = number(-0.5, -0.5, 2, "From strength")
    last: float = number(1.5, -0.5, 2, "To strength")

    @property
    def stops(self) -> list[float]:
        """The strengths."""
        return steps(self.first, self.last, self.count)


@dataclass(frozen=True)
class Compare(MethodRequest):
    """One request by all methods, side by side. L2M-GAN takes part where its network is on this machine and knows all
    that is asked.
    """

    action: ClassVar[str] = "compare"
    expected: ClassVar[float] = 2.0

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that edit."""
        return tuple(METHODS)


@dataclass(frozen=True)
class Invert(FaceRequest):
    """A picture of a face turned into a latent: the picture, what the encoder makes of it, and the same after bounded
    refinement. The similarities say what was lost.
    """

    action: ClassVar[str] = "invert"
    expected: ClassVar[float] = 6.0
    hidden: ClassVar[frozenset[str]] = frozenset({"truncation"})

    source: str = choice("example", {name: label for name, label in SOURCES.items() if name != "random"}, "Start from")
    refine: int = whole(30, 0, MAX_REFINE, "Refine", "Gradient steps after the encoder")


REQUESTS = (Edit, Sweep, Strengths, Compare, Invert)


def steps(first: float, last: float, count: int) -> list[float]:
    """So many equal steps from one value to another."""
    return [first + (last - first) * step / (count - 1) for step in range(count)]


def check_switched(asked: Iterable[str], known: tuple[str, ...]) -> None:
    """Raise SettingsError for an attribute that an L2M-GAN over `known` does not edit."""
    for name in asked:
        if name not in known:
            raise SettingsError(f"{name} can't be asked of {METHODS[L2M]}, which edits {', '.join(known)}.",
                                f"Leave {name} out, or choose another method.")


def names_in(listed: str, argument: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names in a text with commas between. Raises SettingsError for an unknown one."""
    names = tuple(name.strip() for name in listed.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise SettingsError(f"{argument} can't hold {name[:30]!r}.", f"Choose from: {', '.join(known)}.")
    return names
