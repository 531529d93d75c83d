"""What age, sex and the shape attributes do to a head: drivers, and the local labels that each of them moves."""

from functools import cache

import numpy as np

from core.faces.looks import Face
from core.faces.people import LABELS, both_sides

# What each driver moves: change of a local label at driver value 1. A label without l- or r- that has both sides is
# written with "lr-" in front.
_DRIVERS = {
    "everyone": {  # the average of these sculpts, made friendlier
        "lr-eye-scale-incr": 0.09, "nose-volume-incr": -0.06, "forehead-scale-vert-incr": -0.05,
        "lr-eye-height1-incr": 0.15, "lr-eye-height2-incr": 0.15, "lr-eye-height3-incr": 0.15,
        "lr-ear-scale-incr": -0.12, "lr-ear-wing-incr": -0.25, "forehead-temple-incr": 0.22,
        "head-scale-vert-incr": -0.18, "eyebrows-trans-up": 0.10, "eyebrows-angle-up": -0.22, "mouth-angles-up": 0.26,
    },
    "child": {
        "forehead-scale-vert-incr": 0.22, "lr-cheek-volume-incr": -0.04, "nose-scale-depth-incr": -0.26,
        "nose-scale-vert-incr": -0.14, "nose-scale-horiz-incr": -0.12, "nose-volume-incr": -0.10,
        "nose-point-up": 0.25, "nose-hump-incr": -0.2, "chin-height-incr": -0.08, "chin-width-incr": -0.10,
        "head-round": 0.10, "mouth-scale-vert-incr": -0.12, "mouth-lowerlip-volume-incr": -0.24,
        "mouth-upperlip-volume-incr": -0.24, "mouth-scale-horiz-incr": -0.08, "eyebrows-trans-up": 0.16,
    },
    "child_eyes": {"lr-eye-scale-incr": 0.74},
    "toddler": {
        "lr-cheek-volume-incr": 0.06, "head-round": 0.15, "mouth-scale-horiz-incr": -0.10, "chin-height-incr": -0.12,
        "nose-scale-vert-incr": -0.10, "nose-scale-horiz-incr": -0.06, "forehead-scale-vert-incr": 0.10,
        "eyebrows-trans-up": 0.10, "measure-neck-circ-incr": -0.15,
    },
    "middle": {
        "lr-cheek-volume-incr": -0.06, "lr-eye-height1-incr": -0.06, "lr-eye-height2-incr": -0.08,
        "lr-eye-height3-incr": -0.10, "lr-eye-bag-incr": 0.30, "lr-ear-scale-incr": 0.06,
        "lr-eye-eyefold-up": -0.22, "lr-cheek-trans-up": -0.16, "lr-cheek-inner-incr": -0.10,
        "nose-scale-vert-incr": 0.05, "nose-scale-horiz-incr": 0.06, "nose-point-up": -0.08, "head-age-incr": 0.15,
        "chin-jaw-drop-incr": 0.16, "eyebrows-trans-up": -0.06, "mouth-upperlip-height-incr": -0.12,
        "mouth-lowerlip-height-incr": -0.08, "mouth-upperlip-volume-incr": -0.10, "chin-width-incr": 0.06,
        "head-fat-incr": -0.036,
    },
    "middle_weight": {"neck-double-incr": 0.25, "head-fat-incr": 0.12},
    "old": {
        "lr-cheek-volume-incr": -0.30, "lr-eye-height1-incr": -0.12, "lr-eye-height2-incr": -0.12,
        "lr-eye-height3-incr": -0.14, "lr-eye-bag-incr": 0.34, "lr-ear-scale-incr": 0.30,
        "lr-eye-eyefold-up": -0.26, "lr-cheek-trans-up": -0.24, "lr-cheek-inner-incr": -0.18,
        "nose-scale-vert-incr": 0.14, "nose-point-up": -0.18, "head-age-incr": 0.80, "forehead-temple-incr": -0.26,
        "chin-jaw-drop-incr": 0.26, "eyebrows-angle-up": 0.10, "eyebrows-trans-up": -0.10, "mouth-angles-up": -0.02,
        "mouth-upperlip-height-incr": -0.26, "mouth-lowerlip-height-incr": -0.22,
        "mouth-upperlip-volume-incr": -0.18, "mouth-lowerlip-volume-incr": -0.10, "head-fat-incr": -0.16,
        "neck-double-incr": 0.12,
    },
    "old_weight": {"neck-double-incr": 0.25},
    "sex": {  # 1 a woman, -1 a man
        "chin-width-incr": -0.22, "chin-prominent-incr": -0.16, "chin-height-incr": -0.08, "chin-bones-incr": -0.20,
        "nose-scale-horiz-incr": -0.14, "nose-point-width-incr": -0.10, "nose-volume-incr": -0.08,
        "nose-scale-vert-incr": -0.10, "nose-hump-incr": -0.12, "nose-point-up": 0.08,
        "mouth-lowerlip-volume-incr": 0.16, "mouth-upperlip-volume-incr": 0.18, "mouth-upperlip-height-incr": 0.08,
        "eyebrows-trans-forward": -0.22, "measure-neck-circ-incr": -0.22, "lr-eye-scale-incr": 0.10,
        "lr-cheek-bones-incr": 0.10, "lr-eye-height2-incr": 0.08, "lr-eye-eyefold-up": 0.08,
        "forehead-trans-forward": 0.08, "eyebrows-trans-up": 0.09,
    },
    "woman": {
        "chin-width-incr": -0.08, "chin-height-incr": -0.06, "chin-jaw-drop-incr": -0.08,
        "measure-neck-circ-incr": -0.12, "nose-scale-horiz-incr": -0.06, "nose-scale-vert-incr": -0.08,
        "nose-scale-depth-incr": -0.08, "lr-eye-scale-incr": 0.08, "mouth-upperlip-height-incr": 0.08,
        "mouth-lowerlip-height-incr": 0.06, "mouth-scale-horiz-incr": -0.06, "eyebrows-trans-up": 0.07,
    },
    "man": {
        "chin-width-incr": 0.08, "chin-prominent-incr": 0.09, "chin-height-incr": 0.08, "chin-bones-incr": 0.06,
        "eyebrows-trans-forward": 0.14, "lr-eye-height2-incr": -0.08, "lr-eye-scale-incr": -0.06,
        "mouth-upperlip-height-incr": -0.08,
        "mouth-lowerlip-height-incr": -0.06, "nose-scale-vert-incr": 0.04, "neck-scale-horiz-incr": 0.08,
    },
    "older_woman": {
        "mouth-angles-up": 0.10, "nose-point-up": 0.08, "chin-width-incr": -0.16, "chin-jaw-drop-incr": -0.08,
        "chin-bones-incr": -0.08, "nose-scale-vert-incr": -0.10, "nose-scale-horiz-incr": -0.08,
        "lr-ear-scale-incr": -0.16, "mouth-upperlip-volume-incr": 0.10, "mouth-lowerlip-volume-incr": 0.08,
        "lr-eye-height2-incr": 0.05, "lr-eye-bag-incr": -0.10, "eyebrows-trans-up": 0.06,
        "mouth-upperlip-height-incr": 0.10,
    },
    "old_woman": {
        "nose-scale-vert-incr": -0.12, "lr-ear-scale-incr": -0.14, "chin-jaw-drop-incr": -0.10,
        "chin-width-incr": -0.14,
        "head-age-incr": -0.15, "mouth-upperlip-volume-incr": 0.10, "mouth-lowerlip-volume-incr": 0.10,
        "eyebrows-trans-forward": -0.10, "mouth-angles-up": 0.08, "neck-double-incr": 0.10,
    },
    "child_smile": {"mouth-angles-up": 0.50, "mouth-scale-horiz-incr": 0.08, "lr-cheek-trans-up": 0.10},
    "chubby": {"head-fat-incr": 0.50, "lr-cheek-volume-incr": 0.50, "neck-double-incr": 0.8,
               "chin-jaw-drop-incr": 0.15},
    "big_nose": {"nose-scale-horiz-incr": 1.0, "nose-volume-incr": 1.0, "nose-scale-depth-incr": 1.0,
                 "nose-scale-vert-incr": 0.55, "nose-point-width-incr": 0.6},
}


