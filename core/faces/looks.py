"""Looks: everything that may change between two photos of a person, and the mixtures they are drawn from."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from core.faces.attributes import ATTRIBUTES, HAIR_COLOURS, NAMES
from core.faces.people import NATURAL, Identity, person, years

MIXTURES = ("ordinary", "balanced")
FRONTAL = dict.fromkeys(("yaw", "pitch", "roll", "blur", "exposure", "eyes_closed", "sunglasses"), 0.0)
_HABIT, _LOOK, _UNNAMED = 41, 42, 43  # purposes of a person's random streams
_CLOTHES = ((.03, .05, .14), (.20, .03, .035), (.05, .12, .07), (.45, .43, .40), (.02, .02, .022), (.25, .16, .08),
            (.10, .18, .32), (.38, .22, .24), (.14, .10, .22), (.42, .34, .12), (.55, .55, .54), (.09, .20, .20))
_BACKDROPS = (((.42, .45, .50), (.16, .18, .22)), ((.50, .46, .40), (.22, .19, .15)),
              ((.30, .36, .33), (.10, .13, .12)), ((.55, .57, .60), (.30, .32, .36)),
              ((.22, .20, .20), (.06, .055, .06)), ((.44, .38, .44), (.18, .14, .2)),
              ((.35, .45, .58), (.14, .2, .3)), ((.62, .58, .52), (.36, .32, .27)))
_FRAMES = ((.02, .02, .022), (.16, .08, .04), (.35, .35, .36), (.25, .05, .06))
_LIPSTICKS = ((.38, .02, .05), (.44, .06, .11), (.27, .015, .07), (.46, .09, .10))
_SHADOWS = ((.09, .035, .06), (.045, .04, .10), (.10, .05, .025))


@dataclass(frozen=True)
class Look:
    """The 35 attributes of one picture, and a seed for what has no name (gaze, backdrop, clothes, frames).

    Raises ValueError for a value out of its attribute's range.
    """

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
class Unnamed:
    """What a picture shows that no attribute names. Colours are linear RGB; gaze is in degrees, distance in dm."""

    toothy: float
    sweep: float
    volume: float
    parting: float
    tied: str
    wavy: float
    stubble: float
    gaze_x: float
    gaze_y: float
    distance: float
    elevation: float
    key: float
    ambient: float
    warmth: float
    clothes: tuple
    neckline: float
    v_neck: bool
    striped: bool
    backdrop: tuple
    frame_shape: int
    frame_colour: tuple
    frame_thickness: float
    cap: bool
    hat_colour: tuple
    ring: bool
    lipstick: tuple
    eye_shadow: tuple
    blush: float
    acne: float
    short: str


@dataclass(frozen=True)
class Frames:
    """Frames of glasses. shape: 0 broad, 1 round, 2 slanted. colour: linear RGB. thickness: the rim's radius, in dm."""

    shape: int
    colour: tuple[float, float, float]
    thickness: float


@dataclass(frozen=True)
class Face:
    """An identity with a look: all that a picture needs. frames: None for the person's own."""

    identity: Identity
    look: Look
    frames: Frames | None = None

    def rng(self, *purpose: int) -> np.random.Generator:
        """A fresh generator of this person and look for one purpose: the same numbers every time."""
        return self.identity.rng(_UNNAMED, self.look.seed, *purpose)

    def with_(self, **changes) -> "Face":
        """The same face with some attributes changed; returns a new Face."""
        return replace(self, look=replace(self.look, **changes))

    @property
    def weight(self) -> float:
        """Body weight on the sculpts' scale: 0 thin, 0.5 average, 1 heavy."""
        return self.identity.weight + (0.95 - self.identity.weight) * 0.7 * self.look.chubby

    @cached_property
    def unnamed(self) -> Unnamed:
        own, frames = _unnamed(self), self.frames
        return own if frames is None else replace(own, frame_shape=frames.shape, frame_colour=frames.colour,
                                                  frame_thickness=frames.thickness)


