"""The latent autoencoder: a picture -> an eighth of its size in a few channels, and back.

diffusers' AutoencoderKL, as in Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion Models*, CVPR
2022. The tiny latents have mean 0 and spread 1 in every channel by their own weights, so their scale is 1.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from core.kernels.attention import AttnProcessor, quiet_xformers


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of the autoencoder: pictures in, latents of an eighth of their size out."""

    size: int                            # pixels of the pictures it was trained on
    widths: tuple[int, int, int, int]    # channels at the picture's size, a half, a quarter and an eighth of it
    depth: int                           # residual blocks per size of the encoder; the decoder has one more
    groups: int                          # of the group norms; each width is a multiple
    channels: int                        # of the latents
    scale: float                         # factor of the latents for diffusion


PRESETS = {
    "tiny": AutoencoderConfig(size=128, widths=(16, 32, 64, 128),    depth=1, groups=8,  channels=8, scale=1.0),
    "sd14": AutoencoderConfig(size=512, widths=(128, 256, 512, 512), depth=2, groups=32, channels=4, scale=0.18215),
}

UNUSED: frozenset[str] = frozenset()
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}   # of the attention's layers


def rename(key: str) -> str:
    """Our name for a key of a published file, whose attention layers may have their old names."""
    parts = [OLD_NAMES.get(part, part) for part in key.removeprefix("kl.").split(".")]
    return ".".join(("kl", *parts))


class Autoencoder(nn.Module):
    """AutoencoderKL, as `kl`, with its attention through core.kernels. `encode` and `decode` use scaled latents."""

    def __init__(self, config: AutoencoderConfig) -> None:
        quiet_xformers()
        from diffusers import AutoencoderKL

        super().__init__()
        self.config = config
        levels = len(config.widths)
        self.kl = AutoencoderKL(
            sample_size=config.size, block_out_channels=config.widths, layers_per_block=config.depth,
            latent_channels=config.channels, norm_num_groups=config.groups, scaling_factor=config.scale,
            down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels)
        self.kl.set_attn_processor(AttnProcessor())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image: (N, 3, H, W) in [-1, 1], H and W multiples of 8.

        Returns the picture again, not clipped, and mean and log variance of its unscaled latents, (N, C, H / 8, W / 8).
        In training the picture is made from latents drawn so, in eval mode from their mean.
        """
        found = self.kl.encode(image).latent_dist
        latents = found.sample() if self.training else found.mean
        return self.kl.decode(latents).sample, found.mean, found.logvar

    def encode(self, image: Tensor) -> Tensor:
        """image: (N, 3, H, W) in [-1, 1] -> the mean of its latents, scaled: (N, C, H / 8, W / 8)."""
        return self.kl.encode(image).latent_dist.mean * self.config.scale

    def decode(self, latents: Tensor) -> Tensor:
        """latents: (N, C, h, w), scaled -> (N, 3, 8 h, 8 w), nominally in [-1, 1]."""
        return self.kl.decode(latents / self.config.scale).sample
