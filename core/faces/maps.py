"""Paint what is fixed on the skin: 26 maps in the head's texture space, as functions of the template position.

    MAPS                     their names, in order
    MAP_LEFT ... MAP_SCALE   which part of the texture they cover
    paint_maps(...)          the maps themselves; used by `build head` only, drawing reads them from the head file

x below is |x| of the template: everything but the noise is symmetric.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np

from core.faces.template import BROW, hash_cell, noise, scalp_field

MAPS = ("lips", "lids", "ears", "face",                       # painted masks of the data
        "red", "under", "beard", "mous",                      # blood; shade under the eyes; beard and moustache area
        "n1", "n2", "pore",                                   # noise in [-1, 1]: blotches, mottling, pores
        "frk", "spots",                                       # freckles; age spots
        "w_fore", "w_glab", "w_crow", "w_eye", "w_naso", "w_lipv", "w_cross",  # wrinkles: furrows are negative
        "scalp", "brow", "gloss", "nostril", "shadow", "blush")
MAP_LEFT, MAP_RIGHT = 0.62, 0.99   # texture u at the left and right edge
MAP_BOTTOM, MAP_TOP = 0.12, 0.86   # texture v at the lower and upper edge
MAP_SCALE = 1200                   # pixels per unit of u and of v
MAP_WIDTH = int((MAP_RIGHT - MAP_LEFT) * MAP_SCALE)
MAP_HEIGHT = int((MAP_TOP - MAP_BOTTOM) * MAP_SCALE)
_MASKS = {"lips": "lips", "lids": "eyelids", "ears": "ears", "face": "face"}
_FOREHEAD = ((7.64, 0.7, 0.35), (7.715, 1.0, 0.45), (7.79, 1.0, 0.50), (7.865, 0.8, 0.42), (7.93, 0.5, 0.35))
_CROWS_FEET = ((-42, 0.7), (-24, 1.0), (-8, 1.0), (9, 1.0), (26, 0.8), (44, 0.5))
_NASOLABIAL = ((0.175, 6.96), (0.235, 6.90), (0.285, 6.80), (0.325, 6.68), (0.345, 6.56), (0.335, 6.46))
_MARIONETTE = ((0.275, 6.57), (0.295, 6.48), (0.30, 6.38), (0.285, 6.30))


def map_pixels(uv: np.ndarray) -> np.ndarray:
    """Texture coordinates (..., 2) to x, y in pixels of the maps, measured from their upper left edge."""
    return (uv - np.array([MAP_LEFT, MAP_TOP], np.float32)) * np.array([MAP_SCALE, -MAP_SCALE], np.float32)


def map_positions(points: np.ndarray, quads: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Template position (H, W, 3) in dm at every pixel of the maps; outside the skin that of the nearest skin pixel.

    points: (N, 3) dm. quads: (Q, 4), the skin's faces. uv: (Q, 4, 2), their texture coordinates.
    """
    from core.faces.raster import raster

    on_map = uv[:, :, 0].min(1) > MAP_LEFT - 0.01
    quads, uv = quads[on_map], uv[on_map]
    screen = np.ones((quads.size, 3), np.float32)
    screen[:, :2] = map_pixels(uv.reshape(-1, 2))
    corners = np.arange(quads.size).reshape(-1, 4)
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    nearness = np.zeros((MAP_HEIGHT, MAP_WIDTH), np.float32)
    hit, second = np.full(nearness.shape, -1, np.int32), np.zeros((*nearness.shape, 2), np.float32)
    raster(screen, triangles, nearness, hit, second)
    weights = np.concatenate([1 - second.sum(-1, keepdims=True), second], -1)
    positions = (points[quads.ravel()[triangles[hit]]] * weights[..., None]).sum(2)
    return _spread(positions.astype(np.float32), hit >= 0)


