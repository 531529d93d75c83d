"""From a face to a picture: measures, surfaces, pose, camera, light, paint. Same numbers, same picture."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from core.alignment import SIZE, TEMPLATE, similarity
from core.faces_v3 import raster
from core.faces_v3.measure import measure
from core.faces_v3.shape import head_points, parts

VIEWS = ("portrait", "aligned")
_SCALARS = (
    "child old lines adult melanin freckles man age gray closed seed birth width chin ex ey ez eye_r eye_w tilt lid_up "
    "lid_low crease hood iris_r gaze_x gaze_y lash nose_w nose_tip nose_base nose_lift my mw lift open_up "
    "open_low lip_up lip_low bow fold drop by brow_in brow_out brow_arch brow_x0 brow_x1 brow_t brow_a shell "
    "stubble part curl fringe cloth_kind hat_kind smile anger sadness surprise eye_makeup lip_makeup beard "
    "moustache sideburns sunglasses light"
).split()
_COLOURS = (
    "skin hair brow_colour beard_colour iris lips shadow_tint cloth cloth2 backdrop hat_colour frame gold".split()
)
_RECORD = np.dtype([(n, "f8") for n in _SCALARS if n not in ("seed", "birth")] + [("seed", "i8"), ("birth", "i8")]
                   + [(n, "f8", (3,)) for n in _COLOURS])
_SKY = np.array(
    [(0.0, 1.0, 0.25), (0.75, 0.55, 0.45), (-0.75, 0.55, 0.45), (0.35, 0.1, 1.0), (-0.35, 0.1, 1.0), (0.0, -0.5, 0.9)]
)
_SKY = _SKY / np.linalg.norm(_SKY, axis=1, keepdims=True)


def draw(face, size=128, view="portrait"):
    """Draw a face.

    size: side in pixels, 32 to 512. view: "portrait" (head and shoulders, as posed) or "aligned" (the square whose
    112-pixel form carries eyes, nose and mouth at the five points of the recognition template; roll is undone).
    Returns (size, size, 3) uint8, sRGB. Raises ValueError for another size or view.
    """
    _check(size, view)
    fine = size * (3 if size <= 64 else 2)
    m, screen, values, world, table = _scene(face, fine, view)
    p = _record(m)
    _light(values, world, table, m)
    depth, kind, buffer = raster.rasterise(screen, values, table, fine, False, p)
    image = raster.shade(kind, buffer, _key(m), p)
    if face.look.glasses > 0.5 or face.look.sunglasses > 0.5:
        raster.glaze(image, depth, *raster.rasterise(screen, values, table, fine, True, p), p)
    return _develop(image, size, face.look)


def points(face, size=128, view="portrait"):
    """The five points of recognition (left eye of the picture, right eye, nose tip, corners of the mouth).

    Returns (5, 2) float, x and y in pixels of a picture of this size. Raises as `draw` does.
    """
    _check(size, view)
    m = measure(face)
    return _camera(_five(m, head_points(m)[0], face.look), size, view)


def draw_with_points(face, size=128, view="portrait"):
    """What `draw` and `points` give. Raises as `draw` does."""
    return draw(face, size, view), points(face, size, view)


def draw_many(faces, size=128, view="portrait", workers=None):
    """Draw faces in order on several processes; yields (size, size, 3) uint8. workers: 1 draws in this process."""
    _check(size, view)
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from (draw(face, size, view) for face in faces)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        yield from pool.map(_draw_task, ((face, size, view) for face in faces), chunksize=8)


def _draw_task(task):
    return draw(*task)


def _check(size, view):
    if not 32 <= size <= 512:
        raise ValueError(f"a face of {size} pixels can't be drawn; choose a size from 32 to 512")
    if view not in VIEWS:
        raise ValueError(f"unknown view {view!r}; choose one of {', '.join(VIEWS)}")


def _record(m):
    """The measures as one record that compiled paint can read."""
    k, i = m.k, m.i
    extra = dict(
        age=k.age,
        melanin=i.melanin,
        freckles=i.freckles,
        birth=i.number * 31 % 9973 + 17,
        fringe=k.fringe,
        smile=k.smile,
        anger=k.anger,
        sadness=k.sadness,
        surprise=k.surprise,
        eye_makeup=k.eye_makeup,
        lip_makeup=k.lip_makeup,
        beard=k.beard,
        moustache=k.moustache,
        sideburns=k.sideburns,
        sunglasses=k.sunglasses,
        light=k.light_side,
        beard_colour=m.hair * 0.85,
        stubble=0.75 if m.shell == 0 and k.bald < 0.5 else 0.0,
    )
    row = np.zeros((), _RECORD)
    for name in _RECORD.names:
        row[name] = extra.get(name, getattr(m, name, None) if name not in extra else None)
    return row[()]


def _turn(yaw, pitch, roll):
    """Rotation for angles in degrees: yaw to the right, pitch up, roll clockwise."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.radians([yaw, pitch, roll])), np.sin(np.radians([yaw, pitch, roll]))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _pose(points, look, turns):
    """Turn about the top of the neck; returns points of the same shape."""
    pivot = np.array([0.0, -0.62, -0.15])
    turn = _turn(look.yaw * turns, look.pitch * turns, look.roll * turns)
    return (points - pivot) @ turn.T + pivot


