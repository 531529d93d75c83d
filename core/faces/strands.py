"""Strands other than scalp hair (brows, beard, lashes), and the colour and gloss of all strands."""

import math
from dataclasses import dataclass

import numpy as np

from core.faces.hair import Hair, grow_hair
from core.faces.head import Head, Roots
from core.faces.jit import jit
from core.faces.looks import Face
from core.faces.shape import Shape

WHITE = np.array([0.30, 0.295, 0.285])
_SHADES = {"black": ((.008, .007, .006), (.016, .012, .010)), "brown": ((.026, .015, .009), (.17, .10, .055)),
           "blond": ((.30, .19, .095), (.58, .46, .30)), "red": ((.10, .030, .014), (.25, .080, .024))}


@dataclass
class Strands:
    """Polylines (S, n, 3) unposed with what it takes to draw them.

    colour: (S, 3) linear albedo. width in pixels and alpha: (S,). kind: name of the region they belong to. gloss: share
    of highlights. root_shade: light left at the root. tip_gain: how much lighter the tip is. tapered strands end thin,
    and with thin_root they begin thin too.
    """

    points: np.ndarray
    colour: np.ndarray
    width: np.ndarray
    alpha: np.ndarray
    kind: str
    gloss: float
    root_shade: float
    tip_gain: float
    tapered: bool = True
    thin_root: bool = False


@dataclass(frozen=True)
class Brow:
    """A person's brows: weight in about [0, 1.4], and along them middle, half thickness (in widths) and density."""

    weight: float
    middle: np.ndarray
    thickness: np.ndarray
    density: np.ndarray


def hair_colour(face: Face) -> tuple[np.ndarray, float]:
    """Linear albedo (3,) of the hair that is not white, and the share of white strands."""
    look = face.look
    named = {name: getattr(look, f"{name}_hair") for name in _SHADES}
    total = sum(named.values())
    white = look.gray_hair / max(total + look.gray_hair, 1e-6)
    if total < 1e-6:
        named, total = {face.identity.hair: 1.0}, 1.0
    colour = sum(share * _shade(face, name) for name, share in named.items()) / total
    if look.age < 14 and colour.max() < 0.3:
        colour = colour * (1 + 0.5 * (14 - look.age) / 14)
    return colour * (1 - 0.6 * white) + np.array([0.24, 0.237, 0.233]) * 0.6 * white, white


def _shade(face: Face, name: str) -> np.ndarray:
    dark, light = (np.log(end) for end in _SHADES[name])
    place = face.identity.shade**1.3 if name == "brown" else face.identity.shade
    return np.exp(dark + (light - dark) * place)


def brow_colour(face: Face) -> np.ndarray:
    """Brows are darker than the hair and turn gray later; women's last."""
    colour, white = hair_colour(face)
    own = _shade(face, face.identity.hair)
    kept = (0.25 if face.look.gender > 0.5 else 0.75) if white > 0.02 else 0.0
    colour = colour * (1 - kept) + np.minimum(own * 1.3 + 0.015, 0.3) * kept
    return colour * min(0.8, 0.13 / colour.max())


def brow(face: Face, along: np.ndarray) -> Brow:
    """This person's brows at places along them, 0 inner end to 1 outer end: (N,)."""
    who, look = face.identity, face.look
    man = look.gender
    mean = lambda woman, male: woman + (male - woman) * man  # noqa: E731
    weight = float(np.clip(mean(0.33, 0.72) + mean(0.12, 0.13) * who.brow_weight, mean(0.10, 0.36), mean(0.62, 0.92)))
    weight = (weight + (1.35 - weight) * look.bushy_eyebrows) * float(np.interp(look.age, (1, 9, 18), (0.36, 0.62, 1)))
    arch = mean(0.40, -0.08) + 0.30 * who.brow_arch
    slope = mean(-0.55, -0.38) + 0.40 * who.brow_slope
    middle = (arch * (1.1 * np.exp(-(((along - 0.58) / 0.27) ** 2)) - 0.22 - 1.6 * np.clip(along - 0.78, 0, 1))
              + (slope - 0.25) * (along - 0.5))
    thickness = np.maximum((0.30 + 0.66 * weight) * (1 - who.brow_taper * (along - 0.35)), 0.12)
    density = (np.clip((along - who.brow_start) / 0.10 + 0.25, 0, 1)
               * np.clip((who.brow_end - along) / 0.12 + 0.1, 0, 1))
    return Brow(weight, middle, thickness, density)


