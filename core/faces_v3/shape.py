"""From measures to surfaces: every part of a face as a grid of points in head coordinates."""

from dataclasses import dataclass

import numpy as np

from core.faces_v3.curves import fold_x, lip_bottom, lip_top, mouth_bottom, mouth_top, upper_lid
from core.faces_v3.curves import step as smooth

SKIN, EYE, MOUTH, HAIR, CLOTH, FRAME, LENS, HAT, METAL, EAR, NECK = range(11)
HEAD_ROWS, HEAD_COLUMNS = 132, 150


@dataclass(frozen=True)
class Part:
    """A surface patch. points: (R, C, 3). values: (R, C, 3), what the paint of this material reads.
    turns: the share of the head's rotation that it follows."""

    material: int
    points: np.ndarray
    values: np.ndarray
    turns: float = 1.0


def bump(x, y, cx, cy, sx, sy):
    """A Gaussian hill of height 1 at (cx, cy)."""
    return np.exp(-((x - cx) / sx) ** 2 - ((y - cy) / sy) ** 2)


def parts(m):
    """All surfaces of the face with these measures."""
    head, skull = head_points(m)
    mask = hair_mask(m, skull)
    out = [Part(SKIN, head, np.stack([mask, *flow(m, skull)], -1))]
    out += [_eyeball(m, side) for side in (-1, 1)]
    out += [*_ears(m, head), _neck(m), _torso(m)]
    if m.open_low > 0.002:
        out.append(_mouth_cavity(m, head))
    if m.shell > 0:
        out.append(_scalp_hair(m, head, skull, mask))
    if m.curtain:
        out.append(_curtain(m))
    if m.k.hat > 0.5:
        out += _hat(m, skull)
    if m.k.glasses > 0.5 or m.k.sunglasses > 0.5:
        out += _glasses(m, head)
    if m.k.earrings > 0.5:
        out += _earrings(m)
    return out


def _directions():
    u = np.linspace(-1, 1, HEAD_COLUMNS)
    theta = np.pi * (0.5 * u + 0.5 * u ** 3)
    phi = np.linspace(0.02, np.pi - 0.02, HEAD_ROWS)
    sin = np.sin(phi)[:, None]
    return sin * np.sin(theta), np.broadcast_to(np.cos(phi)[:, None], (HEAD_ROWS, HEAD_COLUMNS)), sin * np.cos(theta)


_DX, _DY, _DZ = _directions()


def head_points(m):
    """(head with its features, bare skull), both (R, C, 3)."""
    low = smooth(0.15, -0.45, _DY)
    n = 2.36 + (m.square - 2.36) * low
    r = (np.abs(_DX) ** n + np.abs(_DY) ** n + np.abs(_DZ) ** n) ** (-1 / n)
    x = _DX * r * m.width
    y = _DY * r * np.where(_DY > 0, m.top, -m.chin)
    z = _DZ * r * np.where(_DZ > 0, m.depth, 1.0)
    x, y, z = _jaw(m, x, y, z)
    skull = np.stack([x, y, z], -1)
    front = smooth(-0.05, 0.35, z)
    z = z + front * _relief(m, x, y)
    x = x + np.sign(x) * front * _breadth(m, np.abs(x), y)
    y = y - m.drop * 0.75 * smooth(m.my + 0.12, m.my - 0.12, y) * smooth(-0.2, 0.3, z)
    z = _lids(m, x, y, z)
    z = z + front * _lips(m, x, y)
    x = x + 0.012 * m.i.asymmetry * front * smooth(-0.1, -0.9, y) * (1 - np.abs(x))
    return np.stack([x, y, z], -1), skull


def _jaw(m, x, y, z):
    x = x * (1 - m.jaw * smooth(-0.05, -1.0, y) * smooth(-0.5, 0.5, z) ** 0.5)
    x = x * (1 - 0.04 * smooth(0.15, 0.9, y))
    back = smooth(0.15, -0.75, z)
    z = np.where(z < 0, z * (1 - 0.62 * smooth(-0.25, -0.8, y)), z)
    y = np.maximum(y, -1.0 + 0.5 * back + 0.0 * x)
    z = z - m.slope * smooth(0.15, 0.85, y) * smooth(0, 0.5, z) * 2
    return x, y, z


