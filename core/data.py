"""Endless training batches: drawn faces from the disk cache, or a folder of photos through the same interface."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import ModuleType

import numpy as np

from core.cache import cache_dir
from core.errors import FacetError, PictureError

BLOCK = 32  # pictures drawn by one task of the pool
SAVE_EVERY = 20.0  # seconds between writes of the truth table while a set is drawn
MIRRORED = ("yaw", "roll", "light_side")  # attributes whose sign changes in a mirrored picture
SWAPPED = (1, 0, 2, 4, 3)  # order of the five points in a mirrored picture


@dataclass(frozen=True)
class DrawnSet:
    """Pictures with their labels, person by person.

    images: (N, H, W, 3) uint8, on disk. truth: (N, 35), in the unit of each attribute, nan if unknown.
    person: (N,) numbers from 0. points: (N, 5, 2) pixels, image-left eye first.
    """

    images: np.ndarray
    truth: np.ndarray
    person: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.person)

    @property
    def people(self) -> int:
        return int(self.person.max()) + 1

    def take(self, rows: np.ndarray) -> "DrawnSet":
        """The given rows as a new set in memory."""
        return DrawnSet(self.images[rows], self.truth[rows], self.person[rows], self.points[rows])


@dataclass(frozen=True)
class Augment:
    """Augmentation strengths; labels follow the geometric changes. 0 disables an augmentation.

    Half of the pictures get no blur and half no noise, so that most pictures stay clean.
    """

    flip: float = 0.0  # probability of mirroring
    shift: float = 0.0  # largest shift along each axis, relative to the picture
    zoom: float = 0.0  # largest relative change of size
    turn: float = 0.0  # largest rotation, degrees; changes `roll`
    light: float = 0.0  # largest relative change of brightness and of contrast
    colour: float = 0.0  # largest relative change of a colour channel
    grey: float = 0.0  # probability of grayscale
    blur: float = 0.0  # largest standard deviation of a Gaussian blur, in pixels; changes `blur`
    noise: float = 0.0  # largest standard deviation of Gaussian noise, for values in [-1, 1]
    jpeg: float = 0.0  # probability of JPEG compression with quality 30 to 95


def _by_file(array: np.memmap) -> tuple:
    """Pickling of an array on disk for another process of this machine: its file instead of its content."""
    root = array
    while isinstance(root.base, np.memmap):
        root = root.base
    if array.filename is None or not array.flags.c_contiguous or not isinstance(root, np.memmap):
        return np.array, (np.asarray(array),)
    start = array.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    return np.memmap, (array.filename, array.dtype, "r", root.offset + start, array.shape)


ForkingPickler.register(np.memmap, _by_file)


def key_of(**facts: object) -> str:
    """A short hash of facts, as the name of a cache entry."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def look_seed(split: str, number: int, index: int, seed: int) -> int:
    """The seed of one look of one person, independent of other looks."""
    return int(hashlib.sha256(f"{split}/{number}/{index}/{seed}".encode()).hexdigest()[:12], 16)


def renderer(version: int) -> ModuleType:
    """The renderer module of a version: 3, which the networks of `aging` were trained on, or 4."""
    from core import faces, faces_v3

    known = {3: faces_v3, 4: faces}
    if version not in known:
        raise ValueError(f"no renderer has version {version}; there are {' and '.join(map(str, known))}")
    return known[version]


