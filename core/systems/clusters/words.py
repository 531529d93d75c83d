"""What a group has in common, in words: traits that are more frequent in it than in the whole crowd.

Traits are read off 35 attributes: the judge's answers in the tab, the renderer's truth in `score clusters`. They only
describe groups; they take no part in finding them.
"""

from typing import TYPE_CHECKING, NamedTuple

from core.faces import BINARY, NAMES
from core.words import GROUPS

if TYPE_CHECKING:
    from torch import Tensor

AGES = ("children", "teenagers", "young adults", "middle-aged", "elderly", "old")    # of core.words.GROUPS
LEAST = 0.3     # share of a group's faces that must have a trait for it to be named
NAMED = 3       # traits of a group that are named, at most
YES = {     # binary attribute: its trait in words
    "gender": "men", "smile": "smiling", "mouth_open": "open mouth", "anger": "angry", "sadness": "sad",
    "surprise": "surprised", "eyes_closed": "closed eyes", "bald": "bald", "fringe": "fringe", "curly": "curly hair",
    "black_hair": "black hair", "brown_hair": "brown hair", "blond_hair": "blond hair", "red_hair": "red hair",
    "gray_hair": "gray hair", "beard": "beard", "moustache": "moustache", "sideburns": "sideburns",
    "glasses": "glasses", "sunglasses": "sunglasses", "hat": "hat", "earrings": "earrings", "lip_makeup": "lipstick",
    "eye_makeup": "eye make-up", "chubby": "full cheeks", "big_nose": "big nose", "bushy_eyebrows": "bushy eyebrows",
}
RANGES = {      # trait: its attribute, from (inclusive), below; in the attribute's own unit
    "women": ("gender", -1, 0.5),
    **{word: ("age", low, below) for word, low, below in
       zip(AGES, (-1, *GROUPS.values()), GROUPS.values(), strict=False)},
    "turned left": ("yaw", -180, -20), "turned right": ("yaw", 20, 180),
    "looking down": ("pitch", -90, -10), "looking up": ("pitch", 10, 90),
    "short hair": ("hair_length", -1, 0.35), "long hair": ("hair_length", 0.65, 2),
    "dark picture": ("exposure", -9, -0.4), "bright picture": ("exposure", 0.4, 9), "blurred": ("blur", 0.4, 2),
    "light from the left": ("light_side", -9, -0.5), "light from the right": ("light_side", 0.5, 9),
}
TRAITS = (*(YES[name] for name in BINARY), *RANGES)


class Shared(NamedTuple):
    """A trait that is over-represented in a group.

    share: of the group's faces that have it. base: of all faces. lower: lower end of the Wilson interval of `share`.
    """

    trait: str
    share: float
    base: float
    lower: float

    def __str__(self) -> str:
        return f"{self.trait} {self.share:.0%} (all: {self.base:.0%})"


def traits_of(table: "Tensor") -> "Tensor":
    """Which of TRAITS faces with these attributes (N, 35) have: (N, T) bool."""
    import torch

    yes = table[:, [NAMES.index(name) for name in BINARY]] > 0.5
    ranged = [(low <= table[:, NAMES.index(name)]) & (table[:, NAMES.index(name)] < high)
              for name, low, high in RANGES.values()]
    return torch.cat([yes, torch.stack(ranged, 1)], 1)


def counts_in(traits: "Tensor", labels: "Tensor", k: int) -> "tuple[Tensor, Tensor]":
    """Faces of each group that have each trait, (k, T), and faces of each group, (k,). traits: (N, T). labels: (N,)."""
    import torch

    hits = torch.zeros(k, traits.shape[1], dtype=torch.double).index_add_(0, labels, traits.double())
    return hits, labels.bincount(minlength=k)


def shared(traits: "Tensor", labels: "Tensor", k: int, most: int = NAMED) -> list[tuple[Shared, ...]]:
    """The over-represented traits of each group, at most `most`, the clearest first.

    A trait counts where at least LEAST of the group have it and even the lower end of its share's interval exceeds its
    share among all faces; the clearest is the one that exceeds it most.
    """
    import torch

    from core.metrics import wilson_lower

    hits, sizes = counts_in(traits, labels, k)
    base, lower = traits.double().mean(0), wilson_lower(hits, sizes[:, None])               # (T,), (k, T)
    share = hits / sizes.clamp(min=1)[:, None]                                              # (k, T)
    over = torch.where(share >= LEAST, lower - base, -1.0)
    found = []
    for group in range(k):
        order = over[group].argsort(descending=True, stable=True)[:most].tolist()
        found.append(tuple(Shared(TRAITS[at], float(share[group, at]), float(base[at]), float(lower[group, at]))
                           for at in order if over[group, at] > 0))
    return found