def _relief(m, x, y):
    """How far the features of the face stand out in front of the skull."""
    a = np.abs(x)
    ey, ex = m.ey, m.ex
    dz = m.ridge * (bump(a, y, 0.27, m.by, 0.2, 0.07) + 0.4 * bump(x, y, 0, m.by - 0.03, 0.1, 0.07))
    dz -= (0.085 + 0.016 * m.i.eye_depth) * bump(a, y, ex, ey - 0.01, 0.17, 0.125)
    dz -= 0.035 * bump(a, y, 0.14, ey, 0.06, 0.1)
    dz += m.cheekbone * bump(a, y, 0.45, ey - 0.24, 0.17, 0.13)
    dz += m.cheek * bump(a, y, 0.36, m.nose_tip - 0.16, 0.18, 0.19)
    dz += 0.075 * m.k.smile * bump(a, y, 0.33, m.nose_tip - 0.06, 0.12, 0.1)
    dz -= 0.05 * m.old * (1 - m.k.chubby) * bump(a, y, 0.40, m.my + 0.08, 0.11, 0.16)
    dz += 0.055 * bump(x, y, 0, m.my, 0.27, 0.17)
    dz -= 0.035 * bump(x, y, 0, m.my - 0.155, 0.17, 0.045)
    dz += m.chin_out * bump(x, y, 0, m.chin + 0.13, m.chin_wide, 0.12)
    dz -= 0.02 * bump(x, y, 0, m.nose_base - 0.04, 0.022, 0.05)
    dz -= 0.026 * m.fold * np.exp(-((a - fold_x(m, y)) / 0.03) ** 2) * _between(y, m.my - 0.1, m.nose_base + 0.07)
    return dz + _nose(m, x, y)


def _between(y, low, high):
    return smooth(low - 0.04, low + 0.04, y) * smooth(high + 0.04, high - 0.04, y)


def _nose(m, x, y):
    t = np.clip((m.nose_top - y) / (m.nose_top - m.nose_tip), 0, 1)
    width = 0.062 + 0.018 * t + (m.nose_w - 0.145) * (0.3 + 0.5 * t)
    height = (
        m.nose_bridge * smooth(0, 0.3, t)
        + (m.nose_out - m.nose_bridge) * t**1.6
        + m.nose_hump * bump(t, 0, 0.4, 0, 0.22, 1)
    )
    height = height * smooth(m.nose_tip - 0.105 + m.nose_lift * 0.4, m.nose_tip - 0.015 + m.nose_lift * 0.4, y)
    ridge = height * np.exp(-np.abs(x / width) ** 2.3)
    ball = 0.055 * bump(x, y, 0, m.nose_tip + 0.01 + m.nose_lift * 0.5, 0.062 + 0.2 * (m.nose_w - 0.145), 0.06)
    wing = (0.085 + 0.25 * (m.nose_w - 0.145)) * bump(np.abs(x), y, m.nose_w * 0.72, m.nose_tip - 0.035, 0.052, 0.055)
    return ridge + ball + wing


def _breadth(m, a, y):
    """How far cheeks, jaw and jowls stand out to the side."""
    dx = 0.022 * m.cheekbone / 0.045 * bump(a, y, 0.6, m.ey - 0.2, 0.2, 0.16)
    dx = dx + (0.6 * m.cheek + 0.02 * m.k.smile) * bump(a, y, 0.52, m.nose_tip - 0.16, 0.22, 0.2)
    return dx + m.jowl * bump(a, y, 0.45, m.chin + 0.20, 0.2, 0.13)


def _front_z(head, x, y):
    """Depth of the front of the head at (x, y), averaged over nearby points."""
    w = bump(head[..., 0], head[..., 1], x, y, 0.03, 0.03) * (head[..., 2] > 0)
    return float((w * head[..., 2]).sum() / w.sum())


def eye_centre(m, head_z):
    """Depth of the eyeball's centre behind skin that lies at head_z."""
    return head_z - m.eye_r + 0.055 - m.eye_in


