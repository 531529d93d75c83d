"""The camera: from the posed world to pixels, in the two views that a picture may have."""

import numpy as np

from core.alignment import SIZE, TEMPLATE, similarity
from core.faces.looks import Face
from core.faces.shape import Shape

VIEWS = ("portrait", "aligned")
_EYE_SHARE = 0.228      # share of a portrait's width between the eyes
_HEIGHT = 0.550         # where the middle of the face lies in a portrait, from the top


class Camera:
    """A perspective camera before a face.

    view: "portrait" (head and shoulders, as posed) or "aligned" (the square whose 112-pixel form carries eyes, nose and
    mouth at the five points of the recognition template; roll is undone).
    """

    def __init__(self, face: Face, shape: Shape, size: int, view: str):
        self.size, distance = size, face.unnamed.distance
        self.position = shape.face_centre + np.array([0, 0, distance])
        self._focal = size * _EYE_SHARE / 0.62 * distance
        self._centre = np.array([size * 0.5, size * _HEIGHT])
        self._align = None
        if view == "aligned":
            flat = self.project(shape.five)[:, :2] - 0.5
            self._align = similarity(flat, (TEMPLATE + 0.5) * (size / SIZE) - 0.5)
        zoom = 1.0 if self._align is None else float(np.hypot(self._align[0, 0], self._align[1, 0]))
        self.zoom = zoom                                         # against a portrait of the same size
        self.per_unit = self._focal / distance * zoom            # pixels per unit at the face

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) to x and y in pixels counted from the edge, and 1 / distance: (..., 3) float32."""
        away = self.position[2] - points[..., 2]
        scale = self._focal / away
        x = self._centre[0] + (points[..., 0] - self.position[0]) * scale
        y = self._centre[1] - (points[..., 1] - self.position[1]) * scale
        if self._align is not None:
            (a, b, tx), (c, d, ty) = self._align
            x, y = a * (x - 0.5) + b * (y - 0.5) + tx + 0.5, c * (x - 0.5) + d * (y - 0.5) + ty + 0.5
        return np.stack([x, y, 1 / away], -1).astype(np.float32)
