"""Surfaces to samples: grids of points rasterised with a depth buffer, lit and painted. Compiled with Numba.

Layout of a vertex's values: head coordinates (3), normal as posed (3), key light and open sky (2), and
what the material's paint reads (3). A table row describes a grid: material, first vertex, rows, columns.
"""

import math

import numpy as np

from core.faces_v3 import paint
from core.faces_v3.curves import step
from core.faces_v3.jit import jit
from core.faces_v3.shape import CLOTH, EAR, EYE, FRAME, HAIR, HAT, LENS, METAL, MOUTH, NECK, SKIN
from core.faces_v3.skin import skin

WIDTH = 11


@jit
def _cut(material, at, p):
    """True where a surface has a hole or an end: between lids and lips, past the ragged ends of hair."""
    if material == SKIN:
        if at[2] > 0.15:
            return paint.eye_open_at(at[0], at[1], p) > 0 or (
                p.open_low > 0.002 and paint.mouth_open_at(at[0], at[1], p) > 0
            )
        return False
    if material == HAIR:
        return paint.hair_reach(at[8], at[9], at[10], p) < 0
    if material == HAT:
        return at[8] < 0
    if material == EYE:                                     # the ball is wider than its socket towards the temple
        return abs(at[0]) - p.ex > p.eye_w or abs(at[1] - p.ey) > 0.75 * p.eye_w
    return False


@jit
def _triangle(ia, ib, ic, screen, values, material, depth, kind, buffer, p, at):
    """Draw one triangle into the buffers where it is nearest and not cut away."""
    size = depth.shape[0]
    ax, ay, bx, by, cx, cy = screen[ia, 0], screen[ia, 1], screen[ib, 0], screen[ib, 1], screen[ic, 0], screen[ic, 1]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(area) < 1e-9:
        return
    x0 = max(0, int(math.ceil(min(ax, bx, cx) - 0.5)))
    x1 = min(size - 1, int(math.floor(max(ax, bx, cx) - 0.5)))
    y0 = max(0, int(math.ceil(min(ay, by, cy) - 0.5)))
    y1 = min(size - 1, int(math.floor(max(ay, by, cy) - 0.5)))
    for j in range(y0, y1 + 1):
        for i in range(x0, x1 + 1):
            px, py = i + 0.5, j + 0.5
            u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
            v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
            w = 1 - u - v
            if u < -1e-9 or v < -1e-9 or w < -1e-9:
                continue
            z = u * screen[ia, 2] + v * screen[ib, 2] + w * screen[ic, 2]
            if z <= depth[j, i]:
                continue
            for n in range(WIDTH):
                at[n] = u * values[ia, n] + v * values[ib, n] + w * values[ic, n]
            if _cut(material, at, p):
                continue
            depth[j, i] = z
            kind[j, i] = material
            for n in range(WIDTH):
                buffer[j, i, n] = at[n]


@jit
def rasterise(screen, values, table, size, lenses, p):
    """screen: (V, 3) pixels right, pixels down, nearness. lenses: draw only those, or all but those.
    Returns depth (S, S), kind (S, S) with -1 for nothing, buffer (S, S, WIDTH)."""
    depth = np.full((size, size), -1e9)
    kind = np.full((size, size), -1, np.int64)
    buffer = np.zeros((size, size, WIDTH))
    at = np.zeros(WIDTH)
    for t in range(table.shape[0]):
        material, first, rows, columns = table[t, 0], table[t, 1], table[t, 2], table[t, 3]
        if (material == LENS) != lenses:
            continue
        for r in range(rows - 1):
            for c in range(columns - 1):
                a = first + r * columns + c
                b, d = a + 1, a + columns
                _triangle(a, b, d, screen, values, material, depth, kind, buffer, p, at)
                _triangle(b, d + 1, d, screen, values, material, depth, kind, buffer, p, at)
    return depth, kind, buffer


