"""The bars of aging: age and identity of trained people, generated at six ages.

Twenty test people, unseen by all networks, are trained from ten drawn pictures of about one age each. They are
generated at the six ages with the app's default settings; see `people` and `lessons`. Two networks that did not steer
measure the pictures: `judge-check-tiny-v3` estimates the age, `embedder-check-tiny-v3` the identity.

Age: the group of the estimated years, against the requested group.

Identity, as in the paper: every generated picture is compared by cosine with all training pictures. Genuine pairs are
those with the person's own pictures, at any age difference. Impostor pairs are those with the other trained people and
forty strangers. One threshold for all ages gives the FMR on impostor pairs; the share of genuine pairs below it is the
FNMR. Each way of training has its own threshold, so a way that makes people similar is penalised. "against the mean of
the pictures" compares with the mean of a person's ten vectors, like an enrolled template.

The same is measured on real pictures of these people at the six ages, which shows the error of the two networks, and on
these pictures after the autoencoder, which shows its loss.

Quick: three people, and only plain DreamBooth, the shipped way and no training.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import data, hub, metrics
from core.scoring import OLD_EMBEDDERS, OLD_JUDGES, Bar, bar, lessons, people, reported
from core.words import GROUPS, group_of

NAMES = tuple(GROUPS)
RATES = (0.01, 0.001)
WHOLE = "against the mean of the pictures"


@dataclass(frozen=True)
class Seen:
    """Outputs of the networks that did not steer. vectors: (N, 512), of norm 1. years: (N,)."""

    vectors: Tensor
    years: Tensor


@dataclass(frozen=True)
class Likeness:
    """Measurements of a set of pictures. table: (6, 6), requested × estimated age group.

    genuine, impostor: cosines of the two kinds of pairs. age: requested age of each genuine pair, 0 to 5.
    whole_genuine, whole_impostor: the same against the mean of a person's pictures.
    """

    table: Tensor
    genuine: Tensor
    impostor: Tensor
    age: Tensor
    whole_genuine: Tensor
    whole_impostor: Tensor

    def fnmr(self, rate: float) -> float:
        """FNMR at FMR `rate`."""
        return metrics.fnmr_at_fmr(self.genuine, self.impostor, rate)

    def fnmr_at(self, age: int) -> float:
        """FNMR of one age, at the common threshold of FMR 0.01."""
        return metrics.fnmr_at_fmr(self.genuine[self.age == age], self.impostor, RATES[0])


def scored(quick: bool = False, short: bool = False) -> dict:
    """{"bars": […], "confusion": {"ages": the six names, "counts": rows asked, columns judged}}.

    quick: few people, without the contrastive term. short: all people, only in the shipped way.
    """
    lessons.source_hashes()       # raises for missing files before drawing
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
    return {"bars": [*required(chosen), *compare_ways(ways), *limits], "confusion": confusion}


def required(found: Likeness) -> list[Bar]:
    """The bars of the shipped way, and its FNMR by age."""
    return [
        bar("age judged right or one group off", metrics.within(found.table, 1), ">= 0.90"),
        bar("age judged right", metrics.within(found.table, 0), ">= 0.70"),
        bar("FNMR at FMR 0.01, over the six ages", found.fnmr(0.01), "<= 0.15"),
        *(reported(f"FNMR at FMR 0.01, as {name}", found.fnmr_at(age)) for age, name in enumerate(NAMES)),
    ]


def compare_ways(ways: dict[str, Likeness]) -> list[Bar]:
    """Figures of all ways, and the relative FNMR reduction against plain DreamBooth if it is included."""
    rows = [row for name, found in ways.items() for row in summary(name, found)]
    if lessons.PLAIN not in ways:
        return rows
    plain, chosen = ways[lessons.PLAIN], ways[lessons.DEFAULT]
    return rows + [reported(f"FNMR at FMR {rate} less than with {lessons.PLAIN}, relative",
                            reduced(plain.fnmr(rate), chosen.fnmr(rate))) for rate in RATES]


def summary(name: str, found: Likeness) -> list[Bar]:
    """Figures of one way or of real pictures, without goals."""
    values = {
        "age judged right or one group off": metrics.within(found.table, 1),
        "age judged right": metrics.within(found.table, 0),
        **{f"FNMR at FMR {rate}": found.fnmr(rate) for rate in RATES},
        f"FNMR at FMR {RATES[0]} {WHOLE}": metrics.fnmr_at_fmr(found.whole_genuine, found.whole_impostor, RATES[0]),
        "mean similarity": float(found.genuine.mean()),
    }
    return [reported(f"{name}: {what}", value) for what, value in values.items()]


def reduced(before: float, after: float) -> float:
    """Relative reduction; 0 if `before` is 0."""
    return (before - after) / before if before else 0.0


# ----------------------------------------------------------------------------------------------- what is compared

def seen(pictures: np.ndarray) -> Seen:
    """Outputs of the judging networks for pictures (P, K, S, S, 3) uint8, person by person."""
    from core.images import from_uint8, recognisable

    small = recognisable(from_uint8(pictures.reshape(-1, *pictures.shape[2:])))
    vectors = data.outputs(hub.load(OLD_EMBEDDERS[1]), small)
    return Seen(F.normalize(vectors, dim=1), data.outputs(hub.load(OLD_JUDGES[1]), small)["age"])


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
    """Print progress to standard error."""
    print(line, file=sys.stderr, flush=True)
