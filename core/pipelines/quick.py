"""Denoisers made of others: a LoRA of other people's merged into a copy, and the last few copies remembered."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from core.models.unet import UNet

Made = TypeVar("Made")


class Remembered:
    """The last few things made, by key; safe between threads. Who asks for what is being made waits for it."""

    def __init__(self, most: int) -> None:
        self.most, self._made, self._lock = most, OrderedDict(), Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made under this key, or `make()`; forgets what was asked for longest ago."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            self._made.move_to_end(key)
            while len(self._made) > self.most:
                self._made.popitem(last=False)
            return self._made[key]

    def drop(self, key: Hashable) -> None:
        """Forget what was made under this key, if anything was."""
        with self._lock:
            self._made.pop(key, None)


def with_lora(unet: "UNet", state: "Mapping[str, Tensor]", name: str = "the LoRA") -> "UNet":
    """A copy of a denoiser with a LoRA merged into its weights, in eval mode; the one given stays as it is.

    state: a LoRA file's tensors under diffusers' names or kohya's. Raises CheckpointError when they don't fit.
    """
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    made = copy.deepcopy(unet)
    try:
        weights, alphas = Loader.lora_state_dict(dict(state), unet_config=made.unet.config)
        if not any(key.startswith("unet.") for key in weights):
            raise ValueError("no weight in it is a denoiser's")
        Loader.load_lora_into_unet(weights, alphas, made.unet)
        made.unet.fuse_lora()
        made.unet.unload_lora()
    except (ValueError, KeyError, RuntimeError, AttributeError) as error:
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{name} does not fit this denoiser: {first[:200]}",
                              "use one that was made for Stable Diffusion 1.x") from error
    return made.eval().requires_grad_(False)
