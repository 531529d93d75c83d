"""Frozen regions: masks that are painted, or known of a drawn person, and a smooth border around them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import SettingsError
from core.faces import REGIONS as LABELS
from core.systems.attributes.request import REGIONS

if TYPE_CHECKING:
    pass

BORDER = 4 / 128        # width of the smooth border, in parts of the picture; it lies outside the frozen region
WHITE = 127             # brighter pixels of a painted mask are frozen


def read(path: str | Path, size: int) -> np.ndarray:
    """A painted mask, (size, size) bool. Raises PictureError for no picture, SettingsError for one of another size."""
    from core import reading

    picture = np.asarray(reading.read(path).convert("L"))
    check_shape(picture, size)
    return picture > WHITE


def check_shape(mask: np.ndarray, size: int) -> None:
    """Raise SettingsError unless a mask is (size, size)."""
    if mask.shape != (size, size):
        raise SettingsError(f"mask can't be a picture of {' × '.join(map(str, mask.shape[::-1]))} pixels.",
                            f"Give one of {size} × {size} pixels, white where nothing may change.")


def named(labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The pixels of named regions, (S, S) bool. labels: (S, S) indices of `core.faces.REGIONS`. names: of REGIONS."""
    wanted = [LABELS.index(label) for name in names for label in REGIONS[name]]
    return np.isin(labels, wanted)


def weights_of(frozen: np.ndarray) -> Tensor:
    """How much of the source is kept, (1, 1, S, S): 1 in a frozen region (S, S), falling to 0 outside of it."""
    mask = torch.from_numpy(frozen.astype(np.float32))[None, None]
    reach = max(1, round(BORDER * len(frozen)))
    grown = F.max_pool2d(mask, 2 * reach + 1, 1, reach)
    return F.avg_pool2d(grown, 2 * reach + 1, 1, reach, count_include_pad=False)


def at_size(weights: Tensor, size: int) -> Tensor:
    """The same weights for feature maps of another size, by averages."""
    return weights if weights.shape[-1] == size else F.interpolate(weights, size=size, mode="area")
