"""Skin: colour from melanin and blood, hair painted under strands, make-up, and the relief of pores and wrinkles."""

import math
from typing import NamedTuple

import numpy as np

from core.faces.hair import LONG, TIED, crown_and_top, hairline, wreath
from core.faces.jit import jit
from core.faces.looks import Face
from core.faces.maps import MAPS
from core.faces.shape import Shape
from core.faces.strands import brow, brow_colour, hair_colour, is_sideburn
from core.faces.template import BROW, BROW_ALONG, brow_width, scalp_field

_LIPS, _LIDS, _RED, _UNDER, _BLUSH = (MAPS.index(n) for n in ("lips", "lids", "red", "under", "blush"))
_BEARD, _MOUSTACHE = (MAPS.index(n) for n in ("beard", "mous"))
_BLOTCH, _GRAIN, _PORE, _FRECKLES, _SPOTS = (MAPS.index(n) for n in ("n1", "n2", "pore", "frk", "spots"))
_FOREHEAD, _GLABELLA, _CROW, _UNDER_EYE = (MAPS.index(n) for n in ("w_fore", "w_glab", "w_crow", "w_eye"))
_NASOLABIAL, _LIP_LINES, _NETWORK = (MAPS.index(n) for n in ("w_naso", "w_lipv", "w_cross"))
_SCALP, _GLOSS, _NOSTRIL = (MAPS.index(n) for n in ("scalp", "gloss", "nostril"))
_MELANIN, _BLOOD, _BASE = np.array([0.97, 1.28, 1.47]), np.array([0.17, 0.95, 0.76]), np.array([0.09, 0.22, 0.44])


class Amounts(NamedTuple):
    """How much of each painted map this face shows, and the colours it is painted with (linear RGB)."""

    melanin: float
    blood: float
    ruddy: float
    blush: float
    mottled: float
    acne: float
    moles: float
    freckles: float
    age_spots: float
    dark_circles: float
    under_eye: float
    lip_red: float
    lip_share: float
    stubble: float
    old: float
    adult: float
    undertone: float
    lipstick: float
    eye_makeup: float
    gloss: float
    forehead: float
    glabella: float
    crow: float
    eye_lines: float
    nasolabial: float
    lip_lines: float
    network: float
    pores: float
    grain: float
    furrow_forehead: float
    lines: float
    network_colour: float
    hair: np.ndarray
    brow: np.ndarray
    lip_colour: np.ndarray
    eye_shadow: np.ndarray


def amounts(face: Face, shape: Shape) -> Amounts:
    """The skin of this face: its own traits, its age, its make-up, and the folds of its expression."""
    who, look, wear, act = face.identity, face.look, face.unnamed, shape.actions
    age, man = look.age, look.gender
    woman = 1 - man
    aged = float(np.interp(age, (18, 30, 42, 58, 85), (0, 0.2, 0.75, 1.0, 1.4)))
    lines = float(np.interp(age, (22, 30, 40, 52, 66, 80), (0, 0.30, 0.95, 1.4, 2.1, 2.8))) * who.wrinkles
    network = float(np.interp(age, (36, 50, 62, 75, 88), (0, 0.4, 1.1, 2.0, 2.6))) * who.wrinkles
    adult = float(np.clip((age - 8) / 14, 0.12, 1))
    child = float(np.clip((14 - age) / 10, 0, 1))
    old = float(np.clip((age - 32) / 45, 0, 1.2))
    up, down = max(act["browInnerUp"], act["browOuterUpLeft"]), act["browDownLeft"]
    smile, squint = act["mouthSmileLeft"], max(act["cheekSquintLeft"], act["eyeSquintLeft"])
    younger_woman = woman * float(np.clip((75 - age) / 20, 0, 1))
    freckles = who.freckles * float(np.interp(age, (3, 9), (0.25, 1))) * (1 if who.melanin < 1 else 0.5)
    clip = lambda value, high: float(np.clip(value, 0, high))  # noqa: E731
    return Amounts(
        melanin=who.melanin + 0.02 * (man - 0.5), blood=who.blood, ruddy=0.45 * who.ruddy,
        blush=0.12 * child + 0.95 * wear.blush,
        mottled=float(np.clip(0.9 + 0.25 * man + 0.3 * who.mottled, 0.4, 1.9)) * (0.72 + 0.75 * aged),
        acne=0.6 * wear.acne, moles=0.9 * who.moles, freckles=0.62 * freckles, age_spots=0.55 * max(0.0, aged - 0.45),
        dark_circles=0.10 * (0.5 + 0.5 * who.melanin) * who.dark_circles * (1.1 + 1.9 * aged),
        under_eye=0.18 * (0.3 + 0.7 * aged),
        lip_red=0.56 * float(np.clip(0.72 + 0.58 * woman + 0.2 * who.lip_red - 0.3 * old, 0.3, 1.8)),
        lip_share=1 - 0.5 * child, stubble=wear.stubble * man * (1 - min(1.0, look.beard * 1.2)), old=old, adult=adult,
        undertone=who.undertone, lipstick=look.lip_makeup, eye_makeup=look.eye_makeup, gloss=who.gloss,
        forehead=0.0068 * clip(lines * (0.9 - 0.42 * younger_woman) + 0.85 * up * adult, 2.3),
        glabella=0.012 * clip((0.32 - 0.22 * woman) * lines + 0.9 * down * adult, 1.6),
        crow=0.0075 * clip(0.8 * lines + (0.7 * smile + 0.5 * squint) * adult * (0.3 + lines), 2.4),
        eye_lines=0.013 * clip(0.12 * adult + lines + 0.25 * smile * adult, 2.2),
        nasolabial=0.030 * clip(0.05 + 0.70 * lines + 0.20 * smile * adult + 0.3 * act["noseSneerLeft"], 1.5),
        lip_lines=0.006 * network, network=0.0042 * clip(1.1 * network + 0.15 * lines, 2.8),
        pores=0.0016 * (0.55 + 0.5 * adult + 0.35 * aged), grain=0.0020 * (0.3 + 0.9 * lines),
        furrow_forehead=clip(lines * (1 - 0.4 * woman) + 0.4 * up, 1), lines=lines, network_colour=0.30 * network,
        hair=hair_colour(face)[0], brow=brow_colour(face),
        lip_colour=np.array(wear.lipstick) * max(0.35, 1 - 0.38 * who.melanin), eye_shadow=np.array(wear.eye_shadow),
    )