def childhood(age: float) -> float:
    """1 for a baby, 0 from 17 years."""
    return float(np.interp(age, (1, 5, 10, 14, 17), (1, 0.88, 0.68, 0.26, 0)))


def grown_up(age: float) -> float:
    """How far the sexes have come to differ: 0.3 at two years, 1 from sixteen."""
    return float(np.interp(age, (2, 9, 13, 16), (0.30, 0.45, 0.80, 1)))


def old_age(age: float) -> float:
    """0 up to 46 years, 1 at 82, 1.22 at the end of life."""
    return float(np.clip((age - 46) / 36, 0, 1.22))


def drivers(face: Face) -> dict[str, float]:
    """How strongly each driver acts on this face."""
    look, weight = face.look, face.weight
    age = look.age
    middle = float(np.interp(age, (23, 30, 40, 60), (0, 0.40, 1.0, 1.3))) * (0.55 + 0.45 * face.identity.wrinkles)
    sex = (1 - 2 * look.gender) * grown_up(age)
    child, old = childhood(age), old_age(age)
    return {
        "everyone": 1.0, "child": child, "child_eyes": float(np.interp(age, (2, 8, 16), (1, 0.75, 0))),
        "toddler": float(np.interp(age, (1, 2.5, 6), (1, 0.9, 0))), "middle": middle, "middle_weight": middle * weight,
        "old": old, "old_weight": old * weight, "sex": sex, "woman": max(sex, 0.0), "man": max(-sex, 0.0),
        "older_woman": max(sex, 0.0) * middle, "old_woman": max(sex, 0.0) * old,
        "child_smile": child * min(1.0, look.smile),
        "chubby": look.chubby * (1 - 0.55 * child), "big_nose": look.big_nose * (1 - 0.5 * child),
    }


def local_changes(face: Face) -> np.ndarray:
    """Value of every label of LABELS for this face, -1.1 to 1.1: its own shape, then the drivers."""
    acting = drivers(face)
    own = 1 - 0.50 * acting["child"] - 0.05 * acting["toddler"]  # adult-sized labels count more on a small head
    local = np.asarray(face.identity.shape) * own
    for name, value in acting.items():
        if value:
            local = local + value * _table()[name]
    return np.clip(local, -1.1, 1.1)


@cache
def _table() -> dict[str, np.ndarray]:
    place = {label: i for i, label in enumerate(LABELS)}
    table = {}
    for driver, changes in _DRIVERS.items():
        row = np.zeros(len(LABELS))
        for label, amount in changes.items():
            for one in both_sides(label):
                row[place[one]] += amount
        table[driver] = row
    return table
