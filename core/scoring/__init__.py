"""The bars of each system, measured on test people that no network was trained on.

A system is never scored by a network it was trained against. What `embedder-tiny` and `judge-tiny` steered is scored by
`embedder-check-tiny` and `judge-check-tiny`. Names that end in -v3 belong to the third renderer, which drew the faces
of Aging.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import data, hub, metrics
from core.errors import SettingsError
from core.faces import BINARY, NAMES, traits_of
from core.hub import weights
from core.sampling import People, vary
from core.scoring.bars import Bar, bar, reported
from core.scoring.pictures import picture_bars

EMBEDDERS = ("embedder-tiny", "embedder-check-tiny")    # each pair: the one that steers, and the one that scores
JUDGES = ("judge-tiny", "judge-check-tiny")
OLD_EMBEDDERS = ("embedder-tiny-v3", "embedder-check-tiny-v3")
OLD_JUDGES = ("judge-tiny-v3", "judge-check-tiny-v3")
FULL = (350, 12)  # test people × looks: 3,000 genuine pairs of each kind, 2,831 where facial hair differs
QUICK = (24, 6)
VECTORS = (350, 4)  # test people × looks; every person is drawn once, and all looks are the reference
PICTURES = (300, 4)  # test people × looks of the reference pictures
PICTURE_SIZE = 128  # pixels
DRAWN = {"size": PICTURE_SIZE, "version": 4}    # the test faces of all but the third renderer
PAIRS = 6000
SHORTENED = ("aging", "attributes", "clusters")     # systems with --short
KINDS = ("random", "years apart", "one turned", "facial hair differs", "exposure differs", "look-alikes")
YEARS, YAW = 25, 35  # years between the faces of an age pair; degrees beyond which a face is turned
EXPOSURE = 0.7  # between the faces of an exposure pair: 0.9 stops. 15 % of a person's pairs, some 3,500 in all
ALIKE = 3  # nearest people by traits, for look-alike pairs
SHORT = -0.02  # largest loss of accuracy against a recogniser trained on drawn people
TURN, WITHIN, STEPS = 45.0, 5.0, 40      # degrees: target yaw and tolerance of steering; steps
SIGMAS = {0.3: 0.99, 0.5: 0.95, 0.7: 0.85}  # variation strength: required rank-1 identification rate


def score(system: str, quick: bool = False, files: Sequence[Path] = (), short: bool = False,
          images: Path | None = None, method: str | None = None) -> dict:
    """Measure a system: {"system", "bars": [{"name", "value", "goal", "met"}]}, of aging also "confusion", and of
    attributes also "leakage".

    A missing measure has the value None, and its bar is not met.

    quick: few people, as a check that everything runs; figures are unreliable. files: weights, only for "recogniser".
    short: "aging" trains all people in the shipped way alone; "attributes" edits 60 people instead of 500; "clusters"
    takes 4,200 faces instead of 20,000. images: only for "pictures": the folder to measure; None measures real
    pictures, which gives the floor. method: only for "attributes": "l2m" measures L2M-GAN beside the others. Takes
    minutes on two cores, longer the first time while test faces are drawn; aging and attributes take up to two hours,
    aging with `short` half an hour. Raises SettingsError for an unknown system and for arguments of another one.
    """
    if system not in SYSTEMS:
        raise SettingsError(f"There is no system {system!r} to score.", f"Choose from: {', '.join(SYSTEMS)}.")
    if files and system != "recogniser":
        raise SettingsError(f"--weights is not available for {system}.",
                            "Leave out --weights; it belongs to `score recogniser`.")
    if short and system not in SHORTENED:
        raise SettingsError(f"--short is not available for {system}.",
                            f"Leave out --short; it belongs to {', '.join(f'`score {each}`' for each in SHORTENED)}.")
    if images and system != "pictures":
        raise SettingsError(f"--images is not available for {system}.",
                            "Leave out --images; it belongs to `score pictures`.")
    if method and system != "attributes":
        raise SettingsError(f"--method is not available for {system}.",
                            "Leave out --method; it belongs to `score attributes`.")
    asked = {name: value for name, value in (("files", files), ("short", short), ("images", images),
                                             ("method", method)) if value}
    found = SYSTEMS[system](quick, **asked)
    found = found if isinstance(found, dict) else {"bars": found}
    return {"system": system, **found, "bars": [asdict(bar) for bar in found["bars"]]}


def score_embedder(quick: bool = False) -> list[Bar]:
    """Bars of the shipped embedders, each on faces of its own renderer."""
    bars = []
    for names, drawn_as in ((EMBEDDERS, DRAWN), (OLD_EMBEDDERS, {})):
        drawn = data.drawn_set("test", *(QUICK if quick else FULL), **drawn_as)
        bars += [each for name in shipped(names) for each in embedder_bars(name, drawn)]
    return bars


def shipped(names: Sequence[str]) -> list[str]:
    """Those of the names that the manifest has."""
    return [name for name in names if hub.known(name)]


def embedder_bars(name: str, drawn: data.DrawnSet) -> list[Bar]:
    """Verification (10 folds, half of the pairs genuine) on three kinds of pairs, and the effective dimension."""
    vectors = data.outputs(hub.load(name), drawn)
    goals = {"random": ">= 0.97", "years apart": ">= 0.92", "one turned": ">= 0.92"}
    dimension = metrics.effective_dimension(vectors, torch.from_numpy(drawn.person))
    return [*(bar(f"{name}: verification, {kind}", verified(vectors, drawn, kind), goal)
              for kind, goal in goals.items()),
            bar(f"{name}: effective dimension", dimension, ">= 80")]


def verified(vectors: Tensor, drawn: data.DrawnSet, kind: str) -> float:
    """Verification accuracy of a set's vectors (N, 512) on its pairs of one kind, in [0, 1]."""
    first, second, same = pairs_of(drawn, kind)
    return metrics.verification(metrics.cosine(vectors[first], vectors[second]), same)


