"""Curves that surfaces and paint share: lids, lips, folds and brows, in head coordinates.

Plain formulas over numbers or arrays, for surfaces in NumPy and for compiled paint alike. m: the measures, or a record
of them.
"""

import numpy as np
from numba.extending import register_jitable


@register_jitable
def step(a, b, x):
    """0 below a, 1 above b, a smooth step between; a may be above b."""
    t = np.minimum(np.maximum((x - a) / (b - a), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@register_jitable
def upper_lid(m, u):
    """Height of the upper lid's edge above the eye's centre; u in [-1, 1] from inner to outer corner."""
    v = np.maximum(1 - u * u, 0.0)
    return m.lid_up * v ** 0.72 * (1 - 0.12 * u) + m.tilt * m.eye_w * 0.5 * u - 0.022 * m.closed * v


@register_jitable
def lower_lid(m, u):
    """Height of the lower lid's edge; negative below the eye's centre."""
    v = np.maximum(1 - u * u, 0.0)
    return -m.lid_low * v ** 0.8 * (1 + 0.18 * u) + m.tilt * m.eye_w * 0.5 * u


@register_jitable
def _seam(m, u):
    return m.my + m.lift * (u * u - 0.25) + 0.006 * np.exp(-((u / 0.2) ** 2))


@register_jitable
def mouth_top(m, u):
    """Height of the upper lip's lower edge; u in [-1, 1] across the mouth."""
    return _seam(m, u) + m.open_up * np.maximum(1 - u * u, 0.0) ** 0.7


@register_jitable
def mouth_bottom(m, u):
    """Height of the lower lip's upper edge."""
    return _seam(m, u) - m.open_low * np.maximum(1 - u * u, 0.0) ** 0.7


@register_jitable
def lip_top(m, u):
    """Height of the upper lip's upper edge, with its bow."""
    v = np.maximum(1 - np.abs(u) ** 1.9, 0.0)
    bow = 1 - m.bow * np.exp(-((u / 0.16) ** 2)) + 0.12 * np.exp(-(((np.abs(u) - 0.3) / 0.16) ** 2))
    return mouth_top(m, u) + m.lip_up * v**0.85 * bow


@register_jitable
def lip_bottom(m, u):
    """Height of the lower lip's lower edge."""
    return mouth_bottom(m, u) - m.lip_low * np.maximum(1 - np.abs(u) ** 1.9, 0.0) ** 0.62


@register_jitable
def fold_x(m, y):
    """|x| of the fold that runs from the nostril past the mouth's corner, at height y."""
    t = np.minimum(np.maximum((m.nose_base + 0.05 - y) / (m.nose_base + 0.12 - m.my), 0.0), 1.4)
    return m.nose_w + 0.035 + t * (m.mw + 0.045 - m.nose_w) * (0.75 + 0.25 * t)


@register_jitable
def brow(m, t):
    """Height of the middle of the brow; t in [0, 1] from inner to outer end."""
    t = np.minimum(np.maximum(t, 0.0), 1.0)
    arch = m.brow_arch * np.sin(np.pi * t**1.25) - 0.012
    return m.by + arch + m.brow_in * (1 - t) ** 1.5 + m.brow_out * t * t
