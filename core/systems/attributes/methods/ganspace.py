"""GANSpace (Härkönen et al., NeurIPS 2020, section 2): along the principal component that fits the attribute best.

A component has no notion of other attributes, so nothing can be frozen here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.systems.attributes.wanted import Wanted


def move(editors: "dict[str, nn.Module]", w: "Tensor", wanted: "Wanted") -> "Tensor":
    """The change of latents (N, rows, style), all rows alike: (N, 1, style)."""
    return editors["directions"].ganspace(wanted.score_change)[:, None]