def pairs_of(drawn: data.DrawnSet, kind: str, count: int = PAIRS) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of a set's rows, half of them genuine, of one of KINDS; see `allowed`."""
    return metrics.pairs(torch.from_numpy(drawn.person), count, seed=0, allowed=allowed(drawn, kind))


def allowed(drawn: data.DrawnSet, kind: str) -> Tensor | None:
    """Mask of the pairs of a kind, (N, N) bool; None: all.

    "years apart": 25 or more. "one turned": exactly one beyond 35° of yaw. "facial hair differs": exactly one with a
    beard or a moustache. "exposure differs": by 0.7 or more. "look-alikes": two people with like traits, or one person.
    """
    truth = dict(zip(NAMES, torch.from_numpy(drawn.truth).unbind(1), strict=True))  # name: (N,)
    match kind:
        case "random":
            return None
        case "years apart":
            return (truth["age"][:, None] - truth["age"]).abs() >= YEARS
        case "one turned":
            turned = truth["yaw"].abs() > YAW
            return turned[:, None] ^ turned
        case "facial hair differs":
            hairy = (truth["beard"] > 0.5) | (truth["moustache"] > 0.5)
            return hairy[:, None] ^ hairy
        case "exposure differs":
            return (truth["exposure"][:, None] - truth["exposure"]).abs() >= EXPOSURE
        case "look-alikes":
            person = torch.from_numpy(drawn.person)
            return alike(drawn.people)[person[:, None], person]
    raise SettingsError(f"Unknown kind of pairs {kind!r}.", f"Choose from: {', '.join(KINDS)}.")


def alike(people: int) -> Tensor:
    """Mask of look-alike test people, (P, P) bool and symmetric, diagonal included.

    Two people are look-alikes if one is among the ALIKE nearest of the other, by Euclidean distance of their traits.
    """
    traits = torch.from_numpy(traits_of(people, "test"))  # (P, T)
    nearest = torch.cdist(traits, traits).topk(min(ALIKE + 1, people), largest=False).indices  # (P, 4), with the person
    near = torch.zeros(people, people, dtype=torch.bool).scatter_(1, nearest, True)
    return near | near.T


def score_judge(quick: bool = False) -> list[Bar]:
    """Bars of the shipped judges, on equal numbers of portraits and aligned crops of each one's own renderer."""
    people, looks = (QUICK[0], 2) if quick else (300, 4)
    bars = []
    for names, drawn_as in ((JUDGES, DRAWN), (OLD_JUDGES, {})):
        aligned = data.drawn_set("test", *(QUICK if quick else FULL), **drawn_as)
        portraits = data.drawn_set("test", people, looks, view="portrait", seed=1, **drawn_as)
        sets = [portraits, aligned.take(spread(len(aligned), len(portraits)))]
        bars += [each for name in shipped(names) for each in judge_bars(name, sets)]
    return bars


