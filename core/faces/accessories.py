"""Glasses, earrings and hats as small meshes."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from core.faces.growth import AROUND, POLAR, radius_table
from core.faces.hair import HAT_RIM, RIM_AT
from core.faces.head import Head
from core.faces.looks import Face
from core.faces.shape import Shape

GLOSS = {"frame": 2.2, "metal": 6.0, "knit": 0.2, "cloth": 0.3}
ROUGH = {"frame": 0.3, "metal": 0.25, "knit": 0.8, "cloth": 0.7}


@dataclass(frozen=True)
class Part:
    """A mesh unposed: points (N, 3), triangles (T, 3), material (a key of GLOSS), linear colour and region."""

    points: np.ndarray
    triangles: np.ndarray
    material: str
    colour: tuple
    region: str


@dataclass(frozen=True)
class Lens:
    """A flat lens, unposed: points (N, 3) and triangles (T, 3)."""

    points: np.ndarray
    triangles: np.ndarray


def accessories(head: Head, face: Face, shape: Shape) -> tuple[list[Part], list[Lens]]:
    """Everything this look wears."""
    look = face.look
    parts, lenses = [], []
    if max(look.glasses, look.sunglasses) > 0.5:
        parts, lenses = _glasses(face, shape)
    if look.earrings > 0.5:
        parts = parts + _earrings(face, shape)
    if look.hat > 0.5:
        parts = parts + _hat(head, face, shape)
    return parts, lenses


@cache
def sphere(rows: int = 14, columns: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere: points (rows * columns, 3) float32, which are also its normals, and triangles."""
    polar, around = np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False)
    points = np.stack([np.outer(np.sin(polar), np.cos(around)), np.outer(np.cos(polar), np.ones(columns)),
                       np.outer(np.sin(polar), np.sin(around))], -1)
    return points.reshape(-1, 3).astype(np.float32), _grid(rows, columns, closed=True)


def _grid(rows: int, columns: int, closed: bool) -> np.ndarray:
    """Triangles between rows of points; closed joins the last column to the first."""
    i, j = np.mgrid[0:rows - 1, 0:columns if closed else columns - 1].reshape(2, -1)
    k = (j + 1) % columns
    a, b, c, d = i * columns + j, i * columns + k, (i + 1) * columns + k, (i + 1) * columns + j
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)


