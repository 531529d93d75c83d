"""The bars of clusters: do groups mean something, can they be worn, and how fast are they found.

Groups: drawn test people, whose attributes are known and took no part in training or finding groups. Agreement of the
groups with each trait (`core.systems.clusters.words`) is adjusted for chance and shown beside shuffled labels and the
features of a random network of the same layout. A group has a clear trait where the lower end of the Wilson interval of
its share is at least CLEAR and fewer than COMMON of all faces have it.

Wearing: test faces without the clear trait of a group wear that group. `judge-tiny` says whether they have the trait
then. Identity is the cosine of `embedder-tiny`. Leakage is the mean change of all other attributes, each in its
standard deviations over test faces. Neither network took part in training the translators. The AdaIN twin gets the same
faces and groups; it was trained longer, because it began as the ASIN translator.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core import data, hub, metrics
from core.clustering import PCA, k_means, unit
from core.features import SPACES, Space, compute, remember, resized, space_of
from core.models import build
from core.models.judge import attribute_table
from core.scoring import EMBEDDERS, JUDGES, PICTURE_SIZE, Bar, bar, reported, spread
from core.scoring.pictures import picture_bars
from core.systems.clusters import SYSTEM
from core.systems.clusters.crowd import Faces, shipped_crowd
from core.systems.clusters.words import RANGES, TRAITS, YES, counts_in, traits_of
from core.training.crowd import Groups, set_facts

FULL, SHORT, QUICK = (1667, 12), (350, 12), (40, 6)     # test people × looks: 20,000 pictures, 4,200, 240
K = 50
CLEAR, COMMON = 0.7, 0.4                # lower bound of a clear trait's share; largest share among all faces
BARRED_SPACES = ("texture", "shape")             # spaces with bars
WEARERS, FEW = 40, 3                    # faces that wear each group; with `quick`
TIMES = ((20_000, 2.0), (200_000, 20.0))    # faces: seconds in which they must be regrouped
KS = (10, 25, 50, 100)
BATCH = 32


@dataclass(frozen=True)
class Worn:
    """Faces wearing groups. source, made: (N, 3, S, S), as shown. trait: (N,) what each should have then."""

    source: Tensor
    made: Tensor
    trait: Tensor


def scored(quick: bool = False, short: bool = False) -> list[Bar]:
    """All bars. Takes half an hour on two cores, and longer the first time, while faces are drawn.

    short: on 4,200 faces, of which 20,000 are made for the time bars. quick: on 240.
    """
    size = QUICK if quick else SHORT if short else FULL
    drawn = data.drawn_set("test", *size, size=PICTURE_SIZE, version=4)
    traits = traits_of(torch.from_numpy(drawn.truth))
    bars = []
    for name in BARRED_SPACES:
        bars += group_bars(space_of(name), drawn, traits, set_facts("test", *size))
    return [*bars, *wearing_bars(drawn, traits, FEW if quick else WEARERS, set_facts("test", *size)),
            *time_bars(drawn, set_facts("test", *size), 10 if quick else 1)]


# ---------------------------------------------------------------------------------------------------------- groups

def group_bars(space: Space, drawn: data.DrawnSet, traits: Tensor, facts: dict) -> list[Bar]:
    """Agreement and clear traits of K groups in a space, beside shuffled labels and a random network."""
    labels = labels_of(remember(space, drawn.images, facts))
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    chance = labels_of(random_features(space, drawn.images))
    ways = {"": labels, ", shuffled labels": shuffled, ", random network": chance}
    bars = []
    for way, found in ways.items():
        mutual, rand = agreement(found, traits)
        bars += [reported(f"{space.name}: adjusted mutual information{way}", mutual),
                 reported(f"{space.name}: adjusted Rand index{way}", rand)]
    own, other = (float((clear_traits(found, traits) >= 0).double().mean()) for found in (labels, chance))
    return [*bars, bar(f"{space.name}: groups with a clear trait", own, ">= 0.5"),
            reported(f"{space.name}: groups with a clear trait, random network", other),
            bar(f"{space.name}: clear groups over a random network's", own / max(other, 1 / K), ">= 1.5")]


def labels_of(features: Tensor) -> Tensor:
    """The group of each picture, by its features (N, D): (N,)."""
    features = unit(features)
    return k_means(PCA.fit(features).apply(features), min(K, len(features) // 2)).labels


def random_features(space: Space, images: np.ndarray) -> Tensor:
    """Features (N, D) of the space's network before any training."""
    row = hub.row(space.checkpoint)
    torch.manual_seed(0)
    network = build(row.network, row.preset).eval()
    return torch.cat([*compute(space, network.to(hub.default_device()), images)])


