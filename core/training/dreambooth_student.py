"""The copy of a denoiser that learns, and what the device computes it in."""

import math
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import Tensor, nn

from core.models.unet import NOISE, UNet
from core.subjects import shared

Module = TypeVar("Module", bound=nn.Module)


def student(unet: UNet, rank: int | None, targets: tuple[str, ...], seed: int) -> UNet:
    """A copy that learns: the same weights under a LoRA that changes nothing yet, or whole in float32 for rank None.

    targets: the layers that get a LoRA, by the ends of their names. seed: of its first weights.
    """
    made = shared(unet)
    if rank is not None:
        _put_lora(made, rank, targets, seed)
        return made
    for module in made.modules():
        for name, p in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(p.detach().float().clone()))
    return made


def _put_lora(unet: UNet, rank: int, targets: tuple[str, ...], seed: int) -> None:
    from peft import LoraConfig

    # alpha = rank: a change is B · A itself, and needs no number beside it in the file
    unet.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)))
    generator = torch.Generator().manual_seed(seed)
    for name, p in unet.named_parameters():
        if ".lora_A." in name:          # peft draws from the process's random numbers, which others use too
            p.data = (torch.rand(p.shape, generator=generator) * 2 - 1).div(math.sqrt(p[0].numel())).to(p.device)
        elif ".lora_B." in name:
            p.data = p.data.float()     # small steps are lost in half precision


def frugal(module: Module, part: str) -> Module:
    """A copy with the same weights that computes activations twice instead of keeping them, in `part` of diffusers'."""
    made = shared(module)
    getattr(made, part).enable_gradient_checkpointing()
    return made


def alphas() -> Tensor:
    """ᾱ at every time, (1000,): the share of the latents' variance in noisy ones."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(**NOISE).alphas_cumprod


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """precision: "bf16", "no", or "auto": bf16 where the device is quicker with it."""
    wanted = precision == "bf16" or (precision == "auto" and quick_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def quick_bf16(device: torch.device) -> bool:
    """Whether bf16 is quicker than float32 here: on GPUs that have it, and on CPUs with tiles for it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))
