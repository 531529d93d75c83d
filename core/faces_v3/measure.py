"""From names to measures: where the features of one face lie, how large they are, and what colour.

Head coordinates: x to the right of the picture, y up, z towards us; the head is about two units high,
eyes near y = 0, chin near y = -1, crown near y = 1. Lengths below are in these units.
"""

from types import SimpleNamespace

import numpy as np

from core.faces_v3.curves import step as smooth

SKIN = np.array([(238, 205, 184), (226, 184, 154), (200, 148, 114), (146, 96, 68), (86, 55, 41)]) / 255
IRIS = np.array([(46, 27, 18), (92, 56, 30), (122, 94, 48), (88, 112, 70), (84, 124, 160), (128, 150, 166)]) / 255
HAIR = {"black_hair": (22, 19, 19), "brown_hair": (92, 58, 36), "blond_hair": (216, 178, 108),
        "red_hair": (166, 74, 30), "gray_hair": (186, 184, 182)}
CLOTHES = np.array([(60, 84, 120), (140, 52, 58), (70, 110, 84), (210, 200, 184), (48, 48, 56), (176, 128, 70),
                    (110, 80, 130), (120, 150, 170), (226, 226, 222), (190, 104, 90)]) / 255
BACKDROPS = np.array([(176, 188, 198), (198, 190, 176), (168, 184, 170), (190, 178, 190), (150, 160, 176),
                      (206, 198, 190), (132, 140, 146), (186, 166, 152)]) / 255


