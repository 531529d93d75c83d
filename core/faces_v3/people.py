"""Who is drawn: identities fixed for life, and looks that change from one picture to the next."""

from dataclasses import dataclass, fields, replace

import numpy as np

from core.faces.attributes import ATTRIBUTES, HAIR_COLOURS, NAMES

SPLITS = {"train": 1, "validation": 2, "test": 3}
NATURAL = ("black", "brown", "blond", "red")


@dataclass(frozen=True)
class Identity:
    """What stays for life. Shape fields are standard scores in about [-2, 2]; shares are in [0, 1].

    gender: 0 woman, 1 man. melanin, freckles, greying and balding are shares; iris is a place on the
    colour scale from dark brown (0) to pale blue (1); hair is one of NATURAL.
    """

    number: int
    split: str
    gender: float
    head_width: float
    head_height: float
    forehead: float
    jaw_width: float
    jaw_square: float
    chin_length: float
    chin_width: float
    chin_forward: float
    cheekbones: float
    cheeks: float
    brow_ridge: float
    eye_spacing: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    eye_depth: float
    eye_fold: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    nose_tip: float
    nose_hump: float
    nose_forward: float
    mouth_width: float
    mouth_height: float
    lip_upper: float
    lip_lower: float
    lip_bow: float
    ear_size: float
    ear_out: float
    brow_thickness: float
    brow_arch: float
    brow_height: float
    brow_tilt: float
    asymmetry: float
    neck: float
    melanin: float
    undertone: float
    iris: float
    hair: str
    freckles: float
    greying: float
    balding: float
    hairline: float
    parting: float
    volume: float
    wave: float
    big_nose: float
    bushy_eyebrows: float
    chubby: float
    usual_age: float
    usual_length: float
    curly: float


@dataclass(frozen=True)
class Look:
    """Everything that may change between two photos: the 35 attributes, and a seed for what has no name
    (gaze, background, clothes, the kind of hat and glasses)."""

    age: float = 30.0
    gender: float = 0.0
    smile: float = 0.0
    mouth_open: float = 0.0
    anger: float = 0.0
    sadness: float = 0.0
    surprise: float = 0.0
    eyes_closed: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    bald: float = 0.0
    hair_length: float = 0.3
    fringe: float = 0.0
    curly: float = 0.0
    black_hair: float = 0.0
    brown_hair: float = 0.0
    blond_hair: float = 0.0
    red_hair: float = 0.0
    gray_hair: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    sideburns: float = 0.0
    glasses: float = 0.0
    sunglasses: float = 0.0
    hat: float = 0.0
    earrings: float = 0.0
    lip_makeup: float = 0.0
    eye_makeup: float = 0.0
    chubby: float = 0.0
    big_nose: float = 0.0
    bushy_eyebrows: float = 0.0
    exposure: float = 0.0
    blur: float = 0.0
    light_side: float = -0.4
    seed: int = 0

    def __post_init__(self):
        for name, attribute in ATTRIBUTES.items():
            value = getattr(self, name)
            if not attribute.low <= value <= attribute.high:
                raise ValueError(f"{name} is {value}; choose a number from {attribute.low:g} to {attribute.high:g}")


@dataclass(frozen=True)
class Face:
    """An identity with a look: all that a picture needs."""

    identity: Identity
    look: Look

    def rng(self):
        """A fresh generator seeded by person and look: the same picture every time."""
        return _rng(self.identity.split, self.identity.number, 7, self.look.seed)

    def with_(self, **changes):
        """The same face with some attributes changed; returns a new Face."""
        return Face(self.identity, replace(self.look, **changes))


def _rng(split, number, *more):
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    return np.random.default_rng([SPLITS[split], int(number), *map(int, more)])


def _melanin(rng):
    """Skin tones spread evenly rather than as in any one country."""
    return float(np.clip(rng.uniform(-0.05, 1.05), 0, 1))


