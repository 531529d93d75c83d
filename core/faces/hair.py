"""Scalp hair as strands: a style from the look's numbers, then roots, growth, curls and clumps."""

from dataclasses import dataclass

import numpy as np

from core.faces.growth import curl, grow, nearest, radius_table
from core.faces.head import Head
from core.faces.looks import Face, thinning
from core.faces.shape import Shape
from core.faces.template import noise, scalp_field

LONG, TIED = ("long", "curly long"), ("bun", "ponytail")
# Polar angle of the rim of a hat, in degrees, at azimuths 0, 60, 100 and 180.
HAT_RIM = {"beanie": (74, 79, 93, 106), "cap": (73, 76, 83, 92)}
RIM_AT = (0, 60, 100, 180)
_SKULL = np.array([0, 7.55, 0.4])


@dataclass(frozen=True)
class Style:
    """How hair is worn. name is one of those of `style`; length is within the style, 0 to 1."""

    name: str
    length: float
    curl: float
    fringe: float
    thin: float
    recede: float
    hat: str


@dataclass
class Growth:
    """What makes strands grow as they do; arrays have one row a strand. Lengths in units of the template."""

    direction: np.ndarray
    length: np.ndarray
    lift: np.ndarray
    gravity: np.ndarray
    layer: np.ndarray
    cut: np.ndarray
    wander: np.ndarray
    points: int
    clump: float = 0.35
    stick: float = 0.0
    knot: np.ndarray | None = None
    side: np.ndarray | None = None


@dataclass(frozen=True)
class Hair:
    """Strands (S, n, 3) unposed, their distance from the hairline (S,), and the style they were grown in."""

    strands: np.ndarray
    edge: np.ndarray
    style: Style


def style(face: Face) -> Style:
    """The hair style that the look's numbers ask for."""
    look, who = face.look, face.identity
    thin = max(thinning(who, look.gender, look.age), 1.3 * look.bald) if look.bald < 0.5 else 1.3
    recede = float(np.clip((look.age - 24) / 42, 0, 1)) * (0.25 + 0.75 * who.balding) * look.gender
    hat = ("cap" if face.unnamed.cap else "beanie") if look.hat > 0.5 else ""
    curly, length = look.curly > 0.5, look.hair_length
    twist = 0.0
    if look.bald >= 0.5:
        wreath = look.age > 40 and look.gender > 0.5 and who.balding > 0.45 and length >= 0.08
        return Style("wreath" if wreath else "bald", 0.4, 0.0, 0.0, thin, 1.0, hat)
    if length < 0.09:
        name, within = "buzz", length / 0.09
    elif length < 0.36:
        within = (length - 0.09) / 0.27
        if curly:
            name, twist = ("afro" if who.curl > 0.7 else "curly"), 0.9
        elif look.gender < 0.5 and length > 0.23:
            name = face.unnamed.tied
        else:
            name = face.unnamed.short if look.age >= 13 else "short"
    else:
        name, within = ("curly long" if curly else "long"), (length - 0.36) / 0.64
        twist = 1.5 if curly else face.unnamed.wavy
    fringe = look.fringe * (1 - 0.35 * look.gender) if name not in ("buzz", "afro") else 0.0
    return Style(name, within, twist, fringe, thin, recede, hat)