def agreement(labels: Tensor, traits: Tensor) -> tuple[float, float]:
    """Adjusted mutual information and Rand index of groups (N,) with each trait (N, T), averaged over the traits."""
    traits = traits.long().T[traits.any(0) & ~traits.all(0)]
    both = [(metrics.adjusted_mutual_information(labels, trait), metrics.adjusted_rand(labels, trait))
            for trait in traits]
    return tuple(float(np.mean(column)) for column in zip(*both, strict=True))


def clear_traits(labels: Tensor, traits: Tensor, k: int | None = None) -> Tensor:
    """The clearest trait of each group, (k,) numbers of traits; -1 where none is clear."""
    k = k or int(labels.max()) + 1
    hits, sizes = counts_in(traits, labels, k)
    lower, base = metrics.wilson_lower(hits, sizes[:, None]), traits.double().mean(0)               # (k, T), (T,)
    best, trait = torch.where((lower >= CLEAR) & (base < COMMON), lower - base, -1.0).max(1)
    return torch.where(best >= 0, trait, -1)


# --------------------------------------------------------------------------------------------------------- wearing

def wearing_bars(drawn: data.DrawnSet, traits: Tensor, each: int, facts: dict) -> list[Bar]:
    """Translation success, identity and leakage of ASIN beside the AdaIN twin, and the picture bars of ASIN."""
    choice = SYSTEM.choose()
    faces, groups = shipped_crowd(choice.crowd)
    space = space_of(groups.space)
    labels = groups.assign(groups.vectors(remember(space, drawn.images, facts)))
    clear = clear_traits(labels, traits, len(groups.centres))
    embedder, judge = hub.load(EMBEDDERS[0]), hub.load(JUDGES[0])
    judged = traits_of(attribute_table(data.outputs(judge, drawn)))
    rows, targets = wearers(clear, traits & judged, traits | judged, each)
    worn = {name: wear(method, drawn, rows, targets, clear, faces, groups)
            for name, method in (("ASIN", choice.translator), ("AdaIN", choice.twin))}
    spread_of = judge_numbers(data.outputs(judge, drawn)).std(0)
    found = {name: measured(made, judge, embedder, spread_of) for name, made in worn.items()}
    base = float(judged.double().mean(0)[clear[targets]].mean()) if len(rows) else float("nan")
    asin, adain = found["ASIN"], found["AdaIN"]
    bars = [reported("groups with a clear trait that can be worn", float((clear >= 0).sum())),
            bar("ASIN: the trait is there then", asin["success"], ">= 0.7"),
            bar("ASIN: over its base rate", over(asin["success"], base), ">= 3"),
            bar("identity, ASIN minus AdaIN", asin["identity"] - adain["identity"], ">= 0"),
            bar("leakage, ASIN over AdaIN", over(asin["leakage"], adain["leakage"]), "<= 1"),
            *(reported(f"{name}: {what}", value) for name, values in found.items() for what, value in values.items()),
            reported("base rate of the traits", base)]
    if not len(rows):
        return bars
    real = drawn.take(spread(len(drawn), max(len(rows), 64)))
    return [*bars, *picture_bars(worn["ASIN"].made, real, judge)]


def over(value: float, base: float) -> float:
    """A ratio; nan, which is missing, over 0."""
    return value / base if base else float("nan")


def wearers(clear: Tensor, surely: Tensor, maybe: Tensor, each: int) -> tuple[Tensor, Tensor]:
    """Faces without the clear trait of a group, and the group: two (M,), `each` a group where there are as many.

    clear: (k,), see `clear_traits`. surely, maybe: (N, T), traits that truth and judge, or either of them, see.
    """
    rows, targets = [], []
    for group, trait in enumerate(clear.tolist()):
        if trait < 0 or not surely[:, trait].any():
            continue
        without = (~maybe[:, trait]).nonzero()[:, 0]
        chosen = without[torch.from_numpy(spread(len(without), each))]
        rows.append(chosen)
        targets.append(torch.full_like(chosen, group))
    empty = torch.zeros(0, dtype=torch.int64)
    return (torch.cat(rows), torch.cat(targets)) if rows else (empty, empty)


