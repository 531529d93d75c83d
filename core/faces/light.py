"""Light: what each point sees of the surroundings and of one soft lamp, and how surfaces reflect it."""

import math
from dataclasses import dataclass

import numpy as np

from core.faces.jit import jit
from core.faces.raster import depth_map, project_parallel, seen, seen_by_lamp, splat

_DIRECTIONS = 20
_SKY_SIZE, _SKY_SPAN = 96, 3.6       # pixels of a depth map of the surroundings, and the units it covers
_LAMP_SIZE, _LAMP_SPAN = 224, 3.4


@dataclass(frozen=True)
class Lamp:
    """The key light and the surroundings of one picture. Directions are unit vectors, colours linear RGB."""

    direction: np.ndarray
    colour: np.ndarray
    fill_direction: np.ndarray
    fill_colour: np.ndarray
    ambient: float
    key: float


def lamp(face) -> Lamp:
    """The light of this face's picture: its side is an attribute, height, strength and warmth come from the seed."""
    side, wear = face.look.light_side, face.unnamed
    direction = _unit(np.array([1.15 * side, wear.elevation, 0.78]))
    warm = np.array([1.0, 0.965, 0.925]) * (1 + wear.warmth * np.array([0.06, 0, -0.08]))
    fill = _unit(np.array([-0.9 * (np.sign(side) or 1.0), 0.1, 0.7]))
    return Lamp(direction, warm * 2.1 * wear.key, fill, np.array([0.96, 0.97, 1.0]) * 0.10 * wear.ambient,
                wear.ambient, wear.key)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _frame(direction: np.ndarray) -> np.ndarray:
    """(3, 3): two axes across a direction, then the direction."""
    across = _unit(np.cross([0, 1.0, 0] if abs(direction[1]) < 0.95 else [1.0, 0, 0], direction))
    return np.stack([across, np.cross(direction, across), direction])


