"""A photo -> its faces, each aligned to the 112 × 112 five-point template.

Detectors, tried in this order until one finds a face:
    yunet   OpenCV's small network, if its file is on this machine (python -m core fetch yunet)
    haar    the cascade inside OpenCV, trained on photographs; upright, then rotated by ±20° and ±40°
    drawn   our landmark detector on the whole picture, trained on drawn faces, which the others can miss
Coordinates are pixels (x, y) of the picture, y down; whole numbers are pixel centres. Left and right are the picture's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock

import numpy as np
from PIL import Image

from core.alignment import FFHQ, SIZE, TEMPLATE, similarity
from core.checks import whole
from core.errors import CheckpointError, PhotoError

FRAMES = {"aligned": TEMPLATE, "ffhq": FFHQ}     # of aligned crops, by name
PATCH = 192         # pixels: a face is resized to this before eye detection
SMALLEST = 8        # pixels: smallest side of a face box
DETECTION_SIDES = (512, 1024)   # pixels: the longer side is resized into this range for detection
TURNS = (0, 20, -20, 40, -40)                          # degrees of rotation tried by the cascade
EYES = ((0.275, 0.375), (0.725, 0.375))                # usual eye positions in a cascade box, relative to its side
EYE_WINDOW = 0.15       # largest distance from these positions, in the same unit
LANDMARK_SIZE = 96               # pixels: input of the landmark detector
LOOSELY = 1.3           # width of its second input, in aligned crops
SURE = 9.0              # smallest logit of a face that only our network sees; photographs reach it in one of two passes
LIKELY = 7.0            # smallest logit at which it places the points of a face that a cascade sees
STRANGE = 16.0          # aligned pixels: largest distance of the five points from the template
APART = 5.0             # aligned pixels: largest difference to the cascade's eyes
IN_PLACE = (5.0, 11.0)  # smallest logit, and aligned pixels from the template, of an already aligned crop
EASILY = 56.0           # cascade confidence that suffices without detected eyes
CASCADE_LOCK = Lock()         # OpenCV's cascades are not thread-safe


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a picture.

    box: x0, y0, x1, y1. points: (5, 2) in the order of TEMPLATE. score: higher is more certain, per detector.
    finder: the detector: yunet, haar, drawn, or hand for a marked box.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float
    finder: str

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


# ---------------------------------------------------------------------------------------------------------- finding

def find(image: Image.Image) -> list[Face]:
    """The faces in an upright RGB picture (core.reading.read), largest first. Raises PhotoError when there is none."""
    for finder in (_yunet, _haar, _drawn):
        faces = finder(image)
        if faces:
            return sorted(faces, key=lambda face: face.area, reverse=True)
    raise PhotoError("No face was found in this picture.",
                     "Use one that shows the whole face from the front, or mark the face by hand.")


def face_at(image: Image.Image, number: int, name: str) -> Face:
    """A face of a picture; 0 is the largest. name: of the argument. Raises PhotoError, SettingsError."""
    found = find(image)
    return found[whole(number, name, 0, len(found) - 1)]


def face_in(image: Image.Image, box: Sequence[float]) -> Face:
    """The face in a box (x0, y0, x1, y1) that the user has marked.

    Its points are detected inside the box if possible. Otherwise they are those of the template, so that the box, made
    square, is the crop. Raises PhotoError for a box outside the picture or too small.
    """
    x0, y0, x1, y1 = _checked(box, image.size)
    margin = 0.3 * max(x1 - x0, y1 - y0)
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    region = image.crop((left, top, min(image.width, int(x1 + margin)), min(image.height, int(y1 + margin))))
    try:
        found = [_shift_face(face, left, top) for face in find(region)]
    except PhotoError:
        found = []
    for face in found:
        if _overlap(face.box, (x0, y0, x1, y1)) > 0.3:
            return Face((x0, y0, x1, y1), face.points, face.score, "hand")
    side = max(x1 - x0, y1 - y0)
    corner = np.array([x0 + x1 - side, y0 + y1 - side]) / 2
    return Face((x0, y0, x1, y1), corner + TEMPLATE * (side / SIZE), 0.0, "hand")


def _checked(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Validate a box and clip it to the picture."""
    try:
        x0, y0, x1, y1 = (float(value) for value in box)
    except (TypeError, ValueError) as error:
        raise PhotoError("A box is four numbers: left, top, right, bottom.", "Mark the face again.") from error
    x0, x1 = np.clip((x0, x1), 0, size[0]).tolist()
    y0, y1 = np.clip((y0, y1), 0, size[1]).tolist()
    if not (x1 - x0 >= SMALLEST and y1 - y0 >= SMALLEST):
        raise PhotoError(f"This box is smaller than {SMALLEST} pixels or outside the picture.",
                         "Mark the whole face, from forehead to chin.")
    return x0, y0, x1, y1


