"""What each surface but skin looks like at a point: colour, fine relief and gloss. Compiled; one point at a time.

Every function takes head coordinates, or the values that its surface carries, and the record of measures `p`;
colours are linear light. `skin` has its own file.
"""

import math

from core.faces_v3.curves import lower_lid, mouth_bottom, mouth_top, step, upper_lid
from core.faces_v3.jit import jit
from core.faces_v3.noise import clouds, grain, hill, mix, noise, strands


@jit
def eye_open_at(x, y, p):
    """Signed height inside the opening between the lids: positive where the eyeball shows."""
    u = (abs(x) - p.ex) / p.eye_w
    if abs(u) >= 1:
        return -1.0
    return min(p.ey + upper_lid(p, u) - y, y - p.ey - lower_lid(p, u))


@jit
def mouth_open_at(x, y, p):
    """Signed height inside the opening between the lips."""
    u = x / p.mw
    if abs(u) >= 1:
        return -1.0
    return min(mouth_top(p, u) - y, y - mouth_bottom(p, u))


@jit
def eye(ux, uy, side, x, y, p):
    """Eyeball: white, veins, iris with rim and rays, pupil; darker under the upper lid."""
    gx, gy = ux - p.gaze_x, uy - p.gaze_y
    d = math.sqrt(gx * gx + gy * gy)
    iris = p.iris_r / p.eye_r
    r, g, b = 0.74, 0.70, 0.67
    yellow = 0.12 * p.old
    g, b = g * (1 - 0.5 * yellow), b * (1 - yellow)
    rim = abs(ux) ** 2 * 0.5
    r, g, b = r * (1 - 0.22 * rim), g * (1 - 0.5 * rim), b * (1 - 0.5 * rim)
    if d < iris * 1.12:
        angle = math.atan2(gy, gx)
        ray = 0.7 + 0.6 * noise(angle * 7 + 30, d * 14, p.birth)
        t = d / iris
        light = ray * (0.75 + 0.7 * step(0.3, 0.85, t) * (0.6 - 0.5 * gy / iris))
        cover = step(1.10, 0.94, t)
        dark = 1 - 0.7 * step(0.74, 1.0, t)
        r = mix(r, p.iris[0] * light * dark, cover)
        g = mix(g, p.iris[1] * light * dark, cover)
        b = mix(b, p.iris[2] * light * dark, cover)
        hole = step(0.48 + 0.05 * p.surprise, 0.40, t)
        r, g, b = mix(r, 0.006, hole), mix(g, 0.005, hole), mix(b, 0.005, hole)
    u = (abs(x) - p.ex) / p.eye_w
    if u < -0.97:                                           # the inner corner, seen past the ball
        return 0.42, 0.24, 0.21
    u = min(1.0, u)
    below = p.ey + upper_lid(p, u) - y
    above = y - p.ey - lower_lid(p, u)
    shade = 1 - 0.62 * hill(max(below, 0.0), 0.034) - 0.15 * hill(max(above, 0.0), 0.015)
    if below < 0.006:
        shade *= 0.25
    corner = step(1.0, 0.78, abs(u))
    r, g, b = r * (0.72 + 0.28 * corner), g * (0.5 + 0.5 * corner), b * (0.5 + 0.5 * corner)
    return r * shade, g * shade, b * shade


@jit
def inside_mouth(u, y, p):
    """Teeth, tongue and the dark behind them."""
    x = u * p.mw
    top = mouth_top(p, max(-1.0, min(1.0, u)))
    bottom = mouth_bottom(p, max(-1.0, min(1.0, u)))
    gap = max(top - bottom, 1e-3)
    r, g, b = 0.028, 0.008, 0.008
    tongue = step(bottom + 0.5 * gap, bottom + 0.12 * gap, y) * step(0.75, 0.4, abs(u))
    r, g, b = mix(r, 0.26, tongue), mix(g, 0.065, tongue), mix(b, 0.065, tongue)
    edge = p.my + 0.012 - 0.048 + 0.02 * u * u + 0.3 * p.lift * (u * u)
    cell = x / (0.044 + 0.010 * hill(x, 0.05))
    gapline = hill(cell - math.floor(cell + 0.5) - (0.5 if cell > math.floor(cell + 0.5) else -0.5), 0.11)
    scallop = 0.006 * gapline
    teeth = step(edge + scallop - 0.003, edge + scallop + 0.007, y) * step(0.88, 0.78, abs(u))
    white = 0.72 - 0.14 * p.old - 0.25 * u * u - 0.22 * gapline
    white *= 1 - 0.5 * hill(max(top - y, 0.0), 0.012)
    r, g, b = mix(r, white, teeth), mix(g, white * 0.95, teeth), mix(b, white * (0.87 - 0.14 * p.old), teeth)
    lower = step(bottom + 0.030, bottom + 0.022, y) * step(0.6, 0.5, abs(u)) * step(0.09, 0.13, gap)
    white = 0.5 - 0.2 * gapline
    return mix(r, white, lower), mix(g, white * 0.93, lower), mix(b, white * 0.84, lower)


