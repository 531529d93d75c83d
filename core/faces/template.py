"""Places on the template head: the hairline, the brows, and noise that sticks to the skin.

Positions are in decimetres of the template: x to the viewer's right, y up, z towards the viewer. A point of the skin
keeps its template position through every age, pose and expression.
"""

import math

import numpy as np

from core.faces.jit import jit

HAIRLINE_AZIMUTH = (0, 14, 26, 38, 46, 54, 60, 67, 76, 82, 92, 104, 114, 124, 140, 180)  # degrees, 0 in front
HAIRLINE_HEIGHT = (7.97, 7.98, 7.97, 7.91, 7.80, 7.62, 7.38, 7.10, 7.08, 7.34, 7.48, 7.40, 7.12, 6.86, 6.70, 6.62)
HEAD_AXIS_Z = 0.45  # dm: azimuths are measured around this vertical line

BROW = np.array([(0.115, 7.462), (0.19, 7.475), (0.28, 7.488), (0.37, 7.496), (0.45, 7.488), (0.52, 7.462),
                 (0.585, 7.420)])  # |x| and y of the middle of a brow, from the nose outwards, dm
_BROW_LENGTH = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(BROW, axis=0).T))])
BROW_ALONG = _BROW_LENGTH / _BROW_LENGTH[-1]  # the same points as shares of its length


def hairline_height(azimuth: np.ndarray) -> np.ndarray:
    """Height of the hairline in dm at an azimuth of 0 (front) to 180 (back) degrees."""
    return np.interp(azimuth, HAIRLINE_AZIMUTH, HAIRLINE_HEIGHT)


def scalp_field(position: np.ndarray) -> np.ndarray:
    """Height above the hairline in dm, negative below it, of template positions (..., 3)."""
    azimuth = np.degrees(np.arctan2(np.abs(position[..., 0]), position[..., 2] - HEAD_AXIS_Z))
    return position[..., 1] - hairline_height(azimuth)


def brow_width(along: np.ndarray) -> np.ndarray:
    """Half the height of a brow in dm at a share of its length: 0 at the nose, 1 at the temple."""
    return 0.8 * np.interp(along, (0, 0.12, 0.5, 0.8, 1), (0.026, 0.036, 0.033, 0.022, 0.010))


def brow_point(along: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|x| and y in dm of a point of the brow: `along` its length in [0, 1], `offset` upwards in widths of the brow."""
    x, y = np.interp(along, BROW_ALONG, BROW[:, 0]), np.interp(along, BROW_ALONG, BROW[:, 1])
    return x, y + offset * brow_width(along)


def noise(points: np.ndarray, frequency: float, seed: int = 0) -> np.ndarray:
    """Smooth noise in [-1, 1], float32 (...), at points (..., 3) in dm; `frequency` is its cells per dm."""
    scaled = np.ascontiguousarray(points * frequency).reshape(-1, 3)
    return _noise(scaled, seed).reshape(points.shape[:-1])


@jit
def hash_cell(i, j, k, seed):
    """A number in [0, 1] for the cell (i, j, k) of a grid; the same on every machine."""
    bits = (i * 374761393 + j * 668265263 + k * 2147483647 + seed * 1274126177) & 0xFFFFFFFF
    bits = ((bits ^ (bits >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((bits ^ (bits >> 16)) & 0xFFFF) / 65535.0


@jit
def _noise(scaled, seed):
    """Values of the cell corners, blended by a smooth step: points in cells (N, 3) -> (N,) float32."""
    out = np.empty(len(scaled), np.float32)
    for n in range(len(scaled)):
        x, y, z = scaled[n, 0], scaled[n, 1], scaled[n, 2]
        i, j, k = int(math.floor(x)), int(math.floor(y)), int(math.floor(z))
        u, v, w = float(x) - i, float(y) - j, float(z) - k
        u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
        total = 0.0
        for a in range(2):
            for b in range(2):
                for c in range(2):
                    share = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                    total += share * hash_cell(i + a, j + b, k + c, seed)
        out[n] = total * 2 - 1
    return out
