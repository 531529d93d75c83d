"""The sculpted head that faces are drawn from: `load_head()` reads checkpoints/head.safetensors, once per process.

Lengths are in decimetres, x to the viewer's right, y up, z towards the viewer. V vertices of the coarse mesh, W of the
fine one, which has one Catmull-Clark step; the first V of the fine vertices are the coarse ones, moved.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from core.faces.headfile import HEAD_FILE, check_head, read_head
from core.faces.maps import MAP_LEFT, MAPS, map_pixels
from core.faces.subdivision import Weights, catmull_clark, smoothed, split_corners
from core.faces.template import scalp_field

SKIN, UPPER_TEETH, LOWER_TEETH, TONGUE, EYEBALL = 0, 2, 3, 4, 5  # values of `part`
WEIGHT_STEPS = 65_535  # roots' weights are stored in steps of 1 / 65,535
SMILES = ("mouthSmile", "mouthStretch", "cheekSquint", "mouthDimple", "noseSneer", "mouthUpperUp")
SMOOTHING_STEPS, SMOOTHING_SHARE = 36, 0.6  # of the "soft" copies of those actions
EYE_CENTRE = (0.308, 7.284, 1.245)  # dm: |x|, y, z
LID_LINE_Y = 7.276                  # dm: lashes above it belong to the upper lid


@dataclass(frozen=True, eq=False)
class Roots:
    """Fixed places on the fine mesh from which hairs grow; N of them."""

    triangle: np.ndarray  # (N,) int32, row of Head.triangles
    weights: np.ndarray   # (N, 3) float32 of its corners, sum 1
    position: np.ndarray  # (N, 3) float32 dm on the template


@dataclass(frozen=True, eq=False)
class ScalpRoots(Roots):
    """13,000 roots of scalp hair."""

    edge: np.ndarray  # (N,) float32 dm above the hairline


@dataclass(frozen=True, eq=False)
class BeardRoots(Roots):
    """5,200 roots of beard and moustache."""

    is_moustache: np.ndarray  # (N,) bool


@dataclass(frozen=True, eq=False)
class BrowRoots(Roots):
    """3,400 roots in a wide strip around both brows."""

    along: np.ndarray   # (N,) float32, share of the brow's length from the nose outwards
    side: np.ndarray    # (N,) int8: -1 the viewer's left, 1 right
    offset: np.ndarray  # (N,) float32 upwards from the middle of the brow, in widths of the brow


@dataclass(frozen=True, eq=False)
class Head:
    """All that is fixed; arrays are read-only."""

    template: np.ndarray          # (V, 3) float32 dm
    fine_template: np.ndarray     # (W, 3) float32 dm
    shapes: np.ndarray            # (K, 3 V) float32 dm, displacements of all vertices at weight 1
    row: dict[str, int]           # "corner/…", "local/…" (minus is the next row), "asym/…", "action/…", "soft/…"
    subdivision: Weights          # (W, V)
    coarse_triangles: np.ndarray  # (T0, 3) int32, without eyeballs
    triangles: np.ndarray         # (T, 3) int32 of the fine mesh, without eyeballs
    part: np.ndarray              # (T,) int32: SKIN, UPPER_TEETH, LOWER_TEETH or TONGUE
    uv: np.ndarray                # (T, 3, 2) float32 texture coordinates, v upwards
    maps: np.ndarray              # (H, W, 26) float32, named by maps.MAPS
    triangle_maps: np.ndarray     # (T, 26) float32: the maps at the triangles' centres, 0 left of the maps
    scalp: ScalpRoots
    beard: BeardRoots
    brows: BrowRoots
    lash_vertices: np.ndarray      # (L,) int32
    lash_lid_vertices: np.ndarray  # (L,) int32: the skin vertex nearest to each
    lash_edges: np.ndarray         # (E, 2) int32 vertices, from the lid outwards
    lash_sets: dict[tuple[bool, int], np.ndarray]  # (upper lid, -1 or 1) -> rows of lash_edges, from the nose outwards
    eye_vertices: tuple[np.ndarray, np.ndarray]    # of the eyeballs, the viewer's left (-x) first
    upper_teeth: np.ndarray       # vertices
    lower_teeth: np.ndarray       # vertices
    ear_lobes: tuple[int, int]    # a vertex of each, the viewer's left (-x) first
    landmarks: dict[str, int]     # mouth, mouth_left (+x), mouth_right, nose, bridge, chin, brow, forehead -> vertex
    joints: dict[str, np.ndarray]  # head, neck, jaw, … -> the vertices around it
    skin_vertices: np.ndarray     # (W,) bool
    ear_vertices: np.ndarray      # (W,) bool

    def subdivide(self, points: np.ndarray) -> np.ndarray:
        """Values (V, C) of the coarse vertices -> (W, C) float32 of the fine ones."""
        return self.subdivision.apply(points)


@cache
def load_head() -> Head:
    """The head, read once per process. Raises CheckpointError when its file is missing, changed or damaged."""
    check_head(HEAD_FILE)
    stored, facts = read_head(HEAD_FILE)
    template, faces, face_part = stored["template"], stored["faces"].astype(np.int64), stored["part"]
    subdivision, quads = catmull_clark(faces, len(template))
    part, fine = np.tile(face_part, 4), subdivision.apply(template)
    triangles = fine_triangles(quads, part).astype(np.int32)
    uv = fine_triangles(split_corners(stored["uv"]), part)
    triangle_part = np.tile(part[part != EYEBALL], 2).astype(np.int32)
    maps = _decoded(stored["maps"], stored["map_scales"], stored["map_zeros"])
    triangle_maps = sample_maps(maps, uv.mean(1))
    shapes, row = _shapes(stored["shapes"], facts, faces)
    body = np.unique(faces[face_part == SKIN])
    lash_edges = _lash_edges(template, stored["lashes"])
    lash_vertices = np.unique(stored["lashes"]).astype(np.int32)
    head = Head(
        template=template, fine_template=fine, shapes=shapes, row=row, subdivision=subdivision,
        coarse_triangles=fine_triangles(faces, face_part).astype(np.int32), triangles=triangles, part=triangle_part,
        uv=uv, maps=maps, triangle_maps=triangle_maps, **_roots(stored, fine, triangles),
        lash_vertices=lash_vertices, lash_lid_vertices=_nearest(template[lash_vertices], template[body], body),
        lash_edges=lash_edges, lash_sets=_lash_sets(template, lash_edges),
        eye_vertices=_eyes(template, faces[face_part == EYEBALL]),
        upper_teeth=np.unique(faces[face_part == UPPER_TEETH]), lower_teeth=np.unique(faces[face_part == LOWER_TEETH]),
        ear_lobes=(_ear_lobe(template, shapes[row["local/r-ear-lobe-incr"]]),
                   _ear_lobe(template, shapes[row["local/l-ear-lobe-incr"]])),
        landmarks=_landmarks(template, body),
        joints=dict(zip(facts["joints"], stored["joints"].astype(np.int32), strict=True)),
        skin_vertices=_among(triangles[triangle_part == SKIN], len(fine)),
        ear_vertices=_among(triangles[triangle_maps[:, MAPS.index("ears")] > 0.3], len(fine)))
    _freeze(head)
    return head


def fine_triangles(values: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Corner values (Q, 4, ...) of four-sided faces for two triangles each: (2 Q', 3, ...), eyeballs left out."""
    values = values[part != EYEBALL]
    return np.ascontiguousarray(np.concatenate([values[:, [0, 1, 2]], values[:, [0, 2, 3]]]))


