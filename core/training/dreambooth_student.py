"""The trainable copy of a denoiser, and its precision."""

import math
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import Tensor, nn

from core.models.unet import NOISE, UNet
from core.subjects import shared

Module = TypeVar("Module", bound=nn.Module)


def student(unet: UNet, rank: int | None, targets: tuple[str, ...], seed: int) -> UNet:
    """A trainable copy: with a LoRA that is initially zero, or entirely in float32 for rank None.

    targets: layers that get a LoRA, by name suffix. seed: of its initial weights.
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

    # alpha = rank: the change is B · A, without a scale to store
    unet.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)))
    generator = torch.Generator().manual_seed(seed)
    for name, p in unet.named_parameters():
        if ".lora_A." in name:          # peft would use the global random generator
            p.data = (torch.rand(p.shape, generator=generator) * 2 - 1).div(math.sqrt(p[0].numel())).to(p.device)
        elif ".lora_B." in name:
            p.data = p.data.float()     # half precision would lose small steps


def frugal(module: Module, part: str) -> Module:
    """A copy with the same weights and gradient checkpointing in its diffusers module `part`."""
    made = shared(module)
    getattr(made, part).enable_gradient_checkpointing()
    return made


def alphas() -> Tensor:
    """ᾱ of every timestep, (1000,): the share of signal variance in noisy latents."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(**NOISE).alphas_cumprod


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """precision: "bf16", "no", or "auto": bf16 where the device computes it faster."""
    wanted = precision == "bf16" or (precision == "auto" and quick_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def quick_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than float32: on GPUs that support it and on CPUs with AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))
