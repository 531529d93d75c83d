"""The shape of one head: blend weights from a face's numbers, the blended mesh, its size, and its pose.

Units are decimetres of the template; x to the right of the picture, y up, z towards the viewer. A blended head is
scaled so that the distances between the eyes and from eyes to mouth are the same for everyone, as a portrait frames
children and adults alike.
"""

from dataclasses import dataclass

import numpy as np

from core.faces.drivers import childhood, grown_up, local_changes
from core.faces.expression import actions, add_expression
from core.faces.head import Head
from core.faces.looks import Face
from core.faces.people import LABELS

# Years and where the sculpted ages lie for them: 0 baby, 1/3 child, 2/3 young, 1 old.
_YEARS = (0, 1, 4, 8, 12, 16, 20, 25, 32, 40, 50, 60, 75, 92)
_SCULPTED = (0.03, 0.05, 0.10, 0.175, 0.265, 0.43, 0.60, 0.667, 0.735, 0.82, 0.90, 0.955, 1.01, 1.06)


@dataclass(frozen=True)
class Shape:
    """A blended head, scaled and turned.

    rest: (V, 3) and fine: (W, 3) the head unposed, in units of face size, around the pivot of the neck. normals: (W, 3)
    of `fine`. posed: (W, 3), posed_coarse: (V, 3) and posed_normals: (W, 3). turn: (3, 3) rotation of the head.
    eyes: (2, 3) centres of the eyeballs (right of the person first), eye_radius: (2,). actions: strength by ARKit name.
    centre: (3,) centre of the unposed skull and scale its size against the template's. brow: (3,) and bridge: (3,)
    landmarks; lobes: (2, 3). cheek_width: half the width of the face against the template's. cloth: (W,) in [0, 1].
    """

    rest: np.ndarray
    fine: np.ndarray
    normals: np.ndarray
    posed: np.ndarray
    posed_coarse: np.ndarray
    posed_normals: np.ndarray
    turn: np.ndarray
    eyes: np.ndarray
    eye_radius: np.ndarray
    actions: dict
    centre: np.ndarray
    scale: float
    bridge: np.ndarray
    lobes: np.ndarray
    cheek_width: float
    cloth: np.ndarray
    face_centre: np.ndarray
    five: np.ndarray


def _between(value: float, anchors: tuple[float, ...]) -> list[float]:
    """Piecewise linear weights of the anchors around a value; they sum to 1."""
    return [float(np.interp(value, anchors, np.eye(len(anchors))[i])) for i in range(len(anchors))]


def blend_weights(head: Head, face: Face) -> np.ndarray:
    """Weights of all shapes of the head for this face: (K,) float32."""
    weights = np.zeros(len(head.shapes), np.float32)
    _corners(head, face, weights)
    local = local_changes(face)
    rows = np.array([head.row[f"local/{label}"] for label in LABELS]) + (local < 0)  # the minus shape comes next
    weights[rows] += np.abs(local)
    for label, value in face.identity.asymmetry:
        weights[head.row[f"asym/{label}"]] += value * (1 - 0.6 * childhood(face.look.age))
    add_expression(head, face, weights)
    return weights


