"""Expressions: the facial actions that a look asks for, and their weights on a head of any age."""

import numpy as np

from core.faces.drivers import childhood, old_age
from core.faces.head import Head
from core.faces.looks import Face

# The facial actions (ARKit names, without Left and Right) of each expression at strength 1.
_BOTH = {
    "smile": {"mouthSmile": 1.05, "cheekSquint": 0.55, "eyeSquint": 0.22, "mouthStretch": 0.18},
    "teeth": {"mouthUpperUp": 0.75, "mouthLowerDown": 0.45, "mouthStretch": 0.04},
    "mouth_open": {"mouthUpperUp": 0.35, "mouthLowerDown": 0.25},
    "anger": {"browDown": 1.0, "eyeSquint": 0.45, "noseSneer": 0.55, "mouthPress": 0.35, "mouthFrown": 0.35},
    "sadness": {"mouthFrown": 0.85, "eyeLookDown": 0.15, "cheekSquint": 0.15},
    "surprise": {"browOuterUp": 0.9, "eyeWide": 0.9, "mouthUpperUp": 0.15},
    "eyes_closed": {"eyeBlink": 1.0},
}
_SINGLE = {
    "teeth": {"jawOpen": 0.10},
    "mouth_open": {"jawOpen": 0.75, "mouthFunnel": 0.10},
    "anger": {"jawForward": 0.2},
    "sadness": {"browInnerUp": 1.0, "mouthShrugLower": 0.5},
    "surprise": {"browInnerUp": 0.9, "jawOpen": 0.16, "mouthFunnel": 0.25},
}
_JAW_LIMIT = 0.85


def actions(face: Face) -> dict[str, float]:
    """Strength of each facial action (ARKit names) that this look's expression asks for."""
    look, found = face.look, {}
    strength = {"teeth": look.smile * face.unnamed.toothy}
    for name in ("smile", "mouth_open", "anger", "sadness", "surprise", "eyes_closed"):
        strength[name] = getattr(look, name)
    for name, value in strength.items():
        for action, weight in _BOTH.get(name, {}).items():
            for side in ("Left", "Right"):
                found[action + side] = found.get(action + side, 0.0) + weight * value
        for action, weight in _SINGLE.get(name, {}).items():
            found[action] = found.get(action, 0.0) + weight * value
    found["jawOpen"] = min(found.get("jawOpen", 0.0), _JAW_LIMIT)
    return found


def add_expression(head: Head, face: Face, weights: np.ndarray) -> None:
    """Add the facial actions of a face to blend weights (K,), in place.

    Small faces take softened copies of the smile, whose sculpted folds are adult-sized.
    """
    age = face.look.age
    child, old = childhood(age), old_age(age)
    wanted = actions(face)
    jaw = wanted.get("jawOpen", 0.0)
    wanted["jawOpen"] = jaw + 0.20 * child * min(1.0, face.look.smile) * max(0.0, 1 - 3 * jaw)
    for side in ("Left", "Right"):  # the neutral mouth looks grumpy and the neutral lids sleepy
        frown, blink = wanted.get("mouthFrown" + side, 0.0), wanted.get("eyeBlink" + side, 0.0)
        wanted["mouthSmile" + side] = wanted.get("mouthSmile" + side, 0.0) + 0.07 * (1 - min(1.0, frown * 2))
        wanted["eyeWide" + side] = wanted.get("eyeWide" + side, 0.0) + 0.06 * (1 - child) * (1 - min(1.0, blink))
    small_smile = float(np.interp(age, (2, 5, 9, 16), (0.46, 0.56, 0.84, 1.0)))
    for name, value in wanted.items():
        smile = "Smile" in name
        value *= 1 + 0.22 * old if smile else 1
        if f"soft/{name}" in head.row:
            weights[head.row[f"action/{name}"]] += value * 0.70 * (1 - child)
            weights[head.row[f"soft/{name}"]] += value * (0.44 * (1 - child) + (small_smile if smile else 0.6) * child)
        else:
            weights[head.row[f"action/{name}"]] += value * (1 - (0 if "Blink" in name else 0.5) * child)