def _lids(m, x, y, z):
    pts = np.stack([x, y, z], -1)
    m.ez = eye_centre(m, _front_z(pts, m.ex, m.ey))
    d2 = (np.abs(x) - m.ex) ** 2 + (y - m.ey) ** 2
    r = m.eye_r + 0.014
    cap = m.ez + np.sqrt(np.maximum(r * r - d2, 1e-4))
    inside = smooth(1.0, 0.72, np.sqrt(d2) / r) * (z > 0)
    over = np.maximum(cap - z, 0) * inside
    fold = upper_lid(m, (np.abs(x) - m.ex) / m.eye_w) + m.ey + m.crease
    crease = (
        0.016 * np.exp(-(((y - fold) / 0.014) ** 2)) * smooth(1.25, 0.9, np.abs(np.abs(x) - m.ex) / m.eye_w) * (z > 0)
    )
    bag = 0.02 * m.old * bump(np.abs(x), y, m.ex, m.ey - 0.135, 0.11, 0.035) * (z > 0)
    return z + over - crease + bag


def _lips(m, x, y):
    u = np.clip(x / m.mw, -1.15, 1.15)
    inside = np.clip(1 - u * u, 0, 1) ** 0.6
    top, bottom, up, low = mouth_top(m, u), mouth_bottom(m, u), lip_top(m, u), lip_bottom(m, u)
    a = 0.036 * np.exp(-((y - (top + up) / 2) / np.maximum(0.75 * (up - top), 0.02)) ** 2)
    b = 0.046 * np.exp(-((y - (bottom + low) / 2) / np.maximum(0.75 * (bottom - low), 0.02)) ** 2)
    seam = 0.022 * np.exp(-((y - (top + bottom) / 2) / 0.018) ** 2)
    return (a + b - seam) * inside - 0.015 * bump(np.abs(x), y, m.mw + 0.012, m.my + m.lift * 0.75, 0.03, 0.03)


_AZIMUTH = np.radians([0, 22, 40, 56, 70, 82, 96, 125, 180])


def hair_mask(m, skull):
    """Distance above the hairline at every point of the skull; positive where hair grows. (R, C)"""
    x, y, z = np.moveaxis(skull, -1, 0)
    azimuth = np.abs(np.arctan2(x, z + 0.15))
    front = m.hairline
    line = np.interp(
        azimuth,
        _AZIMUTH,
        [
            front,
            front + 0.2 * m.temple,
            front - 0.08 + m.temple,
            front - 0.26 + 0.8 * m.temple,
            0.12,
            -0.12,
            -0.1,
            -0.45,
            -0.66,
        ],
    )
    if m.k.bald > 0.5:
        return np.minimum(y - line, np.minimum(0.30 - y, (azimuth - 1.25) * 0.6))
    return y - line


def flow(m, skull):
    """Strand coordinates on the skull: (across, along), strands running away from the parting."""
    x, y, z = np.moveaxis(skull, -1, 0)
    q = np.clip(z, -0.35, 0.55)
    dx, dz = x - m.part * smooth(-0.4, 0.3, z), z - q
    side = np.where(dx > 0, 1.0, -1.0)
    across = q * 1.6 + side * (np.arctan2(dz, np.abs(dx) + 0.25) * 0.9 + 10)
    return across, np.sqrt(dx * dx + dz * dz + (1 - y) ** 2 * 0.5)


def _normals(points):
    du, dv = np.gradient(points, axis=1), np.gradient(points, axis=0)
    n = np.cross(dv, du)
    return n / np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-9)


def _scalp_hair(m, head, skull, mask):
    across, along = flow(m, skull)
    n = skull / np.linalg.norm(skull, axis=-1, keepdims=True)
    x, y, z = np.moveaxis(skull, -1, 0)
    reach = mask
    if m.k.fringe > 0.5:
        cut = smooth(0.62, 0.45, np.abs(x)) * smooth(0.1, 0.4, z)
        reach = np.maximum(mask, cut * (y - m.fringe_cut) - (1 - cut))
    thick = m.shell * smooth(-0.02, 0.22, reach) + 0.012
    thick = thick * (1 + 0.35 * m.swept * smooth(0.3, 0.9, y))
    thick = thick * (1 + 0.16 * np.sin(across * 9 + m.seed) * np.sin(along * 5 + m.seed * 0.7))
    if m.part:
        thick = thick * (
            1
            - 0.55
            * np.exp(-((np.abs(np.abs(across) - 10 - 0.0) * 0 + (x - m.part * smooth(-0.4, 0.3, z))) ** 2) / 0.002)
            * smooth(-0.2, 0.2, z)
        )
    if m.curl > 0.5:
        thick = thick + 0.055 * m.curl * _knobs(m, skull) * smooth(0, 0.15, reach)
    if m.k.hat > 0.5:
        thick = np.where(y > 0.3, np.minimum(thick, 0.04), thick)
        reach = np.where(y > 0.62, -1, reach)
    sides = smooth(0.5, 0.0, y) * 0.5 * smooth(0.1, 0.5, m.length)
    points = skull + n * (thick * (1 + sides))[..., None]
    front = (z > 0.3) & (y < m.hairline + 0.2)
    lift = np.maximum(head[..., 2] + 0.03 - points[..., 2], 0) * front
    points = points + lift[..., None] * np.array([0, 0, 1.0])
    return Part(HAIR, points, np.stack([reach, across, along], -1))