def drawn_set(
    split: str, people: int, looks: int, view: str = "aligned", size: int = 112, seed: int = 0, workers: int = 2,
    version: int = 3, mixture: str = "balanced",
) -> DrawnSet:
    """`looks` pictures each of the first `people` persons of a split, drawn once and cached on disk.

    split: "train", "validation" or "test". view: "portrait" or "aligned". size: pixels. version: the renderer's.
    mixture: of looks, "ordinary" or "balanced"; version 3 has only one. workers: drawing processes.
    An interrupted call is resumed by the next one; a larger `people` draws only the new ones.
    """
    from filelock import FileLock

    mixed = {} if version == 3 else {"mixture": mixture}
    facts = dict(version=renderer(version).VERSION, split=split, looks=looks, view=view, size=size, seed=seed, **mixed)
    home = cache_dir("drawn", f"{split}-{view}-{size}-{key_of(**facts)}")
    with FileLock(home / "lock"):
        truth, points = _grown_table(home / "truth.npz", people * looks)
        images = _grown_images(home / "images.u8", len(truth), size)
        todo = np.flatnonzero(np.isnan(truth[: people * looks, 0]))
        if len(todo):
            (home / "facts.json").write_text(json.dumps(facts))
            draw_rows = partial(_draw_rows, version, mixed, split, looks, view, size, seed)
            _draw(draw_rows, todo, images, truth, points, home, workers)
    count = people * looks
    return DrawnSet(images[:count], truth[:count], np.arange(count) // looks, points[:count])


def folder(path: str | Path, size: int = 112) -> DrawnSet:
    """A folder of photos as a DrawnSet: one sub-folder per person, or every photo a person of its own.

    Pictures are cropped to the central square and resized; truth and points are nan. All are kept in memory, 38 kB each
    at 112 pixels. Hidden files and folders are ignored, because `generate` writes temporary files there.
    """
    from core.reading import pictures_below

    files = pictures_below(Path(path))
    if not files:
        raise FacetError(f"{path} contains no pictures.", "Give a folder with pictures, or with a folder per person.")
    names = [str(p.parent) if p.parent != Path(path) else str(p) for p in files]
    _, person = np.unique(names, return_inverse=True)
    images = np.stack([_square(p, size) for p in files])
    nothing = np.full((len(files), 35), np.nan, np.float32)
    return DrawnSet(images, nothing, person, np.full((len(files), 5, 2), np.nan, np.float32))


def batches(
    data: DrawnSet, batch: int, seed: int, device=None, augment: Augment | None = None, start: int = 0, shard=(0, 1)
) -> Iterator[dict]:
    """Endless batches: "image" (B, 3, H, W) in [-1, 1], "truth" (B, 35), "points" (B, 5, 2), "person", "row" (B,).

    Every picture comes once per epoch, in an order given by `seed`. Batch `start` + n does not depend on reading the
    ones before it, so resuming is exact. shard: (index, count) of this process.
    """
    import torch

    per_epoch = max(len(data) // batch, 1)
    step = start * shard[1] + shard[0]
    while True:
        epoch, part = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(data))
        rows = np.sort(order[part * batch : (part + 1) * batch])
        found = rows_of(data, rows, device)
        if augment is not None:
            found = augmented(found, augment, torch.Generator().manual_seed(look_seed("batch", step, 0, seed)))
        yield found
        step += shard[1]


def rows_of(data: DrawnSet, rows: np.ndarray, device=None) -> dict:
    """The given rows as one batch (see `batches`)."""
    import torch

    from core.images import from_uint8

    batch = {
        "image": from_uint8(np.ascontiguousarray(data.images[rows])),
        "truth": torch.from_numpy(data.truth[rows].astype(np.float32)),
        "person": torch.from_numpy(data.person[rows].astype(np.int64)),
        "points": torch.from_numpy(data.points[rows].astype(np.float32)),
        "row": torch.from_numpy(np.asarray(rows, np.int64)),
    }
    return {name: value.to(device) if device is not None else value for name, value in batch.items()}


def outputs(network, pictures, batch: int = 64):
    """Outputs of an embedder or judge for all pictures, on the CPU without gradients: a tensor or a dict of tensors.

    pictures: a DrawnSet or a tensor (N, 3, H, W) in [-1, 1]; resized to 112 pixels for the network.
    """
    import torch

    from core.images import recognisable

    device, found = next(network.parameters()).device, []
    with torch.inference_mode():
        for image in image_batches(pictures, batch, device):
            given = network(recognisable(image).contiguous(memory_format=torch.channels_last))
            named = given if isinstance(given, dict) else {"": given}
            found.append({name: value.float().cpu() for name, value in named.items()})
    joined = {name: torch.cat([part[name] for part in found]) for name in found[0]}
    return joined.get("", joined)


def image_batches(pictures, batch: int, device=None) -> Iterator:
    """The pictures of a DrawnSet, or of a tensor (N, 3, H, W), in order: tensors (batch, 3, H, W) in [-1, 1]."""
    import torch

    for start in range(0, len(pictures), batch):
        rows = np.arange(start, min(start + batch, len(pictures)))
        yield pictures[rows].to(device) if torch.is_tensor(pictures) else rows_of(pictures, rows, device)["image"]


def augmented(batch: dict, augment: Augment, generator) -> dict:
    """Augment a batch: geometry, colour and degradation; truth and points follow."""
    import torch
    from torch.nn import functional as F

    from core.faces.attributes import ATTRIBUTES, BLUR_SCALE

    image, truth, points = batch["image"], batch["truth"].clone(), batch["points"]
    device, n = image.device, len(image)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator).to(device) * 2 - 1

    mirror = torch.where(torch.rand(n, generator=generator).to(device) < augment.flip, -1.0, 1.0)
    names = list(ATTRIBUTES)
    for name in MIRRORED:
        truth[:, names.index(name)] *= mirror
    turn = uniform(n) * augment.turn
    truth[:, names.index("roll")] += turn
    moved = affine(mirror, 1 + uniform(n) * augment.zoom, turn, uniform(n, 2) * augment.shift * 2)  # (N, 2, 3)
    if augment.flip or augment.shift or augment.zoom or augment.turn:
        grid = F.affine_grid(moved, list(image.shape), align_corners=False)
        image = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
        points = _moved(points, moved, mirror, image.shape[-1])
    if augment.blur:
        sigma = augment.blur * uniform(n).clamp(min=0)
        image = blur_pictures(image, sigma)
        own, added = truth[:, names.index("blur")], sigma * BLUR_SCALE / image.shape[-1]
        truth[:, names.index("blur")] = torch.hypot(own, added).clamp(max=1)
    image = _recoloured(image, augment, uniform, generator)
    return batch | {"image": degrade(image, augment, generator), "truth": truth, "points": points}


