"""Cost of training a person and of a picture with networks of Stable Diffusion's size and random weights.

Random weights cost the same as published ones and need no download. The steering recogniser is an IResNet-100, larger
than the shipped one. Reported: seconds per step or picture, and peak device memory.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core import words
from core.latent import PUBLISHED, Latent, denoise
from core.models import build
from core.sampling import GUIDANCE
from core.training.dreambooth import PRESETS, Teacher

TRAINED_PRESETS = ("sd-lora", "paper")       # presets of core/training/dreambooth.py
PICTURES, OTHERS = 10, 12           # of the person, and in the captioned set
SIDE = 512                          # pixels
SHOWN = {"dpm": (20, GUIDANCE), "ddim": (100, 10.0), "lcm": (4, 1.0)}   # solver: steps, guidance; the paper's is ddim


@dataclass(frozen=True)
class Cost:
    """seconds: per training step or picture. memory: peak bytes; None if unknown."""

    what: str
    seconds: float
    memory: int | None


def costs(device: torch.device | str, steps: int = 5, toys: dict[str, dict[str, Any]] | None = None) -> Iterator[Cost]:
    """Measure each preset and each solver. toys: network -> settings for smaller networks in tests."""
    for preset in TRAINED_PRESETS:
        half = PRESETS[preset].precision == "bf16"      # as `teach aging` loads them
        yield training_cost(preset, shaped(device, torch.bfloat16 if half else torch.float32, toys), steps)
    base = shaped(device, torch.float16 if torch.device(device).type == "cuda" else torch.float32, toys)
    for solver in SHOWN:
        yield drawn(base, solver)


def shaped(device: torch.device | str, dtype: torch.dtype, toys: dict[str, dict[str, Any]] | None = None) -> Latent:
    """Networks of Stable Diffusion's size with random weights."""
    toys = toys or {}
    with torch.device(device):
        autoencoder, unet, text = (build(name, "sd14", **toys.get(name, {})).eval().requires_grad_(False).to(dtype)
                                   for name in ("autoencoder", "unet", "text"))
    return Latent("sd14", autoencoder, unet, text.to(device), None, autoencoder.config.size, padded)


def padded(prompts: list[str]) -> Tensor:
    """Token ids of the small vocabulary, padded to the published length: (N, 77)."""
    numbers = words.tokens(prompts)
    return F.pad(numbers, (0, PUBLISHED - numbers.shape[1]), value=int(numbers[0, -1]))


def training_cost(preset: str, base: Latent, steps: int) -> Cost:
    """Cost of training steps, after one step of warm-up."""
    device, size = base.device, base.unet.config.size
    embedder = build("iresnet", "100").eval().requires_grad_(False).to(device)
    pictures = torch.rand(PICTURES, 3, base.size, base.size) * 2 - 1
    others = torch.randn(OTHERS, base.unet.config.channels, size, size), [words.PROMPT.format("old")] * OTHERS
    _forget_peak(device)
    teacher = Teacher(base, pictures, words.RARE[0], replace(PRESETS[preset], steps=1 + steps), embedder, others)
    lessons = teacher.lessons()
    next(lessons)
    seconds = _timed(device, lambda: [*lessons])
    return Cost(f"{preset}: a training step", seconds / steps, _peak(device))


@torch.inference_mode()
def drawn(base: Latent, solver: str) -> Cost:
    """Cost of one picture, from noise to pixels, after warm-up."""
    steps, guidance = SHOWN[solver]
    states = base.encode_prompts([words.PROMPT.format("old"), ""])

    def picture(count: int = steps) -> None:
        *_, last = denoise(base.unet, states[:1], states[1:], [0], solver, count, guidance)
        base.autoencoder.decode(last.latents)

    _forget_peak(base.device)
    picture(4)
    return Cost(f"a picture by {solver} in {steps} steps", _timed(base.device, picture), _peak(base.device))


def _timed(device: torch.device, call) -> float:
    """Seconds of one call, device time included."""
    settle = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    settle()
    begun = time.perf_counter()
    call()
    settle()
    return time.perf_counter() - begun


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
