"""One Catmull-Clark step of a mesh of four-sided faces, as fixed weights that are applied to any vertex values."""

from dataclasses import dataclass

import numpy as np

from core.faces.jit import jit


@dataclass(frozen=True, eq=False)
class Weights:
    """A sparse matrix (W, V) in rows: row r has the values[starts[r]:starts[r + 1]] in those columns."""

    starts: np.ndarray   # (W + 1,) int32
    columns: np.ndarray  # (N,) int32
    values: np.ndarray   # (N,) float32

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Weighted sums (W, C) float32 of vertex values (V, C)."""
        writable = np.array(points, np.float32, order="C")  # a copy: Numba would compile again for read-only arrays
        return _apply(self.starts, self.columns, self.values, writable)


@jit
def _apply(starts, columns, values, points):
    out = np.zeros((starts.size - 1, points.shape[1]), np.float32)
    for row in range(out.shape[0]):
        for n in range(starts[row], starts[row + 1]):
            column, value = columns[n], values[n]
            for c in range(out.shape[1]):
                out[row, c] += value * points[column, c]
    return out


def weights(entries: list[tuple], rows: int, columns: int) -> Weights:
    """Weights from lists of (row, column, value) arrays, which broadcast together; repeated places are added up."""
    spread = [np.broadcast_arrays(*entry) for entry in entries]
    row, column, value = (np.concatenate([entry[k].ravel() for entry in spread]) for k in range(3))
    key, inverse = np.unique(row.astype(np.int64) * columns + column, return_inverse=True)
    starts = np.searchsorted(key, np.arange(rows + 1) * columns)
    parts = (starts.astype(np.int32), (key % columns).astype(np.int32), np.bincount(inverse, value).astype(np.float32))
    for part in parts:
        part.flags.writeable = False
    return Weights(*parts)


def catmull_clark(faces: np.ndarray, count: int) -> tuple[Weights, np.ndarray]:
    """The weights (V + E + F, V) of one step and the new faces (4 F, 4), by the corners 0, 1, 2, 3 of the old ones.

    faces: (F, 4) of `count` = V vertices. New vertices: the old ones moved, then a point per edge, then one per face.
    Border edges keep to the border; vertices without a face stay where they are.
    """
    edges = np.stack([faces, np.roll(faces, -1, 1)], 2).reshape(-1, 2)
    key, edge = np.unique(edges.min(1) * count + edges.max(1), return_inverse=True)
    edge = edge.reshape(-1, 4)                                            # (F, 4): the edge after each corner
    ends = np.stack([key // count, key % count], 1)                       # (E, 2)
    inner = np.bincount(edge.ravel(), minlength=len(ends)) == 2
    face_point = count + len(ends) + np.arange(len(faces))
    entries = [(face_point[:, None], faces, 0.25), *_edge_points(faces, edge, ends, inner, count),
               *_moved_vertices(faces, ends, inner, count)]
    quads = [np.stack([faces[:, k], count + edge[:, k], face_point, count + edge[:, k - 1]], 1) for k in range(4)]
    return weights(entries, face_point[-1] + 1, count), np.concatenate(quads)


def _edge_points(faces, edge, ends, inner, count) -> list[tuple]:
    """The middle of a border edge; inside, the mean of the two ends and of the middles of the two faces."""
    side = inner[edge]                                                    # (F, 4)
    corners = np.broadcast_to(faces[:, None], (len(faces), 4, 4))
    return [(count + np.arange(len(ends))[:, None], ends, np.where(inner, 0.25, 0.5)[:, None]),
            (count + edge[side][:, None], corners[side], 0.0625)]


def _moved_vertices(faces, ends, inner, count) -> list[tuple]:
    """(k - 3) / k of the vertex, 2 / k of its edges' middles, 1 / k of its faces' middles; on the border 1-6-1."""
    every = np.arange(count)
    used = np.bincount(faces.ravel(), minlength=count) > 0
    valence = np.maximum(np.bincount(ends.ravel(), minlength=count), 1)
    border_edges = np.bincount(ends[~inner].ravel(), minlength=count)
    smooth, on_border = used & (border_edges == 0), border_edges == 2
    own = np.where(smooth, (valence - 3) / valence, np.where(on_border, 0.75, 1.0))
    entries = [(every, every, own)]
    for near, far in ((0, 1), (1, 0)):
        vertex = ends[:, near]
        at = smooth[vertex]
        entries.append((vertex[at][:, None], ends[at], (valence[vertex[at]] ** -2.0)[:, None]))
        at = on_border[vertex] & ~inner
        entries.append((vertex[at], ends[at, far], 0.125))
    for k in range(4):
        at = smooth[faces[:, k]]
        vertex = faces[at, k]
        entries.append((vertex[:, None], faces[at], (0.25 * valence[vertex] ** -2.0)[:, None]))
    return entries


def split_corners(values: np.ndarray) -> np.ndarray:
    """Values at face corners (F, 4, C), such as texture coordinates, for the faces that `catmull_clark` makes."""
    middle, centre = 0.5 * (values + np.roll(values, -1, 1)), values.mean(1)
    return np.concatenate([np.stack([values[:, k], middle[:, k], centre, middle[:, k - 1]], 1) for k in range(4)])


def smoothed(values: np.ndarray, faces: np.ndarray, steps: int, share: float) -> np.ndarray:
    """Vertex values (V, C) moved `steps` times by `share` towards the mean of their neighbours; lone vertices stay."""
    edges = np.concatenate([np.stack([faces, np.roll(faces, way, 1)], 2).reshape(-1, 2) for way in (1, -1)])
    edges = np.unique(edges, axis=0)
    degree = np.bincount(edges[:, 0], minlength=len(values))
    every = np.arange(len(values))
    step = weights([(every, every, np.where(degree > 0, 1 - share, 1.0)),
                    (edges[:, 0], edges[:, 1], share / degree[edges[:, 0]])], len(values), len(values))
    for _ in range(steps):
        values = step.apply(values)
    return values
