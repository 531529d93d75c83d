"""The bars of aging: is a taught person, drawn at an age, that person at that age?

Twenty test people, whom no network saw, are each taught from ten drawn pictures of one time of life and drawn at the
six ages with the settings that the app starts with; see `people` and `lessons`. Two networks judge that had no part in
it: `judge-check-tiny` says the years, `embedder-check-tiny` whether it is the same person.

Ages: the group that the judged years fall into, against the group that was asked for.

Identity, as the paper measures it: every drawn picture is compared with every picture that somebody was taught from, by
cosine. Genuine pairs are those with the person's own pictures, whatever the years between them; impostor pairs those
with the pictures of everybody else, the other taught people and as many strangers as make it sixty. One threshold for
all ages lets in so many of the impostor pairs (FMR); what it refuses of the genuine ones is the FNMR. A way of teaching
has its own threshold: one that makes people alike raises it and pays for it. "against the mean of the pictures" puts
the mean of a person's ten vectors in their place, as a system would that somebody enrols in.

The same is measured of real pictures of the same people, drawn by the renderer at years spread over each group: how far
the two networks are to be trusted. Groups of ten years are narrow for them, and people change between child and old.
Once more, of these pictures as the autoencoder gives them back: what it alone costs.

Quick: three people, and of the ways only plain DreamBooth, the one that ships, and no teaching at all.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import data, hub, metrics
from core.scoring import EMBEDDERS, JUDGES, Bar, bar, lessons, people, reported
from core.words import GROUPS, group_of

NAMES = tuple(GROUPS)
SIDE = 112      # pixels that the judging networks look at
RATES = (0.01, 0.001)
WHOLE = "against the mean of the pictures"


@dataclass(frozen=True)
class Seen:
    """What the networks that never steered see in pictures. vectors: (N, 512), of length 1. years: (N,)."""

    vectors: Tensor
    years: Tensor


@dataclass(frozen=True)
class Likeness:
    """How a set of pictures fares. table: (6, 6) asked × judged.

    genuine, impostor: cosines of the two kinds of pairs. age: of each genuine pair, which age was asked for, 0 to 5.
    whole_genuine, whole_impostor: the same against the mean of a person's pictures.
    """

    table: Tensor
    genuine: Tensor
    impostor: Tensor
    age: Tensor
    whole_genuine: Tensor
    whole_impostor: Tensor

    def fnmr(self, rate: float) -> float:
        """Share of the genuine pairs that are refused where so many impostors are let in."""
        return metrics.fnmr_at_fmr(self.genuine, self.impostor, rate)

    def fnmr_at(self, age: int) -> float:
        """Of the pairs at one age, at the threshold of all: FMR 0.01."""
        return metrics.fnmr_at_fmr(self.genuine[self.age == age], self.impostor, RATES[0])


def scored(quick: bool = False, short: bool = False) -> dict:
    """{"bars": […], "confusion": {"ages": the six names, "counts": rows asked, columns judged}}.

    quick: few people, and no contrastive term. short: everybody, in the way that ships alone.
    """
    lessons.made_by()       # or an error for what is missing, before anything is drawn
    count = people.FEW if quick else people.SUBJECTS
    numbers = list(range(count))
    strangers = list(range(people.SUBJECTS, people.SUBJECTS + people.STRANGERS))
    gallery = seen(people.pictures(people.usual, numbers + strangers, tell))     # subjects' first
    real = people.pictures(people.later, numbers, tell)
    taught = lessons.SHORT if quick else lessons.ALONE if short else lessons.WAYS
    made = lessons.all_pictures(taught, numbers, tell)
    ways = {name: compared(pictures, gallery) for name, pictures in made.items()}
    chosen = ways[lessons.DEFAULT]
    confusion = {"ages": NAMES, "counts": chosen.table.tolist()}
    limits = [*summary("real pictures at these ages", compared(real, gallery)),
              *summary("real pictures through the autoencoder", compared(lessons.reconstructed(real), gallery))]
    return {"bars": [*required(chosen), *told(ways), *limits], "confusion": confusion}


def required(found: Likeness) -> list[Bar]:
    """What the way that ships must reach, and where it is weak."""
    return [
        bar("age judged right or one group off", metrics.within(found.table, 1), ">= 0.90"),
        bar("age judged right", metrics.within(found.table, 0), ">= 0.70"),
        bar("FNMR at FMR 0.01, over the six ages", found.fnmr(0.01), "<= 0.15"),
        *(reported(f"FNMR at FMR 0.01, as {name}", found.fnmr_at(age)) for age, name in enumerate(NAMES)),
    ]


def told(ways: dict[str, Likeness]) -> list[Bar]:
    """The ways side by side, and how much less is refused than with plain DreamBooth, where that is among them."""
    rows = [row for name, found in ways.items() for row in summary(name, found)]
    if lessons.PLAIN not in ways:
        return rows
    plain, chosen = ways[lessons.PLAIN], ways[lessons.DEFAULT]
    return rows + [reported(f"FNMR at FMR {rate} less than with {lessons.PLAIN}, relative",
                            reduced(plain.fnmr(rate), chosen.fnmr(rate))) for rate in RATES]


def summary(name: str, found: Likeness) -> list[Bar]:
    """One way, or the real pictures, in numbers without a goal."""
    values = {
        "age judged right or one group off": metrics.within(found.table, 1),
        "age judged right": metrics.within(found.table, 0),
        **{f"FNMR at FMR {rate}": found.fnmr(rate) for rate in RATES},
        f"FNMR at FMR {RATES[0]} {WHOLE}": metrics.fnmr_at_fmr(found.whole_genuine, found.whole_impostor, RATES[0]),
        "mean similarity": float(found.genuine.mean()),
    }
    return [reported(f"{name}: {what}", value) for what, value in values.items()]


def reduced(before: float, after: float) -> float:
    """By what share a rate fell; 0 where there was nothing to lower."""
    return (before - after) / before if before else 0.0


# ----------------------------------------------------------------------------------------------- what is compared

def seen(pictures: np.ndarray) -> Seen:
    """What the judging networks see in pictures (P, K, S, S, 3) uint8, in one row each, person by person."""
    from core.images import from_uint8

    tensor = from_uint8(pictures.reshape(-1, *pictures.shape[2:]))
    small = F.interpolate(tensor, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    vectors = data.outputs(hub.load(EMBEDDERS[1]), small)
    return Seen(F.normalize(vectors, dim=1), data.outputs(hub.load(JUDGES[1]), small)["age"])


def compared(pictures: np.ndarray, gallery: Seen) -> Likeness:
    """Pictures (P, K, S, S, 3) of the first people of a gallery, K a multiple of six: age by age, youngest first.

    gallery: people.PICTURES of every person, one person after another.
    """
    count, each = pictures.shape[:2]
    found = seen(pictures)
    person = torch.arange(count).repeat_interleave(each)                             # (N,)
    asked = (torch.arange(each) // (each // len(NAMES))).repeat(count)               # (N,)
    judged = torch.tensor([NAMES.index(group_of(years)) for years in found.years.clamp(min=0).tolist()])
    owner = torch.arange(len(gallery.vectors)) // people.PICTURES                    # (G,)
    own = person[:, None] == owner                                                   # (N, G)
    alike = found.vectors @ gallery.vectors.T                                        # (N, G)
    means = F.normalize(gallery.vectors.unflatten(0, (-1, people.PICTURES)).mean(1), dim=1)
    whole, own_whole = found.vectors @ means.T, person[:, None] == torch.arange(len(means))
    return Likeness(metrics.confusion(asked, judged, len(NAMES)), alike[own], alike[~own],
                    asked[:, None].expand_as(own)[own], whole[own_whole], whole[~own_whole])


def tell(line: str) -> None:
    """A line of progress, where the table is not."""
    print(line, file=sys.stderr, flush=True)
