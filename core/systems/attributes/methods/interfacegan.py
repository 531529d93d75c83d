"""InterFaceGAN (Shen et al., CVPR 2020, section 3.2): across a linear boundary, along those of frozen attributes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.systems.attributes.wanted import Wanted


def move(editors: "dict[str, nn.Module]", w: "Tensor", wanted: "Wanted") -> "Tensor":
    """The change of latents (N, rows, style), all rows alike: (N, 1, style)."""
    return editors["directions"].interfacegan(wanted.score_change, wanted.frozen)[:, None]
