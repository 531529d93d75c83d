"""From a face to a picture: shape, strands and accessories, light, paint, camera. Same numbers, same picture."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import islice, repeat
from multiprocessing import get_context

import numpy as np

from core.faces import light, raster
from core.faces.accessories import accessories
from core.faces.attributes import BLUR_SCALE
from core.faces.camera import VIEWS, Camera
from core.faces.head import load_head
from core.faces.looks import Face
from core.faces.picture import Lighting, Picture, assemble
from core.faces.shape import Shape, build
from core.faces.strands import all_strands

__all__ = ["draw", "draw_many", "draw_with_points", "points", "regions"]

_BRIGHTEST = 8.0         # linear light that is white on every film
_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_BLOCKS = 16             # faces that a worker of draw_many draws at a time


def draw(face: Face, size: int = 128, view: str = "portrait", like: Face | None = None) -> np.ndarray:
    """Draw a face.

    size: side in pixels, 32 to 512. view: see `Camera`. like: the face whose camera is used, so that what an edit of it
    leaves alone stays in its place. Returns (size, size, 3) uint8, sRGB. Raises ValueError for another size or view.
    """
    image, *_ = _render(face, size, view, like)
    return image


def draw_with_points(face: Face, size: int = 128, view: str = "portrait") -> tuple[np.ndarray, np.ndarray]:
    """What `draw` and `points` give, at the price of `draw` alone. Raises as `draw` does."""
    image, camera, shape, _ = _render(face, size, view)
    return image, _five(camera, shape) * (size / camera.size) - 0.5


def regions(face: Face, size: int = 128, view: str = "portrait") -> np.ndarray:
    """What each pixel of `draw` shows: (size, size) uint8 indices of `core.faces.REGIONS`. Raises as `draw` does."""
    *_, picture = _render(face, size, view)
    return picture.labels(size)


def points(face: Face, size: int = 128, view: str = "portrait") -> np.ndarray:
    """The five points of recognition (left eye of the picture, right eye, nose tip, corners of the mouth).

    Returns (5, 2) float, x and y in pixels of a picture of this size; whole numbers are pixel centres.
    Raises as `draw` does.
    """
    _check(size, view)
    shape = build(load_head(), face)
    return _five(Camera(face, shape, size, view), shape) - 0.5


def draw_many(faces: Iterable[Face], size: int = 128, view: str = "portrait", workers: int | None = None,
              likes: Iterable[Face | None] | None = None) -> Iterator[np.ndarray]:
    """Draw faces in order on every core, one thread each; yields (size, size, 3) uint8.

    workers: processes; 1 draws in this process. likes: `like` of each face. Raises as `draw` does.
    """
    _check(size, view)
    workers = workers or os.cpu_count() or 1
    jobs = ((face, size, view, like) for face, like in zip(faces, repeat(None) if likes is None else likes))  # noqa: B905
    if workers == 1:
        yield from map(_draw_one, jobs)
        return
    ahead = 2 * workers * _BLOCKS
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        while some := [*islice(jobs, ahead)]:
            with _single_threaded_children():       # the pool starts a process when it is given work
                pictures = pool.map(_draw_one, some, chunksize=_BLOCKS)
            yield from pictures


def _draw_one(job) -> np.ndarray:
    return draw(*job)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Processes started inside use one thread each; the variables are read when NumPy is imported."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _check(size: int, view: str) -> None:
    if not 32 <= size <= 512:
        raise ValueError(f"size is {size}; choose 32 to 512 pixels")
    if view not in VIEWS:
        raise ValueError(f"view is {view!r}; choose one of {', '.join(VIEWS)}")


def _five(camera: Camera, shape: Shape) -> np.ndarray:
    return camera.project(shape.five)[:, :2].astype(float)


def _render(face: Face, size: int, view: str, like: Face | None = None) -> tuple[np.ndarray, Camera, Shape, Picture]:
    _check(size, view)
    head = load_head()
    fine = size * (3 if size <= 64 else 2)
    shape = build(head, face)
    camera = Camera(face, shape, fine, view) if like is None else Camera(like, build(head, like), fine, view)
    strands = all_strands(head, face, shape, fine * camera.zoom)
    parts, lenses = accessories(head, face, shape)
    scene = assemble(head, shape, parts)
    for group in strands:
        group.points = group.points @ shape.turn.T
    lamp = light.lamp(face)
    lit = Lighting(head, shape, scene, strands, lamp)
    picture = Picture(face, camera, scene, fine)
    picture.surfaces(head, shape, parts, lit, lamp)
    centre = shape.centre @ shape.turn.T
    for group in strands:
        picture.strands(group, lit, lamp, centre if group.kind == "hair" else shape.face_centre - np.array([0, 0, 1.2]))
    for lens in lenses:
        picture.lens(lens, shape.turn, dark=face.look.sunglasses > 0.5)
    return _develop(face, picture.image, size), camera, shape, picture


@cache
def _film() -> np.ndarray:
    """sRGB values of linear light from 0 to _BRIGHTEST, by square root: a film curve with a soft shoulder."""
    x = np.linspace(0, 1, 4096) ** 2 * _BRIGHTEST
    film = np.clip((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    x = np.clip(0.55 * film + 0.459 * (1 - np.exp(-1.55 * x)), 0, 1)
    return np.where(x < 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-6) ** (1 / 2.4) - 0.055).astype(np.float32)


def _develop(face: Face, image: np.ndarray, size: int) -> np.ndarray:
    """Expose as a camera does, bend highlights, focus, average the samples, add grain: (size, size, 3) uint8 sRGB."""
    import cv2

    melanin = face.identity.melanin
    skin = float(np.clip(0.24 * (melanin - 0.55), 0, 0.32)) + 0.5 * min(0.0, melanin - 0.55)
    stops = 0.9 * face.look.exposure - 0.04 + skin
    srgb = np.empty_like(image)
    raster.look_up(image, 0.60 * 2**stops / _BRIGHTEST, _film(), srgb)
    if face.look.blur > 0:
        srgb = cv2.GaussianBlur(srgb, (0, 0), face.look.blur * len(image) / BLUR_SCALE)
    small = cv2.resize(srgb, (size, size), interpolation=cv2.INTER_AREA)
    small = small + face.rng(9).normal(0, 0.005, small.shape)
    return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)
