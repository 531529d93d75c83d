"""Attention with three kernels and one signature. "plain" is the reference; the others agree with it to rounding.

A kernel is chosen by a test: on the first use of a device, type and head size, each candidate makes one tiny call,
forward and backward, which is compared with "plain". An import is not enough: with a CUDA 13 build of torch, xFormers
imports and reports itself as available, but rejects every CUDA tensor, because its extension needs libcudart.so.12. The
package nvidia-cuda-runtime-cu12 has this library; if installed, it is loaded before xFormers.

Only "plain" can be differentiated twice: compute penalties on gradients (R1, WGAN-GP) inside `forced("plain")`.
"""

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from importlib import import_module, metadata
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import SettingsError

PREFERRED = {"cuda": ("xformers", "torch", "plain")}   # by device type
PREFERRED_ELSEWHERE = ("torch", "plain")               # xFormers has CUDA kernels only

_forced: ContextVar[str] = ContextVar("forced attention kernel", default="auto")


def attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, bias: Tensor | None = None,
              dropout: float = 0.0, kernel: str = "auto") -> Tensor:
    """softmax(scale * q k^T + bias) v for q (B, H, T, D) and k, v (B, H, S, D); returns (B, H, T, D) in q's type.

    scale: multiplies q k^T; D ** -0.5 when None.
    bias: added to scale * q k^T; broadcast to (B, H, T, S). A boolean bias is a mask: true where
    attention is allowed, at least once per row.
    dropout: the share of attention weights set to zero, in [0, 1); the kernels draw different ones.
    kernel: "plain" is the reference, with which "torch" and "xformers" agree to rounding; "auto": the first that runs.
    Autocast is ignored: computation uses the arguments' type, with sums in float32. Raises SettingsError for an unknown
    kernel or one that cannot run here. During torch.compile, "torch" replaces "xformers".
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    run = KERNELS[choose(q, kernel, bias is not None)]
    with _without_autocast(q.device.type):
        return run(q, k, v, scale, bias, dropout)


def kernel_for(device: torch.device | str, dtype: torch.dtype, head_size: int, biased: bool = False) -> str:
    """The kernel for "auto": the forced kernel, else the first that runs for this device, type and head size."""
    forced_kernel, device = _forced.get(), torch.device(device)
    if forced_kernel != "auto":
        return _able(forced_kernel, device, dtype, head_size, biased)
    names = PREFERRED.get(device.type, PREFERRED_ELSEWHERE)
    return next((name for name in names if not why_not(name, device, dtype, head_size, biased)), "plain")


@contextmanager
def forced(kernel: str) -> Iterator[None]:
    """Inside, "auto" means `kernel`. Only for this thread or task; raises SettingsError for an unknown name."""
    token = _forced.set(_known(kernel))
    try:
        yield
    finally:
        _forced.reset(token)


def choose(q: Tensor, kernel: str, biased: bool) -> str:
    """The name in KERNELS that `attention` uses for these queries."""
    if torch.compiler.is_compiling():
        return "plain" if kernel == "plain" else "torch"
    if _known(kernel) == "auto":
        return kernel_for(q.device, q.dtype, q.shape[-1], biased)
    return _able(kernel, q.device, q.dtype, q.shape[-1], biased)


def _known(kernel: str) -> str:
    if kernel not in (*KERNELS, "auto"):
        raise SettingsError(f"There is no attention kernel called {kernel!r}.",
                            f"Choose from: auto, {', '.join(KERNELS)}.")
    return kernel


def _able(kernel: str, device: torch.device, dtype: torch.dtype, head_size: int, biased: bool) -> str:
    reason = "" if kernel == "plain" else why_not(kernel, device, dtype, head_size, biased)
    if reason:
        install = "; or:  pip install nvidia-cuda-runtime-cu12" if kernel == "xformers" and _needs_cuda_12() else "."
        others = ", ".join(name for name in ("auto", *KERNELS) if name != kernel)
        raise SettingsError(f"{kernel} attention can't run on {device} in {str(dtype).removeprefix('torch.')} "
                            f"with head size {head_size}: {reason}.", f"Choose another kernel: {others}{install}")
    return kernel


@cache
def why_not(kernel: str, device: torch.device, dtype: torch.dtype, head_size: int, biased: bool = False) -> str:
    """Why the kernel cannot be used: the first line of the error of a tiny call; empty if its output is right."""
    try:
        # own hooks: a checkpointed forward must save the same tensors whether or not this ran before
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, lambda saved: saved)
        with torch.inference_mode(False), torch.enable_grad(), _without_autocast(device.type), hooks:
            q = torch.linspace(-1, 1, 16 * head_size, device=device).reshape(1, 2, 8, head_size).to(dtype)
            bias = torch.linspace(0, 1, 64, device=device).reshape(1, 1, 8, 8).to(dtype) if biased else None
            answers = [_answer(KERNELS[name], q.clone(), bias) for name in (kernel, "plain")]
        if not torch.allclose(*answers, atol=0.05, rtol=0.05):      # torch.testing would import half of torch first
            return "its answer is not the plain one"
    except Exception as error:   # xFormers alone raises five types of errors
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def _answer(run, q: Tensor, bias: Tensor | None) -> Tensor:
    """Output and gradient of a kernel, stacked: (2, B, H, T, D)."""
    q = q.requires_grad_()
    out = run(q, q, q, q.shape[-1] ** -0.5, bias, 0.0)
    out.square().sum().backward()
    return torch.stack((out.detach(), q.grad)).float().cpu()


def _without_autocast(device_type: str):
    known = device_type in ("cpu", "cuda", "mps") and torch.is_autocast_enabled(device_type)
    return torch.autocast(device_type, enabled=False) if known else nullcontext()


def _plain(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None, dropout: float) -> Tensor:
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = scale * (q.to(wide) @ k.to(wide).transpose(2, 3))               # (B, H, T, S)
    if bias is not None:
        scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias.to(wide)
    weights = F.dropout(scores.softmax(3), dropout)
    return (weights @ v.to(wide)).to(q.dtype)                                # (B, H, T, D)


def _torch(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None, dropout: float) -> Tensor:
    dtype = q.dtype
    if q.device.type == "cpu" and dtype in (torch.bfloat16, torch.float16):
        q, k, v = q.float(), k.float(), v.float()       # half-precision backward is 7 times slower there
    if bias is not None and bias.dtype != torch.bool:
        bias = bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, bias, dropout, scale=scale).to(dtype)


def _xformers(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None, dropout: float) -> Tensor:
    bias = None if bias is None else aligned_bias(bias, (*q.shape[:3], k.shape[2]), q.dtype)
    q, k, v = (_rows(x.transpose(1, 2)) for x in (q, k, v))                  # heads third: (B, T, H, D)
    out = xformers_ops().memory_efficient_attention(q, k, v, attn_bias=bias, p=dropout, scale=scale)
    return out.transpose(1, 2)                                               # (B, H, T, D)


def _rows(x: Tensor) -> Tensor:
    return x if x.stride(3) == 1 else x.contiguous()


def aligned_bias(bias: Tensor, shape: tuple[int, int, int, int], dtype: torch.dtype) -> Tensor:
    """A bias in the layout of xFormers' cutlass kernel: (B, H, T, S) = shape, additive, of the queries' type.

    Its rows start at multiples of 8 numbers: it is cut from a wider tensor when S is not one.
    """
    if bias.dtype == torch.bool:
        bias = torch.zeros_like(bias, dtype=dtype).masked_fill(~bias, -torch.inf)
    bias = bias.to(dtype).expand(torch.broadcast_shapes(bias.shape, (1, 1, *shape[2:])))
    padded = F.pad(bias, (0, -shape[3] % 8)).contiguous()                    # (1 or B, 1 or H, T, S rounded up)
    return padded.expand(*shape[:2], -1, -1)[..., :shape[3]]


@cache
def xformers_ops() -> ModuleType:
    """xformers.ops, imported on first use, after loading the libraries its extension needs."""
    if _needs_cuda_12():
        for library in cuda_12_runtime():
            ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    quiet_xformers()
    return import_module("xformers.ops")


def quiet_xformers() -> None:
    """Suppress xFormers' import messages about its missing extension; `why_not` reports it instead."""
    logging.getLogger("xformers").setLevel(logging.ERROR)


