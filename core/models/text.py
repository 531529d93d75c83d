"""The text encoder: token ids -> prompt embeddings for the denoiser's cross-attention.

transformers' CLIPTextModel (Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*,
ICML 2021). transformers selects attention by name; ours is registered as "facet", with a boolean mask.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.kernels.attention import attend_for_transformers


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the text encoder."""

    vocabulary: int   # tokens; the last two are the start and the end of a prompt
    length: int       # tokens of the longest prompt, with its start and end
    width: int        # numbers in one state
    depth: int        # layers
    heads: int        # of the attention


PRESETS = {
    "tiny": TextConfig(vocabulary=253,   length=32, width=128, depth=2,  heads=4),
    "sd14": TextConfig(vocabulary=49408, length=77, width=768, depth=12, heads=12),
}

UNUSED = frozenset({"text_model.embeddings.position_ids"})   # 0, 1, 2…


def rename(key: str) -> str:
    """Our name for a key of a published file."""
    return f"clip.{key.removeprefix('clip.').removeprefix('text_model.')}"


class TextEncoder(nn.Module):
    """CLIPTextModel, as `clip`, with its attention through core.kernels."""

    def __init__(self, config: TextConfig) -> None:
        from transformers import CLIPTextConfig, CLIPTextModel

        super().__init__()
        make_attention_known()
        self.config = config
        self.clip = CLIPTextModel(CLIPTextConfig(
            vocab_size=config.vocabulary, max_position_embeddings=config.length, hidden_size=config.width,
            intermediate_size=4 * config.width, num_hidden_layers=config.depth, num_attention_heads=config.heads,
            projection_dim=config.width, bos_token_id=config.vocabulary - 2, eos_token_id=config.vocabulary - 1,
            pad_token_id=config.vocabulary - 1, attn_implementation="facet"))
        # not saved, so created on the CPU here: a loader that builds on the meta device would leave it empty
        self.clip.embeddings.position_ids = nn.Buffer(torch.arange(config.length, device="cpu")[None], persistent=False)

    def forward(self, tokens: Tensor, subject_embedding: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """tokens: (N, T) integers, T up to `length`. Returns (N, T, width), after the last norm.

        subject_embedding: (width,), (N, width) or (N, T, width), replaces token embeddings where `at` (N, T) is true.
        """
        if subject_embedding is None:
            return self.clip(tokens).last_hidden_state
        own = self.clip.embeddings.token_embedding(tokens)                               # (N, T, width)
        given = subject_embedding.to(own.dtype)
        given = given if given.ndim == 3 else given.expand(len(tokens), -1)[:, None]    # (N, T or 1, width)
        x = self.clip.embeddings(inputs_embeds=torch.where(at[..., None], given, own))
        before = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        x = self.clip.encoder(inputs_embeds=x, attention_mask=before[None, None], is_causal=True).last_hidden_state
        return self.clip.final_layer_norm(x)


def make_attention_known() -> None:
    """Register the attention of core.kernels with transformers, under the name "facet"."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    def mask(*sizes, **settings) -> Tensor | None:
        return sdpa_mask(*sizes, **settings | {"allow_is_causal_skip": False})

    AttentionInterface.register("facet", attend_for_transformers)
    AttentionMaskInterface.register("facet", mask)