def paint(face: Face, shape: Shape, maps: np.ndarray, place: np.ndarray):
    """Albedo (P, 3), relief (P,) in units, gloss (P,) and roughness (P,) of skin pixels.

    maps: (P, C) painted maps at the pixels. place: (P, 3) template positions.
    """
    count = len(maps)
    albedo, relief = np.empty((count, 3), np.float32), np.empty(count, np.float32)
    gloss, rough = np.empty(count, np.float32), np.empty(count, np.float32)
    scalp, scalp_colour = _scalp(face, maps, place)
    _paint(maps, place, amounts(face, shape), _facial_cover(face, maps, place), scalp, scalp_colour,
           _brow_share(face, place), albedo, relief, gloss, rough)
    return albedo, relief, gloss, rough


def _facial_cover(face: Face, maps: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Share of facial hair painted under its strands: (P,) in [0, 0.75]."""
    look = face.look
    cover = (min(0.75, 0.96 * look.beard) * maps[:, _BEARD] + min(0.75, 1.08 * look.moustache) * maps[:, _MOUSTACHE])
    if look.sideburns > 0:
        cover = np.maximum(cover, 0.75 * look.sideburns * maps[:, _BEARD] * is_sideburn(place))
    return cover.astype(np.float32)


def _scalp(face: Face, maps: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the scalp painted in hair colour (P,), and that colour (3,)."""
    from core.faces.hair import style

    how, share = style(face), np.zeros(len(maps), np.float32)
    colour, white = hair_colour(face)
    dark = colour * min(1.4, 0.16 / colour.max())
    skin = np.exp(-np.array([0.09, 0.25, 0.42]) - face.identity.melanin * _MELANIN - 0.3 * _BLOOD)
    mixed = (skin * 0.12 + dark * 0.6) * (1 - 0.5 * white) + np.array([0.22, 0.21, 0.20]) * 0.5 * white
    if how.name in LONG:
        mixed = mixed * 0.55  # a parting lies in the shade of the hair beside it
    rows = np.flatnonzero(maps[:, _SCALP] > 0.003)
    if how.name == "bald" or not len(rows):
        return share, mixed
    painted, where = maps[rows, _SCALP], place[rows]
    if how.name == "buzz":
        stubbly = np.clip(0.85 + 0.3 * maps[rows, _PORE], 0, 1)
        painted = np.clip((scalp_field(where) + 0.03) / 0.16, 0, 1) * painted * stubbly
    else:
        painted = np.minimum(1, (1.3 if how.name in (*TIED, "slick") else 1.5) * painted)
    painted = np.minimum(painted, np.clip((hairline(face, where, how.recede) + 0.02) / 0.07, 0, 1))
    crown, top = crown_and_top(where)
    painted = painted * (1 - np.clip(how.thin * (1.25 * crown + 1.05 * top) * 1.15, 0, 1))
    if how.name == "wreath":
        painted = 0.6 * painted * wreath(where)
    share[rows] = {"buzz": 0.80, "afro": 0.95}.get(how.name, 0.96 if how.name in LONG else 0.90) * painted
    return share, mixed


def _brow_share(face: Face, place: np.ndarray) -> np.ndarray:
    """Share of brow colour painted under the strands: (P,)."""
    share = np.zeros(len(place), np.float32)
    rows = np.flatnonzero((np.abs(place[:, 0]) < 0.68) & (np.abs(place[:, 1] - 7.46) < 0.17) & (place[:, 2] > 0.8))
    if not len(rows):
        return share
    x, y = np.abs(place[rows, 0]), place[rows, 1]
    along = np.interp(x, BROW[:, 0], BROW_ALONG)
    mine = brow(face, along)
    across = ((y - np.interp(x, BROW[:, 0], BROW[:, 1])) / brow_width(along) - mine.middle) / mine.thickness
    ends = np.clip((x - 0.085) / 0.06, 0, 1) * np.clip((0.62 - x) / 0.05, 0, 1)
    dense = np.clip(np.exp(-across * across * 0.9) * mine.density * ends * (0.56 + 0.42 * mine.weight), 0, 1)
    share[rows] = dense * 0.48 * (0.55 if hair_colour(face)[0].sum() > 0.6 else 0.8)
    return share


@jit
def _clip(value, low, high):
    return min(max(value, low), high)


@jit
def _paint(maps, place, a, cover, scalp, scalp_colour, brows, albedo, relief, gloss, rough):
    dark = a.hair * min(1.4, 0.16 / max(a.hair[0], a.hair[1], a.hair[2]))
    under = np.array([1.0, 1 + 0.4 * a.undertone, 1 + a.undertone]) * _BASE
    furrow_colour = np.array([0.15, 0.30, 0.32])
    for i in range(maps.shape[0]):
        m = maps[i]
        x, y, z = abs(place[i, 0]), place[i, 1], place[i, 2]
        lips = _clip(m[_LIPS] * 1.25 - 0.1, 0.0, 1.0)
        blood = a.blood * (1 + (0.20 * m[_BLOTCH] + 0.17 * m[_GRAIN]) * a.mottled)
        blood += a.ruddy * m[_RED] + a.blush * m[_BLUSH]
        blood += a.under_eye * m[_UNDER] + a.acne * _clip(m[_SPOTS] * 1.5, 0.0, 1.0) + 0.10 * m[_LIDS]
        blood += lips * a.lip_share * (a.lip_red - 0.12 * min(a.melanin, 1.5))
        melanin = a.melanin * (1 + (0.05 * m[_BLOTCH] + 0.045 * m[_GRAIN]) * a.mottled) + 0.05 * a.old * m[_BLOTCH]
        melanin += a.moles * _clip(m[_SPOTS] * 2 - 0.9, 0.0, 1.0) + a.freckles * m[_FRECKLES] + a.age_spots * m[_SPOTS]
        melanin += a.dark_circles * m[_UNDER]
        melanin = melanin * (1 - lips * 0.04 * min(a.melanin, 1.5)) + lips * 0.13
        shadow = 0.8 * a.stubble * _clip(m[_BEARD] + m[_MOUSTACHE], 0.0, 1.0)
        shadow *= 0.75 + 0.25 * _clip(m[_PORE] * 2.2, -1.0, 1.0)
        lid = 0.0
        if a.eye_makeup > 0 and z > 0.8:
            lid = 0.9 * a.eye_makeup * math.exp(-(((x - 0.33) / 0.22) ** 2) - ((y - 7.375) / 0.062) ** 2)
        furrow = (m[_CROW] + 0.4 * m[_GLABELLA] + 0.9 * m[_UNDER_EYE] + m[_NASOLABIAL]) * a.lines
        furrow = _clip(-(furrow + m[_FOREHEAD] * a.furrow_forehead + m[_NETWORK] * a.network_colour), 0.0, 1.0)
        for c in range(3):
            v = math.exp(-under[c] - melanin * _MELANIN[c] - blood * _BLOOD[c])
            v += (dark[c] - v) * 0.56 * shadow
            v += (dark[c] - v) * cover[i]
            v += (scalp_colour[c] - v) * scalp[i]
            v += (a.brow[c] - v) * brows[i]
            v += (a.lip_colour[c] - v) * a.lipstick * lips * 0.92
            v += (a.eye_shadow[c] - v) * lid
            albedo[i, c] = v * (1 - 0.75 * m[_NOSTRIL]) * math.exp(-furrow * furrow_colour[c])
        h = (a.forehead * m[_FOREHEAD] + a.glabella * m[_GLABELLA] + a.crow * m[_CROW] + a.eye_lines * m[_UNDER_EYE]
             + a.nasolabial * m[_NASOLABIAL] + a.lip_lines * m[_LIP_LINES] + a.network * m[_NETWORK]
             + a.pores * m[_PORE] * (1 - lips) + a.grain * m[_GRAIN] + 0.004 * shadow)
        ridges = 0.0010 * math.sin(place[i, 0] * 210 + m[_GRAIN] * 5) * (0.3 + 0.7 * a.adult)
        relief[i] = h + lips * (ridges + 0.006 + 0.002 * m[_GRAIN])
        shine = 0.9 + 1.3 * m[_GLOSS] + lips * (0.75 + 0.5 * a.lipstick) * a.lip_share + 0.25 * m[_PORE] - 0.25 * a.old
        gloss[i] = _clip(shine * (1 - 0.75 * scalp[i]) * a.gloss, 0.05, 3.0)
        rough[i] = _clip(0.50 - 0.10 * m[_GLOSS] - 0.14 * lips + 0.05 * a.old, 0.25, 0.8)
