"""The 35 attributes of a drawn face: name, kind, range, unit and one line of meaning each; which ones share a part."""

from dataclasses import dataclass

BLUR_SCALE = 40  # a picture's side over the standard deviation of the blur that `blur` = 1 means


@dataclass(frozen=True)
class Attribute:
    """One named number of a look. binary: 0 no, 1 yes, judged at 0.5. continuous: anywhere in [low, high]."""

    name: str
    kind: str
    low: float
    high: float
    unit: str
    about: str


def _row(name, about, kind="binary", low=0.0, high=1.0, unit="share"):
    return Attribute(name, kind, low, high, unit, about)


def _scale(name, low, high, unit, about):
    return _row(name, about, "continuous", low, high, unit)


_TABLE = (
    _scale("age", 0, 90, "years", "years of age; shape, skin and hair follow it"),
    _row("gender", "0 drawn as a woman, 1 as a man"),
    _row("smile", "corners of the mouth up, cheeks raised"),
    _row("mouth_open", "jaw dropped, teeth and mouth seen"),
    _row("anger", "brows low and drawn together, lips tight"),
    _row("sadness", "inner brows up, corners of the mouth down"),
    _row("surprise", "brows high, eyes wide, mouth round"),
    _row("eyes_closed", "both lids shut"),
    _scale("yaw", -60, 60, "degrees", "head turned to the side; positive towards the right of the picture"),
    _scale("pitch", -25, 25, "degrees", "head tilted up (positive) or down"),
    _scale("roll", -30, 30, "degrees", "head leaning to the side; positive clockwise"),
    _row("bald", "no hair on top of the head"),
    _scale("hair_length", 0, 1, "share", "0 shaven, 0.3 short, 0.6 to the jaw, 1 over the shoulders"),
    _row("fringe", "hair over the forehead"),
    _row("curly", "hair in curls"),
    _row("black_hair", "hair coloured black"),
    _row("brown_hair", "hair coloured brown"),
    _row("blond_hair", "hair coloured blond"),
    _row("red_hair", "hair coloured red"),
    _row("gray_hair", "hair coloured gray or white, by age or by choice"),
    _row("beard", "hair on chin and jaw"),
    _row("moustache", "hair on the upper lip"),
    _row("sideburns", "hair in front of the ears"),
    _row("glasses", "clear glasses"),
    _row("sunglasses", "dark glasses"),
    _row("hat", "a cap or a woollen hat"),
    _row("earrings", "a ring or a stud in both ears"),
    _row("lip_makeup", "painted lips"),
    _row("eye_makeup", "eye shadow and dark lid lines"),
    _row("chubby", "full cheeks and a soft chin"),
    _row("big_nose", "a nose larger than the head asks for"),
    _row("bushy_eyebrows", "thick brows"),
    _scale("exposure", -1, 1, "stops", "darker or lighter picture"),
    _scale("blur", 0, 1, "share", "out of focus; 1 spreads a point over a sixteenth of the picture"),
    _scale("light_side", -1, 1, "share", "key light from the left (-1) to the right (1) of the picture"),
)

ATTRIBUTES = {attribute.name: attribute for attribute in _TABLE}
NAMES = tuple(ATTRIBUTES)
BINARY = tuple(name for name, attribute in ATTRIBUTES.items() if attribute.kind == "binary")
HAIR_COLOURS = ("black_hair", "brown_hair", "blond_hair", "red_hair", "gray_hair")
REGIONS = ("background", "skin", "eyes", "brows", "nose", "lips", "teeth", "hair", "beard", "glasses", "hat", "clothes")

# Pairs of attributes that share a part of the picture: a change of one shows in the other, or hides it.
_SHARED = (
    *((first, second) for first in HAIR_COLOURS for second in HAIR_COLOURS if first != second),
    *(("bald", name) for name in ("hair_length", "fringe", "curly", *HAIR_COLOURS)),
    *(("hat", name) for name in ("bald", "hair_length", "fringe", "curly")),
    ("glasses", "sunglasses"), ("sunglasses", "eyes_closed"), ("sunglasses", "eye_makeup"),
)
TIED = {name: frozenset(other for pair in _SHARED if name in pair for other in pair if other != name) for name in NAMES}

# Two yes/no attributes that no face has at once, and why.
CONFLICTS = (
    ("bald", "fringe", "a bald head has no hair over the forehead"),
    ("bald", "curly", "a bald head has no curls"),
    ("hat", "fringe", "a hat hides the hair over the forehead"),
    ("glasses", "sunglasses", "one pair of glasses is worn at a time"),
    ("sunglasses", "eyes_closed", "dark glasses hide the eyes"),
    ("sunglasses", "eye_makeup", "dark glasses hide the eyes"),
    *((first, second, "the five hair colours share the hair")
      for at, first in enumerate(HAIR_COLOURS) for second in HAIR_COLOURS[at + 1:]),
)