def _shift_face(face: Face, x: float, y: float) -> Face:
    """Shift a face that was found in a region with corner (x, y)."""
    x0, y0, x1, y1 = face.box
    return Face((x0 + x, y0 + y, x1 + x, y1 + y), face.points + np.array([x, y]), face.score, face.finder)


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


# --------------------------------------------------------------------------------------------------------- aligning

def align(image: Image.Image, points: np.ndarray, size: int = SIZE, frame: str = "aligned") -> Image.Image:
    """The aligned crop for networks, size × size: a least-squares similarity transform maps points (5, 2) to the
    template of a frame, one of FRAMES. Pixels outside the picture are black."""
    return _warp(image, similarity(points, FRAMES[frame] * (size / SIZE)), size)


def is_aligned(image: Image.Image) -> bool:
    """Whether a picture is already an aligned drawn face, by our landmark detector."""
    if image.width != image.height or not _has_landmarks():
        return False
    scale = image.width / SIZE
    target = (TEMPLATE + 0.5) * scale - 0.5
    points, surety = _detect_points(image, [_frame(target, 1)])
    least, most = IN_PLACE
    return bool(surety[0] > least and np.linalg.norm(points[0] - target, axis=1).max() < most * scale)


def crop(image: Image.Image, box: Sequence[float], size: int = SIZE) -> Image.Image:
    """The aligned crop of a face marked by hand: see `face_in`."""
    return align(image, face_in(image, box).points, size)


def _warp(image: Image.Image, matrix: np.ndarray, size: int) -> Image.Image:
    """Warp a picture by a similarity to size × size pixels, with area averaging when it shrinks."""
    import cv2

    shrink = max(1, int(1 / np.hypot(*matrix[:, 0])))
    corners = _mapped(_inverse(matrix), np.array([(0, 0), (size, 0), (0, size), (size, size)]))
    low = np.floor(corners.min(0) - 2 * shrink).clip(0, np.array(image.size) - 1).astype(int)
    high = np.ceil(corners.max(0) + 2 * shrink).clip(low + 1, image.size).astype(int)
    part = image.reduce(shrink, (*low.tolist(), *high.tolist()))
    small = np.array([(shrink, 0, low[0] + (shrink - 1) / 2), (0, shrink, low[1] + (shrink - 1) / 2), (0, 0, 1)])
    return Image.fromarray(cv2.warpAffine(np.asarray(part), matrix @ small, (size, size), flags=cv2.INTER_LINEAR))


def _mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (N, 2) by a (2, 3) matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a (2, 3) matrix."""
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


# ---------------------------------------------------------------------------------------------------- photographs

def _resize_for_detection(image: Image.Image, most: int) -> tuple[np.ndarray, float]:
    """The picture resized for detection, (H, W, 3), longer side DETECTION_SIDES[0] .. most; and the scale back."""
    longer = max(image.size)
    scale = longer / np.clip(longer, DETECTION_SIDES[0], most)
    size = [max(1, round(side / scale)) for side in image.size]
    return np.asarray(image if scale == 1 else image.resize(size, Image.Resampling.BILINEAR)), scale


def _yunet(image: Image.Image) -> list[Face]:
    """Faces by YuNet (Wu et al. 2023), if its file is here; it is never downloaded implicitly."""
    import cv2

    path = _yunet_file()
    if path is None:
        return []
    pixels, scale = _resize_for_detection(image, DETECTION_SIDES[1])
    try:
        detector = cv2.FaceDetectorYN.create(path, "", (pixels.shape[1], pixels.shape[0]), 0.7, 0.3)
        rows = detector.detect(np.ascontiguousarray(pixels[..., ::-1]))[1]
    except cv2.error as error:
        raise CheckpointError(f"{path} is not YuNet.", "Fetch it again:  python -m core fetch yunet") from error
    rows = np.zeros((0, 15)) if rows is None else rows.astype(np.float64)      # box (4), points (10), score
    rows[:, :14] *= scale
    return [Face((row[0], row[1], row[0] + row[2], row[1] + row[3]), row[4:14].reshape(5, 2), row[14], "yunet")
            for row in rows]


def _yunet_file() -> str | None:
    from core import hub

    return str(hub.file("yunet")) if hub.place(hub.row("yunet")) else None


@cache
def _cascade(name: str):
    """One of OpenCV's cascades; calls must hold the lock CASCADE_LOCK."""
    import cv2

    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")


