"""Identities: everything about a drawn person that stays for life, chosen by a number."""

from dataclasses import dataclass, fields

import numpy as np

SPLITS = {"train": 1, "validation": 2, "test": 3}
NATURAL = ("black", "brown", "blond", "red")

# Spread of the local shape labels: one standard deviation on the label's scale from -1 to 1. "lr-" stands for a label
# that exists for both sides. Labels with spread 0 move by age, sex or weight only.
_SPREAD = {
    "nose-flaring-incr": 0.22, "nose-compression-uncompress": 0.08, "nose-septumangle-incr": 0.12, "nose-base-up": 0.16,
    "nose-nostrils-angle-up": 0.16, "lr-eye-eyefold-up": 0.22, "lr-eye-eyefold-angle-up": 0.22, "lr-eye-bag-incr": 0.15,
    "lr-eye-bag-height-incr": 0.15, "lr-eye-bag-out": 0.15, "lr-eye-push1-out": 0.12, "lr-eye-push2-out": 0.12,
    "lr-eye-epicanthus-out": 0.12, "lr-eye-height1-incr": 0.13, "lr-eye-height2-incr": 0.13,
    "lr-eye-height3-incr": 0.13, "lr-eye-scale-incr": 0.13, "lr-eye-trans-up": 0.20, "lr-eye-trans-out": 0.20,
    "lr-eye-corner1-up": 0.26, "lr-eye-corner2-up": 0.26, "eyebrows-angle-up": 0.16, "eyebrows-trans-up": 0.24,
    "eyebrows-trans-forward": 0.24, "forehead-nubian-incr": 0.08, "forehead-scale-vert-incr": 0.10,
    "forehead-temple-incr": 0.24, "forehead-trans-forward": 0.24, "head-fat-incr": 0.22, "head-scale-vert-incr": 0.20,
    "head-scale-horiz-incr": 0.20, "head-scale-depth-incr": 0.20, "head-back-scale-depth-incr": 0.15,
    "mouth-scale-depth-incr": 0.12, "mouth-dimples-out": 0.12, "mouth-laugh-lines-out": 0.12, "mouth-trans-up": 0.14,
    "mouth-trans-forward": 0.14, "mouth-scale-horiz-incr": 0.22, "chin-prognathism-incr": 0.14,
    "chin-cleft-incr": 0.25, "neck-scale-vert-incr": 0.10, "measure-neck-circ-incr": 0.15, "head-age-incr": 0.0,
    "neck-double-incr": 0.0,
}
_SPREAD |= dict.fromkeys((
    "nose-curve-convex", "nose-scale-depth-incr", "nose-scale-vert-incr", "nose-point-width-incr",
    "nose-scale-horiz-incr", "nose-width1-incr", "nose-width2-incr", "nose-width3-incr", "nose-trans-forward",
    "nose-trans-up", "nose-hump-incr", "nose-nostrils-width-incr", "nose-greek-incr", "nose-point-up",
    "nose-volume-incr", "lr-cheek-trans-up", "lr-cheek-inner-incr", "lr-cheek-bones-incr"), 0.26)
_SPREAD |= dict.fromkeys(("chin-jaw-drop-incr", "chin-height-incr", "chin-prominent-incr", "chin-bones-incr",
                          "chin-width-incr", "lr-cheek-volume-incr"), 0.18)
_SPREAD |= dict.fromkeys((
    "mouth-lowerlip-height-incr", "mouth-cupidsbow-incr", "mouth-lowerlip-volume-incr", "mouth-angles-up",
    "mouth-upperlip-ext-up", "mouth-lowerlip-width-incr", "mouth-upperlip-width-incr", "mouth-scale-vert-incr",
    "mouth-upperlip-height-incr", "mouth-upperlip-volume-incr", "mouth-cupidsbow-width-incr", "mouth-lowerlip-ext-up",
    "mouth-upperlip-middle-up", "mouth-lowerlip-middle-up", "mouth-philtrum-volume-incr"), 0.20)
_SPREAD |= dict.fromkeys((
    "lr-ear-lobe-incr", "lr-ear-trans-forward", "lr-ear-rot-forward", "lr-ear-trans-up", "lr-ear-scale-vert-incr",
    "lr-ear-flap-incr", "lr-ear-scale-incr", "lr-ear-scale-depth-incr", "lr-ear-wing-incr"), 0.20)