def wear(checkpoint: str, drawn: data.DrawnSet, rows: Tensor, targets: Tensor, clear: Tensor, faces: Faces,
         groups: Groups) -> Worn:
    """The faces in `rows` wearing the groups `targets`, as a translator's checkpoint makes them.

    AdaIN takes the group's most typical face of the crowd as its exemplar.
    """
    from core.images import from_uint8, to_uint8

    network = hub.load(checkpoint)
    device, size, typical = next(network.parameters()).device, network.config.size, typical_faces(faces, groups)
    source, made = torch.zeros(0, 3, PICTURE_SIZE, PICTURE_SIZE), []
    for part in torch.arange(len(rows)).split(BATCH) if len(rows) else ():
        image = data.rows_of(drawn, rows[part].numpy())["image"]
        x = resized(image, size).to(device)
        with torch.inference_mode():
            if network.config.norm == "adain":
                condition = network.exemplar_condition(faces.vectors[groups.space][typical][targets[part]]).to(device)
            else:
                condition = network.group_condition(groups.statistics, targets[part]).to(device)
            found = network(x, condition, larger=image.to(device)).float().cpu()
            shown = F.interpolate(found, PICTURE_SIZE, mode="bicubic").clamp(-1, 1)
        source, made = torch.cat([source, image]), [*made, from_uint8(to_uint8(shown))]
    return Worn(source, torch.cat(made) if made else source, clear[targets])


def typical_faces(faces: Faces, groups: Groups) -> list[int]:
    """The row of the crowd's face nearest to the centre of each group."""
    return torch.cdist(groups.centres, faces.vectors[groups.space]).argmin(1).tolist()


def measured(worn: Worn, judge, embedder, spread_of: Tensor) -> dict[str, float]:
    """Success, identity and leakage of faces that wear groups. spread_of: (35,), of the judge's numbers."""
    if not len(worn.trait):
        return dict.fromkeys(("success", "identity", "leakage"), float("nan"))
    before, after = (data.outputs(judge, pictures) for pictures in (worn.source, worn.made))
    success = traits_of(attribute_table(after)).gather(1, worn.trait[:, None])[:, 0]
    identity = metrics.cosine(*(data.outputs(embedder, pictures) for pictures in (worn.source, worn.made)))
    change = (judge_numbers(after) - judge_numbers(before)).abs() / spread_of.clamp(min=1e-6)       # (N, 35)
    other = torch.ones_like(change).scatter_(1, attributes_of(worn.trait)[:, None], 0.0)
    return {"success": float(success.double().mean()), "identity": float(identity.mean()),
            "leakage": float((change * other).sum() / other.sum())}


def judge_numbers(answers: dict[str, Tensor]) -> Tensor:
    """A judge's answers as one table, (N, 35) in the order of core.faces.NAMES: logits of the yes/no attributes."""
    from core.faces import BINARY, NAMES

    table = attribute_table(answers)
    table[:, [NAMES.index(name) for name in BINARY]] = answers["binary"].float()
    return table


def attributes_of(traits: Tensor) -> Tensor:
    """The attribute, as a number in core.faces.NAMES, behind each trait (N,)."""
    from core.faces import NAMES

    named = {words: name for name, words in YES.items()} | {words: row[0] for words, row in RANGES.items()}
    return torch.tensor([NAMES.index(named[TRAITS[trait]]) for trait in traits.tolist()], dtype=torch.int64)


# ----------------------------------------------------------------------------------------------------------- times

def time_bars(drawn: data.DrawnSet, facts: dict, fewer: int = 1) -> list[Bar]:
    """Seconds that the slowest of KS takes on so many faces. fewer: divides the faces."""
    features = unit(remember(SPACES[BARRED_SPACES[0]], drawn.images, facts))
    vectors = PCA.fit(features).apply(features)
    bars = []
    for count, limit in TIMES:
        many = grown(vectors, count // fewer)
        seconds = []
        for k in KS:
            begun = time.perf_counter()
            k_means(many, k)
            seconds.append(time.perf_counter() - begun)
        bars.append(bar(f"seconds to regroup {len(many):,} faces, slowest k", max(seconds), f"<= {limit:g}"))
    return bars


def grown(vectors: Tensor, count: int) -> Tensor:
    """`count` vectors: those there are (N, K), and copies moved a little."""
    rows = torch.arange(count) % len(vectors)
    noise = torch.randn(count, vectors.shape[1], generator=torch.Generator().manual_seed(0))
    return vectors[rows] + 0.1 * vectors.std(0) * noise * (torch.arange(count) >= len(vectors))[:, None]