def sample_maps(maps: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """The maps (H, W, C) at texture coordinates (N, 2): (N, C), the nearest pixel; 0 left of the maps."""
    height, width = maps.shape[:2]
    x, y = map_pixels(uv).astype(int).T
    return maps[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] * (uv[:, :1] > MAP_LEFT)


def _decoded(codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """Maps stored as bytes (C, H, W) -> (H, W, C) float32."""
    values = np.ascontiguousarray(codes.transpose(1, 2, 0)).astype(np.float32)
    values -= zeros
    values *= scales
    return values


def _shapes(stored: np.ndarray, facts: dict, faces: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
    """Shapes (K, 3 V) in dm, from stored ones (K', 3, V) in steps, and the row of each label.

    The sculpted folds of a smile are adult-sized and would cut into a child's cheek, so smoothed copies are appended.
    """
    row, count = {}, 0
    for kind, labels in facts["labels"].items():
        for label in labels:
            row[f"{kind}/{label}"] = count
            count += 2 if kind == "local" else 1
    soft = [name for name in row if name.startswith(tuple(f"action/{smile}" for smile in SMILES))]
    shapes = np.empty((len(stored) + len(soft), stored.shape[2], 3), np.float32)
    np.multiply(stored.transpose(0, 2, 1), np.float32(facts["step_dm"]), out=shapes[:len(stored)])
    moves = shapes[[row[name] for name in soft]].transpose(1, 0, 2)
    moves = smoothed(moves.reshape(len(moves), -1), faces, SMOOTHING_STEPS, SMOOTHING_SHARE)
    shapes[len(stored):] = moves.reshape(len(moves), len(soft), 3).transpose(1, 0, 2)
    row |= {name.replace("action/", "soft/"): len(stored) + k for k, name in enumerate(soft)}
    return shapes.reshape(len(shapes), -1), row


def _roots(stored: dict[str, np.ndarray], fine: np.ndarray, triangles: np.ndarray) -> dict[str, Any]:
    """The fields scalp, beard and brows."""
    def place(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        triangle = stored[f"{name}_triangle"]
        outer = stored[f"{name}_weights"].astype(np.float32) / np.float32(WEIGHT_STEPS)
        weights = np.concatenate([1 - outer.sum(1, keepdims=True), outer], 1)
        return triangle, weights, (fine[triangles[triangle]] * weights[:, :, None]).sum(1)

    scalp = place("scalp")
    return {"scalp": ScalpRoots(*scalp, scalp_field(scalp[2]).astype(np.float32)),
            "beard": BeardRoots(*place("beard"), stored["beard_is_moustache"].astype(bool)),
            "brows": BrowRoots(*place("brow"), stored["brow_along"], stored["brow_side"], stored["brow_offset"])}


def _nearest(points: np.ndarray, others: np.ndarray, names: np.ndarray) -> np.ndarray:
    """For each point (N, 3) the name (int32) of the nearest of the others (M, 3)."""
    distance = ((points[:, None] - others) ** 2).sum(2)
    return names[distance.argmin(1)].astype(np.int32)


def _eye_distance(template: np.ndarray) -> np.ndarray:
    """Distance in dm of every vertex from the centre of the eye on its side."""
    centre = np.tile(np.array(EYE_CENTRE), (len(template), 1))
    centre[:, 0] *= np.sign(template[:, 0])
    return np.linalg.norm(template - centre, axis=1)


def _lash_edges(template: np.ndarray, strips: np.ndarray) -> np.ndarray:
    """Edges of the strips that lead away from the eye, inner end first."""
    edges = np.concatenate([strips[:, [k, (k + 1) % 4]] for k in range(4)]).astype(np.int32)
    edges = np.unique(np.sort(edges, 1), axis=0)
    distance = _eye_distance(template)
    longer = distance[edges[:, 1]] - distance[edges[:, 0]]
    edges[longer < 0] = edges[longer < 0, ::-1]
    return edges[np.abs(longer) > 0.012]


def _lash_sets(template: np.ndarray, edges: np.ndarray) -> dict[tuple[bool, int], np.ndarray]:
    """Per lid and side one edge for every 0.02 dm of its width: the one that starts nearest to the eye."""
    x, y = template[edges[:, 0], 0], template[edges[:, 0], 1]
    distance, sets = _eye_distance(template)[edges[:, 0]], {}
    for upper in (True, False):
        for side in (-1, 1):
            rows = np.flatnonzero(((y > LID_LINE_Y) == upper) & (np.sign(x) == side))
            rows = rows[np.argsort(np.abs(x[rows]))]
            chosen = []
            for start in np.arange(0.17, 0.47, 0.02):
                here = rows[(np.abs(x[rows]) >= start) & (np.abs(x[rows]) < start + 0.02)]
                if len(here):
                    chosen.append(here[np.argmin(distance[here])])
            sets[(upper, side)] = np.array(chosen, np.int32)
    return sets


def _eyes(template: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side = np.sign(template[faces[:, 0], 0])
    return np.unique(faces[side == -1]), np.unique(faces[side == 1])


def _ear_lobe(template: np.ndarray, growth: np.ndarray) -> int:
    """The vertex below y = 6.95 that moves most where the lobe grows."""
    return int(np.argmax(np.linalg.norm(growth.reshape(-1, 3), axis=1) - 10 * (template[:, 1] > 6.95)))


def _landmarks(template: np.ndarray, body: np.ndarray) -> dict[str, int]:
    """The skin vertices nearest to places seen from the front."""
    def near(x: float, y: float, behind: float = 0.9) -> int:
        away = np.abs(template[body, 0] - x) + np.abs(template[body, 1] - y) + 10 * (template[body, 2] < behind)
        return int(body[np.argmin(away)])

    return {"mouth": near(0, 6.60, 1.4), "mouth_left": near(0.27, 6.62), "mouth_right": near(-0.27, 6.62),
            "nose": near(0, 6.96, 1.5), "bridge": near(0, 7.30, 1.2), "chin": near(0, 6.2), "brow": near(0, 7.5),
            "forehead": near(0, 8.0, 0.8)}


def _among(triangles: np.ndarray, count: int) -> np.ndarray:
    used = np.zeros(count, bool)
    used[triangles] = True
    return used


def _freeze(value) -> None:
    """Make every array inside read-only."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    elif isinstance(value, dict):
        _freeze(tuple(value.values()))
    elif isinstance(value, tuple):
        for item in value:
            _freeze(item)
    elif hasattr(value, "__dataclass_fields__"):
        for field in fields(value):
            _freeze(getattr(value, field.name))