@jit
def _depth_map(points, reach, table, right, up, ahead, size):
    """Nearest distance along `ahead` on a coarse grid, for shadows. Small triangles: vertices are splatted."""
    depth = np.full((size, size), -1e9)
    for t in range(table.shape[0]):
        material, first, rows, columns = table[t, 0], table[t, 1], table[t, 2], table[t, 3]
        if material in (LENS, EYE, MOUTH):
            continue
        for n in range(first, first + rows * columns):
            if material in (HAIR, HAT) and reach[n] < 0:
                continue
            q = points[n]
            i = int((q[0] * right[0] + q[1] * right[1] + q[2] * right[2]) * 0.26 * size + size * 0.5)
            j = int((q[0] * up[0] + q[1] * up[1] + q[2] * up[2]) * 0.26 * size + size * 0.5)
            z = q[0] * ahead[0] + q[1] * ahead[1] + q[2] * ahead[2]
            if 0 <= i < size and 0 <= j < size and z > depth[j, i]:
                depth[j, i] = z
    return depth


@jit
def seen_from(points, reach, table, ahead, size, bias):
    """How much of each point the direction `ahead` reaches, softened over neighbours: (V,) in [0, 1]."""
    right = np.array([ahead[2], 0.0, -ahead[0]])
    if abs(ahead[2]) + abs(ahead[0]) < 1e-6:
        right = np.array([1.0, 0.0, 0.0])
    right = right / math.sqrt((right * right).sum())
    up = np.array([ahead[1] * right[2] - ahead[2] * right[1], ahead[2] * right[0] - ahead[0] * right[2],
                   ahead[0] * right[1] - ahead[1] * right[0]])
    depth = _depth_map(points, reach, table, right, up, ahead, size)
    light = np.ones(points.shape[0])
    for n in range(points.shape[0]):
        q = points[n]
        x = (q[0] * right[0] + q[1] * right[1] + q[2] * right[2]) * 0.26 * size + size * 0.5
        y = (q[0] * up[0] + q[1] * up[1] + q[2] * up[2]) * 0.26 * size + size * 0.5
        z = q[0] * ahead[0] + q[1] * ahead[1] + q[2] * ahead[2] + bias
        blocked, total = 0.0, 0.0
        for dj in range(-1, 3):
            for di in range(-1, 3):
                i, j = int(x - 0.5) + di, int(y - 0.5) + dj
                if 0 <= i < size and 0 <= j < size:
                    total += 1
                    if depth[j, i] > z:
                        blocked += 1
        if total > 0:
            light[n] = 1 - blocked / total
    return light


@jit
def soften(values, table):
    """Smooth what the vertices see over their neighbours on each grid, in place; skin and hair three times."""
    for t in range(table.shape[0]):
        material, first, rows, columns = table[t, 0], table[t, 1], table[t, 2], table[t, 3]
        for _ in range(3 if material in (SKIN, NECK, HAIR) else 1):
            for n in (6, 7):
                for step_by, lines, along, length in ((columns, columns, 1, rows), (1, rows, columns, columns)):
                    for line in range(lines):
                        at = first + line * along
                        before = values[at, n]
                        for k in range(1, length - 1):
                            here = at + k * step_by
                            now = values[here, n]
                            values[here, n] = 0.25 * before + 0.5 * now + 0.25 * values[here + step_by, n]
                            before = now


@jit
def shade(kind, buffer, key, p):
    """Light and colour of every sample: (S, S, 3) linear light."""
    size = kind.shape[0]
    out = np.empty((size, size, 3))
    half = np.array([key[0], key[1], key[2] + 1.0])
    half = half / math.sqrt((half * half).sum())
    for j in range(size):
        for i in range(size):
            if kind[j, i] < 0:
                _backdrop(i / size, j / size, p, out[j, i])
            else:
                _lit(kind[j, i], buffer[j, i], key, half, p, out[j, i])
    return out


@jit
def glaze(image, depth, near, kind, buffer, p):
    """Lay the lenses over the finished samples, in place, where they are nearer."""
    for j in range(kind.shape[0]):
        for i in range(kind.shape[0]):
            if kind[j, i] >= 0 and near[j, i] > depth[j, i]:
                _glass(buffer[j, i], p, image[j, i])


@jit
def _backdrop(x, y, p, out):
    d = (x - 0.5 - 0.2 * p.light) ** 2 + (y - 0.40) ** 2
    light = 1.10 - 0.95 * d
    for n in range(3):
        out[n] = p.backdrop[n] * light