def _hits(name: str, gray: np.ndarray, smallest: int) -> Iterator[tuple[float, ...]]:
    """(x, y, width, height, confidence) of cascade detections, `smallest` pixels or larger."""
    with CASCADE_LOCK:
        boxes, _, weights = _cascade(name).detectMultiScale3(gray, 1.1, 4, minSize=(smallest, smallest),
                                                             outputRejectLevels=True)
    for box, weight in zip(boxes, weights, strict=True):
        yield *map(float, box), float(weight)


def _haar(image: Image.Image) -> list[Face]:
    """Faces by the frontal cascade (Viola and Jones 2001), at the first rotation with certain detections.

    The cascade alone has false positives such as folds and coins, so eyes must be detected too. If no rotation gives a
    certain detection, upright faces are accepted with fewer detected eyes, or with none (sunglasses, closed eyes) if
    the cascade's confidence is high.
    """
    upright = _haar_hits(image, 0, DETECTION_SIDES[1])
    for degrees in TURNS:
        hits = _haar_hits(image, degrees, DETECTION_SIDES[0]) if degrees else upright
        faces = [face for face, _ in hits if face.score > 0.5]
        if faces:
            return _refined(image, faces)
    return _refined(image, [face for face, ease in upright if face.score == 0.5 or ease > EASILY])


def _haar_hits(image: Image.Image, degrees: float, most: int) -> list[tuple[Face, float]]:
    """Detections of the frontal cascade in the rotated picture, at most `most` pixels a side, with confidences."""
    import cv2

    pixels, scale = _resize_for_detection(image, most)
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    turn, size = _turn(degrees, gray.shape[1], gray.shape[0])
    turned = cv2.warpAffine(gray, turn, size) if degrees else gray
    back = _inverse(turn) * scale + (scale - 1) / 2 * np.array([0, 0, 1])       # from the canvas to the picture
    return [(_haar_face(image, back, x, y, side), ease)
            for x, y, side, _, ease in _hits("frontalface_alt2", turned, 40)]