def _spread(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (H, W, C), the unknown ones replaced by those of the nearest known pixel."""
    import cv2

    _, label = cv2.distanceTransformWithLabels((~known).astype(np.uint8), cv2.DIST_L2, 5,
                                               labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros(label.max() + 1, int)
    nearest[label[known]] = np.flatnonzero(known)
    return values.reshape(-1, values.shape[-1])[nearest[label]]


def read_masks(content: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    """The painted masks of the data (H, W) in [0, 1], cut to the maps' part of the texture.

    content: gives the bytes of a file of the data.
    """
    from PIL import Image

    masks = {}
    for name, stem in _MASKS.items():
        image = Image.open(BytesIO(content(f"mpfb2/textures/mpfb_{stem}.jpg"))).convert("L")
        width, height = image.size
        box = (int(MAP_LEFT * width), int((1 - MAP_TOP) * height), int(MAP_RIGHT * width),
               int((1 - MAP_BOTTOM) * height))
        image = image.crop(box).resize((MAP_WIDTH, MAP_HEIGHT), Image.Resampling.LANCZOS)
        masks[name] = np.asarray(image, np.float32) / 255
    return masks


def paint_maps(positions: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
    """All maps (H, W, 26) float32, in the order of MAPS, from template positions (H, W, 3) in dm and the masks."""
    maps = {**masks, **_colours(positions, masks), **_hair_areas(positions, masks), **_noises(positions),
            **_spots(positions, masks), **_forehead_wrinkles(positions), **_eye_wrinkles(positions),
            **_mouth_wrinkles(positions), "w_cross": _fine_wrinkles(positions)}
    return np.stack([maps[name] for name in MAPS], -1).astype(np.float32)


def _bell(value, centre, width):
    return np.exp(-((value - centre) / width) ** 2)


def _ramp(value, width):
    """0 below 0, rising to 1 at `width`."""
    return np.clip(value / width, 0, 1)


def _axes(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.abs(positions[..., 0]), positions[..., 1], positions[..., 2]


def _blob(positions, x0, y0, z0, width, height=None):
    """A soft round spot around (x0, y0, z0); its depth is 1.3 widths."""
    x, y, z = _axes(positions)
    return np.exp(-(((x - x0) / width) ** 2 + ((y - y0) / (height or width)) ** 2 + ((z - z0) / (1.3 * width)) ** 2))


def _sum_of_blobs(positions, *blobs):
    return sum(strength * _blob(positions, *shape) for strength, *shape in blobs)


def _along(x, y, line) -> tuple[np.ndarray, np.ndarray]:
    """Distance in dm of points (x, y) to a line of points, and where along its length, in [0, 1], they lie nearest."""
    line = np.array(line)
    best, along = np.full(x.shape, 9, np.float32), np.zeros(x.shape, np.float32)
    lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    for k, (start, way) in enumerate(zip(line, np.diff(line, axis=0), strict=False)):
        share = np.clip(((x - start[0]) * way[0] + (y - start[1]) * way[1]) / (way @ way), 0, 1)
        distance = np.hypot(x - start[0] - share * way[0], y - start[1] - share * way[1])
        nearer = distance < best
        best[nearer] = distance[nearer]
        along[nearer] = ((lengths[k] + share * np.hypot(*way)) / lengths[-1])[nearer]
    return best, along


def _colours(positions, masks) -> dict[str, np.ndarray]:
    """Where the skin is redder, darker or glossier."""
    x, y, z = _axes(positions)
    red = _sum_of_blobs(positions, (0.75, 0.45, 6.98, 1.2, 0.23, 0.19), (0.9, 0, 6.97, 1.62, 0.15, 0.12),
                        (0.5, 0.14, 6.90, 1.45, 0.09), (0.35, 0, 6.27, 1.4, 0.18), (0.35, 0.31, 7.36, 1.35, 0.25, 0.07),
                        (0.2, 0, 7.75, 1.4, 0.4, 0.2), (0.25, 0.5, 7.3, 1.1, 0.08))
    gloss = _sum_of_blobs(positions, (0.55, 0, 7.0, 1.6, 0.16, 0.3), (0.5, 0, 7.7, 1.4, 0.35, 0.2),
                          (0.35, 0.42, 7.08, 1.25, 0.18, 0.12), (0.25, 0, 6.25, 1.4, 0.15))
    under = _sum_of_blobs(positions, (1, 0.29, 7.155, 1.35, 0.17, 0.06), (0.6, 0.155, 7.25, 1.35, 0.06, 0.09))
    nostril = np.exp(-(((x - 0.075) / 0.04) ** 2 + ((y - 6.875) / 0.02) ** 2 + ((z - 1.47) / 0.07) ** 2))
    return {"red": red + 0.75 * masks["ears"], "gloss": np.clip(gloss, 0, 1), "under": under, "nostril": nostril,
            "blush": _blob(positions, 0.52, 7.0, 1.1, 0.2, 0.14), "shadow": _ramp(6.15 - y, 0.3)}


def _hair_areas(positions, masks) -> dict[str, np.ndarray]:
    """Where a beard, a moustache, brows and scalp hair grow."""
    x, y, z = _axes(positions)
    jaw = np.interp(x, [0, .28, .40, .55, .70, .85], [6.52, 6.55, 6.68, 6.80, 6.95, 7.1])
    beard = _ramp(jaw + 0.03 * noise(positions, 5.0, 5) - y, 0.10) * _ramp(y - 5.98, 0.12) * _ramp(z - 0.50, 0.15)
    beard = np.clip(beard * (1 - np.clip(masks["ears"] * 3, 0, 1)) - masks["lips"] * 3, 0, 1)
    beard *= 1 - 0.55 * np.exp(-(((x - 0.17) / 0.08) ** 2 + ((y - 6.44) / 0.05) ** 2))
    lip_top = np.interp(x, [0, .2, .3, .34], [6.68, 6.64, 6.56, 6.50])
    moustache = (_ramp(6.835 - 0.03 * (x < 0.05) - 0.25 * np.maximum(x - 0.05, 0) - y, 0.035) * _ramp(y - lip_top, 0.03)
                 * _ramp(0.36 - x, 0.07) * _ramp(z - 1.1, 0.05))
    edge = scalp_field(positions) - 0.005 + 0.03 * noise(positions, 14.0, 60) + 0.02 * noise(positions, 60.0, 61)
    distance, along = _along(x, y, BROW)
    width = np.interp(along, [0, .15, .5, .8, 1], [.026, .034, .032, .02, .008])
    return {"beard": beard, "mous": np.clip(moustache - masks["lips"] * 3, 0, 1),
            "scalp": _ramp(edge, 0.11) * (1 - np.clip(masks["ears"] * 2.5, 0, 1)),
            "brow": np.exp(-(distance / width) ** 2) * (z > 0.8)}


def _noises(positions) -> dict[str, np.ndarray]:
    def two(first, second, share):
        return noise(positions, *first) * share + noise(positions, *second) * (1 - share)
    return {"n1": two((3.0, 1), (7.0, 2), 0.6), "n2": two((16.0, 3), (37.0, 4), 0.55),
            "pore": two((75.0, 6), (130.0, 7), 0.5)}


def _dots(positions, cell, smallest, largest, share, seed):
    """Sparse round spots (H, W) in [0, 1] of radius `smallest` to `largest`, at most one per cell of `cell` dm."""
    home, out = np.floor(positions / cell).astype(np.int64), np.zeros(positions.shape[:-1], np.float32)
    for step in np.ndindex(3, 3, 3):
        at = home + np.array(step) - 1
        number = [_cell_numbers(at, seed + k) for k in range(5)]
        centre = (at + np.stack(number[:3], -1)) * cell
        radius = smallest + (largest - smallest) * number[3] ** 2
        spot = np.clip(1.3 - np.linalg.norm(positions - centre, axis=-1) / radius, 0, 1) * (0.45 + 0.55 * number[3])
        out = np.maximum(out, np.where(number[4] < share, spot, 0))
    return out


def _cell_numbers(cells: np.ndarray, seed: int) -> np.ndarray:
    """`hash_cell` of cells (..., 3) of integers."""
    return hash_cell.py_func(cells[..., 0], cells[..., 1], cells[..., 2], seed)


def _spots(positions, masks) -> dict[str, np.ndarray]:
    """Freckles over nose and cheeks, age spots in front."""
    front, off_lips = _ramp(positions[..., 2] - 0.2, 0.4), 1 - masks["lips"]
    area = np.clip(_sum_of_blobs(positions, (1, 0.38, 7.02, 1.3, 0.42, 0.22), (0.9, 0, 7.05, 1.6, 0.25, 0.2),
                                 (0.35, 0, 7.7, 1.4, 0.6, 0.3)), 0, 1)
    freckles = np.maximum(_dots(positions, .045, .008, .019, .75, 11), _dots(positions, .08, .012, .024, .45, 23))
    spots = _dots(positions, .16, .012, .04, .22, 31) * off_lips + 0.6 * _dots(positions, .4, .012, .018, .25, 41)
    return {"frk": freckles * np.clip(area * 1.3, 0, 1) * off_lips, "spots": spots * front}


def _wobble(positions):
    return 0.035 * noise(positions, 4.0, 8) + 0.012 * noise(positions, 10.0, 9)


def _forehead_wrinkles(positions) -> dict[str, np.ndarray]:
    """Lines across the forehead, and the two folds between the brows with the one over the nose."""
    x, y, z = _axes(positions)
    lines = np.zeros_like(x)
    for height, depth, reach in _FOREHEAD:
        above = y - height - _wobble(positions) + 0.015 * np.cos(x * 6)
        length = _ramp(reach + 0.12 * noise(positions, 6.0, int(height * 100)) - x, 0.12)
        lines += depth * (0.55 * _bell(above, 0.024, 0.018) - _bell(above, 0, 0.011)) * length
    aside = x - 0.052 - 0.01 * noise(positions, 8.0, 14) - 0.05 * (y - 7.45)
    folds = (0.4 * _bell(aside, 0.028, 0.02) - _bell(aside, 0, 0.012)) * _ramp(y - 7.37, 0.06) * _ramp(7.60 - y, 0.08)
    across = 0.6 * _bell(y, 7.36, 0.012) * _bell(x, 0, 0.07) * (z > 1.2)
    return {"w_fore": lines * (z > 0.8), "w_glab": folds * (z > 1) - across}


def _eye_wrinkles(positions) -> dict[str, np.ndarray]:
    """Crow's feet fanning out from the outer corner of the eye, and the rings under it."""
    x, y, z = _axes(positions)
    out = (x - 0.515) + np.maximum(1.08 - z, 0) * 0.9
    up = y - 7.285 + 0.012 * noise(positions, 9.0, 15)
    radius, angle = np.hypot(out, up), np.degrees(np.arctan2(up, out))
    fan = np.zeros_like(x)
    for direction, depth in _CROWS_FEET:
        aside = np.radians(angle - direction + 4 * noise(positions, 12.0, 16)) * radius
        fan += depth * (0.35 * _bell(aside, 0.018, 0.012) - _bell(aside, 0, 0.0085))
    crow = fan * _ramp(radius - 0.035, 0.04) * _ramp(0.23 - radius, 0.12) * (out > 0) * (z > 0.6)
    aside, up = (x - 0.31) / 1.25, y - 7.285
    ring = np.hypot(aside, up) + 0.008 * noise(positions, 7.0, 18)
    below = _ramp(-up, 0.06) * np.clip(1 - np.abs(aside) / 0.2, 0, 1) ** 0.5
    rings = (0.9 * _bell(ring, 0.118, 0.026) - _bell(ring, 0.150, 0.012) - 0.55 * _bell(ring, 0.098, 0.007)
             - 0.35 * _bell(ring, 0.185, 0.010))
    return {"w_crow": crow, "w_eye": rings * below * (z > 0.9)}


def _mouth_wrinkles(positions) -> dict[str, np.ndarray]:
    """The folds from nose to mouth and from mouth to chin, and upright lines around the lips."""
    x, y, z = _axes(positions)
    distance, along = _along(x, y, _NASOLABIAL)
    side = np.sign(x - np.interp(y, [6.4, 6.56, 6.8, 6.96], [.33, .345, .285, .175]))
    fold = ((0.14 * _bell(distance * side, 0.07, 0.06) - _bell(distance, 0, 0.024)) * _ramp(along, 0.1)
            * _ramp(0.86 - along, 0.4) * (z > 0.8))
    distance, along = _along(x, y, _MARIONETTE)
    fold -= 0.22 * _bell(distance, 0, 0.016) * _ramp(along, 0.1) * _ramp(1 - along, 0.4) * (z > 0.9)
    upright = np.clip(np.sin(positions[..., 0] * 150 + 4 * noise(positions, 10.0, 20)), 0, 1) ** 3
    around = _ramp(y - 6.69, 0.03) * _ramp(6.80 - y, 0.05) + 0.7 * _ramp(6.50 - y, 0.02) * _ramp(y - 6.42, 0.04)
    return {"w_naso": fold, "w_lipv": -upright * around * _ramp(0.24 - x, 0.06) * (z > 1.2)}


def _fine_wrinkles(positions) -> np.ndarray:
    """A net of fine lines on cheeks, eyes and neck, and the rings of the neck."""
    x, y, z = _axes(positions)

    def ridges(frequency, seed):
        values = noise(positions * np.array([1, 1.8, 1]), frequency, seed)
        return np.clip(1 - np.abs(values) * 2, 0, 1) ** 3
    area = np.clip(_sum_of_blobs(positions, (1, 0.55, 6.75, 1.0, 0.4, 0.35), (1, 0.3, 7.1, 1.3, 0.25, 0.1))
                   + 0.6 * (y < 6.2), 0, 1)
    net = -(ridges(7.0, 51) + 0.8 * ridges(13.0, 52) + 0.5 * ridges(24.0, 53)) * area
    for height in (5.95, 5.78):
        net -= 1.2 * _bell(y - height - 1.5 * _wobble(positions) + 0.25 * x ** 2, 0, 0.012) * (z > 0.2)
    return net
