"""What each surface looks like at a point: colour, fine relief and gloss. Compiled; one point at a time.

Every function takes head coordinates and the record of measures `p`, and returns
(red, green, blue, slope x, slope y, gloss): linear light, a tilt of the normal, and a share of shine.
"""

import math


from core.faces.curves import (
    brow,
    fold_x,
    lip_bottom,
    lip_top,
    lower_lid,
    mouth_bottom,
    mouth_top,
    step,
    upper_lid,
)
from core.faces.jit import jit
from core.faces.noise import clouds, grain, noise, spots, strands


@jit
def hill(d, s):
    """A Gaussian of width s."""
    return math.exp(-((d / s) ** 2))


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
def skin(x, y, z, hairline, across, along, p):
    """Face and scalp: tone, blush, freckles, lines of age, brows, lids, lips, beard and shaven hair."""
    a = abs(x)
    front = step(-0.1, 0.25, z)
    r, g, b = p.skin[0], p.skin[1], p.skin[2]
    mottle = 1 + 0.10 * (clouds(x * 7 + 3, y * 7, p.seed) - 0.5) + 0.07 * (1 + p.old) * (noise(x * 34, y * 34, p.seed) - 0.5)
    r, g, b = r * mottle, g * mottle, b * mottle
    blush = front * (0.22 * hill(a - 0.40, 0.19) * hill(y - p.nose_tip - 0.04, 0.16) + 0.20 * hill(x, 0.1) * hill(y - p.nose_tip, 0.09)
                     + 0.10 * hill(x, 0.14) * hill(y - p.chin - 0.12, 0.1)) * (1 + 0.4 * p.child) * (1 - 0.45 * p.melanin)
    r, g, b = r * (1 + 0.10 * blush), g * (1 - 0.75 * blush), b * (1 - 0.65 * blush)
    r, g, b = _spots(x, y, a, front, r, g, b, p)
    crease, sx, sy = _lines(x, y, a, front, p)
    gloss = 0.32 + 0.15 * hill(x, 0.15) * front
    r, g, b, lid_dark = _lids(x, y, a, z, r, g, b, p)
    deep = (1 - 0.42 * crease) * lid_dark
    r, g, b = r * (1 - 0.34 * crease) * lid_dark, g * deep, b * deep
    if z > 0:
        r, g, b, gloss, sx, sy = _mouth(x, y, r, g, b, gloss, sx, sy, p)
        dark = 0.85 * hill((a - p.nose_w * 0.40) / 0.042, 1) * hill((y - p.nose_base - 0.008 - p.nose_lift * 0.5) / (0.020 + 0.4 * max(p.nose_lift, 0.0)), 1)
        shade = 0.35 * hill((a - p.nose_w * 0.98 - 0.01) / 0.02, 1) * hill((y - p.nose_tip + 0.045) / 0.05, 1)
        keep = (1 - dark) * (1 - shade)
        r, g, b = r * keep, g * keep * (1 - 0.1 * dark), b * keep * (1 - 0.1 * dark)
        r, g, b = _brow(x, y, a, r, g, b, p)
    r, g, b = _beard(x, y, a, z, r, g, b, p)
    cover = p.stubble * step(-0.01, 0.05, hairline + 0.05 * (noise(x * 40, z * 40 + y * 40, p.seed) - 0.5))
    if cover > 0:
        cover *= 0.62 + 0.5 * (noise(across * 60, along * 40, p.seed + 4) - 0.5)
        r, g, b = _mix(r, p.hair[0] * 0.8, cover), _mix(g, p.hair[1] * 0.8, cover), _mix(b, p.hair[2] * 0.8, cover)
    if p.shell > 0.02:
        contact = 1 - 0.5 * hill(min(hairline, 0.0), 0.07)
        r, g, b = r * contact, g * contact, b * contact
    return r, g, b, sx, sy, gloss


@jit
def _mix(a, b, share):
    return a + (b - a) * share