def _turn(degrees: float, width: int, height: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The matrix that rotates a picture onto a canvas that contains all of it, and the canvas size."""
    import cv2

    turn = cv2.getRotationMatrix2D((0, 0), degrees, 1)
    corners = _mapped(turn, np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], float))
    turn[:, 2] = -corners.min(0)
    size = np.ceil(np.ptp(corners, 0)).astype(int) + 1
    return turn, (int(size[0]), int(size[1]))


def _haar_face(image: Image.Image, back: np.ndarray, x: float, y: float, side: float) -> Face:
    """A cascade detection as a face; its score is the share of detected eyes."""
    square = back @ np.array([(side, 0, x - 0.5), (0, side, y - 0.5), (0, 0, 1)])
    eyes, sightings = _eyes(image, square)
    points = _mapped(similarity(TEMPLATE[:2], eyes), TEMPLATE)              # other points from the template
    return Face(_bounds(square), _mapped(square, points), sightings, "haar")


def _eyes(image: Image.Image, square: np.ndarray) -> tuple[np.ndarray, float]:
    """Both eyes, (2, 2) relative to a face's square, and the share of detections (two cascades, two eyes), 0 .. 1.

    A missing eye gets its usual position. Unless both are detected, the share is below a half.
    """
    import cv2

    gray = cv2.cvtColor(np.asarray(_patch(image, square, PATCH)), cv2.COLOR_RGB2GRAY)
    seen = [_centres(name, gray) for name in ("eye", "eye_tree_eyeglasses")]
    each = [[place for centres in seen for place in _near(centres, usual)] for usual in EYES]
    eyes = [np.mean(places, 0) if places else usual for places, usual in zip(each, EYES, strict=True)]
    share = sum(map(len, each)) / 4
    return np.array(eyes), share if all(each) else min(share, 0.25)


def _centres(name: str, gray: np.ndarray) -> np.ndarray:
    """Eye detections in the upper part of a patch, (N, 2) relative to its size."""
    upper = gray[:round(PATCH * (EYES[0][1] + EYE_WINDOW + 0.1))]
    centres = [(x + width / 2, y + height / 2) for x, y, width, height, _ in _hits(name, upper, PATCH // 8)]
    return np.array(centres).reshape(-1, 2) / PATCH


def _near(centres: np.ndarray, usual: tuple[float, float]) -> list[np.ndarray]:
    """The mean of the centres near the usual eye position; empty if there are none."""
    near = centres[np.abs(centres - usual).max(1) < EYE_WINDOW]
    return [near.mean(0)] if len(near) else []


# --------------------------------------------------------------------------------------------------------- squares

# A square is a (2, 3) matrix from relative coordinates, with corners (0, 0) and (1, 1), to the picture; may be rotated.

def _patch(image: Image.Image, square: np.ndarray, size: int) -> Image.Image:
    """The content of a square, resized to size × size pixels."""
    return _warp(image, _inverse(square @ np.array([(1, 0, 0.5), (0, 1, 0.5), (0, 0, size)]) / size), size)


def _bounds(square: np.ndarray) -> tuple[float, float, float, float]:
    """The upright box around a square."""
    corners = _mapped(square, np.array([(0, 0), (1, 0), (0, 1), (1, 1)], float))
    return (*corners.min(0).tolist(), *corners.max(0).tolist())


def _frame(points: np.ndarray, width: float) -> np.ndarray:
    """The square around a face's points, `width` aligned crops wide, rotated with the face."""
    side, corner = width * SIZE, (1 - width) / 2 * SIZE
    return similarity(TEMPLATE, points) @ np.array([(side, 0, corner), (0, side, corner), (0, 0, 1)])


# ----------------------------------------------------------------------------------------------------- drawn faces

def _drawn(image: Image.Image) -> list[Face]:
    """Faces by our landmark detector: sliding windows of three sizes, then a second pass on each detection."""
    if not _has_landmarks():
        return []
    points, surety = _detect_points(image, _windows(*image.size))
    points, surety = _detect_points(image, [_frame(p, LOOSELY) for p in points[surety > SURE]])
    faces = [Face(_bounds(_frame(p, 1)), p, float(s), "drawn") for p, s in zip(points, surety, strict=True) if s > SURE]
    kept = []
    for face in sorted(faces, key=lambda face: face.score, reverse=True):
        if all(_overlap(face.box, other.box) < 0.3 for other in kept):
            kept.append(face)
    return kept


def _refined(image: Image.Image, faces: list[Face]) -> list[Face]:
    """Cascade faces with five detected points, where the landmark detector is certain and agrees on the eyes.

    It was not trained on photographs, so its points are only used if both agree.
    """
    if not _has_landmarks():
        return faces
    points, surety = _detect_points(image, [_frame(face.points, LOOSELY) for face in faces])
    return [replace(face, points=p) if s > LIKELY and _agree(face, p) else face
            for face, p, s in zip(faces, points, surety, strict=True)]


def _agree(face: Face, points: np.ndarray) -> bool:
    """Whether points look like a face and, if its eyes were detected, agree with them."""
    matrix = similarity(points, TEMPLATE)                                       # distances in aligned pixels
    strange = np.linalg.norm(_mapped(matrix, points) - TEMPLATE, axis=1).max()
    apart = np.linalg.norm(_mapped(matrix, face.points[:2]) - _mapped(matrix, points[:2]), axis=1).max()
    return strange < STRANGE and (apart < APART or face.score < 0.5)


def _has_landmarks() -> bool:
    from core import hub

    return hub.known("landmarks-tiny")


def _detect_points(image: Image.Image, squares: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks in each square: five points (N, 5, 2), and the logit of face presence (N,)."""
    import torch

    from core import hub, images

    if not squares:
        return np.zeros((0, 5, 2)), np.zeros(0)
    with torch.inference_mode():
        patches = images.to_tensor([_patch(image, square, LANDMARK_SIZE) for square in squares])    # (N, 3, 96, 96)
        points, logits = hub.load("landmarks-tiny", "cpu")(patches)
    parts = (points.double().numpy() + 1) / 2
    return np.stack([_mapped(square, p) for square, p in zip(squares, parts, strict=True)]), logits.double().numpy()


def _windows(width: int, height: int) -> list[np.ndarray]:
    """Sliding windows: one square around the picture, and up to three sizes with half overlap."""
    longer, shorter = max(width, height), min(width, height)
    squares = [((width - longer) / 2, (height - longer) / 2, longer)]
    for side in (shorter * part for part in (1, 0.6, 0.36) if shorter * part > longer / 8):
        columns, rows = (np.linspace(0, whole - side, int(np.ceil(2 * whole / side)) - 1) for whole in (width, height))
        squares += [(x, y, side) for y in rows for x in columns]
    return [np.array([(side, 0, x - 0.5), (0, side, y - 0.5)]) for x, y, side in squares]
