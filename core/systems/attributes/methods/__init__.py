"""The three ways to edit a latent, one file each. All take the same request, see `core.systems.attributes.wanted`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from core.systems.attributes.methods import ganspace, interfacegan, latent_to_latent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.systems.attributes.wanted import Wanted

_MOVES = {"latent-to-latent": latent_to_latent.move, "interfacegan": interfacegan.move, "ganspace": ganspace.move}


def edited(method: str, editors: "dict[str, nn.Module]", w: "Tensor", wanted: "Wanted",
           strength: "float | Tensor" = 1.0) -> "Tensor":
    """Latents edited by a method.

    editors: "mapper" and "directions". w: (N, rows, style). strength: 0 changes nothing, 1 as asked; or one for each
    latent, (N, 1, 1). Returns the shape of w; where nothing is asked, exactly w.
    """
    move: Callable[..., Tensor] = _MOVES[method]
    return w + strength * move(editors, w, wanted)