@jit
def _spots(x, y, a, front, r, g, b, p):
    f = 0.0
    if p.freckles > 0.05:
        region = front * (hill(a - 0.26, 0.24) * hill(y - p.nose_tip - 0.09, 0.15) + 0.25 * hill(y - 0.4, 0.3))
        f = 0.75 * min(1.0, region * 1.4) * p.freckles * min(1.0, spots(x * 24, y * 24, p.birth + 31, 0.62) * 1.6)
    if p.old > 0.15:
        region = 0.25 + 0.75 * step(0.35, 0.6, a) + 0.5 * step(0.4, 0.7, y)
        f = max(f, 0.6 * p.old * min(1.0, region) * min(1.0, 1.5 * spots(x * 7.5, y * 7.5, p.birth + 57, 0.22)))
    mole = spots(x * 3.1 + p.birth % 13, y * 3.1, p.birth + 3, 0.05) if p.child < 0.7 else 0.0
    mole = 0.8 * min(1.0, 2 * mole) * step(0.86, 1.0, mole)
    f = max(f, mole)
    return r * (1 - 0.42 * f), g * (1 - 0.58 * f), b * (1 - 0.66 * f)


@jit
def _crease(d, width, amount):
    """A furrow at distance d: (darkness, slope across it)."""
    e = amount * math.exp(-((d / width) ** 2))
    return e, e * d / width


@jit
def _lines(x, y, a, front, p):
    """Furrows: brow, glabella, crow's feet, bags, folds beside nose and mouth. (darkness, slope x, slope y)"""
    dark, sx, sy = 0.0, 0.0, 0.0
    wob = 0.02 * (noise(x * 4, p.birth % 100, 3) - 0.5)
    forehead = p.lines * 1.1 + 0.8 * p.surprise
    if y > p.by - 0.02 and forehead > 0.03:
        for i in range(4):
            at = p.by + 0.115 + 0.085 * i + wob * (i + 1) + 0.02 * math.cos(x * 5)
            window = step(0.50, 0.28, a + 0.15 * noise(i + 0.5, p.birth % 50, 7)) * step(0, 0.09, y - p.by) * step(0.9, 0.5, y)
            e, s = _crease(y - at, 0.013, forehead * window * (0.75 - 0.1 * i))
            dark, sy = dark + e, sy + s
    frown = 0.9 * p.anger + 0.5 * p.old + 0.35 * p.sadness
    if frown > 0.03 and a < 0.2:
        e, s = _crease(a - 0.045 - 0.1 * max(y - p.by, -0.1) * 0.3, 0.014, frown * _band(y, p.ey + 0.09, p.by + 0.11))
        dark, sx = dark + e, sx + s * (1.0 if x > 0 else -1.0)
    dx, dy = a - (p.ex + p.eye_w + 0.015), y - p.ey + 0.005
    far = math.sqrt(dx * dx + dy * dy)
    feet = p.lines * 1.0 + 0.5 * p.smile * (1 - p.child)
    if dx > 0 and far < 0.24 and feet > 0.03:
        ray = math.cos(math.atan2(dy, dx) * 8.5 + 0.6)
        dark += 0.7 * feet * step(0.72, 1.0, ray) * step(0.01, 0.05, far) * step(0.2, 0.09, far)
    u = (a - p.ex) / p.eye_w
    if abs(u) < 1.15 and y < p.ey:
        base = p.ey + lower_lid(p, max(-1.0, min(1.0, u)))
        bag = 0.08 + 1.0 * p.lines
        e, s = _crease(y - base + 0.070 - 0.028 * u * u, 0.018, bag * step(1.15, 0.6, abs(u)))
        dark, sy = dark + e * 0.8, sy + s
        e, s = _crease(y - base + 0.032 - 0.015 * u * u, 0.010, (0.25 + 0.4 * p.smile + 0.3 * p.old) * step(1.1, 0.5, abs(u)))
        dark, sy = dark + e * 0.6, sy + s
    e, s = _crease(a - fold_x(p, y), 0.021, front * p.fold * _band(y, p.my - 0.06, p.nose_base + 0.09))
    dark, sx = dark + e * 0.85, sx + s * (1.0 if x > 0 else -1.0)
    corner = 0.55 * p.old + 0.3 * p.sadness
    if corner > 0.03:
        e, s = _crease(a - p.mw - 0.02 - 0.1 * (p.my - y), 0.017, front * corner * _band(y, p.chin + 0.13, p.my - 0.02))
        dark, sx = dark + e * 0.8, sx + s * (1.0 if x > 0 else -1.0)
    if p.old > 0.3:
        fine = step(0.62, 0.8, noise(a * 24 + y * 5, y * 5, p.birth)) * hill(a - 0.5, 0.16) * hill(y - p.my - 0.12, 0.26)
        dark += 0.4 * (p.old - 0.3) * fine
        fine = step(0.6, 0.8, noise(x * 46, y * 6, p.birth + 2)) * step(p.mw * 1.1, p.mw * 0.6, a) * hill(y - (p.my + p.nose_base) / 2 + 0.02, 0.06)
        dark += 0.4 * (p.old - 0.3) * fine
    e, s = _crease(y - p.my + 0.165 + 0.25 * p.drop * 3, 0.03, 0.25 * front * step(0.2, 0.08, a))
    return min(dark + e, 1.3), sx * 0.9, sy * 0.9