def look(identity: Identity, seed: int, mixture: str = "ordinary", any_age: bool | None = None, **overrides) -> Look:
    """A random photo of this person; overrides fix any of the 35 attributes. The same seed gives the same look.

    mixture: "ordinary" (as people are met) or "balanced" (every attribute often enough to learn from). any_age: True
    anywhere in a life, False within a few years of the person's usual age; by default the ordinary mixture stays near
    and the balanced one is anywhere in half of its looks. Nothing is asked for that hair, a hat or dark glasses hide.
    Raises ValueError for an unknown mixture.
    """
    if mixture not in MIXTURES:
        raise ValueError(f"mixture is {mixture!r}; choose one of {', '.join(MIXTURES)}")
    balanced = mixture == "balanced"
    rng = identity.rng(_LOOK, seed)
    anywhere = (balanced and rng.random() < 0.5) if any_age is None else any_age
    age = _age(rng, identity, anywhere, balanced)
    age, gender = float(overrides.get("age", age)), float(overrides.get("gender", identity.gender))
    habits = identity.rng(_HABIT, int(age >= 16)).spawn(4)
    hair, beard, eyewear, makeup = (rng if rng.random() < 0.3 else habit for habit in habits)
    values = dict(age=age, gender=gender) | _expression(rng, balanced) | _pose(rng, balanced) | _picture(rng, balanced)
    values |= _hair_values(hair, identity, age, gender, balanced)
    values |= _colour(rng, identity, age, balanced)
    values |= _facial_hair(beard, age, gender, values["hair_length"], balanced)
    values |= _eyewear(eyewear, age, balanced)
    values |= _makeup(makeup, age, gender, values["hair_length"], balanced)
    values |= {name: getattr(identity, name) if rng.random() < (0.8 if balanced else 0.98)
               else 1 - getattr(identity, name) for name in ("chubby", "big_nose")}
    values["bushy_eyebrows"] = identity.bushy_eyebrows
    if values["sunglasses"]:
        values |= dict(eyes_closed=0.0, eye_makeup=0.0)
    return Look(**(values | overrides), seed=int(rng.integers(1 << 31)))


def frontal(number: int) -> Face:
    """A test person from the front, in an unchanging look: an example to start from."""
    identity = person(number, split="test")
    return Face(identity, look(identity, 0, **FRONTAL))


def through_life(identity: Identity, age: float, seed: int = 0) -> Look:
    """A plain look of this person at this age, for strips: neutral, frontal, with natural hair."""
    gray = grayness(identity, age)
    colours = dict.fromkeys(HAIR_COLOURS, 0.0) | {f"{identity.hair}_hair": 1 - gray, "gray_hair": gray}
    length = identity.usual_length if age >= 8 else min(identity.usual_length, 0.45)
    return Look(age=age, gender=identity.gender, hair_length=length, curly=float(identity.curl > 0.6),
                chubby=identity.chubby, big_nose=identity.big_nose, bushy_eyebrows=identity.bushy_eyebrows, smile=0.1,
                bald=float(identity.gender > 0.5 and thinning(identity, 1.0, age) > 0.55), seed=seed, **colours)


def edit(face: Face, attribute: str, value: float) -> Face:
    """The same face with one attribute changed and nothing else: the ideal result of an attribute edit.

    A hair colour takes its share from the other colours, as the five of them fill the hair. Raises ValueError for an
    unknown attribute or a value out of its range.
    """
    if attribute not in ATTRIBUTES:
        raise ValueError(f"there is no attribute {attribute!r}; choose one of {', '.join(NAMES)}")
    changes = {attribute: float(value)}
    if attribute in HAIR_COLOURS:
        others = [name for name in HAIR_COLOURS if name != attribute]
        total = sum(getattr(face.look, name) for name in others)
        left = max(0.0, 1 - changes[attribute])
        spare = "black_hair" if attribute == "brown_hair" else "brown_hair"
        changes |= {name: left * (getattr(face.look, name) / total if total else float(name == spare))
                    for name in others}
    return face.with_(**changes)


def truth(face: Face) -> np.ndarray:
    """The 35 numbers of this face, in the order of ATTRIBUTES, in their units: (35,) float32."""
    return np.array([getattr(face.look, name) for name in NAMES], np.float32)


def grayness(identity: Identity, age: float) -> float:
    """Share of white hair that comes with the years, before any dye: [0, 1]."""
    return float(np.clip((age - identity.graying + 12) / 24, 0, 1))