def _sphere(count: int) -> np.ndarray:
    """`count` directions spread evenly (Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.cos(i * 2.399963), y, radius * np.sin(i * 2.399963)], 1)


_SKY = [d for d in _sphere(_DIRECTIONS) if d[2] >= -0.45]  # nothing behind the head lights what is seen


def surroundings(lamp: Lamp, centre, receivers, hair, blockers, triangles, loose):
    """Light from all sides, with what stands in its way.

    receivers: (points, normals) of the meshes, (N, 3) each. hair: list of (M, 3) points of strands, lit from all sides.
    blockers (B, 3) with triangles (T, 3), and loose (L, 3) points, cast into every direction.
    Returns irradiance (N, 3), openness (N,) in about [0, 1], and a list of (M, 3).
    """
    points, normals = receivers
    light, openness = np.zeros((len(points), 3), np.float32), np.zeros(len(points), np.float32)
    strands = [np.zeros((len(h), 3), np.float32) for h in hair]
    scale, half = _SKY_SIZE / _SKY_SPAN, _SKY_SIZE / 2
    flat, flat_loose = np.empty((len(blockers), 3), np.float32), np.empty((len(loose), 3), np.float32)
    for direction in _SKY:
        frame = _frame(direction)
        depth = np.full((_SKY_SIZE, _SKY_SIZE), -9, np.float32)
        project_parallel(blockers, frame, centre, scale, half, flat)
        depth_map(flat, triangles, depth)
        project_parallel(loose, frame, centre, scale, half, flat_loose)
        splat(flat_loose, depth)
        radiance = _radiance(direction, lamp) * (0.60 * 2 / _DIRECTIONS)
        _receive(points, normals, frame, centre, scale, half, depth, 0.045, radiance, light, openness)
        for where, sum_ in zip(hair, strands, strict=True):
            _receive_hair(where, frame, centre, scale, half, depth, 0.07, radiance * (0.55 * 0.75), sum_)
    return light, openness / 0.66, strands


def _radiance(direction: np.ndarray, lamp: Lamp) -> np.ndarray:
    if direction[1] > -0.2:
        colour = np.array([0.92, 0.95, 0.99]) * (0.55 + 0.55 * max(0, direction[1]) + 0.25 * max(0, direction[2]))
    else:
        colour = np.array([0.55, 0.47, 0.42]) * 0.6
    return colour * lamp.ambient * (1 + 0.35 * float(direction @ lamp.direction))


@jit
def _receive(points, normals, frame, centre, scale, half, depth, bias, radiance, light, openness):
    total = radiance[0] + radiance[1] + radiance[2]
    for i in range(points.shape[0]):
        facing = normals[i, 0] * frame[2, 0] + normals[i, 1] * frame[2, 1] + normals[i, 2] * frame[2, 2]
        facing = (facing + 0.12) / 1.12
        if facing <= 0:
            continue
        x, y, z = points[i, 0] - centre[0], points[i, 1] - centre[1], points[i, 2] - centre[2]
        share = facing * seen(depth, (x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2]) * scale + half,
                              (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2]) * scale + half,
                              x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2], bias)
        for k in range(3):
            light[i, k] += share * radiance[k]
        openness[i] += share * total


@jit
def _receive_hair(points, frame, centre, scale, half, depth, bias, radiance, light):
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - centre[0], points[i, 1] - centre[1], points[i, 2] - centre[2]
        share = seen(depth, (x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2]) * scale + half,
                     (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2]) * scale + half,
                     x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2], bias)
        for k in range(3):
            light[i, k] += share * radiance[k]


class LampShadow:
    """The depth map of the lamp: what the key light reaches."""

    def __init__(self, lamp: Lamp, centre, points, triangles, loose):
        """points (N, 3) with triangles (T, 3), and loose (L, 3) points, cast shadows."""
        self.frame, self.centre = _frame(lamp.direction), centre
        self.depth = np.full((_LAMP_SIZE, _LAMP_SIZE), -9, np.float32)
        depth_map(self._flat(points), triangles, self.depth)
        splat(self._flat(loose), self.depth)

    def _flat(self, points):
        flat = np.empty((len(points), 3), np.float32)
        project_parallel(points, self.frame, self.centre, _LAMP_SIZE / _LAMP_SPAN, _LAMP_SIZE / 2, flat)
        return flat

    def visibility(self, points, bias: float, taps: int, reach: float):
        """Share of the lamp that each of points (N, 3) sees: (N,) float32 in [0, 1]."""
        out = np.empty(len(points), np.float32)
        seen_by_lamp(self._flat(points), self.depth, bias, taps, reach, out)
        return out


@jit
def reflect(points, smooth, bumped, light, openness, lit, eye, lamp_direction, lamp_colour, fill_direction, fill_colour,
            gloss, rough, diffuse, specular):
    """Diffuse irradiance (P, 3) and specular light (P, 3) of surface points, in place.

    smooth and bumped: normals (P, 3). light, openness: from the surroundings. lit: share of the lamp seen. Wrapped
    diffuse light with a red terminator, two GGX lobes, and a rim of the surroundings.
    """
    wrap = np.array([0.26, 0.13, 0.09])
    for i in range(points.shape[0]):
        vx, vy, vz = eye[0] - points[i, 0], eye[1] - points[i, 1], eye[2] - points[i, 2]
        length = math.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        nx, ny, nz = bumped[i, 0], bumped[i, 1], bumped[i, 2]
        nl = nx * lamp_direction[0] + ny * lamp_direction[1] + nz * lamp_direction[2]
        nf = nx * fill_direction[0] + ny * fill_direction[1] + nz * fill_direction[2]
        relief = (ny - smooth[i, 1]) * 0.7 + (nx - smooth[i, 0]) * lamp_direction[0] + (nz - smooth[i, 2]) * 0.8
        relief = max(0.3, 1 + 0.55 * relief)
        ao = min(1.0, openness[i])
        fill = max(0.0, (nf + 0.2) / 1.2) * ao
        for c in range(3):
            wrapped = max(0.0, (nl + wrap[c]) / (1 + wrap[c]))
            share = lit[i] ** 0.88 if c == 0 else lit[i]  # red bleeds into the penumbra
            diffuse[i, c] = light[i, c] * relief + lamp_colour[c] * wrapped * share + fill_colour[c] * fill
        nv = max(0.02, nx * vx + ny * vy + nz * vz)
        hx, hy, hz = vx + lamp_direction[0], vy + lamp_direction[1], vz + lamp_direction[2]
        length = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
        hx, hy, hz = hx / length, hy / length, hz / length
        nh, vh = max(0.0, nx * hx + ny * hy + nz * hz), max(0.0, vx * hx + vy * hy + vz * hz)
        fresnel = 0.028 + 0.972 * (1 - vh) ** 5
        narrow, wide = rough[i] ** 4, min(1.0, rough[i] * 1.55) ** 4
        lobe = 0.45 * narrow / (nh * nh * (narrow - 1) + 1) ** 2 + 0.55 * wide / (nh * nh * (wide - 1) + 1) ** 2
        shade = max(0.0, nl) / (max(0.0, nl) * 0.7 + 0.3) / (nv * 0.7 + 0.3) * 0.25
        shine = lobe * fresnel * shade * lit[i] * gloss[i]
        rim = (0.02 + 0.30 * (1 - nv) ** 5) * ao * gloss[i]
        for c in range(3):
            specular[i, c] = lamp_colour[c] * shine + rim * light[i, c] * 0.9


@jit
def bump(place, pixels, points, normals, height, out):
    """Normals (P, 3) tilted by the relief `height` (P,), from neighbouring pixels (surface gradient), into out.

    place: (H, W) number of the pixel in the lists, -1 none. pixels: (P, 2). points: (P, 3).
    """
    rows, columns = place.shape
    for i in range(pixels.shape[0]):
        y, x = pixels[i, 0], pixels[i, 1]
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        out[i, 0], out[i, 1], out[i, 2] = nx, ny, nz
        if x == 0 or y == 0 or x == columns - 1 or y == rows - 1:
            continue
        left, right, up, down = place[y, x - 1], place[y, x + 1], place[y - 1, x], place[y + 1, x]
        if left < 0 or right < 0 or up < 0 or down < 0:
            continue
        a, b = (points[right] - points[left]) / 2, (points[up] - points[down]) / 2
        ax, ay, az, bx, by, bz = a[0], a[1], a[2], b[0], b[1], b[2]
        if ax * ax + ay * ay + az * az > 9e-3 or bx * bx + by * by + bz * bz > 9e-3:
            continue  # across an outline
        hx, hy = (height[right] - height[left]) / 2, (height[up] - height[down]) / 2
        px, py, pz = by * nz - bz * ny, bz * nx - bx * nz, bx * ny - by * nx
        qx, qy, qz = ny * az - nz * ay, nz * ax - nx * az, nx * ay - ny * ax
        det = ax * px + ay * py + az * pz
        if abs(det) < 1e-9:
            continue
        gx, gy, gz = (px * hx + qx * hy) / det, (py * hx + qy * hy) / det, (pz * hx + qz * hy) / det
        steep = 1 / max(1.0, math.sqrt(gx * gx + gy * gy + gz * gz) / 0.9)
        nx, ny, nz = nx - gx * steep, ny - gy * steep, nz - gz * steep
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        out[i, 0], out[i, 1], out[i, 2] = nx / length, ny / length, nz / length