def _hair(rng, melanin):
    weights = np.array([0.15 + 2.2 * melanin, 0.55, max(0.0, 0.75 - 1.5 * melanin), max(0.0, 0.35 - 0.6 * melanin)])
    return NATURAL[int(rng.choice(4, p=weights / weights.sum()))]


def person(number, split="train"):
    """The identity with this number. Numbers are per split, so no two splits share a person.

    number: 0 or more. Raises ValueError for an unknown split.
    """
    rng = _rng(split, number)
    shape = {f.name: float(np.clip(rng.normal(), -2.2, 2.2)) for f in fields(Identity)
             if f.type is float and f.name not in _SHARES}
    gender = float(rng.random() < 0.5)
    melanin = _melanin(rng)
    hair = _hair(rng, melanin)
    light = max(0.0, 1 - 1.7 * melanin)
    shares = dict(
        gender=gender, melanin=melanin, iris=float(np.clip(rng.beta(0.8, 0.8) * light, 0, 1)),
        freckles=float(rng.random() * (rng.random() < 0.25) * light), greying=float(rng.random()),
        balding=float(gender * (rng.random() < 0.5) * rng.random()), parting=float(rng.uniform(-1, 1)),
        volume=float(rng.random()), wave=float(rng.random()), big_nose=float(rng.random() < 0.2),
        bushy_eyebrows=float(rng.random() < (0.3 if gender else 0.12)), chubby=float(rng.random() < 0.2),
        usual_age=float(rng.uniform(3, 85)), curly=float(rng.random() < (0.55 if melanin > 0.7 else 0.2)),
        usual_length=float(rng.beta(1.6, 6) if gender else rng.beta(3.5, 2)),
    )
    return Identity(number=int(number), split=split, hair=hair, **shares, **shape)


_SHARES = {"gender", "melanin", "iris", "freckles", "greying", "balding", "parting", "volume", "wave", "big_nose",
           "bushy_eyebrows", "chubby", "usual_age", "usual_length", "curly"}


def greyness(identity, age):
    """Share of grey that comes with the years, before any dye: 0 below about 35, 1 at about 75. Returns [0, 1]."""
    onset = 36 + 22 * identity.greying
    share = np.clip((age - onset) / 22, 0, 1)
    return float(0.5 + 0.5 * np.sign(2 * share - 1) * np.sqrt(abs(2 * share - 1)))