def _tube(path: np.ndarray, radius: float, closed: bool, sides: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A tube along a polyline (N, 3)."""
    along = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        along[0], along[-1] = path[1] - path[0], path[-1] - path[-2]
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.cross(along, [0, 0, 1.0] if np.abs(along[:, 2]).mean() < 0.8 else [0, 1.0, 0])
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    up = np.cross(along, across)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :, None]
    points = path[:, None] + radius * (np.cos(angle) * across[:, None] + np.sin(angle) * up[:, None])
    if closed:
        points = np.concatenate([points, points[:1]])
    return points.reshape(-1, 3).astype(np.float32), _grid(len(points), sides, closed=True)


def _glasses(face: Face, shape: Shape) -> tuple[list[Part], list[Lens]]:
    wear, eyes = face.unnamed, shape.eyes
    front = max(shape.bridge[2] + 0.07, eyes[:, 2].max() + 0.27)
    apart, height = 0.5 * (eyes[1, 0] - eyes[0, 0]), 0.5 * (eyes[0, 1] + eyes[1, 1]) - 0.035
    dark = face.look.sunglasses > 0.5
    wide, tall, power = ((0.255, 0.19, 3.2), (0.225, 0.215, 2.0), (0.255, 0.185, 2.6))[wear.frame_shape]
    if dark:
        wide, tall = wide * 1.10, tall * 1.12
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    colour = (0.02, 0.02, 0.022) if dark else wear.frame_colour
    parts, lenses = [], []
    for side, lobe in zip((-1, 1), shape.lobes, strict=True):
        x, y = np.sign(cos) * np.abs(cos) ** (2 / power) * wide, np.sign(sin) * np.abs(sin) ** (2 / power) * tall
        if wear.frame_shape == 2:
            y = y + 0.03 * cos * side
        ring = np.stack([side * (apart + 0.012) + x, height + y, front - 0.16 * ((side * apart + x) / 0.55) ** 2], 1)
        parts.append(Part(*_tube(ring, wear.frame_thickness, closed=True), "frame", colour, "glasses"))
        fan = np.array([[i, (i + 1) % 40, 40] for i in range(40)], np.int32)
        lenses.append(Lens(np.concatenate([ring, ring.mean(0, keepdims=True)]).astype(np.float32), fan))
        hinge = ring[np.argmax(ring[:, 0] * side)] + np.array([side * 0.01, tall * 0.35, 0])
        over_ear = lobe + np.array([side * -0.02, 0.46 * shape.scale, 0.05])
        behind = over_ear + np.array([side * -0.03, -0.14 * shape.scale, -0.16 * shape.scale])
        temple = np.concatenate([np.linspace(hinge, over_ear, 8), behind[None]])
        parts.append(Part(*_tube(temple, 0.014, closed=False), "frame", colour, "glasses"))
    a = np.linspace(-1, 1, 7)
    inner = apart + 0.012 - wide
    bridge = np.stack([a * inner, height + 0.05 + 0.035 * (1 - a * a), np.full(7, front - 0.01)], 1)
    parts.append(Part(*_tube(bridge, 0.015, closed=False), "frame", colour, "glasses"))
    return parts, lenses


def _earrings(face: Face, shape: Shape) -> list[Part]:
    parts, gold = [], (0.75, 0.55, 0.22)
    for side, lobe in zip((-1, 1), shape.lobes, strict=True):
        hook = lobe + np.array([side * 0.025, -0.02, 0.02])
        if face.unnamed.ring:
            t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = np.stack([np.full(24, hook[0] + 0.03 * side), hook[1] - 0.11 + 0.12 * np.sin(t),
                             hook[2] + 0.11 * np.cos(t)], 1)
            points, triangles = _tube(ring, 0.016, closed=True)
        else:
            points, triangles = sphere()
            points = (points * 0.062 + hook).astype(np.float32)
        parts.append(Part(points, triangles, "metal", gold, "glasses"))
    return parts


def _hat(head: Head, face: Face, shape: Shape, rows: int = 22, columns: int = 48) -> list[Part]:
    import cv2

    cap = face.unnamed.cap
    table = radius_table(shape.fine[head.skin_vertices & ~head.ear_vertices], shape.centre)
    down, around = np.linspace(0.001, 1, rows)[:, None], np.linspace(-np.pi, np.pi, columns, endpoint=False)[None]
    polar = np.radians(np.interp(np.abs(np.degrees(around)), RIM_AT, HAT_RIM["cap" if cap else "beanie"])) * down
    way = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    radius = table[np.clip((polar / np.pi * POLAR).astype(int), 0, POLAR - 1),
                   np.broadcast_to(((around / (2 * np.pi) + 0.5) * AROUND).astype(int) % AROUND, polar.shape)]
    thick = 0.115 if cap else 0.075 + 0.04 * (down > 0.78) + 0.10 * (1 - down) ** 2
    shell = shape.centre + way * (radius + thick * shape.scale)[..., None]
    wrapped = np.concatenate([shell[:, -5:], shell, shell[:, :5]], 1)
    shell = cv2.GaussianBlur(wrapped, (0, 0), 1.0)[:, 5:-5]
    triangles = _grid(rows, columns, closed=True)[:, [0, 2, 1]]
    colour = face.unnamed.hat_colour
    parts = [Part(shell.reshape(-1, 3).astype(np.float32), triangles, "cloth" if cap else "knit", colour, "hat")]
    return [*parts, _peak(shell[-1], shape.scale, colour)] if cap else parts


def _peak(rim: np.ndarray, scale: float, colour: tuple) -> Part:
    """The peak of a cap, from its rim (columns, 3)."""
    angle = np.linspace(-1, 1, 15) * 0.95
    inner = rim[((angle / (2 * np.pi) + 0.5) * len(rim)).astype(int) % len(rim)] + np.array([0, 0.01, 0])
    reach = np.stack([np.sin(angle) * 0.10, -0.13 * np.cos(angle * 1.2).clip(0) - 0.03,
                      0.72 * np.cos(angle * 1.5).clip(0) ** 0.7 + 0.03], 1)
    outer = inner + reach * scale
    points = np.concatenate([inner, 0.5 * inner + 0.5 * outer + np.array([0, 0.04, 0]), outer])
    return Part(points.astype(np.float32), _grid(3, 15, closed=False)[:, [0, 2, 1]], "cloth", colour, "hat")
