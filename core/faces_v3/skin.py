"""Skin: tone, blush, freckles, the lines of age, lids, lips, brows, beards, stubble. Compiled; one point at a time."""

import math

from core.faces_v3.curves import brow, fold_x, lip_bottom, lip_top, lower_lid, mouth_bottom, mouth_top, step, upper_lid
from core.faces_v3.jit import jit
from core.faces_v3.noise import clouds, hill, mix, noise, spots, strands


@jit
def skin(x, y, z, hairline, across, along, p):
    """Face and scalp: tone, blush, freckles, lines of age, brows, lids, lips, beard and shaven hair."""
    a = abs(x)
    front = step(-0.1, 0.25, z)
    r, g, b = p.skin[0], p.skin[1], p.skin[2]
    mottle = (
        1 + 0.10 * (clouds(x * 7 + 3, y * 7, p.seed) - 0.5) + 0.07 * (1 + p.old) * (noise(x * 34, y * 34, p.seed) - 0.5)
    )
    r, g, b = r * mottle, g * mottle, b * mottle
    blush = (
        front
        * (
            0.22 * hill(a - 0.40, 0.19) * hill(y - p.nose_tip - 0.04, 0.16)
            + 0.20 * hill(x, 0.1) * hill(y - p.nose_tip, 0.09)
            + 0.10 * hill(x, 0.14) * hill(y - p.chin - 0.12, 0.1)
        )
        * (0.6 + 0.7 * p.child + 0.5 * (1 - p.adult))
        * (1 - 0.45 * p.melanin)
    )
    r, g, b = r * (1 + 0.10 * blush), g * (1 - 0.75 * blush), b * (1 - 0.65 * blush)
    r, g, b = _spots(x, y, a, front, r, g, b, p)
    crease, sx, sy = _lines(x, y, a, front, p)
    gloss = 0.32 + 0.15 * hill(x, 0.15) * front
    r, g, b, lid_dark = _lids(x, y, a, z, r, g, b, p)
    deep = (1 - 0.60 * crease) * lid_dark
    r, g, b = r * (1 - 0.50 * crease) * lid_dark, g * deep, b * deep
    if z > 0:
        r, g, b, gloss, sx, sy = _mouth(x, y, r, g, b, gloss, sx, sy, p)
        dark = (
            0.85
            * hill((a - p.nose_w * 0.40) / 0.042, 1)
            * hill((y - p.nose_base - 0.008 - p.nose_lift * 0.5) / (0.020 + 0.4 * max(p.nose_lift, 0.0)), 1)
        )
        shade = 0.35 * hill((a - p.nose_w * 0.98 - 0.01) / 0.02, 1) * hill((y - p.nose_tip + 0.045) / 0.05, 1)
        keep = (1 - dark) * (1 - shade)
        r, g, b = r * keep, g * keep * (1 - 0.1 * dark), b * keep * (1 - 0.1 * dark)
        r, g, b = _brow(x, y, a, r, g, b, p)
    r, g, b = _beard(x, y, a, z, r, g, b, p)
    cover = p.stubble * step(-0.01, 0.05, hairline + 0.05 * (noise(x * 40, z * 40 + y * 40, p.seed) - 0.5))
    if cover > 0:
        cover *= 0.62 + 0.5 * (noise(across * 60, along * 40, p.seed + 4) - 0.5)
        r, g, b = mix(r, p.hair[0] * 0.8, cover), mix(g, p.hair[1] * 0.8, cover), mix(b, p.hair[2] * 0.8, cover)
    if p.shell > 0.02:
        contact = 1 - 0.5 * hill(min(hairline, 0.0), 0.07)
        r, g, b = r * contact, g * contact, b * contact
    return r, g, b, sx, sy, gloss


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
            window = (
                step(0.50, 0.28, a + 0.15 * noise(i + 0.5, p.birth % 50, 7))
                * step(0, 0.09, y - p.by)
                * step(0.9, 0.5, y)
            )
            e, s = _crease(y - at, 0.015, forehead * window * (0.75 - 0.1 * i))
            dark, sy = dark + e, sy + s
    frown = 1.2 * p.anger + 0.5 * p.old + 0.35 * p.sadness
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
        e, s = _crease(
            y - base + 0.032 - 0.015 * u * u, 0.010, (0.25 + 0.4 * p.smile + 0.3 * p.old) * step(1.1, 0.5, abs(u))
        )
        dark, sy = dark + e * 0.6, sy + s
    e, s = _crease(a - fold_x(p, y), 0.021, front * p.fold * _band(y, p.my - 0.06, p.nose_base + 0.09))
    dark, sx = dark + e * 0.85, sx + s * (1.0 if x > 0 else -1.0)
    corner = 0.55 * p.old + 0.3 * p.sadness
    if corner > 0.03:
        e, s = _crease(a - p.mw - 0.02 - 0.1 * (p.my - y), 0.017, front * corner * _band(y, p.chin + 0.13, p.my - 0.02))
        dark, sx = dark + e * 0.8, sx + s * (1.0 if x > 0 else -1.0)
    if p.old > 0.3:
        fine = (
            step(0.62, 0.8, noise(a * 24 + y * 5, y * 5, p.birth)) * hill(a - 0.5, 0.16) * hill(y - p.my - 0.12, 0.26)
        )
        dark += 0.4 * (p.old - 0.3) * fine
        fine = (
            step(0.6, 0.8, noise(x * 46, y * 6, p.birth + 2))
            * step(p.mw * 1.1, p.mw * 0.6, a)
            * hill(y - (p.my + p.nose_base) / 2 + 0.02, 0.06)
        )
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
    lid = (
        step(top - 0.01, top + 0.01, y)
        * step(top + p.crease + 0.02, top + p.crease - 0.01, y)
        * step(1.25, 0.9, abs(u))
    )
    r, g, b = r * (1 - 0.05 * lid), g * (1 - 0.14 * lid), b * (1 - 0.12 * lid)
    if p.eye_makeup > 0:
        cover = (
            0.80
            * p.eye_makeup
            * step(top - 0.02, top, y)
            * step(top + p.crease + 0.105, top + p.crease + 0.0, y)
            * step(1.5, 0.9, abs(u))
        )
        r, g, b = mix(r, p.shadow_tint[0], cover), mix(g, p.shadow_tint[1], cover), mix(b, p.shadow_tint[2], cover)
    fold = top + p.crease * (1 - 0.35 * v * v * 0)
    dark *= 1 - (0.30 + 0.25 * p.hood) * math.exp(-(((y - fold) / 0.010) ** 2)) * step(1.08, 0.72, abs(u + 0.05))
    wing = 0.5 * p.eye_makeup
    reach = step(0.10 + wing, 0.0, out) if u > 0 else step(0.06, 0.0, out)
    lash = p.lash * (1 + 0.5 * max(v, 0.0))
    line = (
        reach
        * math.exp(-((max(y - top - 0.1 * out * (1 + wing), 0.0) / lash) ** 2))
        * (1.0 if y > p.ey + lower_lid(p, v) - 0.004 else 0.0)
    )
    under = (
        0.35
        * (1 + p.eye_makeup)
        * reach
        * math.exp(-((min(y - low, 0.0) / 0.007) ** 2))
        * (1.0 if y < low + 0.006 else 0.0)
    )
    ink = min(1.0, max(line, min(under, 0.8)))
    r, g, b = mix(r, 0.02, ink * 0.93), mix(g, 0.013, ink * 0.95), mix(b, 0.012, ink * 0.95)
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
        r, g, b = (
            mix(r, p.lips[0] * tone, inside),
            mix(g, p.lips[1] * tone, inside),
            mix(b, p.lips[2] * tone, inside),
        )
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
    return mix(r, p.brow_colour[0], cover), mix(g, p.brow_colour[1], cover), mix(b, p.brow_colour[2], cover)


