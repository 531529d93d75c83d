"""The actions of `clusters` and the settings of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from core.engine.request import Request, choice, file, flag, number, seed, text, whole
from core.errors import SettingsError
from core.features import SPACES
from core.sampling import SEEDS
from core.systems.clusters.tree import levels_in

if TYPE_CHECKING:
    from core.systems.clusters.crowd import Faces

MAX_K = 100             # groups
MAX_COUNT = 16          # faces of one request
MAX_STRENGTH = 1.5      # 1 is the group itself
PEOPLE = 100_000        # drawn test people to choose from
FACES = {"random": "Random drawn face", "drawn": "Drawn face by number", "photo": "Your photo"}
METHODS = {"asin": "ASIN: what the group shares", "adain": "AdaIN: one picture's style", "both": "Both, side by side"}
SPACE_LABELS = {"": "The checkpoint's own", **{name: space.label for name, space in SPACES.items()}}
SPACE_HELP = {name: f"Groups share {space.finds}. Trained on: {space.learned}."
              for name, space in SPACES.items()}


@dataclass(frozen=True)
class Grouping(Request):
    """What all actions share: the faces that groups are found in, and how.

    crowd: those faces, where the caller holds them already. Without it and without `images` they are the drawn crowd.
    """

    system: ClassVar[str] = "clusters"

    images: str | None = file("ZIP or folder of pictures", "Up to 2,000 pictures; two folders in it are compared. "
                               "Left out: the drawn faces")
    aligned: bool = flag(False, "Already aligned", "Take the middle square as it is, without looking for a face")
    space: str = choice("", SPACE_LABELS, "Feature space", "What makes two faces similar")
    k: int = whole(50, 2, MAX_K, "Groups (k)", "More groups are smaller and more alike")
    crowd: "Faces | None" = None

    @classmethod
    def from_png(cls, stored: Mapping[str, Any], **held: Any) -> Self:
        """As `Request.from_png`; also refuses results of a visitor's pictures, which are not stored."""
        if stored.get("faces_of") != "drawn":
            raise SettingsError("This picture was made from uploaded pictures, which it does not store.",
                                "Upload them again.")
        return super().from_png(stored, **held)


@dataclass(frozen=True)
class Discover(Grouping):
    """Groups that faces fall into by themselves: a strip for each, largest first, with what its faces have in common.
    No labels are used to find them.
    """

    action: ClassVar[str] = "discover"
    expected: ClassVar[float] = 5.0

    seed: int = whole(0, 0, SEEDS - 1, "Seed", "The same seed gives the same groups")
    tree: str = text("", "Tree levels", "Other values of k, such as 10, 20: which group splits into which", 60)
    members: bool = flag(False, "Contact sheets", "Also a sheet with the faces of each group")

    def checked(self) -> Self:
        """As `Request.checked`; also refuses a tree of impossible k."""
        request = super().checked()
        levels_in(request.tree, request.k, MAX_K)
        return request


@dataclass(frozen=True)
class Wear(Grouping):
    """A face that wears a group: what the group's faces have in common is transferred to it (XploreGAN §3.2)."""

    action: ClassVar[str] = "wear"
    expected: ClassVar[float] = 3.0

    group: int = whole(0, 0, MAX_K - 1, "Group", "Its number; 0 is the largest")
    grouping: int = whole(0, 0, SEEDS - 1, "Seed of the groups", "The seed that `discover` found them with")
    face: str = choice("random", FACES, "Face")
    person: int = whole(0, 0, PEOPLE - 1, "Drawn person", "The number of the person, for face drawn")
    photo: str | None = file("Photo", "A picture with a face, for face photo")
    which: int = whole(0, 0, 63, "Which face", "Of the photo; 0 is the largest")
    strength: float = number(1.0, 0, MAX_STRENGTH, "Strength", "0: the face's own group, or by AdaIN its own "
                             "style; 1: the chosen group; above 1: exaggerated")
    method: str = choice("asin", METHODS, "Method")
    count: int = whole(4, 1, MAX_COUNT, "How many", "Faces; of a photo it is one")
    seed: int = seed()

    def checked(self) -> Self:
        """As `Request.checked`; also refuses a group beyond k, a missing photo and one without use."""
        request = super().checked()
        if request.group >= request.k:
            raise SettingsError(f"group can't be {request.group} with k {request.k}.",
                                f"Choose a whole number from 0 to {request.k - 1}.")
        if request.face == "photo" and not request.photo:
            raise SettingsError("There is no photo.", "Upload a photo with a face, or choose another face.")
        if request.face != "photo" and request.photo:
            raise SettingsError(f"photo has no use with face {request.face}.", "Choose face photo, or leave photo out.")
        return request

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that make a picture of each face."""
        return ("asin", "adain") if self.method == "both" else (self.method,)


REQUESTS = (Discover, Wear)


def restored(stored: Mapping[str, Any]) -> Grouping:
    """The request that made a picture. Raises SettingsError, also where it needs pictures that are not stored."""
    return (Wear if stored.get("action") == "wear" else Discover).from_png(stored)