def _scene(face, size, view):
    """Everything that the rasteriser needs: measures, screen (V, 3), values (V, 11), world (V, 3), table (T, 4)."""
    m = measure(face)
    surfaces = parts(m)
    world, normals, rest, values, table, first = [], [], [], [], [], 0
    for part in surfaces:
        rows, columns = part.points.shape[:2]
        posed = _pose(part.points, face.look, part.turns)
        world.append(posed.reshape(-1, 3))
        normals.append(_normals(posed).reshape(-1, 3))
        rest.append(part.points.reshape(-1, 3))
        values.append(part.values.reshape(-1, 3))
        table.append((part.material, first, rows, columns))
        first += rows * columns
    world = np.concatenate(world)
    packed = np.concatenate(
        [np.concatenate(rest), np.concatenate(normals), np.ones((first, 2)), np.concatenate(values)], 1
    )
    five = _five(m, surfaces[0].points, face.look)
    flat = _camera(world, size, view, five)
    screen = np.concatenate([flat + 0.5, world[:, 2:]], 1)  # the rasteriser counts from the edge
    return m, np.ascontiguousarray(screen), np.ascontiguousarray(packed), world, np.array(table, np.int64)


def _normals(points):
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    n = np.cross(down, across)
    return n / np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-9)


def _five(m, head, look):
    """The five points in the posed world: (5, 3)."""
    z = m.ez + m.eye_r
    tip = head[(head[..., 2]).argmax() // head.shape[1], head[..., 2].argmax() % head.shape[1]]
    corner = np.abs(np.abs(head[..., 0]) - m.mw) + np.abs(head[..., 1] - m.my - m.lift * 0.7) + (head[..., 2] < 0)
    zc = head.reshape(-1, 3)[corner.argmin(), 2]
    cy = m.my + m.lift * 0.72
    five = np.array([[-m.ex, m.ey, z], [m.ex, m.ey, z], tip * [0, 1, 1], [-m.mw, cy, zc], [m.mw, cy, zc]])
    return _pose(five, look, 1.0)


def _camera(world, size, view, five=None):
    """Perspective from seven units away; (N, 2) pixels, whole numbers being their centres."""
    flat = lambda q: np.stack([q[:, 0], -q[:, 1]], 1) * (7 / (7.6 - q[:, 2:]))  # noqa: E731
    if view == "portrait":
        centre = np.array([0.0, 0.14])
        return (flat(world) - centre) * (size / 2.72) + size / 2 - 0.5
    matrix = similarity(flat(world if five is None else five), (TEMPLATE + 0.5) * (size / SIZE) - 0.5)
    return flat(world) @ matrix[:, :2].T + matrix[:, 2]


def _key(m):
    key = np.array([0.95 * m.k.light_side, 0.55, 0.85])
    return key / np.linalg.norm(key)


def _light(values, world, table, m):
    """Fill in what each vertex sees of the key light and of the sky (values[:, 6] and [:, 7])."""
    reach = values[:, 8].copy()
    values[:, 6] = raster.seen_from(world, reach, table, _key(m), 64, 0.12)
    sky = sum(raster.seen_from(world, reach, table, direction, 48, 0.16) for direction in _SKY) / len(_SKY)
    values[:, 7] = 0.25 + 0.75 * sky ** 1.3
    raster.soften(values, table)


def _develop(image, size, look):
    """Average the samples, focus, expose, and turn linear light into 8-bit sRGB with a soft shoulder."""
    n = image.shape[0] // size
    image = image.reshape(size, n, size, n, 3).mean((1, 3))
    image = _focus(image, look.blur * size / 40) * 2.0 ** (1.25 * look.exposure)
    image = np.where(image < 0.6, image, 0.6 + 0.4 * np.tanh((image - 0.6) / 0.4))
    srgb = np.where(image <= 0.0031308, 12.92 * image, 1.055 * np.maximum(image, 1e-9) ** (1 / 2.4) - 0.055)
    return np.clip(np.round(srgb * 255), 0, 255).astype(np.uint8)


def _focus(image, sigma):
    """Gaussian blur; sigma in pixels."""
    if sigma < 0.15:
        return image
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        image = sum(w * np.take(padded, range(i, i + image.shape[axis]), axis) for i, w in enumerate(kernel))
    return image