_SPREAD |= dict.fromkeys(("lr-ear-shape-round", "lr-ear-shape-triangle"), 0.15)
_SPREAD |= dict.fromkeys(("neck-scale-depth-incr", "neck-back-scale-depth-incr", "neck-scale-horiz-incr"), 0.12)
_HEADS = ("head-invertedtriangular", "head-diamond", "head-oval", "head-rectangular", "head-round", "head-triangular",
          "head-square")
_SPREAD |= dict.fromkeys(_HEADS, 0.0)

# Families of faces: labels that move together, at one standard deviation of the factor.
_FACTORS = {
    "long face": {"head-scale-vert-incr": 0.13, "head-scale-horiz-incr": -0.14, "chin-height-incr": 0.17,
                  "nose-scale-vert-incr": 0.14, "lr-cheek-volume-incr": -0.08},
    "square jaw": {"chin-width-incr": 0.24, "chin-bones-incr": 0.22, "chin-prominent-incr": 0.10,
                   "lr-cheek-volume-incr": 0.04},
    "strong chin": {"chin-prominent-incr": 0.20, "chin-prognathism-incr": 0.12, "chin-height-incr": 0.12},
    "large nose": {"nose-scale-horiz-incr": 0.15, "nose-scale-vert-incr": 0.14, "nose-scale-depth-incr": 0.16,
                   "nose-volume-incr": 0.20, "nose-point-width-incr": 0.12},
    "broad nose": {"nose-width1-incr": 0.18, "nose-width2-incr": 0.22, "nose-width3-incr": 0.22,
                   "nose-flaring-incr": 0.18, "nose-nostrils-width-incr": 0.18},
    "hooked nose": {"nose-hump-incr": 0.22, "nose-curve-convex": 0.22, "nose-point-up": -0.24, "nose-greek-incr": 0.12},
    "large eyes": {"lr-eye-scale-incr": 0.17, "lr-eye-height1-incr": 0.12, "lr-eye-height2-incr": 0.14,
                   "lr-eye-height3-incr": 0.12},
    "wide-set eyes": {"lr-eye-trans-out": 0.24, "nose-width1-incr": 0.10},
    "tilted eyes": {"lr-eye-corner2-up": 0.26, "lr-eye-eyefold-angle-up": 0.16, "lr-eye-corner1-up": -0.12},
    "open lids": {"lr-eye-eyefold-up": 0.24, "eyebrows-trans-up": 0.20, "eyebrows-trans-forward": -0.12},
    "full lips": {"mouth-upperlip-volume-incr": 0.22, "mouth-lowerlip-volume-incr": 0.22,
                  "mouth-upperlip-height-incr": 0.20, "mouth-lowerlip-height-incr": 0.20},
    "wide mouth": {"mouth-scale-horiz-incr": 0.24},
    "long upper lip": {"mouth-trans-up": 0.15, "mouth-philtrum-volume-incr": 0.10},
    "full face": {"lr-cheek-volume-incr": 0.24, "head-fat-incr": 0.22, "lr-cheek-inner-incr": 0.12},
    "cheekbones": {"lr-cheek-bones-incr": 0.26, "lr-cheek-trans-up": 0.12, "forehead-temple-incr": -0.10},
    "high forehead": {"forehead-scale-vert-incr": 0.09, "forehead-trans-forward": 0.10, "forehead-nubian-incr": 0.04},
}

# Outlines of the face vary less than what lies inside it: a wide jaw looks deformed where wide-set eyes do not.
_REACH = {"square jaw": 0.6, "full face": 0.6, "long face": 0.9, "strong chin": 0.8, "large nose": 0.9,
          "broad nose": 1.2, "hooked nose": 1.1, "large eyes": 1.1, "wide-set eyes": 1.25, "tilted eyes": 1.25,
          "open lids": 1.25, "full lips": 1.2, "wide mouth": 1.2, "long upper lip": 1.25, "cheekbones": 1.2,
          "high forehead": 1.2}


def both_sides(label: str) -> tuple[str, ...]:
    """The labels that a label of a table stands for: "lr-" in front means left and right."""
    return (f"l-{label[3:]}", f"r-{label[3:]}") if label.startswith("lr-") else (label,)


LABELS = tuple(one for label in _SPREAD for one in both_sides(label))  # order of Identity.shape
ASYMMETRIES = tuple(f"asym-{part}-{number}-{side}" for part, count in (
    ("brown", 2), ("cheek", 2), ("eye", 8), ("jaw", 3), ("mouth", 2), ("nose", 4), ("temple", 2), ("top", 2))
    for number in range(1, count + 1) for side in "lr")