@jit
def hair(x, y, z, reach, across, along, p):
    """Strands over clumps, lighter towards the ends and where light has bleached them."""
    curl = p.curl
    s = strands(across + curl * 0.10 * math.sin(along * 16 + across * 9), along * (1 + 3 * curl), p.seed)
    clump = noise(across * 3.3, along * (0.7 + 3.5 * curl), p.seed + 3)
    if curl > 0.5:
        s = 0.5 * s + 0.5 * noise(across * 11 + 3 * noise(across * 3, along * 5, p.seed), along * 13, p.seed + 17)
    tone = 0.42 + 0.85 * s + 0.30 * (clump - 0.5)
    gray = step(0.25, 0.0, abs(s - 0.72)) * min(1.0, p.gray * 1.6) * (1 - p.gray) * 1.6
    r, g, b = p.hair[0] * tone, p.hair[1] * tone, p.hair[2] * tone
    r, g, b = mix(r, 0.5, gray * 0.5), mix(g, 0.5, gray * 0.5), mix(b, 0.5, gray * 0.5)
    part = 1.0
    if p.part != 0 and curl < 0.5:
        line = (
            hill((x - p.part * step(-0.4, 0.3, z)) / 0.020, 1)
            * step(0.55, 0.75, y)
            * (1.0 if p.fringe < 0.5 or z < 0.35 else 0.0)
        )
        r, g, b = (
            mix(r, p.skin[0] * 0.55, 0.75 * line),
            mix(g, p.skin[1] * 0.5, 0.75 * line),
            mix(b, p.skin[2] * 0.5, 0.75 * line),
        )
        part = 1 - line
    root = 1 - 0.40 * hill(max(reach, 0.0), 0.05)
    slope = (s - 0.5) * 1.1 + (clump - 0.5) * 0.7
    return (
        r * root,
        g * root,
        b * root,
        slope * part,
        (clump - 0.5) * (0.35 + curl),
        (0.25 + 0.75 * s) * (1 - 0.4 * curl),
    )


@jit
def hair_reach(reach, across, along, p):
    """Distance to the ragged edge of the hair; negative where it ends."""
    tip = noise(across * 17, along * 0.5, p.seed + 21) + 0.6 * noise(across * 41, along * 0.7, p.seed + 22)
    return reach - 0.085 * (1 + 0.6 * p.fringe) * tip + 0.012


@jit
def cloth(x, y, t, p):
    """A garment in one of four kinds (plain, striped, knitted, open collar) and the skin at its neck."""
    r, g, b = p.cloth[0], p.cloth[1], p.cloth[2]
    neckline = -1.36 + 0.30 * x * x
    if p.cloth_kind == 1.0:
        band = step(0.35, 0.45, abs((y * 5.0) % 1.0 - 0.5) * 2)
        r, g, b = mix(r, p.cloth2[0], band), mix(g, p.cloth2[1], band), mix(b, p.cloth2[2], band)
    elif p.cloth_kind == 2.0:
        knit = 0.8 + 0.4 * noise(x * 40, y * 18, p.seed + 70)
        r, g, b = r * knit, g * knit, b * knit
        neckline += 0.09
    elif p.cloth_kind == 3.0:
        neckline = -1.66 + 1.05 * abs(x)
        collar = step(-0.14, -0.12, y - neckline)
        r, g, b = mix(r, p.cloth2[0], collar), mix(g, p.cloth2[1], collar), mix(b, p.cloth2[2], collar)
    if y > neckline:
        shade = 1 - 0.35 * hill(y - neckline, 0.05)
        return p.skin[0] * shade, p.skin[1] * shade * 0.97, p.skin[2] * shade * 0.97, 0.25
    hem = 1 - 0.25 * hill(y - neckline + 0.045, 0.012)
    fold = 0.85 + 0.3 * clouds(x * 2.2, y * 1.3, p.seed + 71)
    return r * hem * fold, g * hem * fold, b * hem * fold, 0.05


@jit
def neck(u, y, p):
    """Neck: rings with the years, a shade of red, an Adam's apple as shade."""
    rings = 0.0
    for i in range(2):
        rings += hill(y + 1.10 + 0.16 * i + 0.03 * math.cos(u * 2), 0.013) * (0.12 + 0.5 * p.old)
    cord = hill(abs(math.sin(u)) - 0.45, 0.1) * 0.25 * p.old
    keep = 1 - 0.4 * min(1.0, rings + cord)
    mottle = 1 + 0.08 * (noise(u * 6, y * 9, p.seed) - 0.5)
    return p.skin[0] * keep * mottle, p.skin[1] * 0.95 * keep * mottle, p.skin[2] * 0.94 * keep * mottle


@jit
def ear(rx, ry, p):
    """Outer ear: redder, darker in the bowl."""
    bowl = hill((rx - 0.12) / 0.36, 1) * hill((ry + 0.12) / 0.4, 1)
    rim = hill((math.sqrt(rx * rx + ry * ry) - 0.62) / 0.13, 1) * step(-0.3, 0.2, ry)
    keep = 1 - 0.55 * bowl - 0.28 * rim
    return p.skin[0] * keep, p.skin[1] * 0.86 * keep, p.skin[2] * 0.84 * keep


@jit
def hat(reach, angle, y, p):
    """Woollen hat with a ribbed fold, or a cap with seams."""
    r, g, b = p.hat_colour[0], p.hat_colour[1], p.hat_colour[2]
    if p.hat_kind > 0.5:
        fold = step(0.20, 0.18, reach)
        rib = 0.72 + 0.4 * abs(math.sin(angle * (26 if fold > 0.5 else 15) + (0 if fold > 0.5 else 5 * y)))
        rib *= 1 - 0.4 * hill(reach - 0.2, 0.02)
    else:
        rib = (
            1
            - 0.35 * hill(math.sin(angle * 3 + 0.001), 0.05) * (1.0 if y < 4 else 0.0)
            - (0.3 * hill(reach - 0.04, 0.012) if y < 4 else 0.0)
        )
        rib *= 0.92 + 0.16 * grain(int(angle * 90), int(reach * 90), 5)
    return r * rib, g * rib, b * rib