@jit
def _band(y, low, high):
    return step(low - 0.05, low + 0.05, y) * step(high + 0.05, high - 0.05, y)


@jit
def _lids(x, y, a, z, r, g, b, p):
    """Lash lines, lid crease, make-up and the shade of the sockets; the last number darkens the skin."""
    u = (a - p.ex) / p.eye_w
    dark = 1.0
    if z < 0.2 or abs(u) > 1.7 or abs(y - p.ey) > 0.28:
        return r, g, b, dark
    v = max(-1.0, min(1.0, u))
    top, low = p.ey + upper_lid(p, v), p.ey + lower_lid(p, v)
    out = max(abs(u) - 1.0, 0.0)
    dark *= 1 - 0.20 * hill(u + 0.95, 0.5) * hill(y - p.ey, 0.07)
    lid = step(top - 0.01, top + 0.01, y) * step(top + p.crease + 0.02, top + p.crease - 0.01, y) * step(1.25, 0.9, abs(u))
    r, g, b = r * (1 - 0.05 * lid), g * (1 - 0.14 * lid), b * (1 - 0.12 * lid)
    if p.eye_makeup > 0:
        cover = 0.62 * p.eye_makeup * step(top - 0.02, top, y) * step(top + p.crease + 0.085, top + p.crease - 0.02, y) * step(1.5, 0.9, abs(u))
        r, g, b = _mix(r, p.shadow_tint[0], cover), _mix(g, p.shadow_tint[1], cover), _mix(b, p.shadow_tint[2], cover)
    fold = top + p.crease * (1 - 0.35 * v * v * 0)
    dark *= 1 - (0.30 + 0.25 * p.hood) * math.exp(-(((y - fold) / 0.010) ** 2)) * step(1.08, 0.72, abs(u + 0.05))
    wing = 0.35 * p.eye_makeup
    reach = step(0.10 + wing, 0.0, out) if u > 0 else step(0.06, 0.0, out)
    lash = p.lash * (1 + 0.5 * max(v, 0.0))
    line = reach * math.exp(-((max(y - top - 0.1 * out * (1 + wing), 0.0) / lash) ** 2)) * (1.0 if y > p.ey + lower_lid(p, v) - 0.004 else 0.0)
    under = 0.35 * (1 + p.eye_makeup) * reach * math.exp(-((min(y - low, 0.0) / 0.007) ** 2)) * (1.0 if y < low + 0.006 else 0.0)
    ink = min(1.0, max(line, min(under, 0.8)))
    r, g, b = _mix(r, 0.02, ink * 0.93), _mix(g, 0.013, ink * 0.95), _mix(b, 0.012, ink * 0.95)
    return r, g, b, dark


