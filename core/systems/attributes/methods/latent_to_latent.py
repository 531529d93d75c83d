"""Latent-to-Latent (Khodadadeh et al., WACV 2022, section 3): one pass of a mapper that knows the whole request.

Frozen attributes stay in the request at their current value, as the paper says; so do all that were not asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.systems.attributes.wanted import Wanted


def move(editors: "dict[str, nn.Module]", w: "Tensor", wanted: "Wanted") -> "Tensor":
    """The change of latents (N, rows, style), in their shape or broadcast to it."""
    return editors["mapper"].change(w, wanted.change)