def crown_and_top(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where hair thins first, for template positions (N, 3): two bumps in [0, 1]."""
    away = position - _SKULL
    away = away / (np.linalg.norm(away, axis=-1, keepdims=True) + 1e-9)
    crown = np.exp(-np.sum((away - np.array([0, 0.80, -0.55])) ** 2, -1) / 0.28**2)
    top = np.exp(-np.sum((away - np.array([0, 0.93, 0.25])) ** 2, -1) / 0.55**2)
    return crown, top


def azimuth(position: np.ndarray) -> np.ndarray:
    """Angle around the head of template positions (N, 3): 0 front, 180 back, in degrees."""
    return np.degrees(np.arctan2(np.abs(position[..., 0]), position[..., 2] - 0.45))


def hairline(face: Face, position: np.ndarray, recede: float) -> np.ndarray:
    """Distance inside this person's hairline at template positions (N, 3), in dm; negative outside."""
    around = azimuth(position)
    woman = 1 - face.look.gender
    high = face.identity.hairline * 0.8 - 0.1 - 0.7 * woman
    back = recede * (0.34 * np.exp(-(((around - 30) / 17) ** 2)) + 0.16 * np.exp(-((around / 25) ** 2)))
    return scalp_field(position) - back - high * 0.05 * np.exp(-((around / 45) ** 2))


def grow_hair(head: Head, face: Face, shape: Shape, count: int) -> Hair | None:
    """The scalp hair of a face, at most `count` strands; None for a bald head."""
    how = style(face)
    if how.name == "bald":
        return None
    rng = face.rng(1)
    place = head.scalp.position
    own = np.float32(face.identity.number % 89)
    edge = hairline(face, place, how.recede)
    edge = edge + 0.030 * noise(place + own, 5.0, 71) + 0.022 * noise(place + own, 17.0, 72)
    rows = np.flatnonzero(_kept(how, place, edge, rng))[:count]
    corners = head.triangles[head.scalp.triangle[rows]]
    weights = head.scalp.weights[rows][:, :, None]
    root = (shape.fine[corners] * weights).sum(1).astype(float)
    normal = _unit((shape.normals[corners] * weights).sum(1).astype(float))
    place, edge = place[rows], edge[rows]
    growth, free = _growth(how, face, shape, root, normal, place, edge, rng)
    strands, edge = _grown(how, head, face, shape, root, normal, place, edge, growth, free, rng)
    if how.hat:
        strands = _under_hat(strands, shape, how.hat)
    if how.name in TIED:
        extra = _tail(how, shape, growth, strands.shape[1], rng)
        strands, edge = np.concatenate([strands, extra]), np.concatenate([edge, np.ones(len(extra))])
    return Hair(strands, edge, how)


def _kept(how: Style, place: np.ndarray, edge: np.ndarray, rng) -> np.ndarray:
    """Which roots carry a hair: softly thinned at the hairline, and on top with the years."""
    soft = 0.19 if how.name in (*TIED, "slick") else 0.10
    kept = rng.random(len(place)) > np.clip(0.97 - (edge + 0.035) / soft, 0, 0.95)
    crown, top = crown_and_top(place)
    gone = how.thin * np.clip(1.25 * crown + 1.05 * top, 0, 1)
    kept &= rng.random(len(place)) > np.clip(gone * 1.15, 0, 1)
    if how.name == "wreath":
        kept &= rng.random(len(place)) < wreath(place, 0.05 * noise(place, 6.0, 74) + 0.04)
    return kept


def wreath(place: np.ndarray, rough: np.ndarray | float = 0.0) -> np.ndarray:
    """Share of hair left around a bald top at template positions (N, 3)."""
    around = azimuth(place)
    height = 7.80 + 0.12 * np.clip((around - 90) / 60, 0, 1) + rough
    return np.clip((height - place[:, 1]) / 0.22, 0, 1) * np.clip((around - 58) / 26, 0, 1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def _growth(how: Style, face: Face, shape: Shape, root, normal, place, edge, rng) -> tuple[Growth, np.ndarray]:
    """The growth of a style, and which strands fall free over the forehead."""
    count, scale, volume = len(root), shape.scale, face.unnamed.volume
    one = np.ones(count)
    along = lambda d: d - normal * (d * normal).sum(1, keepdims=True)  # noqa: E731
    away = _unit(along(_unit(place - _SKULL) - np.array([0.05, 0.80, -0.60])))
    front = np.clip((place[:, 2] - 0.75) / 0.5, 0, 1) * np.clip((place[:, 1] - 7.75) / 0.12, 0, 1)
    upper = np.clip((place[:, 1] - 7.55) / 0.45, 0, 1)
    length, part = how.length, face.unnamed.parting
    layer = rng.random(count) ** 1.3 * (0.05 + 0.10 * volume)
    wander = rng.normal(0, 0.12, (count, 2))
    g = Growth(away, one, 0.3 * one, 0.5 * one, layer, -99 * one, wander, 12)
    if how.name == "buzz":
        g.length = (0.022 + 0.022 * length) * (0.75 + 0.5 * rng.random(count))
        g.lift, g.gravity, g.layer, g.points, g.clump, g.stick = 0.8 * one, 0.3 * one, 0.1 * layer, 3, 0.0, 0.3
        g.wander = 2 * wander
    elif how.name in ("short", "wreath"):
        on_top = (0.26 + 0.42 * length) * (0.8 + 0.4 * rng.random(count))
        g.length = (0.10 + 0.10 * length) * (1 - upper) + on_top * upper
        g.layer = (layer + 0.02) * (0.25 + 0.75 * upper)
        if how.name == "wreath":
            g.length, g.layer = (0.07 + 0.08 * length) * (0.7 + 0.5 * rng.random(count)), 0.5 * g.layer
        lean = np.array([0.35 * np.sign(part), 0.25, -0.1])
        g.direction = away * 0.8 + rng.normal(0, 0.09, (count, 3)) + front[:, None] * lean
        g.lift, g.gravity = 0.10 + 0.32 * upper * volume + 0.5 * front * volume, 0.25 + 0.6 * (1 - upper)
        g.points, g.clump, g.stick = 7, 0.5, 0.30
    elif how.name == "sidepart":
        line = (part or 0.2) * 0.75 * scale + rng.normal(0, 0.035, count) * scale
        side = np.where(root[:, 0] > line, 1.0, -1.0)
        sideways = along(np.stack([side, 0 * one, -0.35 * one], 1))
        g.direction = (sideways * upper[:, None] + (away * 0.6 + np.array([0, -0.6, 0])) * (1 - upper)[:, None]
                       + front[:, None] * np.array([0, 0.35, 0.12]) + rng.normal(0, 0.12, (count, 3)))
        g.lift, g.gravity = 0.10 + (0.15 + 0.35 * volume) * upper, 0.5 + 0.6 * (1 - upper)
        g.length = (0.12 + 0.1 * length) * (1 - upper) + upper * (0.36 + 0.32 * length)
        g.layer, g.points, g.clump, g.stick = (layer + 0.015) * (0.2 + 0.65 * upper), 9, 0.55, 0.30
    elif how.name == "slick":
        g.direction = _unit(along(np.array([0, -0.25, -1.0]) * one[:, None]))
        g.length, g.lift, g.gravity = (0.35 + 0.4 * length) * one, 0.12 + 0.5 * front * volume, 0.15 * one
        g.layer, g.points, g.clump, g.stick = 0.6 * layer, 8, 0.6, 0.55
    elif how.name in LONG:
        _long(g, how, shape, root, along, place, edge, part, volume, rng)
    elif how.name == "afro":
        g.direction = normal + rng.normal(0, 0.45, (count, 3))
        g.length = (0.20 + 0.42 * length) * (0.70 + 0.42 * rng.random(count) ** 0.5)
        g.lift, g.gravity, g.points, g.clump, g.stick = 0.5 * one, 0.06 * one, 13, 0.0, 0.0
        g.wander = rng.normal(0, 1.2, (count, 2))
    elif how.name == "curly":
        lean = front[:, None] * np.array([0, 0.2, 0.15])
        g.direction = away * 0.5 + normal * 0.5 + rng.normal(0, 0.3, (count, 3)) + lean
        g.length = (0.25 + (0.35 + 0.4 * length) * upper) * (0.8 + 0.4 * rng.random(count))
        g.lift, g.gravity, g.layer, g.clump, g.stick = 0.55 * one, 0.35 * one, layer + 0.02, 0.75, 0.12
    else:
        offset = np.array([0, 0.28, -1.02]) if how.name == "ponytail" else np.array([0, 0.93, -0.62])
        g.knot = shape.centre + offset * scale
        g.direction = _unit(along(g.knot - root))
        g.length = np.linalg.norm(root - g.knot, axis=1) * 1.3 / scale
        g.lift, g.gravity, g.points, g.clump = 0.12 + 0.3 * volume * front, 0 * one, 11, 0.3
        g.layer = rng.random(count) ** 1.5 * (0.05 + 0.06 * volume) + 0.012
    if how.hat:
        g.layer, g.lift = 0.2 * g.layer, 0.15 * g.lift
        if how.name not in (*LONG, *TIED):
            g.length, g.stick = 0.6 * g.length, 0.6
    g.length, g.layer = g.length * scale, g.layer * scale
    inside = np.clip((edge + 0.02) / 0.10, 0, 1)  # thinner and shorter hairs at the hairline
    if how.name not in ("afro", "buzz"):
        g.lift = g.lift * (0.5 + 0.5 * inside)
    if how.name not in (*LONG, *TIED):
        g.length = g.length * (0.55 + 0.45 * inside)
    free = _fringe(g, how, face, shape, root, along, place, front, rng) if how.fringe else np.zeros(count, bool)
    return g, free


def _long(g: Growth, how: Style, shape: Shape, root, along, place, edge, part: float, volume: float, rng) -> None:
    """Hair that falls from a parting, beside the face, to a height set by its length."""
    count, scale = len(root), shape.scale
    line = part * 0.75 * scale + rng.normal(0, 0.03, count) * scale
    side = np.where(root[:, 0] > line, 1.0, -1.0)
    upper = np.clip((place[:, 1] - 7.35) / 0.45, 0, 1)
    hairline_near = np.clip((0.16 - edge) / 0.14, 0, 1) * (azimuth(place) < 75)
    sideways = along(np.stack([side, -0.10 + 0.25 * hairline_near, -0.22 - 0.75 * hairline_near], 1))
    falling = np.array([0, -1.0, 0]) + (0.25 + 0.9 * hairline_near)[:, None] * np.array([0, 0, -1.0])
    g.direction = sideways * upper[:, None] + falling * (1 - upper)[:, None] + rng.normal(0, 0.05, (count, 3))
    g.lift, g.gravity = (0.10 + 0.35 * volume) * upper + 0.05, 0.75 + 0.25 * rng.random(count)
    drop = float(np.interp(how.length, (0, 0.375, 1), (0.92, 1.36, 2.9)))
    g.length = (drop * 1.05 + 0.32) * (0.86 + 0.24 * rng.random(count))
    ragged = 0.035 if how.length < 0.45 else 0.12
    g.cut = shape.centre[1] - drop * scale + rng.normal(0, ragged, count)
    g.layer, g.points, g.side = g.layer * 1.2 + 0.03, 28 if how.name == "curly long" else 15, side
    g.clump = 0.6 if how.name == "curly long" else 0.45
    g.stick = 0.25 if how.name == "curly long" else 0.4


def _fringe(g: Growth, how: Style, face: Face, shape: Shape, root, along, place, front, rng) -> np.ndarray:
    """Turn the strands above the forehead into bangs that end near the brows; returns which they are."""
    count, scale = len(root), shape.scale
    free = (front > 0.25) & (np.abs(place[:, 0]) < 0.60)
    number = int(free.sum())
    own = np.float32(face.identity.number % 89)
    gap = noise(place * np.array([1, 0.25, 0.25], np.float32) + own, 13.0, 73)
    forward = np.stack([0.55 * root[:, 0] / scale + face.unnamed.sweep, np.full(count, -0.25), np.full(count, 0.9)], 1)
    g.direction[free] = _unit(along(forward))[free] + rng.normal(0, 0.07, (number, 3))
    end = shape.centre[1] + (0.02 + 0.16 * (1 - how.fringe)) * scale
    g.length[free] = np.maximum(0.1, (root[:, 1] - end) * 1.15 + 0.25 * scale)[free]
    uneven = (rng.normal(0, 0.022, count) + 0.035 * gap - 0.05 * (np.abs(place[:, 0]) / 0.5) ** 2) * scale
    g.cut[free] = (end + uneven)[free]
    g.gravity[free], g.lift[free] = 0.45, 0.22
    g.layer[free] = (0.02 + 0.05 * rng.random(number)) * scale
    return free


def _grown(how, head, face, shape, root, normal, place, edge, g, free, rng) -> tuple[np.ndarray, np.ndarray]:
    """Integrate the strands, wind them, and draw those of a clump together."""
    count, scale = len(root), shape.scale
    tight = how.name in ("afro", "curly")
    guides = min(count, 140 if how.curl > 0.3 else 240)
    side = g.side if g.side is not None else np.zeros(count)
    kind = 4.0 * free + 2.0 * side  # strands of a clump fall the same way, else fringes smear over the eyes
    features = np.concatenate([root, kind[:, None]], 1)
    clump = nearest(features, features[:guides])
    drift = dict(buzz=0, afro=0, ponytail=0.08, bun=0.08, slick=0.12, long=0.40).get(how.name, 0.5)
    wander = g.wander * 0.5 + rng.normal(0, 0.3, (guides, 2))[clump] * drift
    if how.name in (*TIED, "slick"):
        wander = wander * 0.3
    beside = np.where(free, 0.0, (0.66 + 0.10 * rng.random(count)) * scale * shape.cheek_width) * side
    knot = np.zeros(3) if g.knot is None else g.knot
    table = radius_table(shape.fine[head.skin_vertices & ~head.ear_vertices], shape.centre)
    strands = np.zeros((count, g.points, 3))
    grow(root, _unit(g.direction + normal * g.lift[:, None]), g.length, g.layer, g.gravity / scale, wander, table,
         shape.centre, knot, 0.34 if g.knot is not None else 0.0, g.cut, beside, g.stick, strands)
    twist = max(how.curl, 0.9 if tight else 0.0) * (0.25 if how.hat else 1.0)
    if twist > 0:
        wide, pitch = (0.045, 0.11) if tight else (0.085, 0.26) if twist > 1 else (0.055, 0.34)
        radius = min(twist, 1.0) * wide * scale * (0.6 + 0.8 * rng.random(count))
        turns = 2 * np.pi / (pitch * scale) * g.length
        phase = rng.random(guides)[clump] * 6.28 + rng.normal(0, 0.35, count)
        curl(strands, radius, turns, phase, shape.centre)
    if g.clump:
        along = np.linspace(0, 1, g.points)[None, :, None]
        firm = np.where(free, max(g.clump, 0.62), g.clump)[:, None, None] * along**1.3
        guide = strands[:guides][clump] + (root - root[:guides][clump])[:, None] * 0.35
        strands = strands * (1 - firm) + guide * firm
    return strands, edge


def _under_hat(strands: np.ndarray, shape: Shape, hat: str) -> np.ndarray:
    """Pull what lies under a hat inside of it."""
    away = strands - shape.centre
    radius = np.linalg.norm(away, axis=2)
    polar = np.degrees(np.arccos(np.clip(away[..., 1] / radius, -1, 1)))
    around = np.degrees(np.abs(np.arctan2(away[..., 0], away[..., 2])))
    under = np.clip((np.interp(around, RIM_AT, HAT_RIM[hat]) + 4 - polar) / 8, 0, 1)
    return shape.centre + away * (1 - 0.14 * under)[..., None]


def _tail(how: Style, shape: Shape, g: Growth, points: int, rng, count: int = 900) -> np.ndarray:
    """The strands beyond the knot: a ponytail's arc, or the windings of a bun. (count, points, 3)."""
    scale = shape.scale
    if how.name == "ponytail":
        along = np.linspace(0, 1, points)[None, :, None]
        start = g.knot + rng.normal(0, 0.035, (count, 3)) * scale
        middle = g.knot + (np.array([0, 0.02, -0.38]) + rng.normal(0, 0.05, (count, 3))) * scale
        end = g.knot + (np.array([0.12, -1.5, -0.35]) + rng.normal(0, 0.14, (count, 3))) * scale
        return ((1 - along) ** 2 * start[:, None] + 2 * along * (1 - along) * middle[:, None] + along**2 * end[:, None])
    centre = g.knot + np.array([0, 0.05, -0.04]) * scale
    axis = _unit(rng.normal(0, 1, (count, 3)) + np.array([0, 2.5, -1.5]))
    first = _unit(np.cross(axis, _unit(rng.normal(0, 1, (count, 3)))))
    second = np.cross(axis, first)
    angle = np.linspace(0, 2.6, points)[None, :, None]
    height = rng.uniform(-0.75, 0.75, (count, 1, 1))
    around = np.sqrt(1 - height**2) * (np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None])
    return centre + 0.27 * scale * (axis[:, None] * height + around)