def _knobs(m, skull):
    x, y, z = np.moveaxis(skull * 11, -1, 0)
    s = m.seed % 97
    return np.sin(x + s + 1.3 * np.sin(y)) * np.sin(y * 1.1 + 2 * s + np.sin(z)) * np.sin(z + 3 * s + 1.1 * np.sin(x))


def _curtain(m, rows=44, columns=110):
    s = np.linspace(-1, 1, columns)[None, :]
    t = np.linspace(0, 1, rows)[:, None]
    edge = np.radians(66 + 10 * m.i.hairline * 0.3)
    theta = np.pi + s * (np.pi - edge)
    top, end = 0.50, m.hair_end + 0.05 * np.sin(theta * 7 + m.seed)
    y = top + (end - top) * t + 0.0 * theta
    fall = smooth(-0.4, -1.1, y)
    grow = m.shell * (0.65 + 0.5 * np.sin(np.pi * np.clip((top - y) / 1.3, 0, 1)))
    wave = (
        (0.012 + 0.035 * m.i.wave + 0.03 * m.curl)
        * np.sin(theta * (5 + 6 * m.curl) + m.seed + y * (3 + 9 * m.curl))
        * smooth(0.3, -0.4, y)
    )
    flare = 0.10 * smooth(-1.15, -1.6, y) - 0.09 * smooth(-0.55, -1.05, y) * (1 - m.curl)
    wide = m.width * (1 - 0.02 * fall) + grow + wave + flare
    deep = 0.98 + grow * 0.8 + wave - 0.30 * fall
    x = -np.sin(theta) * wide
    z = np.cos(theta) * np.where(np.cos(theta) < 0, deep, 0.80 + 0.1 * m.curl) - 0.06
    if m.curl > 0.5:
        knob = 0.05 * np.sin(theta * 21 + y * 3) * np.sin(y * 22 + np.sin(theta * 9))
        x, z = x * (1 + knob), z * (1 + knob)
    points = np.stack(np.broadcast_arrays(x, y, z), -1)
    ends = np.broadcast_to((1 - t) * (top - end) * 0.9, points.shape[:2])
    side = np.broadcast_to(np.minimum(1 - np.abs(s), 1) * 2.2, points.shape[:2])
    reach = np.minimum(ends, side)
    across = np.broadcast_to(theta * 1.3 + 40, points.shape[:2])
    return Part(HAIR, points, np.stack([reach, across, np.broadcast_to(top - y, points.shape[:2])], -1), 0.9)


def _eyeball(m, side):
    """The front of a ball, and the white skirt that closes the gap to the nose when the head is turned."""
    v, u = np.meshgrid(np.concatenate([np.linspace(0, 1.1, 16), [1.2, 1.35, 1.6]]), np.linspace(0, 2 * np.pi, 34),
                       indexing="ij")
    ball = np.minimum(v, 1.1)
    radius = (np.sin(ball) + 1.3 * (v - ball)) * m.eye_r
    x, y, z = radius * np.cos(u), radius * np.sin(u), (np.cos(ball) - 0.15 * (v - ball)) * m.eye_r
    points = np.stack([side * m.ex + x, m.ey + y, m.ez + z], -1)
    return Part(EYE, points, np.stack([x / m.eye_r, y / m.eye_r, np.full_like(x, side)], -1))


