"""A LoRA of other people's merged into a copy of a denoiser."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.unet import UNet


def with_lora(unet: "UNet", state: "Mapping[str, Tensor]", name: str = "The LoRA") -> "UNet":
    """A copy of a denoiser with a LoRA merged into its weights, in eval mode; the one given stays as it is.

    state: a LoRA file's tensors under diffusers' names or kohya's. Raises CheckpointError when they don't fit.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    made = copy.deepcopy(unet)
    try:
        weights, alphas = Loader.lora_state_dict(dict(state), unet_config=made.unet.config)
        if not any(key.startswith("unet.") for key in weights):
            raise KeyError("unet")
        Loader.load_lora_into_unet(weights, alphas, made.unet)
        made.unet.fuse_lora()
        made.unet.unload_lora()
    except (ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{name} does not fit this denoiser.",
                              "Use one that was made for Stable Diffusion 1.x.") from error
    return made.eval().requires_grad_(False)