def linear(rgb):
    """sRGB in [0, 1] to linear light in [0, 1]."""
    rgb = np.asarray(rgb, float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _palette(table, at):
    at = np.clip(at, 0, 1) * (len(table) - 1)
    low = int(min(at, len(table) - 2))
    return linear(table[low] + (table[low + 1] - table[low]) * (at - low))


def measure(face):
    """Every length, angle and colour that the meshes and the paint need, as one namespace."""
    i, k, rng = face.identity, face.look, face.rng()
    m = SimpleNamespace(i=i, k=k, man=k.gender)
    m.child = 0.5 * (1 - smooth(0, 19, k.age)) + 0.5 * float(np.clip(1 - k.age / 27, 0, 1))
    m.old = 0.6 * smooth(34, 86, k.age) + 0.4 * float(np.clip((k.age - 24) / 64, 0, 1))
    m.lines = 1.15 * float(np.clip((k.age - 19) / 60, 0, 1)) ** 0.55
    m.adult = float(np.clip((k.age - 17) / 36, 0, 1))
    m.seed = int(rng.integers(1 << 20))
    _head(m)
    _eyes(m, rng)
    _nose(m)
    _mouth(m)
    _brows(m)
    _hair(m, rng)
    _colours(m, rng)
    _extras(m, rng)
    return m


def _head(m):
    i, k, c, man = m.i, m.k, m.child, m.man
    soft = 1 - 0.6 * c                                     # children differ less in bone
    m.width = 0.680 + 0.032 * m.adult + 0.044 * i.head_width * soft + 0.035 * c
    m.top = 0.94 + 0.04 * i.head_height
    m.depth = 0.90
    m.chin = -1.05 - soft * (0.07 * i.chin_length + 0.04 * man) + 0.13 * c + 0.01 * m.old - 0.02 * k.chubby
    m.jaw = (
        0.235 - soft * (0.10 * i.jaw_width + 0.075 * man) - 0.06 * m.adult - 0.17 * k.chubby - 0.02 * c - 0.03 * m.old
    )
    m.square = 2.28 + soft * (0.20 * i.jaw_square + 0.24 * man) + 0.1 * k.chubby
    m.chin_wide = 0.17 + soft * (0.04 * i.chin_width + 0.04 * man)
    m.chin_out = 0.075 + soft * (0.03 * i.chin_forward + 0.015 * man) - 0.03 * c
    m.cheekbone = 0.045 + 0.022 * i.cheekbones * soft - 0.02 * c
    m.cheek = 0.016 * i.cheeks + 0.07 * c + 0.14 * k.chubby - 0.045 * m.old * (1 - k.chubby)
    m.slope = 0.06 + 0.03 * man + 0.025 * i.forehead - 0.05 * c
    m.ridge = soft * (0.02 + 0.02 * i.brow_ridge + 0.04 * man)
    m.jowl = 0.075 * m.old + 0.03 * k.chubby
    m.neck = 0.345 + 0.085 * man + 0.02 * i.neck - 0.09 * c + 0.09 * k.chubby
    m.drop = 0.0


def _eyes(m, rng):
    i, k, c = m.i, m.k, m.child
    m.ey = -0.02 - 0.15 * c
    m.ex = 0.300 + 0.033 * i.eye_spacing - 0.004 * c
    size = 1.08 + 0.11 * i.eye_size + 0.17 * c - 0.07 * m.man - 0.05 * m.old
    m.eye_r = 0.165 * size
    m.eye_w = 0.132 * size
    m.tilt = 0.10 + 0.14 * i.eye_tilt - 0.13 * m.old + 0.0 * c
    wide = 1 + 0.20 * i.eye_open + 0.25 * c - 0.20 * m.old - 0.08 * m.adult
    wide *= 1 + 0.55 * k.surprise - 0.34 * k.smile - 0.34 * k.anger - 0.22 * k.sadness
    m.lid_up = 0.064 * size * wide * (1 - k.eyes_closed)
    m.lid_low = 0.046 * size * (0.75 + 0.25 * wide) * (1 - 0.35 * k.smile) * (1 - k.eyes_closed) - 0.022 * k.eyes_closed
    m.eye_in = 0.022 + 0.008 * i.eye_depth
    m.crease = 0.034 + 0.010 * i.eye_fold - 0.008 * m.old
    m.hood = np.clip(0.25 + 0.25 * i.eye_fold + 0.5 * m.old, 0, 1)
    m.iris_r = 0.066 * (1 + 0.05 * c) * size ** 0.5
    m.gaze_x, m.gaze_y = rng.normal(0, 0.10) - np.radians(k.yaw) * 0.25, rng.normal(0, 0.05) + np.radians(k.pitch) * 0.3
    m.closed = k.eyes_closed
    m.lash = 0.009 + 0.013 * (1 - m.man) * (1 - 0.4 * m.old) + 0.012 * k.eye_makeup


def _nose(m):
    i, k, c = m.i, m.k, m.child
    big = 1 + 0.62 * k.big_nose
    m.nose_tip = -0.355 - 0.048 * i.nose_length * (1 - 0.5 * c) - 0.11 * (big - 1) - 0.03 * m.old + 0.0 * c
    m.nose_top = m.ey + 0.06
    m.nose_w = (0.145 + 0.033 * i.nose_width + 0.018 * m.man - 0.012 * c + 0.012 * m.old) * big
    m.nose_bridge = 0.075 + 0.022 * i.nose_bridge - 0.045 * c
    m.nose_out = (0.215 + 0.042 * i.nose_forward + 0.02 * m.man - 0.10 * c) * big
    m.nose_lift = 0.02 * i.nose_tip + 0.035 * c - 0.03 * m.old
    m.nose_hump = max(0.0, 0.02 * i.nose_hump * (1 - c) + 0.012 * m.man)
    m.nose_base = m.nose_tip - 0.082


def _mouth(m):
    i, k, c = m.i, m.k, m.child
    m.drop = 0.15 * k.mouth_open * (1 + 0.3 * k.surprise) * (1 - 0.35 * c)
    m.my = m.nose_base - 0.185 - 0.027 * i.mouth_height + 0.045 * c - 0.01 * m.old - 0.12 * m.drop
    rest = 0.235 + 0.036 * i.mouth_width + 0.012 * m.man - 0.035 * c
    m.mw = rest * (1 + 0.32 * k.smile - 0.30 * k.surprise * k.mouth_open - 0.10 * k.anger - 0.05 * k.sadness)
    m.lift = 0.165 * k.smile - 0.135 * k.sadness - 0.055 * k.anger - 0.012 * m.old + 0.01
    m.open_up = 0.030 * k.mouth_open + 0.012 * k.smile * k.mouth_open
    m.open_low = 0.13 * k.mouth_open * (1 + 0.25 * k.surprise) * (1 - 0.25 * c) + 0.0 * k.smile
    thin = (1 - 0.42 * m.old) * (1 - 0.22 * k.smile) * (1 - 0.42 * k.anger) * (1 - 0.22 * m.man) * (1 - 0.12 * c)
    m.lip_up = (0.052 + 0.017 * i.lip_upper + 0.016 * smooth(0.5, 1, i.melanin)) * thin
    m.lip_low = (0.068 + 0.018 * i.lip_lower + 0.016 * smooth(0.5, 1, i.melanin)) * thin
    m.bow = 0.30 + 0.15 * i.lip_bow
    m.fold = np.clip(0.34 * m.lines + 0.42 * m.old + 0.75 * k.smile - 0.2 * c, 0, 1)


def _brows(m):
    i, k, c = m.i, m.k, m.child
    m.by = m.ey + 0.195 + 0.032 * i.brow_height - 0.03 * m.man + 0.11 * k.surprise - 0.06 * k.anger + 0.02 * m.old * 0
    m.brow_in = 0.135 * k.sadness - 0.105 * k.anger
    m.brow_out = -0.07 * k.sadness + 0.05 * k.anger + 0.034 * i.brow_tilt
    m.brow_arch = 0.042 + 0.029 * i.brow_arch - 0.015 * m.man + 0.03 * k.surprise - 0.03 * k.anger
    m.brow_x0 = m.ex - 0.20 - 0.055 * k.anger
    m.brow_x1 = m.ex + 0.175
    thick = 0.027 + 0.008 * i.brow_thickness + 0.014 * m.man - 0.008 * c
    m.brow_t = max(0.012, thick) * (1 + 1.2 * k.bushy_eyebrows)
    m.brow_a = np.clip(0.72 + 0.1 * m.man - 0.35 * c - 0.2 * m.old + 0.3 * k.bushy_eyebrows, 0.25, 1)


def _hair(m, rng):
    i, k = m.i, m.k
    m.length = k.hair_length * (1 - 0.75 * k.bald)
    m.shell = (
        0.0
        if m.length < 0.06
        else (0.045 + 0.055 * smooth(0.09, 0.35, m.length) + 0.06 * i.volume * (1 - 0.5 * k.bald))
    )
    m.shell += 0.09 * k.curly * smooth(0.1, 0.6, m.length)
    if k.bald > 0.5:
        m.shell = min(m.shell, 0.035)
    m.curtain = m.length > 0.36
    m.hair_end = 0.05 - 2.15 * (m.length - 0.30) / 0.7
    recede = m.man * i.balding * smooth(25, 75, k.age)
    m.hairline = 0.535 + 0.035 * i.hairline + 0.20 * recede - 0.05 * m.child * 0
    m.temple = 0.05 + 0.03 * i.hairline + 0.28 * recede
    m.part = 0.34 * np.sign(i.parting) * (0.35 + 0.65 * abs(i.parting)) if abs(i.parting) > 0.25 else 0.0
    m.curl = k.curly
    m.swept = float(i.wave)
    m.fringe_cut = m.ey + 0.20 + 0.06 * rng.random()


def _colours(m, rng):
    i, k = m.i, m.k
    tone = _palette(SKIN, i.melanin) * (1 + 0.03 * i.undertone * np.array([0.3, -0.2, -1.2]))
    m.skin = np.clip(
        tone * (1 + (0.05 * m.child - 0.11 * m.adult * np.array([0.9, 1.15, 1.2])) * (1 - 0.6 * i.melanin)), 0, 1
    )
    weights = np.array([getattr(k, name) for name in HAIR])
    colours = np.array([linear(np.array(c) / 255) for c in HAIR.values()])
    jitter = 1 + 0.18 * i.undertone * 0.5
    total = weights.sum()
    m.hair = colours[1] if total < 1e-3 else (weights @ colours) / total
    m.hair = np.clip(m.hair * jitter * (1 - 0.15 * m.child * 0), 0, 1)
    m.gray = k.gray_hair / max(total, 1e-3)
    natural = colours[list(HAIR).index(f"{i.hair}_hair")]
    m.brow_colour = natural * 0.55 * (1 - 0.6 * m.gray) + colours[4] * 0.6 * 0.6 * m.gray
    m.iris = _palette(IRIS, i.iris)
    pale = 1 - 0.08 * m.man * np.array([0.4, -0.6, -0.6])
    lips = m.skin * np.array([0.86, 0.60, 0.58]) * pale + np.array([0.01, 0.0, 0.0])
    paint = linear(np.array([(196, 16, 40), (214, 40, 90), (158, 20, 62), (206, 62, 54)])[rng.integers(4)] / 255)
    m.lips = lips * (1 - k.lip_makeup) + paint * k.lip_makeup
    shadows = np.array([(84, 62, 140), (30, 110, 130), (50, 84, 160), (120, 40, 90)])
    m.shadow_tint = linear(shadows[rng.integers(4)] / 255)
    m.cloth = linear(CLOTHES[rng.integers(len(CLOTHES))]) * rng.uniform(0.7, 1.1)
    m.cloth2 = linear(CLOTHES[rng.integers(len(CLOTHES))]) * rng.uniform(0.7, 1.1)
    m.cloth_kind = float(rng.integers(4))
    m.backdrop = linear(BACKDROPS[rng.integers(len(BACKDROPS))]) * rng.uniform(0.55, 1.15)


def _extras(m, rng):
    m.hat_kind = float(rng.integers(2))
    m.hat_colour = linear(CLOTHES[rng.integers(len(CLOTHES))])
    m.frame = linear(np.array([(20, 20, 22), (86, 52, 30), (130, 130, 134), (60, 24, 30)])[rng.integers(4)] / 255)
    m.frame_round = rng.uniform(2.0, 5.0)
    m.frame_thick = rng.uniform(0.011, 0.021)
    m.ring = float(rng.integers(2))
    m.gold = linear(np.array([(212, 170, 70), (200, 200, 206)])[rng.integers(2)] / 255)