def look(identity, seed, **overrides):
    """A random photo of this person; overrides fix any of the 35 attributes. The same seed gives the same look.

    The truth is what can be seen: nothing is asked for that hair, a hat or dark glasses would hide.
    """
    rng = _rng(identity.split, identity.number, 3, seed)
    chance = lambda p: float(rng.random() < p)  # noqa: E731
    age = float(np.clip(identity.usual_age + rng.normal() * 6, 0, 90) if rng.random() < 0.5 else rng.uniform(0, 90))
    age = float(overrides.get("age", age))
    gender = float(overrides.get("gender", identity.gender))
    adult = age >= 17
    values = dict(age=age, gender=gender)
    values |= _expression(rng)
    values |= dict(yaw=float(np.clip(rng.normal() * 20, -60, 60)), pitch=float(np.clip(rng.normal() * 8, -25, 25)),
                   roll=float(np.clip(rng.normal() * 7, -30, 30)))
    hat = chance(0.1)
    bald = chance(0.04 + 0.3 * gender * (age > 35) * (0.3 + identity.balding)) * (age > 25) * (1 - hat)
    length = float(np.clip(identity.usual_length + rng.normal() * 0.16, 0.02, 1))
    curly = identity.curly if rng.random() < 0.8 else 1 - identity.curly
    fringe = chance(0.26) * (1 - bald) * (1 - hat) * (length > 0.1)
    values |= dict(hat=hat, bald=bald, hair_length=length, fringe=fringe,
                   curly=curly * (1 - bald) * (length > 0.18))
    values |= _colour(rng, identity, age)
    beard = chance(0.3) * gender * (age >= 19)
    moustache = (1.0 if beard and rng.random() < 0.75 else chance(0.15)) * gender * (age >= 19)
    ears_seen = length < 0.42
    sideburns = chance(0.3) * gender * (age >= 17) * ears_seen
    values |= dict(beard=beard, moustache=moustache, sideburns=max(beard, sideburns))
    eyewear = rng.random()
    dark = float(0.2 <= eyewear < 0.27)
    values["eyes_closed"] *= 1 - dark
    values |= dict(glasses=float(eyewear < 0.2), sunglasses=dark,
                   earrings=chance(0.5 if gender < 0.5 else 0.1) * (age >= 6) * ears_seen,
                   lip_makeup=chance(0.42) * (1 - gender) * adult,
                   eye_makeup=chance(0.4) * (1 - gender) * adult * (1 - dark))
    values |= dict(chubby=identity.chubby if rng.random() < 0.9 else 1 - identity.chubby, big_nose=identity.big_nose,
                   bushy_eyebrows=identity.bushy_eyebrows)
    values |= dict(
        exposure=float(np.clip(rng.normal() * 0.35, -1, 1)),
        blur=float(rng.uniform(0, 0.8) ** 2 if rng.random() < 0.22 else 0.0),
        light_side=float(rng.uniform(-1, 1)),
    )
    return Look(**(values | overrides), seed=int(rng.integers(1 << 31)))


def _expression(rng):
    values = dict(smile=0.0, mouth_open=0.0, anger=0.0, sadness=0.0, surprise=0.0, eyes_closed=0.0)
    mood = rng.choice(5, p=[0.3, 0.4, 0.1, 0.1, 0.1])
    strength = float(rng.uniform(0.7, 1))
    if mood:
        values[("smile", "anger", "sadness", "surprise")[mood - 1]] = strength
    values["mouth_open"] = float(rng.uniform(0.6, 1) if rng.random() < (0.9 if mood == 4 else 0.25) else 0.0)
    values["eyes_closed"] = float(rng.random() < 0.08 and mood != 4)
    return values


def _colour(rng, identity, age):
    """Natural colour, or dyed now and then; grey with the years unless dyed."""
    values = dict.fromkeys(HAIR_COLOURS, 0.0)
    dyed = age > 15 and rng.random() < 0.12
    name = NATURAL[int(rng.integers(4))] if dyed else identity.hair
    grey = 0.0 if dyed else greyness(identity, age)
    return values | {f"{name}_hair": 1.0 - grey, "gray_hair": grey}


def truth(face):
    """The 35 numbers of this face, in the order of ATTRIBUTES, in their units: (35,) float32."""
    return np.array([getattr(face.look, name) for name in NAMES], np.float32)


def traits_of(people, split="train"):
    """What the first `people` persons of a split are made of: (people, T), each trait with mean 0 and spread 1."""
    persons = [person(number, split) for number in range(people)]
    names = [field.name for field in fields(Identity) if field.type is float]
    table = np.array([[getattr(each, name) for name in names] for each in persons], np.float32)
    return (table - table.mean(0)) / (table.std(0) + 1e-6)


def through_life(identity, age, seed=0):
    """A plain look of this person at this age, for strips: neutral, facing us, hair as nature has it."""
    grey = greyness(identity, age)
    base = dict.fromkeys(HAIR_COLOURS, 0.0) | {f"{identity.hair}_hair": 1 - grey, "gray_hair": grey}
    return Look(age=age, gender=identity.gender, hair_length=identity.usual_length, curly=identity.curly,
                chubby=identity.chubby, big_nose=identity.big_nose, bushy_eyebrows=identity.bushy_eyebrows,
                bald=float(identity.balding > 0.45 and age > 55), seed=seed, **base)