def _needs_cuda_12() -> bool:
    return int((torch.version.cuda or "0").split(".")[0]) > 12


def cuda_12_runtime() -> list[str]:
    """Folders of libcudart.so.12 in the package nvidia-cuda-runtime-cu12; empty if not installed."""
    try:
        files = metadata.files("nvidia-cuda-runtime-cu12") or ()
    except metadata.PackageNotFoundError:
        return []
    return [str(file.locate()) for file in files if file.name == "libcudart.so.12"]


KERNELS = {"plain": _plain, "torch": _torch, "xformers": _xformers}


class AttnProcessor:
    """Routes the attention of diffusers' UNets and autoencoders through `attention`.

    Hand it over with model.set_attn_processor(AttnProcessor()).
    kernel: as for `attention`. On "torch" the results are those of diffusers' own processor, bit for bit.
    """

    def __init__(self, kernel: str = "auto") -> None:
        self.kernel = _known(kernel)

    def __call__(self, attn, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, temb: Tensor | None = None) -> Tensor:
        """attn: diffusers' Attention layer. hidden_states: (B, T, C) or (B, C, H, W). Returns the same shape."""
        x = hidden_states if attn.spatial_norm is None else attn.spatial_norm(hidden_states, temb)
        is_map, size = x.ndim == 4, x.shape[2:]
        if is_map:
            x = x.flatten(2).transpose(1, 2)                                 # (B, T, C)
        if attn.group_norm is not None:
            x = attn.group_norm(x.transpose(1, 2)).transpose(1, 2)
        x = self._attend(attn, x, encoder_hidden_states, attention_mask)
        for layer in attn.to_out:                                            # linear, dropout
            x = layer(x)
        if is_map:
            x = x.transpose(1, 2).unflatten(2, size)                         # (B, C, H, W)
        x = x + hidden_states if attn.residual_connection else x
        return x / attn.rescale_output_factor

    def _attend(self, attn, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        if context is None:
            context = x
        elif attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        q, k, v = (layer(y).unflatten(2, (attn.heads, -1)).transpose(1, 2)   # (B, heads, T or S, D)
                   for layer, y in ((attn.to_q, x), (attn.to_k, context), (attn.to_v, context)))
        q = q if attn.norm_q is None else attn.norm_q(q)
        k = k if attn.norm_k is None else attn.norm_k(k)
        if mask is not None:                                                 # (B * heads, 1 or T, S) -> (B, heads, ...)
            mask = attn.prepare_attention_mask(mask, context.shape[1], len(x)).unflatten(0, (len(x), attn.heads))
        x = attention(q, k, v, scale=attn.scale, bias=mask, kernel=self.kernel)
        return x.transpose(1, 2).flatten(2)                                  # (B, T, heads * D)


def attend_for_transformers(module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None,
                            scaling: float | None = None, dropout: float = 0.0, **_) -> tuple[Tensor, None]:
    """`attention` with the interface of transformers: input (B, H, T, D), output (B, T, H, D), no weights."""
    x = attention(query, key, value, scale=scaling, bias=attention_mask, dropout=dropout)
    return x.transpose(1, 2).contiguous(), None