@dataclass(frozen=True)
class Identity:
    """What stays for life.

    gender: 0 woman, 1 man. origin: shares of the three sculpted origins, sum 1. shape: one value a label of LABELS.
    asymmetry: (label, weight) pairs. melanin and blood: optical depth of the skin. hair: one of NATURAL, and shade is
    where it lies between its darkest (0) and lightest (1). iris: linear RGB. graying: years at which half the hair is
    white. brow_*, lashes, lip_red and hairline are standard scores; the rest are shares.
    """

    number: int
    split: str
    gender: float
    origin: tuple[float, float, float]
    shape: tuple[float, ...]
    asymmetry: tuple[tuple[str, float], ...]
    weight: float
    muscle: float
    melanin: float
    blood: float
    ruddy: float
    undertone: float
    mottled: float
    freckles: float
    moles: float
    gloss: float
    dark_circles: float
    lip_red: float
    iris: tuple[float, float, float]
    iris_size: float
    lashes: float
    brow_weight: float
    brow_arch: float
    brow_slope: float
    brow_taper: float
    brow_start: float
    brow_end: float
    hair: str
    shade: float
    curl: float
    hairline: float
    balding: float
    graying: float
    wrinkles: float
    parting: float
    volume: float
    usual_age: float
    usual_length: float
    chubby: float
    big_nose: float
    bushy_eyebrows: float

    def rng(self, *purpose: int) -> np.random.Generator:
        """A fresh generator of this person for one purpose: the same numbers every time."""
        return np.random.default_rng([SPLITS[self.split], self.number, *purpose])