def thinning(identity: Identity, gender: float, age: float) -> float:
    """How thin the hair on top has become with the years: 0 full, above 1 none."""
    if gender > 0.5:
        return float(np.clip((age - 34) / 38, 0, 1) * max(0.0, identity.balding - 0.35) * 1.5)
    return 0.12 * float(np.clip((age - 60) / 30, 0, 1))


def _age(rng, identity: Identity, anywhere: bool, balanced: bool) -> float:
    near = identity.usual_age + np.clip(rng.normal(0, 3), -6, 6) * min(1.0, identity.usual_age / 20)
    far = float(rng.uniform(0, 90)) if balanced else years(rng)
    return far if anywhere else float(np.clip(near, 2, 90))


def _expression(rng, balanced: bool) -> dict[str, float]:
    values = dict.fromkeys(("smile", "mouth_open", "anger", "sadness", "surprise", "eyes_closed"), 0.0)
    moods = [0.30, 0.40, 0.10, 0.10, 0.10] if balanced else [0.40, 0.48, 0.04, 0.04, 0.04]
    mood = rng.choice(5, p=moods)
    strength = float(rng.uniform(0.7, 1))
    if mood:
        values[("smile", "anger", "sadness", "surprise")[mood - 1]] = strength
    else:
        values["smile"] = float(rng.uniform(0, 0.1))
    often = (0.25 if mood != 4 else 0.9) if balanced else (0.05, 0.12, 0.05, 0.05, 0.7)[mood]
    values["mouth_open"] = float(rng.uniform(0.5, 1)) if rng.random() < often else 0.0
    values["eyes_closed"] = float(rng.random() < (0.08 if balanced else 0.03) and mood != 4)
    return values


def _pose(rng, balanced: bool) -> dict[str, float]:
    yaw, pitch, roll = (20, 8, 7) if balanced else (15, 5, 4)
    return dict(yaw=float(np.clip(rng.normal() * yaw, -60, 60)), pitch=float(np.clip(rng.normal() * pitch, -25, 25)),
                roll=float(np.clip(rng.normal() * roll, -30, 30)))


def _picture(rng, balanced: bool) -> dict[str, float]:
    blurred = rng.random() < (0.08 if balanced else 0.03)
    return dict(exposure=float(np.clip(rng.normal() * (0.35 if balanced else 0.15), -1, 1)),
                blur=float(rng.uniform(0.05, 0.5 if balanced else 0.25)) if blurred else 0.0,
                light_side=float(rng.uniform(-1, 1) if balanced else rng.uniform(-0.75, 0.75)))


def _hair_values(rng, identity: Identity, age: float, gender: float, balanced: bool) -> dict[str, float]:
    hat = float(rng.random() < (0.10 if balanced else 0.05))
    thin = thinning(identity, gender, age)
    bald = float(not hat and age > 25 and rng.random() < (0.75 * (thin > 0.5) + (0.10 if balanced else 0.03) * gender))
    length = float(np.clip(identity.usual_length + rng.normal() * (0.14 if balanced else 0.07), 0.02, 1))
    if balanced and rng.random() < 0.2:
        length = float(rng.uniform(0.02, 1))
    if age < 6:
        length = min(length, float(rng.uniform(0.15, 0.5)))
    elif age > 62 and gender < 0.5:
        length = min(length, float(rng.uniform(0.28, 0.62)))
    often = 0.3 if balanced else (0.15 if age < 6 else 0.28 if age < 36 else 0.13) * (1 if gender < 0.5 else 0.6)
    recedes = gender > 0.5 and age > 45
    fringe = float(rng.random() < often and not bald and not hat and length > 0.12 and not recedes)
    curly = float((identity.curl > 0.6) != (rng.random() < (0.15 if balanced else 0.04)))
    return dict(hat=hat, bald=bald, hair_length=length, fringe=fringe * float(rng.uniform(0.6, 1)),
                curly=curly * (1 - bald) * (length > 0.10))


def _colour(rng, identity: Identity, age: float, balanced: bool) -> dict[str, float]:
    """Natural colour, or dyed now and then; gray with the years unless dyed."""
    values = dict.fromkeys(HAIR_COLOURS, 0.0)
    dyed = age > 15 and rng.random() < (0.2 if balanced else 0.05 + 0.2 * (identity.gender < 0.5) * (40 < age < 62))
    name = NATURAL[int(rng.integers(4))] if dyed and balanced else identity.hair
    gray = 0.0 if dyed else grayness(identity, age)
    return values | {f"{name}_hair": 1.0 - gray, "gray_hair": gray}


