"""The denoiser: noisy latents, a timestep and prompt embeddings -> the predicted noise.

diffusers' UNet2DConditionModel, as in Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion Models*,
CVPR 2022. NOISE is the schedule that it is trained for, as keywords of diffusers' schedulers.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from core.kernels.attention import AttnProcessor, quiet_xformers

NOISE = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the denoiser: latents in, noise of the same shape out."""

    size: int                    # of the latents it was trained on
    channels: int                # of the latents
    widths: tuple[int, ...]      # channels at the latents' size, a half of it, a quarter…
    attends: tuple[bool, ...]    # whether blocks of this size have cross- and self-attention
    depth: int                   # residual blocks per size going down; one more going up
    heads: int                   # of the attention; each attending width / heads is a multiple of 8
    text: int                    # width of the prompt embeddings
    groups: int                  # of the group norms; each width is a multiple


PRESETS = {
    "tiny": UNetConfig(size=16, channels=8, widths=(64, 96, 128), attends=(False, True, True), depth=1, heads=4,
                       text=128, groups=16),
    "sd14": UNetConfig(size=64, channels=4, widths=(320, 640, 1280, 1280), attends=(True, True, True, False), depth=2,
                       heads=8, text=768, groups=32),
}

UNUSED: frozenset[str] = frozenset()


def rename(key: str) -> str:
    """Our name for a key of a published file."""
    return f"unet.{key.removeprefix('unet.')}"


class UNet(nn.Module):
    """UNet2DConditionModel, as `unet`, with its attention through core.kernels."""

    def __init__(self, config: UNetConfig) -> None:
        quiet_xformers()
        from diffusers import UNet2DConditionModel

        super().__init__()
        self.config = config
        down = tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in config.attends)
        up = tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(config.attends))
        self.unet = UNet2DConditionModel(
            sample_size=config.size, in_channels=config.channels, out_channels=config.channels,
            block_out_channels=config.widths, down_block_types=down, up_block_types=up, layers_per_block=config.depth,
            cross_attention_dim=config.text, norm_num_groups=config.groups,
            attention_head_dim=config.heads)   # diffusers expects the number of heads
        self.unet.set_attn_processor(AttnProcessor())

    def forward(self, latents: Tensor, time: Tensor, states: Tensor) -> Tensor:
        """latents: (N, C, H, W), noisy. time: (N,) whole numbers in [0, 1000), 0 the least noise.

        states: (N, T, text) of the prompts. Returns the noise, (N, C, H, W).
        """
        return self.unet(latents, time, states).sample