def _mouth_cavity(m, head):
    y0, y1 = m.my + 0.06, m.my - m.open_low - 0.04
    v, u = np.meshgrid(np.linspace(y0, y1, 14), np.linspace(-1, 1, 24), indexing="ij")
    z0 = _front_z(head, 0.0, m.my + 0.02) - 0.075
    x = u * m.mw
    points = np.stack([x, v, z0 - 0.30 * u * u], -1)
    return Part(MOUTH, points, np.stack([u, v, 0 * u], -1))


def _ears(m, head):
    size = (1 + 0.1 * m.i.ear_size) * (1 + 0.12 * m.old) * (1 - 0.1 * m.child)
    r, u = np.meshgrid(np.linspace(0, 1, 14), np.linspace(0, 2 * np.pi, 36), indexing="ij")
    lobe = 1 - 0.22 * smooth(0.2, -1, np.sin(u))
    px, py = 0.115 * size * r * np.cos(u) * lobe, 0.20 * size * r * np.sin(u)
    helix = 0.035 * np.exp(-((r - 0.86) / 0.13) ** 2) - 0.05 * bump(r * np.cos(u), r * np.sin(u), 0.15, -0.1, 0.35, 0.4)
    fold = 0.02 * bump(r, np.cos(u - 2.2), 0.55, 1, 0.12, 0.5)
    h = (helix + fold) * size + 0.02
    a = np.radians(30 + 9 * m.i.ear_out)
    x = m.width * 0.95 + 0.09 * size * np.sin(a) + px * np.sin(a) + h * np.cos(a)
    z = -0.08 - px * np.cos(a) + h * np.sin(a)
    out = [Part(EAR, np.stack([side * x, m.ey - 0.10 + py, z], -1),
                np.stack([r * np.cos(u), r * np.sin(u), 0 * r + side], -1)) for side in (-1, 1)]
    m.lobe = (m.width * 0.95 + 0.09 * size * np.sin(a), m.ey - 0.10 - 0.185 * size, -0.06)
    return out


def _neck(m):
    v, u = np.meshgrid(np.linspace(-0.55, -1.42, 20), np.linspace(0, 2 * np.pi, 48), indexing="ij")
    flare = 0.03 * smooth(-0.9, -0.6, v)
    cords = 0.02 * bump(np.abs(np.sin(u)), v, 0.55, -1.2, 0.15, 0.4) * (np.cos(u) > 0)
    r = m.neck + flare + cords
    points = np.stack([r * np.sin(u), v, r * np.cos(u) * 0.92 - 0.30 + 0.1 * smooth(-0.9, -1.5, v)], -1)
    return Part(NECK, points, np.stack([u, v, 0 * u], -1), 0.6)


def _torso(m):
    t, u = np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 2 * np.pi, 72), indexing="ij")
    big = (1 - 0.28 * m.child) * (1 + 0.09 * m.man + 0.08 * m.k.chubby)
    y = -1.18 - 0.04 * m.child - 1.5 * t ** 1.25 - 0.10 * smooth(0, 0.2, t)
    wide = (m.neck + 0.02 + (1.20 * big - m.neck) * np.sin(np.clip(t * 2.0, 0, 1) * np.pi / 2) ** 0.8)
    deep = (m.neck * 0.9 + 0.02 + (0.52 * big - m.neck * 0.6) * smooth(0, 0.75, t))
    x, z = wide * np.sin(u), deep * np.cos(u) - 0.20
    folds = 0.012 * np.sin(u * 9 + y * 4 + m.seed) * smooth(0.15, 0.5, t)
    points = np.stack([x * (1 + folds), y, z * (1 + folds)], -1)
    return Part(CLOTH, points, np.stack([x, y, t], -1), 0.25)


def _hat(m, skull):
    x, y, z = np.moveaxis(skull, -1, 0)
    n = skull / np.linalg.norm(skull, axis=-1, keepdims=True)
    line = 0.31 + 0.05 * m.i.hairline + 0.13 * smooth(-0.3, 0.7, z)
    reach = y - line
    woollen = m.hat_kind > 0.5
    thick = 0.075 + (
        0.05 * smooth(0.16, 0.10, reach) + 0.12 * smooth(0.6, 1.0, y) if woollen else 0.05 * smooth(0, 0.3, reach)
    )
    points = skull + n * np.broadcast_to(thick, x.shape)[..., None]
    crown = Part(HAT, points, np.stack([reach, np.arctan2(x, z), y], -1))
    return [crown] if woollen else [crown, _brim(m)]


