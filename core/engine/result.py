"""What results have in common, whatever the system: how alike two vectors are, and the end of a stream."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

Value = TypeVar("Value")


def cosine(a: "np.ndarray", b: "np.ndarray") -> float:
    """Cosine similarity of two vectors, in [-1, 1]."""
    import numpy as np

    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def last(results: Iterator[Value]) -> Value:
    """Let a stream of results run to its end, and return that."""
    *_, result = results
    return result
