"""The safety checker of Stable Diffusion: pictures -> which of them are unsafe.

diffusers' StableDiffusionSafetyChecker compares the CLIP embedding of a picture with 17 concepts and 3 special-care
concepts. The comparison is reimplemented here, because the library's version replaces pictures by black ones.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.models.text import make_attention_known

MEAN = (0.48145466, 0.4578275, 0.40821073)      # CLIP's, of red, green and blue in [0, 1]
SPREAD = (0.26862954, 0.26130258, 0.27577711)
CARE = 0.01     # added to every concept score when a special-care concept matches


@dataclass(frozen=True)
class SafetyConfig:
    """Sizes of CLIP's vision encoder."""

    size: int         # input pixels
    patch: int        # pixels of a patch
    width: int        # numbers in one state
    depth: int        # layers
    heads: int        # of the attention
    concept: int      # numbers in a concept


PRESETS = {"sd14": SafetyConfig(size=224, patch=14, width=1024, depth=24, heads=16, concept=768)}

UNUSED = frozenset({"vision_model.vision_model.embeddings.position_ids"})    # 0, 1, 2…


def rename(key: str) -> str:
    """Our name for a key of the published file."""
    return f"checker.{key.removeprefix('checker.').replace('vision_model.vision_model.', 'vision_model.')}"


class Safety(nn.Module):
    """StableDiffusionSafetyChecker, as `checker`, with its attention through core.kernels."""

    def __init__(self, config: SafetyConfig) -> None:
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
        from transformers import CLIPConfig

        super().__init__()
        make_attention_known()
        self.config = config
        sizes = dict(image_size=config.size, patch_size=config.patch, hidden_size=config.width,
                     intermediate_size=4 * config.width, num_hidden_layers=config.depth,
                     num_attention_heads=config.heads, projection_dim=config.concept)
        self.checker = StableDiffusionSafetyChecker(
            CLIPConfig(vision_config=sizes, projection_dim=config.concept, attn_implementation="facet"))
        seen = self.checker.vision_model.embeddings     # position ids are not saved: created on the CPU
        seen.position_ids = nn.Buffer(torch.arange(seen.num_positions, device="cpu")[None], persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """pictures: (N, 3, size, size) in [-1, 1]. Returns (N,) bool, true where a picture is unsafe."""
        checker, like = self.checker, self.checker.visual_projection.weight
        mean, spread = (torch.tensor(rgb, device=pictures.device)[:, None, None] for rgb in (MEAN, SPREAD))
        pixels = ((pictures.float() + 1) / 2 - mean) / spread
        seen = checker.visual_projection(checker.vision_model(pixels.to(like.dtype)).pooler_output)     # (N, concept)
        care = cosines(seen, checker.special_care_embeds) - checker.special_care_embeds_weights.float()  # (N, 3)
        near = cosines(seen, checker.concept_embeds) - checker.concept_embeds_weights.float()            # (N, 17)
        careful = (care.round(decimals=3) > 0).any(1, keepdim=True)
        return ((near + CARE * careful).round(decimals=3) > 0).any(1)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of each row of a (N, D) with each of b (M, D): (N, M), float32."""
    return F.normalize(a.float(), dim=1) @ F.normalize(b.float(), dim=1).T