def judge_bars(name: str, sets: Sequence[data.DrawnSet]) -> list[Bar]:
    """Balanced accuracy, age and yaw errors of a judge on all pictures of some sets."""
    truth = torch.cat([torch.from_numpy(drawn.truth) for drawn in sets])
    judge = hub.load(name)
    found = [data.outputs(judge, drawn) for drawn in sets]
    answers = {key: torch.cat([part[key] for part in found]) for key in found[0]}
    right = metrics.balanced_accuracy(answers["binary"] > 0, truth[:, [NAMES.index(key) for key in BINARY]] > 0.5)
    worst = int(right.argmin())     # a missing one, where there is any
    age = metrics.mean_error(answers["age"], truth[:, NAMES.index("age")])
    yaw = metrics.mean_error(answers["pose"][:, 0], truth[:, NAMES.index("yaw")])
    return [bar(f"{name}: balanced accuracy, mean", float(right.mean()), ">= 0.93"),
            bar(f"{name}: balanced accuracy, worst ({BINARY[worst]})", float(right[worst]), ">= 0.80"),
            bar(f"{name}: age error, years", age, "<= 5"),
            bar(f"{name}: yaw error, degrees", yaw, "<= 3"),
            *(reported(f"{name}: balanced accuracy, {key}", float(value))
              for key, value in zip(BINARY, right, strict=True))]


def score_vectors(quick: bool = False) -> list[Bar]:
    """Identity, separability, variations, attributes, steering and picture bars; by networks that did not steer."""
    real = reduced(data.drawn_set("test", *(QUICK if quick else VECTORS), **DRAWN))
    drawn = real.take(spread(len(real), real.people))  # one look of every person
    steering, held_out, judge = (hub.load(name) for name in (*EMBEDDERS, JUDGES[1]))
    source = data.outputs(steering, drawn)  # (P, 512)
    pictures = pictures_of(source)
    seen = data.outputs(held_out, pictures)  # (P, 512)
    wanted, found = data.outputs(judge, drawn), data.outputs(judge, pictures)
    kept = metrics.balanced_accuracy(found["binary"] > 0, wanted["binary"] > 0)
    worst = int(kept.argmin())     # a missing one, where there is any
    bars = [
        bar("identity kept: mean cosine", float(metrics.cosine(seen, data.outputs(held_out, drawn)).mean()), ">= 0.70"),
        bar("1,000 people separable at 0.4", separable(40 if quick else 1000, held_out), ">= 0.95"),
    ]
    for sigma, goal in SIGMAS.items():
        probe = data.outputs(held_out, pictures_of(varied(source, sigma, 0)))
        value = metrics.rank1(probe, seen, torch.arange(len(source)))
        bars.append(bar(f"variations at σ {sigma} still the person", value, f">= {goal}"))
    turned = source[spread(len(source), 4 if quick else 100)]
    return [*bars, bar("attributes kept: balanced accuracy, mean", float(kept.mean()), ">= 0.80"),
            bar(f"attributes kept: worst ({BINARY[worst]})", float(kept[worst]), ">= 0.60"),
            bar("steered to yaw ±45° within 5°", reached(turned, judge, 2 if quick else STEPS), ">= 0.90"),
            *picture_bars(pictures, real, judge)]


