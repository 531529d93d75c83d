"""Vec2Face as its equations read: the plain twin that the real one is timed against and must agree with.

Nothing is masked or left out, as in drawing pictures. Every operation stands alone, in the order of the paper: one
linear layer for queries, keys and values, cut up by a reshape; attention as a matrix product, a softmax that takes the
largest score away first, and another product; convolutions in torch's own layout.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from core.models.vec2face import Vec2FaceConfig

State = dict[str, Tensor]
EPS = 1e-6   # of every norm


def vec2face(state: State, config: Vec2FaceConfig, rep: Tensor) -> Tensor:
    """rep: (N, 512) face vectors. state: the network's own entries. Returns (N, 3, 112, 112), nominally in [-1, 1]."""
    identity = linear(state, "latent_prior_proj_f", rep)[:, None]                           # (N, 1, width)
    scale, shift = state["feature_token.weight"], state["feature_token.bias"][:, None]      # (49, 1) each
    x = torch.cat((identity, identity * scale + shift), 1)                                  # (N, 50, width)
    x = layer_norm(state, "token_emb.LayerNorm", x + state["token_emb.position_embeddings.weight"])
    for number in range(config.depth):
        x = block(state, f"blocks.{number}", x, config.heads)
    x = linear(state, "decoder_embed", layer_norm(state, "norm", x))                        # (N, 50, decoder width)
    x = x + state["decoder_pos_embed_learned"]
    for number in range(config.decoder_depth):
        x = block(state, f"decoder_blocks.{number}", x, config.decoder_heads)
    x = linear(state, "im_decoder_proj", layer_norm(state, "decoder_norm", x)[:, 1:])       # (N, 49, feature)
    return image(state, config, x.transpose(1, 2).reshape(len(x), config.feature, 7, 7))


def block(state: State, name: str, x: Tensor, heads: int) -> Tensor:
    """A transformer block: (N, T, width) -> the same shape."""
    x = x + attention(state, f"{name}.attn", layer_norm(state, f"{name}.norm1", x), heads)
    h = linear(state, f"{name}.mlp.fc1", layer_norm(state, f"{name}.norm2", x))
    return x + linear(state, f"{name}.mlp.fc2", F.gelu(h))


def attention(state: State, name: str, x: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(D)) v for every head: (N, T, width) -> the same shape."""
    n, length, width = x.shape
    qkv = linear(state, f"{name}.qkv", x).reshape(n, length, 3, heads, width // heads)
    q, k, v = (qkv[:, :, part].transpose(1, 2) for part in range(3))                        # (N, heads, T, D)
    scores = q @ k.transpose(2, 3) / (width // heads) ** 0.5                                # (N, heads, T, T)
    weights = (scores - scores.amax(3, keepdim=True)).exp()
    x = weights / weights.sum(3, keepdim=True) @ v
    return linear(state, f"{name}.proj", x.transpose(1, 2).reshape(n, length, width))


def image(state: State, config: Vec2FaceConfig, x: Tensor) -> Tensor:
    """The image decoder: (N, feature, 7, 7) -> (N, 3, 112, 112)."""
    x = conv(state, "im_decoder.conv_in", x)
    for part in ("block_1", "block_2"):
        x = residual(state, f"im_decoder.mid.{part}", x, config.groups)
    for level in reversed(range(len(config.channels))):
        for part in (0, 1):
            x = residual(state, f"im_decoder.up.{level}.block.{part}", x, config.groups)
        if level:
            x = conv(state, f"im_decoder.up.{level}.upsample.conv", F.interpolate(x, scale_factor=2))
    return conv(state, "im_decoder.conv_out", F.silu(group_norm(state, "im_decoder.norm_out", x, config.groups)))


def residual(state: State, name: str, x: Tensor, groups: int) -> Tensor:
    """Norm, activation, convolution, twice, beside a shortcut; see `DecoderBlock` for what the shortcut is given."""
    h = conv(state, f"{name}.conv1", F.silu(group_norm(state, f"{name}.norm1", x, groups)))
    h = conv(state, f"{name}.conv2", F.silu(group_norm(state, f"{name}.norm2", h, groups)))
    return h + (conv(state, f"{name}.nin_shortcut", h) if f"{name}.nin_shortcut.weight" in state else x)


def linear(state: State, name: str, x: Tensor) -> Tensor:
    """x W^T + b."""
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def conv(state: State, name: str, x: Tensor) -> Tensor:
    """A convolution that keeps the size."""
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[2] // 2)


def layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    """Over the last axis."""
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], EPS)


def group_norm(state: State, name: str, x: Tensor, groups: int) -> Tensor:
    """Over groups of channels and all pixels."""
    return F.group_norm(x, groups, state[f"{name}.weight"], state[f"{name}.bias"], EPS)