@jit
def _mouth(x, y, r, g, b, gloss, sx, sy, p):
    u = x / p.mw
    if abs(u) > 1.2:
        return r, g, b, gloss, sx, sy
    v = max(-1.0, min(1.0, u))
    up, low, top, bottom = lip_top(p, v), lip_bottom(p, v), mouth_top(p, v), mouth_bottom(p, v)
    soft = 0.012
    inside = step(up + soft * 0.5, up - soft, y) * step(low - soft * 0.7, low + soft, y) * step(1.02, 0.93, abs(u))
    if inside > 0:
        upper = y > 0.5 * (top + bottom)
        tone = (0.80 if upper else 1.0) * (1 + 0.16 * (noise(x * 60, y * 9, p.seed + 8) - 0.5))
        r, g, b = _mix(r, p.lips[0] * tone, inside), _mix(g, p.lips[1] * tone, inside), _mix(b, p.lips[2] * tone, inside)
        gloss = gloss + inside * (0.25 + 0.5 * p.lip_makeup)
        t = (up - y) / max(up - top, 0.01) if upper else (y - low) / max(bottom - low, 0.01)
        sy += inside * (0.35 - t * 0.8) * (1.0 if upper else -1.0) * 0.55
    seam = hill(max(min(y - bottom, 0.0), y - top) if bottom < top else y - top, 0.009) * step(1.1, 0.98, abs(u))
    if y > top or y < bottom:
        near = min(abs(y - top), abs(y - bottom))
        seam = hill(near, 0.009) * step(1.12, 0.96, abs(u))
    keep = 1 - 0.78 * seam
    corner = 1 - 0.35 * hill((abs(x) - p.mw) / 0.025, 1) * hill((y - p.my - p.lift * 0.75) / 0.022, 1)
    return r * keep * corner, g * keep * corner, b * keep * corner, gloss, sx, sy


@jit
def _brow(x, y, a, r, g, b, p):
    t = (a - p.brow_x0) / (p.brow_x1 - p.brow_x0)
    if t < -0.12 or t > 1.12:
        return r, g, b
    middle = brow(p, t)
    half = p.brow_t * (1.0 - 0.62 * max(t, 0.0) ** 1.6) * step(-0.1, 0.2, t) ** 0.5
    ragged = (noise(a * 48 + y * 30, y * 16 - a * 10, p.birth) - 0.5) * 0.013
    d = (y - middle + ragged) / max(half, 0.004)
    cover = step(1.25, 0.55, abs(d)) * step(1.1, 0.85, t) * step(-0.1, 0.05, t)
    hair = 0.55 + 0.45 * noise(a * 110 - y * 70, y * 26 + a * 20, p.birth + 1)
    cover *= p.brow_a * min(1.0, hair * 1.25)
    return _mix(r, p.brow_colour[0], cover), _mix(g, p.brow_colour[1], cover), _mix(b, p.brow_colour[2], cover)


