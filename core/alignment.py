"""The five-point face template of ArcFace, and the similarity transform to it.

Coordinates are pixels (x, y), y down; whole numbers are pixel centres. Left and right are the picture's.
"""

import numpy as np

from core.errors import PhotoError

# ArcFace's template: both eyes, nose tip and both mouth corners in 112 × 112 pixels.
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
                     (70.7299, 92.2041)])
TEMPLATE.flags.writeable = False
SIZE = 112

# The same points in a picture framed like FFHQ (Karras et al. 2019, appendix A), where a face takes a quarter of the
# width between its eyes; for a face of the usual proportions, on the same scale of 112 pixels.
FFHQ = np.array([(41.6, 52.4), (69.4, 52.4), (55.5, 67.8), (44.0, 83.6), (67.0, 83.6)])
FFHQ.flags.writeable = False


def similarity(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (2, 3) similarity transform (rotation, scale, shift) that maps points (N, 2) closest to target (N, 2).

    Least squares without reflection (Umeyama 1991), in closed form over complex numbers: target = a·points + b.
    Raises PhotoError for points that are not finite or all equal.
    """
    points, target = (np.asarray(p, np.float64).reshape(-1, 2) for p in (points, target))
    source, goal = (p[:, 0] + 1j * p[:, 1] for p in (points, target))
    spread = source - source.mean()
    power = (spread * spread.conj()).real.sum()
    if not np.isfinite(power) or power < 1e-6:
        raise PhotoError("The landmarks of this face are all at one place.", "Mark the face by hand.")
    a = (spread.conj() * (goal - goal.mean())).sum() / power
    b = goal.mean() - a * source.mean()
    return np.array([(a.real, -a.imag, b.real), (a.imag, a.real, b.imag)])