def blur_pictures(image, sigma):
    """Gaussian blur of pictures (N, 3, H, W), with a standard deviation (N,) of at most 2 pixels each."""
    import torch
    from torch.nn import functional as F

    n, channels, height, width = image.shape
    steps = torch.arange(-5, 6, device=image.device)
    kernel = torch.softmax(-0.5 * (steps / sigma.clamp(min=0.05)[:, None]) ** 2, 1)  # (N, 11)
    kernel = kernel.repeat_interleave(channels, 0)[:, None, None]  # (N * 3, 1, 1, 11)
    flat = F.pad(image.reshape(1, n * channels, height, width), (5, 5, 5, 5), mode="replicate")
    flat = F.conv2d(F.conv2d(flat, kernel, groups=n * channels), kernel.mT, groups=n * channels)
    return flat.view(n, channels, height, width)


def degrade(image, augment: Augment, generator):
    """Add noise and JPEG artefacts to pictures (N, 3, H, W) in [-1, 1], as configured in `augment`."""
    import torch

    n = len(image)
    if augment.noise:
        strength = augment.noise * (torch.rand(n, generator=generator) * 2 - 1).clamp(min=0)
        noise = torch.randn(image.shape, generator=generator) * strength[:, None, None, None]
        image = (image + noise.to(image.device)).clamp(-1, 1)
    if augment.jpeg:
        chosen = (torch.rand(n, generator=generator) < augment.jpeg).nonzero()[:, 0]
        quality = torch.randint(30, 96, (n,), generator=generator)
        image = image.clone()
        for row in chosen.tolist():
            image[row] = _compress(image[row], int(quality[row]))
    return image


def affine(mirror, zoom, turn, shift):
    """Sampling matrices (N, 2, 3) for affine_grid: mirror ±1, zoom factor, turn in degrees, shift in half-pictures.

    `turn` rotates the content: positive moves the image-right eye down, like a positive `roll`.
    """
    import torch

    angle = torch.deg2rad(turn)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    rows = [mirror * cos, mirror * sin, shift[:, 0], -sin, cos, shift[:, 1]]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _compress(picture, quality: int):
    """A picture (3, H, W) in [-1, 1] after JPEG compression of this quality."""
    import cv2

    from core.images import from_uint8, to_uint8

    pixels = to_uint8(picture[None])[0]
    _, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return from_uint8(cv2.imdecode(coded, cv2.IMREAD_COLOR)[None, ..., ::-1].copy())[0].to(picture.device)


def _recoloured(image, augment: Augment, uniform, generator):
    import torch

    n = len(image)
    if augment.light:
        image = (image + 0.5 * augment.light * uniform(n, 1, 1, 1)) * (1 + augment.light * uniform(n, 1, 1, 1))
    if augment.colour:
        image = (image + 1) * (1 + augment.colour * uniform(n, 3, 1, 1)) - 1
    if augment.grey:
        grey = (torch.rand(n, 1, 1, 1, generator=generator) < augment.grey).to(image.device)
        image = torch.where(grey, image.mean(1, keepdim=True), image)
    return image.clamp(-1, 1)