def score_pictures(quick: bool = False, images: Path | None = None) -> list[Bar]:
    """The picture bars of a folder of aligned faces; without one, of drawn faces, which gives the floor."""
    people, looks = (QUICK[0], 2) if quick else PICTURES
    real = data.drawn_set("test", people, looks, size=PICTURE_SIZE, version=4, mixture="ordinary")
    pictures = data.folder(images, PICTURE_SIZE) if images else data.drawn_set(
        "validation", people // 2, looks, size=PICTURE_SIZE, version=4, mixture="ordinary")
    return picture_bars(pictures, real, hub.load(JUDGES[1]))


def separable(people: int, held_out) -> float:
    """Share of sampled people whose mean feature, over three pictures, is below 0.4 to all others.

    0 when so many people cannot even be sampled at the default distance (`People.sample` gives up).
    """
    stored = People.from_dict(weights.read(hub.file("vectors-people-tiny"), hub.row("vectors-people-tiny")))
    try:
        vectors = stored.sample(people, seed=0)  # (people, 512)
    except SettingsError:
        return 0.0
    looks = [vectors, varied(vectors, 0.3, 0), varied(vectors, 0.3, people)]
    seen = [data.outputs(held_out, pictures_of(each)) for each in looks]
    return metrics.separability(torch.stack([torch.nn.functional.normalize(each, dim=1) for each in seen]).mean(0), 0.4)


def reached(vectors: Tensor, judge, limit: int) -> float:
    """Share of faces (N, 512) at the target yaw by a judge that did not steer; every second one turns left."""
    from core.systems.vectors.steering import turned_by

    sides = torch.ones(len(vectors))
    sides[1::2] = -1
    found = torch.cat([data.outputs(judge, turned_by(vectors[sides == side], side * TURN, limit))["pose"][:, 0] * side
                       for side in (1, -1)])
    return float(((found - TURN).abs() <= WITHIN).double().mean())


def varied(vectors: Tensor, sigma: float, seed: int) -> Tensor:
    """One variation of each vector (N, 512), from the seeds `seed` onwards."""
    return torch.stack([vary(vector, sigma, seed + row) for row, vector in enumerate(vectors)])


def pictures_of(vectors: Tensor, batch: int = 32) -> Tensor:
    """Pictures (N, 3, 112, 112) of `vectors-tiny` for vectors (N, 512), rounded to 8 bits as displayed."""
    from core.images import from_uint8, to_uint8

    generator = hub.load("vectors-tiny")
    device = next(generator.parameters()).device
    with torch.inference_mode():
        return torch.cat([from_uint8(to_uint8(generator(part.to(device)).cpu())) for part in vectors.split(batch)])


def reduced(drawn: data.DrawnSet) -> data.DrawnSet:
    """A set at the 112 pixels of embedders, judges and `vectors`, as training reduces it; its points are left out."""
    from core.images import from_uint8, recognisable, to_uint8

    images = [to_uint8(recognisable(from_uint8(np.ascontiguousarray(part))))
              for part in np.array_split(drawn.images, max(1, len(drawn) // 64))]
    return data.DrawnSet(np.concatenate(images), drawn.truth, drawn.person, np.full_like(drawn.points, np.nan))


def spread(count: int, wanted: int):
    """`wanted` distinct, evenly spread rows of `count`."""
    return torch.linspace(0, count - 1, min(wanted, count)).long().numpy()


def score_recogniser(quick: bool = False, files: Sequence[Path] = ()) -> list[Bar]:
    """Verification on KINDS by trained recognisers; for two, also the difference of their means."""
    if not files:
        raise SettingsError("`score recogniser` needs the weights of a recogniser.",
                            "Train one, then name its file:  --weights RUN/recogniser-drawn.safetensors")
    networks = [hub.network_of(file, "iresnet") for file in files]
    names = [Path(file).stem for file in files]
    drawn = data.drawn_set("test", *(QUICK if quick else FULL), **DRAWN)
    bars, means = [], []
    for name, network in zip(names if len(set(names)) == len(names) else files, networks, strict=True):
        vectors = data.outputs(network, drawn)
        found = [verified(vectors, drawn, kind) for kind in KINDS]
        means.append(sum(found) / len(found))
        bars += [reported(f"{name}: verification, {kind}", value) for kind, value in zip(KINDS, found, strict=True)]
        bars.append(reported(f"{name}: mean over the six kinds", means[-1]))
    if len(means) == 2:
        bars.append(bar("mean over the six kinds, second minus first", means[1] - means[0], f">= {SHORT}"))
    return bars


def score_aging(quick: bool = False, short: bool = False) -> dict:
    """Bars of aging and a confusion matrix; see `core.scoring.aging`."""
    from core.scoring import aging  # which builds on this module

    return aging.scored(quick, short)


def score_attributes(quick: bool = False, short: bool = False, method: str | None = None) -> dict:
    """Bars of attributes and the leakage matrix, see `core.scoring.attributes`; of the method "l2m" its own bars."""
    from core.scoring import attributes, l2m  # which build on this module

    return (l2m if method else attributes).scored(quick, short)


def score_clusters(quick: bool = False, short: bool = False) -> list[Bar]:
    """Bars of clusters; see `core.scoring.clusters`."""
    from core.scoring import clusters  # which builds on this module

    return clusters.scored(quick, short)


SYSTEMS = {"embedder": score_embedder, "judge": score_judge, "vectors": score_vectors, "aging": score_aging,
           "attributes": score_attributes, "clusters": score_clusters, "recogniser": score_recogniser,
           "pictures": score_pictures}