@jit
def _glass(at, p, out):
    if p.sunglasses > 0.5:
        tint = 0.015 + 0.05 * step(-0.2, -1.0, at[9])
        for n in range(3):
            out[n] = out[n] * 0.05 + tint
    else:
        for n in range(3):
            out[n] = out[n] * 0.93 + 0.006
    glint = step(0.16, 0.05, abs(at[8] - 0.35 - 0.5 * at[9] + 0.25 * p.light)) * step(
        0.95, 0.7, abs(at[8]) + 0.2 * abs(at[9])
    )
    for n in range(3):
        out[n] += (0.05 + 0.10 * p.sunglasses) * glint


@jit
def _lit(kind, at, key, half, p, out):
    """Key light with a soft edge, sky and bounce, a highlight, a rim; skin lets red light through."""
    nx, ny, nz = at[3], at[4], at[5]
    r = g = b = 0.5
    gloss, power, through = 0.1, 22.0, 0.0
    if kind == SKIN:
        r, g, b, sx, sy, gloss = skin(at[0], at[1], at[2], at[8], at[9], at[10], p)
        nx, ny, through = nx - sx * 0.55, ny - sy * 0.55, 1.0
    elif kind == NECK:
        r, g, b = paint.neck(at[8], at[9], p)
        through, gloss = 1.0, 0.2
    elif kind == EAR:
        r, g, b = paint.ear(at[8], at[9], p)
        through, gloss = 1.0, 0.15
    elif kind == EYE:
        r, g, b = paint.eye(at[8], at[9], at[10], at[0], at[1], p)
        power, gloss = 220.0, 3.0
    elif kind == MOUTH:
        r, g, b = paint.inside_mouth(at[8], at[9], p)
    elif kind == HAIR:
        r, g, b, sx, sy, gloss = paint.hair(at[0], at[1], at[2], at[8], at[9], at[10], p)
        nx, ny, power = nx + sx * 0.6, ny + sy * 0.6, 26.0
    elif kind == CLOTH:
        r, g, b, through = paint.cloth(at[8], at[9], at[10], p)
        through = 1.0 if through > 0.2 else 0.0
        gloss = 0.04
    elif kind == HAT:
        r, g, b = paint.hat(at[8], at[9], at[10], p)
        gloss = 0.05
    elif kind == FRAME:
        r, g, b = p.frame[0], p.frame[1], p.frame[2]
        gloss, power = 1.0, 40.0
    elif kind == METAL:
        r, g, b = p.gold[0], p.gold[1], p.gold[2]
        gloss, power = 2.0, 30.0
    if nz < 0:
        nx, ny, nz = -nx, -ny, -nz
    scale = 1 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    facing = nx * key[0] + ny * key[1] + nz * key[2]
    shadow, sky = at[6], at[7]
    if kind == EYE or kind == MOUTH:
        shadow, sky = 0.7, 0.7 if kind == EYE else 0.55
    lit = 1.22 * shadow
    red = max(0.0, (facing + 0.36 * through) / (1 + 0.36 * through))
    green = max(0.0, (facing + 0.16 * through) / (1 + 0.16 * through))
    blue = max(0.0, (facing + 0.10 * through) / (1 + 0.10 * through))
    dome = (0.40 + 0.20 * ny + 0.12 * nz) * sky
    bounce = 0.05 * max(0.0, -ny) * sky
    spec = max(0.0, nx * half[0] + ny * half[1] + nz * half[2]) ** power * gloss * 0.28 * shadow
    if kind == HAIR:
        spec *= (r + g + b) * 0.8 + 0.10
    if kind == METAL:
        spec *= r * 1.6
    rim = (1 - nz) ** 3 * (0.10 if kind != HAIR else 0.06) * sky * (0.4 + 0.6 * max(0.0, -nx * key[0] + 0.3))
    out[0] = r * (lit * red * 1.03 + dome * 0.98 + bounce * 1.2) + spec + rim * (r + 0.1)
    out[1] = g * (lit * green + dome + bounce) + spec * 0.97 + rim * (g + 0.1)
    out[2] = b * (lit * blue * 0.95 + dome * 1.06 + bounce) + spec * 0.93 + rim * (b + 0.1)
