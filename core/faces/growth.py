"""How a strand of scalp hair grows: compiled, with a table of the head's radius to stay outside of it."""

import math

import numpy as np

from core.faces.jit import jit

POLAR, AROUND = 40, 64  # cells of the radius table from crown to chin, and around


def radius_table(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Greatest radius of the head (points (N, 3)) seen from its centre, by polar angle and azimuth: (POLAR, AROUND)."""
    import cv2

    away = points - centre
    radius = np.linalg.norm(away, axis=1)
    skull = (radius < 1.45) & (radius > 0.35)
    away, radius = away[skull], radius[skull]
    row = np.clip((np.arccos(away[:, 1] / radius) / np.pi * POLAR).astype(int), 0, POLAR - 1)
    column = ((np.arctan2(away[:, 0], away[:, 2]) / (2 * np.pi) + 0.5) * AROUND).astype(int) % AROUND
    table = np.zeros((POLAR, AROUND))
    np.maximum.at(table, (row, column), radius)
    for _ in range(12):  # holes take the mean of their neighbours
        empty = table == 0
        if not empty.any():
            break
        padded = np.pad(np.pad(table, ((1, 1), (0, 0)), mode="edge"), ((0, 0), (1, 1)), mode="wrap")
        around = np.stack([padded[i:i + POLAR, j:j + AROUND] for i in range(3) for j in range(3)])
        known = (around > 0).sum(0)
        table = np.where(empty & (known > 0), around.sum(0) / np.maximum(known, 1), table)
    wrapped = np.pad(table, ((0, 0), (4, 4)), mode="wrap").astype(np.float32)
    return np.ascontiguousarray(cv2.GaussianBlur(wrapped, (0, 0), 0.8)[:, 4:-4].astype(np.float64))


@jit
def _radius_at(table, x, y, z, r):
    rows, columns = table.shape
    polar = math.acos(max(-1.0, min(1.0, y / r))) / math.pi * rows - 0.5
    around = (math.atan2(x, z) / (2 * math.pi) + 0.5) * columns - 0.5
    a, b = int(math.floor(polar)), int(math.floor(around))
    fa, fb = polar - a, around - b
    low, high = max(0, a), min(rows - 1, a + 1)
    left, right = b % columns, (b + 1) % columns
    return ((table[low, left] * (1 - fb) + table[low, right] * fb) * (1 - fa)
            + (table[high, left] * (1 - fb) + table[high, right] * fb) * fa)


@jit
def grow(root, direction, length, layer, gravity, wander, table, centre, knot, knot_pull, cut, side_limit, stick, out):
    """Grow S strands of n points each into out (S, n, 3).

    root, direction: (S, 3). length, layer (distance kept above the skin), gravity, cut (height at which it ends): (S,).
    wander: (S, 2) sideways drift. knot: (3,) where tied hair meets, pulled by knot_pull (0 none). side_limit: (S,)
    signed; hair beside the face stays beyond it, 0 leaves a strand free. stick: how firmly strands lie on the head.
    """
    n = out.shape[1]
    for s in range(root.shape[0]):
        px, py, pz = root[s, 0], root[s, 1], root[s, 2]
        dx, dy, dz = direction[s, 0], direction[s, 1], direction[s, 2]
        step = length[s] / (n - 1)
        out[s, 0, 0], out[s, 0, 1], out[s, 0, 2] = px, py, pz
        ended = False
        for i in range(1, n):
            if not ended:
                if knot_pull > 0:
                    tx, ty, tz = knot[0] - px, knot[1] - py, knot[2] - pz
                    far = math.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
                    dx, dy, dz = dx + knot_pull * tx / far, dy + knot_pull * ty / far, dz + knot_pull * tz / far
                    ended = far < step * 1.2
                dx, dy, dz = dx + wander[s, 0] * step, dy - gravity[s] * step * 4, dz + wander[s, 1] * step
                size = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
                nx, ny, nz = px + dx / size * step, py + dy / size * step, pz + dz / size * step
                rx, ry, rz = nx - centre[0], ny - centre[1], nz - centre[2]
                r = math.sqrt(rx * rx + ry * ry + rz * rz) + 1e-9
                skin = _radius_at(table, rx, ry, rz, r) + layer[s] * min(1.0, 0.15 + i / (n - 1.0) * 3.0)
                f = 1.0
                if r < skin:
                    f = skin / r
                elif stick > 0 and ny > centre[1] - 0.45:
                    f = 1 - stick * (1 - skin / r)
                nx, ny, nz = centre[0] + rx * f, centre[1] + ry * f, centre[2] + rz * f
                limit = abs(side_limit[s])
                if limit > 0 and ny < centre[1] + 0.50 and nz > centre[2] + 0.30:
                    limit *= min(1.0, 0.62 + (centre[1] + 0.50 - ny) * 1.1)
                    sign = 1.0 if side_limit[s] > 0 else -1.0
                    if nx * sign < limit:
                        nx = sign * (nx * sign * 0.35 + limit * 0.65)
                dx, dy, dz = nx - px, ny - py, nz - pz
                size = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
                dx, dy, dz = dx / size, dy / size, dz / size
                ended = ended or ny < cut[s]
                px, py, pz = nx, ny, nz
            out[s, i, 0], out[s, i, 1], out[s, i, 2] = px, py, pz


@jit
def curl(strands, radius, turns, phase, centre):
    """Wind strands (S, n, 3) around their course, in place. radius, turns (radians over the strand), phase: (S,)."""
    n = strands.shape[1]
    for s in range(strands.shape[0]):
        for i in range(1, n):
            t = i / (n - 1.0)
            angle = phase[s] + turns[s] * t
            c = radius[s] * min(1.0, t * 2.5)
            ax, ay, az = strands[s, i, 0] - centre[0], strands[s, i, 1] - centre[1], strands[s, i, 2] - centre[2]
            size = math.sqrt(ax * ax + ay * ay + az * az) + 1e-9
            ax, ay, az = ax / size, ay / size, az / size
            cos, sin = math.cos(angle), math.sin(angle)
            strands[s, i, 0] += c * (cos * ax * 0.8 + sin * az)
            strands[s, i, 1] += c * (cos * ay * 0.8 + math.sin(angle * 0.7) * 0.5)
            strands[s, i, 2] += c * (cos * az * 0.8 - sin * ax)


@jit
def nearest(points, guides):
    """Number of the nearest of guides (K, D) for each of points (N, D): (N,) int64."""
    out = np.empty(points.shape[0], np.int64)
    for i in range(points.shape[0]):
        best, at = 1e30, 0
        for k in range(guides.shape[0]):
            far = 0.0
            for d in range(points.shape[1]):
                far += (points[i, d] - guides[k, d]) ** 2
            if far < best:
                best, at = far, k
        out[i] = at
    return out