def _facial_hair(rng, age: float, gender: float, length: float, balanced: bool) -> dict[str, float]:
    grown = gender > 0.5 and age >= 19
    beard = grown * float(rng.random() < (0.32 if balanced else 0.22)) * float(rng.uniform(0.6, 1))
    alone = grown * float(rng.random() < (0.15 if balanced else 0.06))
    moustache = float(rng.uniform(0.6, 1)) * (beard > 0 and rng.random() < (0.75 if balanced else 0.92)) or alone
    burns = float(grown and rng.random() < (0.3 if balanced else 0.10) and length < 0.42)
    return dict(beard=beard, moustache=float(moustache), sideburns=max(beard, burns))


def _eyewear(rng, age: float, balanced: bool) -> dict[str, float]:
    clear = 0.2 if balanced else 0.02 if age < 8 else 0.10 + 0.20 * (age > 45)
    dark = 0.07 if balanced else 0.012
    place = rng.random()
    return dict(glasses=float(place < clear), sunglasses=float(clear <= place < clear + dark))


def _makeup(rng, age: float, gender: float, length: float, balanced: bool) -> dict[str, float]:
    woman, adult = gender < 0.5, age >= 15
    rings = (0.5 if woman else 0.08) if balanced else (0.45 if woman else 0.02)
    paints = rng.random()
    lips = woman and adult and (rng.random() < 0.42 if balanced else paints < 0.5)
    eyes = woman and adult and (rng.random() < 0.40 if balanced else paints < 0.4)
    return dict(earrings=float(rng.random() < rings and age >= 6 and length < 0.42),
                lip_makeup=float(lips) * float(rng.uniform(0.6, 1)),
                eye_makeup=float(eyes) * float(rng.uniform(0.6, 1)))


def _unnamed(face: Face) -> Unnamed:
    rng, own = face.rng(), face.identity.rng(_HABIT, 9)
    who, age, woman = face.identity, face.look.age, face.look.gender < 0.5
    pick = lambda stream, table: table[int(stream.integers(len(table)))]  # noqa: E731
    tied = pick(own, ("bun", "ponytail"))
    return Unnamed(
        toothy=float(rng.random() < 0.55) * float(rng.uniform(0.6, 1)), sweep=float(rng.uniform(-0.5, 0.5)),
        volume=float(np.clip(who.volume + rng.normal() * 0.1, 0.05, 0.9)), parting=who.parting, tied=tied,
        wavy=0.55 * float(own.random() < 0.45),
        stubble=float(own.uniform(0.55, 1.1)) * float(np.clip((age - 14) / 4, 0, 1)),
        gaze_x=float(rng.normal(0, 2.5)), gaze_y=float(rng.normal(0, 1.5)), distance=float(rng.uniform(8, 14)),
        elevation=float(rng.uniform(0.45, 0.85)), key=float(rng.uniform(0.75, 1.05)),
        ambient=float(rng.uniform(0.95, 1.6)), warmth=float(np.clip(rng.normal(0.35, 0.35), -0.2, 1.1)),
        clothes=pick(rng, _CLOTHES), neckline=float(rng.random()), v_neck=bool(rng.random() < 0.3),
        striped=bool(rng.random() < 0.10), backdrop=pick(rng, _BACKDROPS), frame_shape=int(own.integers(3)),
        frame_colour=pick(own, _FRAMES), frame_thickness=float(own.uniform(0.010, 0.018)),
        cap=bool(own.random() < 0.5), hat_colour=pick(rng, _CLOTHES), ring=bool(own.random() < 0.5),
        lipstick=pick(own, _LIPSTICKS), eye_shadow=pick(own, _SHADOWS),
        blush=float(rng.uniform(0.1, 0.4)) * woman * (age > 15) * (own.random() < 0.5),
        acne=float(max(0.0, own.normal(0.05, 0.35))) * (12 < age < 24),
        short=pick(own, ("short", "short", "sidepart", "slick")),
    )