def person(number: int, split: str = "train") -> Identity:
    """The identity with this number. Numbers are per split, so no two splits share a person.

    number: 0 or more. Raises ValueError for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    rng = np.random.default_rng([SPLITS[split], int(number), 40])
    gender = float(rng.random() < 0.5)
    shape = _shape(rng, gender)
    asymmetry = tuple((label, float(abs(rng.normal()) * 0.12)) for label in ASYMMETRIES if rng.random() < 0.35)
    origin = rng.dirichlet([0.28, 0.28, 0.34])
    melanin = _melanin(rng, origin)
    fair = origin[2] > 0.6 and melanin < 0.5
    hair = _hair(rng, origin, fair)
    african, asian, _ = origin
    light_hair = hair in ("red", "blond")
    share = lambda middle, spread, low=0.0, high=1.0: float(np.clip(rng.normal(middle, spread), low, high))  # noqa: E731
    return Identity(
        number=int(number), split=split, gender=gender, origin=tuple(map(float, origin)), shape=shape,
        asymmetry=asymmetry, weight=share(0.47, 0.14, 0.2, 0.8), muscle=share(0.5, 0.12, 0.2, 0.8), melanin=melanin,
        blood=share(0.30, 0.05, 0.2, 0.42), ruddy=share(0.5, 0.2, 0.1, 1.1), undertone=share(0.04, 0.10, -0.06, 0.25),
        mottled=share(0, 1, -2, 2), freckles=share(0.6 if light_hair else -0.4, 0.5, 0, 1.5) * fair,
        moles=share(0.1, 0.5, 0, 1.2), gloss=share(0.9, 0.2, 0.4, 1.4), dark_circles=share(0.5, 0.25, 0, 1.2),
        lip_red=share(0, 1, -2, 2), iris=_iris(rng, origin, fair), iris_size=share(1, 0.04, 0.9, 1.1),
        lashes=share(0, 1, -2, 2), brow_weight=share(0, 1, -2, 2), brow_arch=share(0, 1, -2, 2),
        brow_slope=share(0, 1, -2, 2), brow_taper=float(rng.uniform(-0.1, 0.8)),
        brow_start=float(rng.uniform(-0.08, 0.10)), brow_end=float(rng.uniform(0.84, 1.0)), hair=hair,
        shade=float(rng.random()), curl=float(np.clip(african + rng.normal(0.15, 0.25) * (1 - asian), 0, 1)),
        hairline=share(0, 1, -2, 2), balding=float(rng.random()), graying=float(rng.normal(52, 6)),
        wrinkles=share(0.97, 0.15, 0.6, 1.4), parting=float(rng.choice([-0.3, -0.15, 0, 0.15, 0.3])),
        volume=float(rng.uniform(0.1, 0.8)), usual_age=years(rng), usual_length=_length(rng, gender),
        chubby=float(rng.random() < 0.14), big_nose=float(rng.random() < 0.12),
        bushy_eyebrows=float(rng.random() < (0.22 if gender else 0.06)),
    )


def years(rng: np.random.Generator) -> float:
    """A random usual age, mostly adult, from 2 to 88 years."""
    spans = ((2, 12), (12, 20), (20, 45), (45, 65), (65, 88))
    low, high = spans[rng.choice(5, p=[0.13, 0.12, 0.43, 0.20, 0.12])]
    return float(rng.uniform(low, high))


def traits_of(people: int, split: str = "train") -> np.ndarray:
    """What the first `people` persons of a split are made of: (people, T), each trait with mean 0 and spread 1.

    Traits that never vary are 0.
    """
    persons = [person(number, split) for number in range(people)]
    names = [field.name for field in fields(Identity) if field.type is float]
    table = np.array([[*(getattr(each, name) for name in names), *each.shape, *each.origin, *each.iris]
                      for each in persons], np.float32)
    return (table - table.mean(0)) / (table.std(0) + 1e-6)


def _shape(rng: np.random.Generator, gender: float, reach: float = 0.84) -> tuple[float, ...]:
    """Single labels, then factors that move several together; the sum is bent so that nothing reaches too far."""
    value = dict.fromkeys(LABELS, 0.0)
    for label, spread in _SPREAD.items():
        rare = 1.6 if rng.random() < 0.10 else 1.0
        shared = np.clip(rng.normal() * spread * 0.60 * rare, -0.6, 0.6)
        for one in both_sides(label):
            value[one] = shared + (rng.normal() * spread * 0.12 if label.startswith("lr-") else 0.0)
    for name, moves in _FACTORS.items():
        z = float(np.clip(rng.normal(), -2, 2)) * reach * _REACH.get(name, 1.0)
        if name in ("square jaw", "large nose"):  # jaws and noses reach less far in women
            z = 0.9 * z + 0.12 if gender > 0.5 else 0.75 * z - 0.25
        for label, amount in moves.items():
            for one in both_sides(label):
                value[one] += z * amount
    value = {label: 0.78 * float(np.tanh(v / 0.78)) for label, v in value.items()}
    for head in rng.choice(_HEADS, 2, replace=False):
        value[str(head)] = float(rng.uniform(0, 0.4))
    return tuple(value[label] for label in LABELS)


def _melanin(rng: np.random.Generator, origin: np.ndarray) -> float:
    _, asian, european = origin
    mixed = 0.25 * (4 * asian * european) * rng.random()
    tones = origin @ [rng.normal(1.45, 0.32), rng.normal(0.42, 0.16), rng.normal(0.30, 0.13)]
    return float(np.clip(tones + mixed, 0.12, 2.1))


def _hair(rng: np.random.Generator, origin: np.ndarray, fair: bool) -> str:
    if fair:
        chances = [0.08, 0.60, 0.22, 0.10]
    else:
        chances = [0.74, 0.26, 0.0, 0.0] if origin[2] < 0.4 else [0.42, 0.54, 0.03, 0.01]
    return str(rng.choice(NATURAL, p=chances))


_IRISES = {"dark": (0.030, 0.014, 0.007), "brown": (0.075, 0.034, 0.014), "hazel": (0.13, 0.085, 0.03),
           "green": (0.12, 0.14, 0.07), "blue": (0.12, 0.19, 0.28), "gray": (0.18, 0.20, 0.22)}


def _iris(rng: np.random.Generator, origin: np.ndarray, fair: bool) -> tuple[float, float, float]:
    if fair:
        chances = [0.05, 0.28, 0.17, 0.12, 0.28, 0.10]
    else:
        chances = [0.62, 0.34, 0.04, 0, 0, 0] if origin[2] < 0.4 else [0.3, 0.5, 0.2, 0, 0, 0]
    colour = np.array(_IRISES[str(rng.choice(list(_IRISES), p=chances))]) * np.exp(rng.normal(0, 0.075, 3))
    return tuple(map(float, colour))


def _length(rng: np.random.Generator, gender: float) -> float:
    """The hair length a person usually wears, on the attribute's scale."""
    if gender > 0.5:
        low, high = ((0.02, 0.07), (0.12, 0.34), (0.40, 0.75))[rng.choice(3, p=[0.20, 0.74, 0.06])]
    else:
        low, high = ((0.14, 0.22), (0.24, 0.33), (0.42, 0.62), (0.62, 1.0))[rng.choice(4, p=[0.08, 0.20, 0.32, 0.40])]
    return float(rng.uniform(low, high))
