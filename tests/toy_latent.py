"""Latent-diffusion networks of toy width with random weights, frozen, and pictures and captions to teach them with."""

import torch
from torch import Tensor, nn

from core import words
from core.latent import Latent
from core.models import build

SIZE = 32  # pixels


def frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def toy_latent(name: str = "tiny", seed: int = 0, dtype: torch.dtype = torch.float32) -> Latent:
    """The networks of a choice, 16 numbers wide; "sd14" has a denoiser of SD's shape, and no subject network."""
    torch.manual_seed(seed)
    tiny = name == "tiny"
    autoencoder = build("autoencoder", name, size=SIZE, widths=(8, 8, 8, 8), groups=4)
    shape = dict(widths=(16, 16), attends=(False, True)) if tiny else dict(widths=(16,) * 4)
    unet = build("unet", name, size=4 if tiny else 8, heads=2, text=16, groups=8, **shape)
    text = build("text", name, vocabulary=253, length=words.LENGTH, width=16, depth=1, heads=2)
    subject = frozen(build("subject", "tiny", width=16, text=16)) if tiny else None
    networks = (frozen(each).to(dtype) for each in (autoencoder, unet, text))
    return Latent(name, *networks, subject, SIZE if tiny else 2 * SIZE, words.tokens)


def toy_embedder() -> nn.Module:
    """An untrained recogniser: 112 pixels -> 512 numbers."""
    torch.manual_seed(5)
    return frozen(build("iresnet", "tiny", widths=(16, 16, 16, 16), depths=(1, 1, 1, 1)))


def pictures(count: int, size: int = SIZE) -> Tensor:
    """Made-up pictures (N, 3, S, S) in [-1, 1], smooth, each different."""
    rough = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(count)) * 2 - 1
    return nn.functional.interpolate(rough, size, mode="bicubic").clamp(-1, 1)


def captioned(size: int = 4, channels: int = 8) -> tuple[Tensor, list[str]]:
    """Twelve latents, two per age."""
    captions = [words.PROMPT.format(group) for group in words.GROUPS] * 2
    return torch.randn(12, channels, size, size, generator=torch.Generator().manual_seed(9)), captions


def everything(*modules: nn.Module | None) -> list[Tensor]:
    """Copies of all parameters and buffers."""
    return [tensor.clone() for module in modules if module is not None
            for tensor in (*module.parameters(), *module.buffers())]
