"""Eyes: iris, pupil, white, lid shade and catchlight, per pixel of the eyeballs."""

import math

import numpy as np

from core.faces.jit import jit
from core.faces.shape import rotation

_IRIS_RADIUS = 0.065  # units of face size


def gaze_frames(face, turn: np.ndarray) -> np.ndarray:
    """(2, 3, 3) frames of both eyes, rows x, y and forward. Each turns 1.2 degrees outwards and 2.5 down: else people
    stare or cross."""
    wear = face.unnamed
    frames = [(turn @ rotation(wear.gaze_x + out, wear.gaze_y - 2.5, 0)).T for out in (-1.2, 1.2)]
    return np.array(frames, np.float32)


def iris_angle(face, radius: float) -> float:
    """Size of the iris as the sine of its angle on an eyeball of this radius."""
    young = float(np.interp(face.look.age, (1, 12), (1.10, 1.0)))
    return math.sin(_IRIS_RADIUS / radius * face.identity.iris_size * young)


@jit
def lid_shade(place, pixels, is_eye, per_unit, out):
    """How much light the lids leave on each eye pixel, from the distance up and down to the first other pixel."""
    rows = place.shape[0]
    reach = int(0.13 * per_unit) + 1
    for i in range(pixels.shape[0]):
        if not is_eye[i]:
            continue
        y, x = pixels[i, 0], pixels[i, 1]
        up, down = reach, reach
        for k in range(1, min(reach, y + 1)):
            j = place[y - k, x]
            if j < 0 or not is_eye[j]:
                up = k
                break
        for k in range(1, min(reach, rows - y)):
            j = place[y + k, x]
            if j < 0 or not is_eye[j]:
                down = k
                break
        upper, lower = up / per_unit, down / per_unit
        out[i] = (1 - 0.72 * math.exp(-upper / 0.028)) * (1 - 0.42 * math.exp(-lower / 0.012))


@jit
def shade_eyes(points, side, light, lit, shade, eye, lamp_direction, lamp_colour, frames, centres, radius, iris,
               iris_size, out):
    """Colour (P, 3) of eye pixels. side: (P,) 0 or 1. shade: (P,) from the lids. iris: (3,) linear RGB."""
    for i in range(points.shape[0]):
        s, o = side[i], shade[i]
        px, py, pz = (points[i, 0] - centres[s, 0]), (points[i, 1] - centres[s, 1]), (points[i, 2] - centres[s, 2])
        length = math.sqrt(px * px + py * py + pz * pz) + 1e-9
        px, py, pz = px / length, py / length, pz / length
        f = frames[s]
        gx = f[0, 0] * px + f[0, 1] * py + f[0, 2] * pz
        gy = f[1, 0] * px + f[1, 1] * py + f[1, 2] * pz
        gz = f[2, 0] * px + f[2, 1] * py + f[2, 2] * pz
        vx, vy, vz = eye[0] - points[i, 0], eye[1] - points[i, 1], eye[2] - points[i, 2]
        length = math.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = vx / length, vy / length, vz / length
        rho = math.sqrt(gx * gx + gy * gy) if gz > 0 else 2.0
        q, angle = rho / iris_size, math.atan2(gy, gx)
        red = min(1.0, max(0.0, abs(gx) - 0.45) * 1.6)
        vein = red * (0.5 + 0.25 * (1 + math.sin(angle * 23 + math.sin(rho * 9 + s) * 3))) * 0.4
        w0, w1, w2 = 0.70 - 0.02 * vein, 0.655 - 0.20 * vein, 0.625 - 0.20 * vein
        a0, a1, a2 = w0, w1, w2
        if q < 1.25:
            fibre = 0.82 + 0.18 * math.sin(angle * 31 + math.sin(q * 14) * 1.3) * math.sin(angle * 17 + 1.7 + q * 5)
            collar = 1.0 + 0.55 * math.exp(-(((q - 0.52) / 0.16) ** 2))
            ring = 1 - 0.75 * min(1.0, max(0.0, (q - 0.72) / 0.28)) ** 1.5
            pool = 1 + 0.6 * max(0.0, -(gx * lamp_direction[0] + gy * lamp_direction[1]) / iris_size)
            k = fibre * collar * ring * pool
            pupil = min(1.0, max(0.0, (q - 0.31) / 0.14))
            edge = min(1.0, max(0.0, (q - 0.93) / 0.17))
            edge = edge * edge * (3 - 2 * edge)
            i0, i1, i2 = (0.004 + (iris[0] * k - 0.004) * pupil, 0.004 + (iris[1] * k - 0.004) * pupil,
                          0.004 + (iris[2] * k - 0.004) * pupil)
            a0, a1, a2 = i0 + (w0 - i0) * edge, i1 + (w1 - i1) * edge, i2 + (w2 - i2) * edge
        nl = max(0.0, (px * lamp_direction[0] + py * lamp_direction[1] + pz * lamp_direction[2] + 0.25) / 1.25)
        cx, cy, cz = px, py, pz
        if q < 1.15:  # the cornea bulges
            k = 0.93 * (1 - (q / 1.15) ** 2)
            cx, cy, cz = px + (px - f[2, 0]) * k, py + (py - f[2, 1]) * k, pz + (pz - f[2, 2]) * k
            length = math.sqrt(cx * cx + cy * cy + cz * cz)
            cx, cy, cz = cx / length, cy / length, cz / length
        hx, hy, hz = vx + lamp_direction[0], vy + lamp_direction[1], vz + lamp_direction[2]
        length = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
        nh = max(0.0, (cx * hx + cy * hy + cz * hz) / length)
        spot = min(1.0, max(0.0, (nh - 0.984) / 0.008))
        shine = (0.85 * spot * (1.0 if q < 1.2 else 0.2) + 0.05 * nh**60) * (0.35 + 0.65 * lit[i]) * min(1.0, o * 1.4)
        nv = max(0.0, cx * vx + cy * vy + cz * vz)
        sky = 0.035 * max(0.0, 2 * nv * cy - vy) * o
        for c in range(3):
            a = a0 if c == 0 else (a1 if c == 1 else a2)
            body = light[i, c] * (0.42 + 0.58 * o) * 1.05 + lamp_colour[c] * nl * (0.3 + 0.7 * lit[i]) * o * o * 0.85
            out[i, c] = a * body + shine * lamp_colour[c] + sky