def _corners(head: Head, face: Face, weights: np.ndarray) -> None:
    """Sex, age, muscle, weight and origin: products of piecewise linear weights."""
    who, age = face.identity, face.look.age
    sculpted = max(float(np.interp(age, _YEARS, _SCULPTED)), 0.0)
    ages = dict(zip(("baby", "child", "young", "old"), _between(sculpted, (0, 1 / 3, 2 / 3, 1)), strict=True))
    man = face.look.gender
    man = 0.5 + (man - 0.5) * grown_up(age) * (1.46 if man < 0.5 else 1.40)  # sex is weak in the sculpts: extrapolated
    three = ("min", "average", "max")
    muscles = dict(zip(three, _between(who.muscle, (0, 0.5, 1)), strict=True))
    fats = dict(zip(three, _between(face.weight, (0, 0.5, 1)), strict=True))
    for sex, share in (("female", 1 - man), ("male", man)):
        for stage, part in ages.items():
            if not share * part:
                continue
            for muscle, m in muscles.items():
                for fat, f in fats.items():
                    if m * f:
                        weights[head.row[f"corner/{sex}-{stage}-{muscle}muscle-{fat}weight"]] = share * part * m * f
            for origin, o in zip(("african", "asian", "caucasian"), who.origin, strict=True):
                weights[head.row[f"corner/{origin}-{sex}-{stage}"]] = share * part * o


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rotation, degrees: positive yaw turns to the right of the picture, pitch up, roll clockwise."""
    a, b, c = np.radians((yaw, -pitch, -roll))
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    lean = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return turn @ nod @ lean


def build(head: Head, face: Face) -> Shape:
    """The blended, scaled and posed head of a face."""
    from core.faces.raster import vertex_normals

    weights = blend_weights(head, face)
    vertices, moved = _blend(head, weights, face)
    neutral = vertices - moved
    eyes = np.array([neutral[rows].mean(0) for rows in head.eye_vertices])
    mouth = 0.5 * (neutral[head.landmarks["mouth_left"]] + neutral[head.landmarks["mouth_right"]])
    middle = eyes.mean(0)
    size = 0.5 * (np.linalg.norm(eyes[1] - eyes[0]) / 0.62 + np.linalg.norm(middle - mouth) / 0.70)
    joint = neutral[head.joints["head"]].mean(0)
    pivot = 0.5 * joint + 0.5 * neutral[head.joints["neck"]].mean(0)

    def scaled(points):
        return (points - pivot) / size

    rest = scaled(vertices).astype(np.float32)
    fine = head.subdivide(rest)
    normals = vertex_normals(fine, head.triangles)
    turn = rotation(face.look.yaw, face.look.pitch, face.look.roll)
    stiff = _head_share(head)
    posed = _pose(fine, head.subdivide(stiff[:, None])[:, 0], face.look)
    cloth = _cloth(head, face)
    out = np.clip((cloth - 0.42) / 0.16, 0, 1) * 0.045
    posed = posed + vertex_normals(posed, head.triangles) * out[:, None].astype(np.float32)
    top = fine[head.skin_vertices, 1].max()
    brow = scaled(neutral[head.landmarks["brow"]])
    scale = float(top - scaled(neutral[head.landmarks["chin"]])[1]) / 2.3
    at_cheek = head.skin_vertices & (np.abs(head.fine_template[:, 1] - 7.0) < 0.15) & (head.fine_template[:, 2] > 0.7)
    radius = np.array([0.25 * (np.ptp(neutral[rows, 0]) + np.ptp(neutral[rows, 1])) for rows in head.eye_vertices])
    centres = scaled(eyes)
    return Shape(
        rest=rest, fine=fine, normals=normals, posed=posed.astype(np.float32),
        posed_coarse=_pose(rest, stiff, face.look),
        posed_normals=vertex_normals(posed.astype(np.float32), head.triangles),
        turn=turn, eyes=centres, eye_radius=radius / size, actions=actions(face),
        centre=np.array([0, top - 0.92 * scale, brow[2] - 1.10 * scale]), scale=scale,
        bridge=scaled(neutral[head.landmarks["bridge"]]), lobes=scaled(neutral[list(head.ear_lobes)]),
        cheek_width=float(np.abs(fine[at_cheek, 0]).max()) / (0.72 * scale), cloth=cloth.astype(np.float32),
        face_centre=scaled(0.5 * middle + 0.5 * mouth) @ turn.T,
        five=_five(head, rest, centres, radius / size) @ turn.T,
    )


def _blend(head: Head, weights: np.ndarray, face: Face) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) with the expression, and what the expression alone moved (V, 3)."""
    used = np.flatnonzero(weights)
    vertices = head.template + (weights[used] @ head.shapes[used]).reshape(-1, 3)
    acting = used[used >= min(row for name, row in head.row.items() if name.startswith("action/"))]
    moved = (weights[acting] @ head.shapes[acting]).reshape(-1, 3)
    blink = moved[head.lash_lid_vertices] - moved[head.lash_vertices]  # sculpted lashes do not blink
    vertices[head.lash_vertices] += blink
    moved[head.lash_vertices] += blink
    jaw = min(1.0, 2 * actions(face).get("jawOpen", 0.0))  # the sculpted teeth sit high behind the lip
    vertices[head.upper_teeth] += np.array([0, -0.045, 0.01]) * jaw - np.array([0, 0, 0.02])
    vertices[head.lower_teeth] += np.array([0, 0.02, -0.02]) * jaw - np.array([0, 0, 0.05])
    return vertices, moved


def _head_share(head: Head) -> np.ndarray:
    """How far each vertex turns with the head: 0 at the shoulders, 1 above the neck. (V,) float32."""
    share = np.clip((head.template[:, 1] - 5.55) / 0.75, 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _pose(points: np.ndarray, share: np.ndarray, look, steps: int = 8) -> np.ndarray:
    """Turn points by their share of the head's angles; the shoulders take 35 % of the yaw. (N, 3) float32."""
    from core.faces.raster import turned

    body = 0.35 * look.yaw
    turns = np.array([rotation(body + (look.yaw - body) * i / steps, look.pitch * i / steps, look.roll * i / steps)
                      for i in range(steps + 1)], np.float32)
    return turned(points, share, turns)


def _cloth(head: Head, face: Face) -> np.ndarray:
    """How far inside the clothes each vertex of the fine mesh is; 0.5 is the neckline. (W,) in [0, 1]."""
    x, y, z = head.fine_template.T
    wear = face.unnamed
    radius = np.hypot(x, z - 0.1)
    dip = 0.35 * wear.neckline * np.clip(z, 0, 1) * (1.6 if wear.v_neck else 0.6) * np.exp(-((x / 0.35) ** 2))
    inside = radius - (0.55 + 0.10 * wear.neckline) + (5.62 - y) - dip
    cloth = np.clip(inside / 0.15, -1, 1) * 0.5 + 0.5
    cloth[y > 6.0] = 0
    return cloth


def _five(head: Head, rest: np.ndarray, eyes: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Both eyes (left of the picture first), the tip of the nose and the corners of the mouth: (5, 3), unposed."""
    marks = head.landmarks
    front = eyes + np.array([0, 0, 1.0]) * radius[:, None]
    return np.stack([front[0], front[1], rest[marks["nose"]], rest[marks["mouth_right"]], rest[marks["mouth_left"]]])
