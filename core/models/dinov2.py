"""DINOv2: a photograph -> features of all it shows, learned from 142 million pictures without labels.

Oquab et al., *DINOv2: Learning Robust Visual Features without Supervision*, TMLR 2024. transformers' Dinov2Model, with
its attention through core.kernels.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from core.models.text import make_attention_known


@dataclass(frozen=True)
class DINOv2Config:
    """Sizes of the vision transformer."""

    size: int         # pixels that the stored position embeddings are for; other sizes interpolate them
    patch: int        # pixels of a patch
    width: int        # numbers in a feature vector
    depth: int        # layers
    heads: int        # of the attention


PRESETS = {"small": DINOv2Config(size=518, patch=14, width=384, depth=12, heads=6)}

UNUSED: frozenset[str] = frozenset()
NAMES = {"attention.attention.query": "attention.q_proj", "attention.attention.key": "attention.k_proj",
         "attention.attention.value": "attention.v_proj", "attention.output.dense": "attention.o_proj"}


def rename(key: str) -> str:
    """Our name for a key of the published file; transformers has renamed its attention since."""
    for old, new in NAMES.items():
        key = key.replace(old, new)
    return f"dino.{key.removeprefix('dino.')}"


class DINOv2(nn.Module):
    """Dinov2Model, as `dino`."""

    def __init__(self, config: DINOv2Config) -> None:
        from transformers import Dinov2Config, Dinov2Model

        super().__init__()
        make_attention_known()
        self.config = config
        self.dino = Dinov2Model(Dinov2Config(
            image_size=config.size, patch_size=config.patch, hidden_size=config.width, num_hidden_layers=config.depth,
            num_attention_heads=config.heads, mlp_ratio=4, attn_implementation="facet"))

    def forward(self, x: Tensor) -> Tensor:
        """As `features`."""
        return self.features(x)

    def features(self, x: Tensor) -> Tensor:
        """x: (N, 3, H, W) RGB in [0, 1], then less ImageNet's mean and divided by its deviation; multiples of a patch.

        Returns (N, width), the class token after the last norm, not normalised.
        """
        return self.dino(x).pooler_output