def all_strands(head: Head, face: Face, shape: Shape, pixels: float) -> list[Strands]:
    """Every strand of a face, for a picture drawn at `pixels` a side, in the order of painting."""
    unit = (pixels / 256) ** 0.8
    count = int(7000 * np.clip(pixels / 340, 0.6, 1.2))
    hair = grow_hair(head, face, shape, count)
    groups = [_brows(head, face, shape, unit), *_lashes(head, face, shape, unit)]
    if hair:
        groups.append(_scalp(face, hair, unit))
    beard = _beard(head, face, shape, unit)
    return [*groups, beard] if beard else groups


def _dyed(rng, count: int, colour: np.ndarray, white: float, spread: float) -> np.ndarray:
    """Albedo of each strand: natural variation, and gray as a share of white strands. (count, 3)."""
    out = np.tile(colour, (count, 1)) * np.exp(rng.normal(0, spread, (count, 1)))
    out = out * np.exp(rng.normal(0, 0.06, (count, 3)))
    turned = rng.random(count) < white
    bright = 1 + 0.4 * np.clip(white * 2 - 1, 0, 1)
    out[turned] = WHITE * bright * np.exp(rng.normal(0, 0.24, (int(turned.sum()), 1)))
    return np.minimum(out * (1 - 0.30 * white) + np.array([0.26, 0.255, 0.25]) * 0.30 * white, 0.85)


def _scalp(face: Face, hair: Hair, unit: float) -> Strands:
    colour, white = hair_colour(face)
    buzz, edge = hair.style.name == "buzz", hair.edge
    width = (0.7 if buzz else 1.15) * unit * (0.65 + 0.35 * np.clip(edge / 0.08, 0, 1))
    alpha = np.clip(0.55 + edge / 0.12, 0.25, 1) * (0.5 if buzz else 0.97)
    strands = hair.strands
    points = strands.shape[1]
    return Strands(strands, _dyed(face.rng(2), len(strands), colour, white, 0.20), width, alpha, "hair",
                   1 - 0.6 * white, 0.9 if buzz else 0.42, 0.35, True, points >= 7)