def _brim(m):
    t, u = np.meshgrid(np.linspace(0, 1, 12), np.linspace(-1, 1, 40), indexing="ij")
    a = u * 1.15
    reach = 0.92 + 0.52 * t * np.cos(a) ** 0.6
    x = np.sin(a) * (m.width + 0.07) * (1 + 0.05 * t)
    z = np.cos(a) * reach + 0.0
    y = 0.505 + 0.05 * m.i.hairline - 0.30 * t * np.cos(a) - 0.16 * u * u
    return Part(HAT, np.stack([x, y, z], -1), np.stack([0 * u + 0.5, a, 0 * u + 5], -1))


def _tube(path, radius, sides=7):
    """A tube around a path (P, 3): (P, sides, 3)."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    up = np.cross(tangent, np.array([0.13, 0.21, 0.97]))
    up /= np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-6)
    side = np.cross(tangent, up)
    a = np.linspace(0, 2 * np.pi, sides)
    return path[:, None] + radius * (np.cos(a)[None, :, None] * up[:, None] + np.sin(a)[None, :, None] * side[:, None])


def _glasses(m, head):
    z0 = max(_front_z(head, 0.08, m.nose_top - 0.05), m.ez + m.eye_r) + 0.075
    cy, rx, ry = m.ey - 0.025, 0.205, 0.152 + 0.012 * (5 - m.frame_round) / 3
    u = np.linspace(0, 2 * np.pi, 49)
    e = 2 / m.frame_round
    sx, sy = np.sign(np.cos(u)) * np.abs(np.cos(u)) ** e, np.sign(np.sin(u)) * np.abs(np.sin(u)) ** e
    bend = lambda x: z0 - 0.22 * np.maximum(np.abs(x) - 0.1, 0) ** 2  # noqa: E731
    out = []
    thick = m.frame_thick * (1.3 if m.k.sunglasses > 0.5 else 1)
    for side in (-1, 1):
        cx = side * max(m.ex, 0.285)
        x, y = cx + rx * sx, cy + ry * sy
        rim = np.stack([x, y, bend(x)], -1)
        out.append(_plain(FRAME, _tube(rim, thick)))
        r = np.linspace(0, 1, 6)[:, None]
        lx, ly = cx + rx * sx * r, cy + ry * sy * r
        out.append(Part(LENS, np.stack([lx, ly, bend(lx)], -1), np.stack([sx * r, sy * r, 0 * lx + side], -1)))
        t = np.linspace(0, 1, 14)
        edge = cx + side * rx
        arm = np.stack([edge + side * (m.width + 0.03 - abs(edge)) * smooth(0, 0.35, t), cy + 0.06 + 0 * t,
                        bend(edge) + (-0.12 - bend(edge)) * t], -1)
        out.append(_plain(FRAME, _tube(arm, thick)))
    x = np.linspace(-1, 1, 9) * (max(m.ex, 0.285) - rx)
    out.append(_plain(FRAME, _tube(np.stack([x, cy + 0.05 + 0.03 * (1 - (x / 0.1) ** 2), bend(x) + 0.005], -1), thick)))
    return out


def _plain(material, points):
    return Part(material, points, np.zeros_like(points))


def _earrings(m):
    x, y, z = m.lobe
    out = []
    for side in (-1, 1):
        u = np.linspace(0, 2 * np.pi, 25)
        if m.ring > 0.5:
            path = np.stack(
                [side * (x + 0.035) + 0.02 * np.sin(u), y - 0.095 + 0.105 * np.cos(u), z + 0.105 * np.sin(u) * 0.8], -1
            )
            out.append(_plain(METAL, _tube(path, 0.022)))
        else:
            v, w = np.meshgrid(np.linspace(0, np.pi, 9), u, indexing="ij")
            ball = np.stack([np.sin(v) * np.cos(w), np.cos(v), np.sin(v) * np.sin(w)], -1) * 0.06
            out.append(_plain(METAL, ball + np.array([side * (x + 0.03), y + 0.0, z + 0.03])))
    return out