@jit
def _beard(x, y, a, z, r, g, b, p):
    """Beard, moustache, sideburns and the shade of a shaven chin, all painted as short strands."""
    lip = hill((y - (p.nose_base + p.my + p.lip_up) / 2 + 0.005 + 0.10 * a) / 0.043, 1) * step(p.mw * 1.18, p.mw * 0.85, a) * step(0.1, 0.3, z)
    edge = p.my + 0.10 + 0.50 * max(a - p.mw, 0.0)
    jaw = step(edge + 0.03, edge - 0.05, y + 0.04 * (noise(x * 24, y * 24, p.birth) - 0.5)) * step(-0.25, -0.05, z)
    cheek = step(p.mw + 0.0, p.mw + 0.08, a) + step(p.my - 0.10, p.my - 0.15, y)
    jaw *= min(1.0, cheek)
    soul = step(0.05, 0.03, a) * step(p.my - 0.09, p.my - 0.11, y)
    jaw = max(jaw, soul * step(0.1, 0.2, z))
    side = step(0.55, 0.60, a) * step(p.ey + 0.16, p.ey + 0.1, y) * step(p.my + 0.16, p.my + 0.22, y) * step(-0.05, 0.04, z) * step(0.34, 0.26, z)
    cover = max(max(p.moustache * min(1.0, lip * 1.5), p.beard * jaw), p.sideburns * side)
    cover = max(cover, p.beard * side * 0.9)
    shaven = 0.16 * p.man * (1 - p.child) * step(14, 20, p.age) * max(lip, jaw) * (1 - 0.5 * p.gray)
    hair = strands(x * 3.5 + 0.4 * y, y * 4, p.seed + 60)
    cover = min(1.0, cover * 1.15) * (0.72 + 0.5 * (hair - 0.25))
    tone = 0.55 + 0.75 * hair
    cover = max(0.0, min(cover, 0.97))
    r, g, b = _mix(r, p.beard_colour[0] * tone, cover), _mix(g, p.beard_colour[1] * tone, cover), _mix(b, p.beard_colour[2] * tone, cover)
    shaven *= 1 - cover
    return _mix(r, 0.5 * p.beard_colour[0] + 0.05, shaven), _mix(g, 0.5 * p.beard_colour[1] + 0.05, shaven), _mix(b, 0.5 * p.beard_colour[2] + 0.06, shaven)


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
        r = _mix(r, p.iris[0] * light * dark, cover)
        g = _mix(g, p.iris[1] * light * dark, cover)
        b = _mix(b, p.iris[2] * light * dark, cover)
        hole = step(0.48 + 0.05 * p.surprise, 0.40, t)
        r, g, b = _mix(r, 0.006, hole), _mix(g, 0.005, hole), _mix(b, 0.005, hole)
    u = max(-1.0, min(1.0, (abs(x) - p.ex) / p.eye_w))
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
    r, g, b = _mix(r, 0.26, tongue), _mix(g, 0.065, tongue), _mix(b, 0.065, tongue)
    edge = p.my + 0.012 - 0.048 + 0.02 * u * u + 0.3 * p.lift * (u * u)
    cell = x / (0.044 + 0.010 * hill(x, 0.05))
    gapline = hill(cell - math.floor(cell + 0.5) - (0.5 if cell > math.floor(cell + 0.5) else -0.5), 0.11)
    scallop = 0.006 * gapline
    teeth = step(edge + scallop - 0.003, edge + scallop + 0.007, y) * step(0.88, 0.78, abs(u))
    white = 0.72 - 0.14 * p.old - 0.25 * u * u - 0.22 * gapline
    white *= 1 - 0.5 * hill(max(top - y, 0.0), 0.012)
    r, g, b = _mix(r, white, teeth), _mix(g, white * 0.95, teeth), _mix(b, white * (0.87 - 0.14 * p.old), teeth)
    lower = step(bottom + 0.030, bottom + 0.022, y) * step(0.6, 0.5, abs(u)) * step(0.09, 0.13, gap)
    white = 0.5 - 0.2 * gapline
    return _mix(r, white, lower), _mix(g, white * 0.93, lower), _mix(b, white * 0.84, lower)


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
    r, g, b = _mix(r, 0.5, gray * 0.5), _mix(g, 0.5, gray * 0.5), _mix(b, 0.5, gray * 0.5)
    part = 1.0
    if p.part != 0 and curl < 0.5:
        line = hill((x - p.part * step(-0.4, 0.3, z)) / 0.020, 1) * step(0.55, 0.75, y) * (1.0 if p.fringe < 0.5 or z < 0.35 else 0.0)
        r, g, b = _mix(r, p.skin[0] * 0.55, 0.75 * line), _mix(g, p.skin[1] * 0.5, 0.75 * line), _mix(b, p.skin[2] * 0.5, 0.75 * line)
        part = 1 - line
    root = 1 - 0.40 * hill(max(reach, 0.0), 0.05)
    slope = (s - 0.5) * 1.1 + (clump - 0.5) * 0.7
    return r * root, g * root, b * root, slope * part, (clump - 0.5) * (0.35 + curl), (0.25 + 0.75 * s) * (1 - 0.4 * curl)


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
        r, g, b = _mix(r, p.cloth2[0], band), _mix(g, p.cloth2[1], band), _mix(b, p.cloth2[2], band)
    elif p.cloth_kind == 2.0:
        knit = 0.8 + 0.4 * noise(x * 40, y * 18, p.seed + 70)
        r, g, b = r * knit, g * knit, b * knit
        neckline += 0.09
    elif p.cloth_kind == 3.0:
        neckline = -1.66 + 1.05 * abs(x)
        collar = step(-0.14, -0.12, y - neckline)
        r, g, b = _mix(r, p.cloth2[0], collar), _mix(g, p.cloth2[1], collar), _mix(b, p.cloth2[2], collar)
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
        rib = 1 - 0.35 * hill(math.sin(angle * 3 + 0.001), 0.05) * (1.0 if y < 4 else 0.0) - (0.3 * hill(reach - 0.04, 0.012) if y < 4 else 0.0)
        rib *= 0.92 + 0.16 * grain(int(angle * 90), int(reach * 90), 5)
    return r * rib, g * rib, b * rib