def _at_roots(head: Head, shape: Shape, roots: Roots, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corners, weights = head.triangles[roots.triangle[rows]], roots.weights[rows][:, :, None]
    root, normal = ((values[corners] * weights).sum(1).astype(float) for values in (shape.fine, shape.normals))
    return root, normal


def _brows(head: Head, face: Face, shape: Shape, unit: float) -> Strands:
    rng, roots = face.rng(3), head.brows
    mine = brow(face, roots.along)
    across = (roots.offset - mine.middle) / mine.thickness
    dense = np.exp(-across * across * 1.1) * mine.density * (0.80 + 0.40 * min(1, mine.weight * 1.3)) * 1.3
    rows = np.flatnonzero(rng.random(len(across)) < dense)
    root, normal = _at_roots(head, shape, roots, rows)
    along, side, across = roots.along[rows], roots.side[rows], across[rows].clip(-1.5, 1.5)
    angle = np.interp(along, (0, 0.12, 0.35, 0.7, 1), (78, 52, 24, 2, -22)) - 13 * across + rng.normal(0, 11, len(rows))
    way = np.stack([side * np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0 * along], 1)
    way = way - normal * (way * normal).sum(1, keepdims=True) + normal * 0.16
    length = ((0.023 + 0.028 * mine.weight) * (1.1 - 0.35 * along) * float(np.interp(face.look.age, (2, 12), (0.8, 1)))
              * (0.7 + 0.6 * rng.random(len(rows))))[:, None, None]
    t = np.linspace(0, 1, 4)[None, :, None]
    fall = np.array([0, -0.075, 0]) * length * t * t
    points = root[:, None] + normal[:, None] * 0.004 + way[:, None] * length * t + fall
    white = max(0.0, hair_colour(face)[1] - 0.35) * (0.6 if face.look.gender > 0.5 else 0.2)
    alpha = min(0.85, 0.27 + 0.52 * mine.weight) * (1 - 0.3 * along)
    return Strands(points, _dyed(rng, len(points), brow_colour(face), white, 0.15),
                   np.full(len(points), (0.50 + 0.42 * mine.weight) * unit), alpha, "brows", 0.25, 1.0, 0.0)


def is_sideburn(position: np.ndarray) -> np.ndarray:
    """Whether template positions (N, 3) of the beard area lie in front of the ears."""
    return (position[:, 1] > 6.50) & (np.abs(position[:, 0]) > 0.54)


def _beard(head: Head, face: Face, shape: Shape, unit: float) -> Strands | None:
    look, roots = face.look, head.beard
    beard, moustache, burns = 0.8 * look.beard, 0.9 * look.moustache, look.sideburns
    if max(beard, moustache, burns) < 0.02:
        return None
    rng = face.rng(4)
    chance, upper = rng.random(len(roots.triangle)), roots.is_moustache
    here = np.where(upper, min(1, moustache * 1.8),
                    np.maximum(min(1, beard * 2.2), 2 * burns * is_sideburn(roots.position)))
    rows = np.flatnonzero(chance < here)
    root, normal = _at_roots(head, shape, roots, rows)
    upper, place, side = upper[rows], roots.position[rows], np.sign(root[:, :1])
    one = np.ones_like(side)
    over_lip = np.concatenate([0.55 * side, -0.9 * one, 0.15 * one], 1)
    on_jaw = np.concatenate([-0.25 * root[:, :1], -1.0 * one, 0.12 * one], 1)
    way = np.where(upper[:, None], over_lip, on_jaw) + rng.normal(0, 0.22, root.shape)
    way = way - normal * (way * normal).sum(1, keepdims=True) * 0.9 + normal * 0.32
    full = face.identity.rng(44).uniform(0.5, 1.25)  # how long this person's beard grows
    low = np.clip((6.75 - place[:, 1]) / 0.5, 0.15, 1)
    length = np.where(upper, 0.040 + 0.045 * moustache, 0.035 + 0.26 * full * max(0, beard - 0.25) * low)
    length = (length * (0.7 + 0.6 * rng.random(len(rows))))[:, None, None]
    t = np.linspace(0, 1, 5)[None, :, None]
    fall = np.array([0, -0.5, -0.15]) * length * t * t
    points = root[:, None] + normal[:, None] * 0.003 + way[:, None] * length * t + fall
    colour, white = hair_colour(face)
    return Strands(points, _dyed(rng, len(points), colour * min(0.8, 0.25 / colour.max()), min(1, 1.2 * white), 0.22),
                   np.full(len(points), 0.95 * unit), np.full(len(points), 0.8), "beard", 0.5, 0.75, 0.2)


def _lashes(head: Head, face: Face, shape: Shape, unit: float) -> list[Strands]:
    """Lashes along the sculpted strips, and the dark rim of each lid."""
    look, rng = face.look, face.rng(5)
    long = float(np.clip(0.78 - 0.48 * look.gender + 0.15 * face.identity.lashes, 0, 1))
    painted = look.eye_makeup
    colour, _ = hair_colour(face)
    dark = np.array([.008, .006, .005]) if painted > 0.3 or colour.sum() < 0.3 else np.minimum(colour * 0.4, 0.05)
    rim_colour = np.array([[0.012, 0.008, 0.008]]) if painted > 0.3 else np.array([[0.06, 0.025, 0.02]])
    groups = []
    for (upper, _), rows in sorted(head.lash_sets.items()):
        start, end = shape.rest[head.lash_edges[rows, 0]], shape.rest[head.lash_edges[rows, 1]]
        start = start.astype(float)
        start[1:-1] = 0.25 * start[:-2] + 0.5 * start[1:-1] + 0.25 * start[2:]
        place = np.linspace(0, len(rows) - 1, 46 if upper else 30)
        i = np.minimum(place.astype(int), len(rows) - 2)
        part = (place - i)[:, None]
        root, tip = start[i] * (1 - part) + start[i + 1] * part, end[i] * (1 - part) + end[i + 1] * part
        way = (tip - root) * ((0.40 if upper else 0.35) + 0.35 * long) * (0.8 + 0.4 * rng.random((len(place), 1)))
        way[:, 0] *= 0.7
        bend = np.array([0, 0.002, 0]) * (1 if upper else -1)
        points = np.stack([root, root + way * 0.55 - bend, root + way + np.array([0, 0.006, 0]) * upper], 1)
        count = len(place)
        width = (0.8 if upper else 0.5) * (0.7 + 0.5 * long) * unit * (1 + 0.4 * painted)
        alpha = 0.45 + 0.4 * long if upper else 0.10 + 0.25 * long * (painted > 0.3)
        groups.append(Strands(points, np.tile(dark, (count, 1)), np.full(count, width), np.full(count, alpha), "eyes",
                              0.0, 1.0, 0.0))
        rim = (1.0 if upper else 0.6) * unit * (1 + 0.9 * painted)
        rim_alpha = 0.55 if upper else 0.2 + 0.3 * painted
        groups.append(Strands(root[None], rim_colour, np.array([rim]), np.array([rim_alpha]), "eyes", 0.0, 1.0, 0.0,
                              tapered=False))
    return groups


@jit
def shade_strands(points, light, lit, eye, colour, tip_gain, lamp_direction, lamp_colour, centre, gloss, root_shade,
                  out):
    """Colour (S, n, 3) of strands in the posed world: soft diffuse light of their shell and two shifted highlights.

    points (S, n, 3); light (S, n, 3) from the surroundings; lit (S, n) share of the lamp; colour (S, 3).
    """
    count, n = points.shape[0], points.shape[1]
    for s in range(count):
        for i in range(n):
            j, k = min(i + 1, n - 1), max(i - 1, 0)
            tx, ty = points[s, j, 0] - points[s, k, 0], points[s, j, 1] - points[s, k, 1]
            tz = points[s, j, 2] - points[s, k, 2]
            size = math.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
            tx, ty, tz = tx / size, ty / size, tz / size
            nx, ny, nz = points[s, i, 0] - centre[0], points[s, i, 1] - centre[1], points[s, i, 2] - centre[2]
            size = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / size, ny / size, nz / size
            vx, vy, vz = eye[0] - points[s, i, 0], eye[1] - points[s, i, 1], eye[2] - points[s, i, 2]
            size = math.sqrt(vx * vx + vy * vy + vz * vz)
            hx, hy, hz = vx / size + lamp_direction[0], vy / size + lamp_direction[1], vz / size + lamp_direction[2]
            size = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
            hx, hy, hz = hx / size, hy / size, hz / size
            along = tx * lamp_direction[0] + ty * lamp_direction[1] + tz * lamp_direction[2]
            th, nh = tx * hx + ty * hy + tz * hz, 0.12 * (nx * hx + ny * hy + nz * hz)
            first = max(0.0, 1 - (th - nh) ** 2) ** 40
            second = max(0.0, 1 - (th + nh) ** 2) ** 10
            facing = max(0.0, (nx * lamp_direction[0] + ny * lamp_direction[1] + nz * lamp_direction[2] + 0.35) / 1.35)
            t = i / (n - 1.0)
            dim = root_shade + (1 - root_shade) * min(1.0, t * 2.2)
            soft = math.sqrt(max(0.0, 1 - along * along)) * (0.25 + 0.75 * facing)
            for c in range(3):
                a = colour[s, c] * (1 + tip_gain * t)
                shine = lit[s, i] * facing * gloss * (0.075 * first + 0.275 * math.sqrt(a * math.sqrt(a)) * second)
                body = a * (light[s, i, c] * 0.8 + lamp_colour[c] * lit[s, i] * soft)
                out[s, i, c] = dim * (body + lamp_colour[c] * shine)