def _moved(points, moved, mirror, size: int):
    """Points (N, 5, 2) in pixels of pictures resampled with `moved`: the inverse map, sides swapped if mirrored."""
    import torch

    unit = (points + 0.5) * 2 / size - 1  # (N, 5, 2)
    inverse = torch.linalg.inv(moved[:, :, :2])  # (N, 2, 2)
    unit = (unit - moved[:, None, :, 2]) @ inverse.transpose(1, 2)
    found = (unit + 1) * size / 2 - 0.5
    return torch.where((mirror < 0)[:, None, None], found[:, list(SWAPPED)], found)


def _grown_table(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Stored truth (N, 35) and points (N, 5, 2), padded with nan up to `count` rows for missing pictures."""
    truth, points = np.empty((0, 35), np.float32), np.empty((0, 5, 2), np.float32)
    if path.exists():
        with np.load(path) as stored:
            truth, points = stored["truth"], stored["points"]
    missing = max(count - len(truth), 0)
    truth = np.concatenate([truth, np.full((missing, 35), np.nan, np.float32)])
    return truth, np.concatenate([points, np.full((missing, 5, 2), np.nan, np.float32)])


def _grown_images(path: Path, count: int, size: int) -> np.memmap:
    path.touch()
    if path.stat().st_size < count * size * size * 3:
        os.truncate(path, count * size * size * 3)
    return np.memmap(path, np.uint8, "r+", shape=(count, size, size, 3))


def _draw(draw_rows, todo, images, truth, points, home: Path, workers: int) -> None:
    """Draw the rows `todo` into the arrays. The table on disk only lists pictures that are already on disk."""
    blocks = [todo[i : i + BLOCK] for i in range(0, len(todo), BLOCK)]
    saved, begun, drawn = time.monotonic(), time.monotonic(), 0
    for rows, found in _drawn_blocks(draw_rows, blocks, workers):
        images[rows], truth[rows], points[rows] = found
        drawn += len(rows)
        if time.monotonic() - saved > SAVE_EVERY or drawn == len(todo):
            _save_table(home, images, truth, points)
            saved = time.monotonic()
            print(f"drawn {drawn} of {len(todo)} · {drawn / (saved - begun):.1f} a second · {home.name}",
                  file=sys.stderr, flush=True)


def _drawn_blocks(draw_rows, blocks: list[np.ndarray], workers: int):
    if len(blocks) < 3 or workers < 2:
        yield from ((rows, draw_rows(rows)) for rows in blocks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        waiting = {pool.submit(draw_rows, rows): rows for rows in blocks}
        try:
            for task in as_completed(waiting):
                yield waiting.pop(task), task.result()
        finally:        # when stopped, wait only for running blocks
            pool.shutdown(wait=True, cancel_futures=True)


def _one_thread() -> None:
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def _draw_rows(version: int, mixed: dict[str, str], split: str, looks: int, view: str, size: int, seed: int,
               rows: np.ndarray):
    """Images (B, H, W, 3), truth (B, 35) and points (B, 5, 2) of some rows of a set."""
    faces, images, truth, points = renderer(version), [], [], []
    for row in rows:
        number, index = divmod(int(row), looks)
        identity = faces.person(number, split=split)
        face = faces.Face(identity, faces.look(identity, look_seed(split, number, index, seed), **mixed))
        image, five = faces.draw_with_points(face, size, view)
        images.append(image)
        truth.append(faces.truth(face))
        points.append(five)
    return np.stack(images), np.stack(truth).astype(np.float32), np.stack(points).astype(np.float32)


def _save_table(home: Path, images: np.memmap, truth: np.ndarray, points: np.ndarray) -> None:
    images.flush()
    fresh = home / "truth.new.npz"
    np.savez(fresh, truth=truth, points=points)
    os.replace(fresh, home / "truth.npz")


def _square(path: Path, size: int) -> np.ndarray:
    from core import reading

    try:
        picture = reading.read(path)
    except PictureError as error:
        raise PictureError(f"{path}: {error.message}", "Remove it from the folder, or replace it.") from error
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return np.asarray(picture.crop((left, top, left + side, top + side)).resize((size, size)))