@jit
def _beard(x, y, a, z, r, g, b, p):
    """Beard, moustache, sideburns and the shade of a shaven chin, all painted as short strands."""
    lip = (
        hill((y - (p.nose_base + p.my + p.lip_up) / 2 + 0.005 + 0.10 * a) / 0.043, 1)
        * step(p.mw * 1.18, p.mw * 0.85, a)
        * step(0.1, 0.3, z)
    )
    edge = p.my + 0.10 + 0.50 * max(a - p.mw, 0.0)
    jaw = step(edge + 0.03, edge - 0.05, y + 0.04 * (noise(x * 24, y * 24, p.birth) - 0.5)) * step(-0.25, -0.05, z)
    cheek = step(p.mw + 0.0, p.mw + 0.08, a) + step(p.my - 0.10, p.my - 0.15, y)
    jaw *= min(1.0, cheek)
    soul = step(0.05, 0.03, a) * step(p.my - 0.09, p.my - 0.11, y)
    jaw = max(jaw, soul * step(0.1, 0.2, z))
    side = step(0.40, 0.46, a) * step(p.ey + 0.20, p.ey + 0.14, y) * step(p.my + 0.08, p.my + 0.16, y)
    side *= step(-0.10, 0.0, z) * step(0.50, 0.38, z + 0.10 * (noise(y * 24, x * 24, p.birth) - 0.5))
    cover = max(max(p.moustache * min(1.0, lip * 1.5), p.beard * jaw), p.sideburns * side)
    cover = max(cover, p.beard * side * 0.9)
    shaven = 0.16 * p.man * (1 - p.child) * step(14, 20, p.age) * max(lip, jaw) * (1 - 0.5 * p.gray)
    hair = strands(x * 3.5 + 0.4 * y, y * 4, p.seed + 60)
    cover = min(1.0, cover * 1.15) * (0.72 + 0.5 * (hair - 0.25))
    tone = 0.55 + 0.75 * hair
    cover = max(0.0, min(cover, 0.97))
    r, g, b = (
        mix(r, p.beard_colour[0] * tone, cover),
        mix(g, p.beard_colour[1] * tone, cover),
        mix(b, p.beard_colour[2] * tone, cover),
    )
    shaven *= 1 - cover
    return (
        mix(r, 0.5 * p.beard_colour[0] + 0.05, shaven),
        mix(g, 0.5 * p.beard_colour[1] + 0.05, shaven),
        mix(b, 0.5 * p.beard_colour[2] + 0.06, shaven),
    )
