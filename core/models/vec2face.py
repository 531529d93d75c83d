"""Vec2Face: 512 numbers -> a picture of a face.

Wu et al., *Vec2Face: Scaling Face Dataset Generation with Loosely Constrained Vectors*, ICLR 2025, section 3: the
vector becomes 49 tokens, a feature masked autoencoder fills in those that were hidden, and a convolutional decoder
(Esser et al., *Taming Transformers*, CVPR 2021, without attention) draws the picture. Keys and arithmetic are those
of the published file.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.errors import SettingsError, VectorError
from core.kernels.attention import attention

TOKENS = 49   # 7 x 7, behind the identity token
PIECE = 4     # pictures per chunk on a CPU, so that activations stay in its caches
PLACE = 0.5   # initial standard deviation of the positions, the only difference between tokens


@dataclass(frozen=True)
class Vec2FaceConfig:
    """Sizes of the generator: vectors in, 112x112 pictures out."""

    width: int                     # of the encoder's tokens
    depth: int                     # blocks of the encoder
    heads: int                     # attention heads of the encoder
    decoder_width: int             # the same for the decoder
    decoder_depth: int
    decoder_heads: int
    feature: int                   # channels of the 7x7 map handed to the image decoder
    channels: tuple[int, ...]      # of the image decoder at 112, 56, 28, 14 and 7 pixels
    groups: int                    # of its group norms
    dropout: float = 0.1           # in the transformer, in training
    vector: int = 512              # input numbers


PRESETS = {
    "tiny":  Vec2FaceConfig(width=192, depth=4, heads=6, decoder_width=192, decoder_depth=4, decoder_heads=6,
                            feature=128, channels=(16, 16, 32, 64, 128), groups=8, dropout=0.0),
    "base":  Vec2FaceConfig(width=768, depth=12, heads=12, decoder_width=768, decoder_depth=8, decoder_heads=16,
                            feature=256, channels=(128, 128, 256, 256, 512), groups=32),
    "large": Vec2FaceConfig(width=1024, depth=24, heads=16, decoder_width=1024, decoder_depth=8, decoder_heads=16,
                            feature=256, channels=(128, 128, 256, 256, 512), groups=32),
}

UNUSED = frozenset({"patch_embed.proj.weight", "patch_embed.proj.bias", "center_token.weight", "center_token.bias",
                    "token_emb.position_ids"})


class Masks(NamedTuple):
    """Which of the 50 positions are hidden: bool (N, 50), column 0 (the identity token) always False."""

    drop: Tensor   # removed before the encoder; equally many per row
    mask: Tensor   # replaced by the identity token; includes the dropped ones


class Decoded(NamedTuple):
    """A picture, and the two sides of the feature-map loss."""

    image: Tensor    # (N, 3, 112, 112), nominally in [-1, 1]
    tokens: Tensor   # (N, 49, decoder width), from the decoder
    clean: Tensor    # (N, 49, width), before masking; detached


class Vec2Face(nn.Module):
    """The generator. Call it for pictures; `tokens_and_image` also returns the training targets."""

    def __init__(self, config: Vec2FaceConfig) -> None:
        super().__init__()
        self.config = config
        width, decoder = config.width, config.decoder_width
        self.latent_prior_proj_f = nn.Linear(config.vector, width)
        self.feature_token = nn.Linear(1, TOKENS)
        self.token_emb = TokenEmbedding(width, config.dropout)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_embed = nn.Linear(width, decoder)
        self.decoder_pos_embed_learned = nn.Parameter(torch.empty(1, TOKENS + 1, decoder).normal_(std=PLACE))
        self.decoder_blocks = nn.ModuleList(
            Block(decoder, config.decoder_heads, config.dropout) for _ in range(config.decoder_depth))
        self.decoder_norm = nn.LayerNorm(decoder, eps=1e-6)
        self.im_decoder_proj = nn.Linear(decoder, config.feature)
        self.im_decoder = ImageDecoder(config.feature, config.channels, config.groups)

    def forward(self, rep: Tensor, drop_mask: Tensor | None = None, token_mask: Tensor | None = None,
                generator: torch.Generator | None = None) -> Tensor:
        """rep: (N, 512) face vectors as the recogniser gives them, not normalised.

        drop_mask, token_mask: (N, 50), true where a token is left out or hidden; see `Masks`. Without them, and with a
        generator, they are drawn as the published inference draws them; without either nothing is hidden, which is
        deterministic. Returns (N, 3, 112, 112), nominally in [-1, 1] but not clipped. Raises VectorError for another
        length of vector, SettingsError for masks that don't fit.
        """
        return self.tokens_and_image(rep, drop_mask, token_mask, generator).image

    def tokens_and_image(self, rep: Tensor, drop_mask: Tensor | None = None, token_mask: Tensor | None = None,
                         generator: torch.Generator | None = None, half: bool = False) -> Decoded:
        """As `forward`, with both sides of the feature-map loss. half: half-size pictures, for early training."""
        drop, mask = self._masks(rep, drop_mask, token_mask, generator)
        clean = self.tokens(rep)                                             # (N, 50, width)
        latent = self.encode(clean, drop, mask)                              # (N, kept, width)
        tokens = self.decode(latent, drop, mask)                             # (N, 50, decoder width)
        decoder = self.im_decoder.half if half else self.im_decoder
        image = decoder(self.feature_map(tokens))                            # (N, 3, 112, 112)
        return Decoded(image, tokens[:, 1:], clean[:, 1:].detach())

    def tokens(self, rep: Tensor) -> Tensor:
        """The clean sequence, identity token first: (N, 512) -> (N, 50, width)."""
        identity = self.latent_prior_proj_f(rep)[:, None]                    # (N, 1, width)
        scale, shift = self.feature_token.weight, self.feature_token.bias[:, None]      # (49, 1) each
        return torch.cat((identity, identity * scale + shift), 1)

    def encode(self, clean: Tensor, drop: Tensor | None, mask: Tensor | None) -> Tensor:
        """Hide, drop and encode: (N, 50, width) -> (N, kept, width), in the original order."""
        x = clean if mask is None else torch.where(mask[..., None], clean[:, :1], clean)
        x = self.token_emb(x)
        if drop is not None:
            x = x[~drop].reshape(len(x), -1, x.shape[2])                     # (N, kept, width)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decode(self, latent: Tensor, drop: Tensor | None, mask: Tensor | None) -> Tensor:
        """Put every token back in its place, the identity token wherever one is hidden, and decode.

        latent: (N, kept, width). Returns (N, 50, decoder width).
        """
        kept = self.decoder_embed(latent)
        x, identity = kept, kept[:, :1]
        if drop is not None:
            x = identity.expand(-1, TOKENS + 1, -1).masked_scatter(~drop[..., None], kept)
        if mask is not None:
            x = torch.where(mask[..., None], identity, x)
        x = x + self.decoder_pos_embed_learned                               # (N, 50, decoder width)
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_norm(x)

    def feature_map(self, tokens: Tensor) -> Tensor:
        """The 49 tokens as a feature map: (N, 50, decoder width) -> (N, feature, 7, 7)."""
        x = self.im_decoder_proj(tokens[:, 1:])                              # (N, 49, feature)
        return x.transpose(1, 2).unflatten(2, (7, 7))

    def _masks(self, rep: Tensor, drop: Tensor | None, mask: Tensor | None,
               generator: torch.Generator | None) -> tuple[Tensor | None, Tensor | None]:
        if rep.ndim != 2 or rep.shape[1] != self.config.vector:
            raise VectorError(f"Face vectors of shape {tuple(rep.shape)} can't be drawn.",
                              f"Give a batch of vectors: (N, {self.config.vector}).")
        if drop is None and mask is None:
            if generator is None:
                return None, None
            drop, mask = random_masks(len(rep), generator)
        return _checked("drop mask", drop, rep), _checked("token mask", mask, rep)


def random_masks(batch: int, generator: torch.Generator, minimum: float = 0.1, mean: float = 0.15, sd: float = 0.25,
                 maximum: float = 1.0) -> Masks:
    """Masks for a batch (section 3.2): one rate from a truncated normal distribution, then random positions.

    minimum, maximum: bounds of the rate, 0 <= minimum <= maximum <= 1; the fraction `minimum` is dropped. The defaults
    are those of the published inference. The masks lie on the generator's device.
    """
    if not 0 <= minimum <= maximum <= 1 or sd <= 0:
        raise SettingsError(f"Mask rates from {minimum} to {maximum} with sd {sd} can't be drawn.",
                            "Choose 0 <= minimum <= maximum <= 1 and sd > 0.")
    device = generator.device
    rate = truncated_normal(torch.rand((), generator=generator, device=device).item(), minimum, mean, sd, maximum)
    order = torch.rand(batch, TOKENS, generator=generator, device=device).argsort(1).argsort(1)   # (N, 49) ranks
    drop, mask = (F.pad(order < math.ceil(TOKENS * part), (1, 0)) for part in (minimum, rate))
    return Masks(drop, mask)


def truncated_normal(uniform: float, minimum: float, mean: float, sd: float, maximum: float) -> float:
    """Quantile function of a truncated normal distribution at `uniform` in [0, 1]."""
    low, high = (math.erf((edge - mean) / (sd * 2 ** 0.5)) for edge in (minimum, maximum))
    middle = torch.tensor(low + (high - low) * uniform, dtype=torch.float64).erfinv().item()
    return min(max(mean + sd * 2 ** 0.5 * middle, minimum), maximum)


def _checked(name: str, mask: Tensor | None, rep: Tensor) -> Tensor | None:
    if mask is None:
        return None
    mask = mask.to(rep.device, torch.bool)
    if mask.shape != (len(rep), TOKENS + 1) or mask[:, 0].any():
        raise SettingsError(f"The {name} does not fit a batch of {len(rep)} vectors.",
                            f"Give ({len(rep)}, {TOKENS + 1}) with a first column of zeros.")
    if name == "drop mask" and (mask.sum(1) != mask[0].sum()).any():
        raise SettingsError("The drop mask drops more tokens in one row than in another.",
                            "Drop the same number in every row.")
    return mask


class TokenEmbedding(nn.Module):
    """Adds a learned position to every token, then normalises."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.position_embeddings = nn.Embedding(TOKENS + 1, width)
        nn.init.normal_(self.position_embeddings.weight, std=PLACE)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 50, width) -> the same shape."""
        return self.dropout(self.LayerNorm(x + self.position_embeddings.weight))


class Block(nn.Module):
    """A transformer block, normalised before each half (Dosovitskiy et al. 2021)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, width) -> the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SelfAttention(nn.Module):
    """Multi-head attention over a sequence, through the project's kernels."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, width) -> the same shape."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)   # (N, heads, T, width / heads)
        x = attention(q, k, v, dropout=self.dropout.p if self.training else 0.0)
        return self.dropout(self.proj(x.transpose(1, 2).flatten(2)))


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, width) -> the same shape."""
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(x)))))


class ImageDecoder(nn.Module):
    """Convolutions from 7x7 features to a 112x112 picture, doubling four times."""

    def __init__(self, feature: int, channels: tuple[int, ...], groups: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(feature, channels[-1], 3, 1, 1)
        self.mid = nn.ModuleDict({name: DecoderBlock(channels[-1], channels[-1], groups)
                                  for name in ("block_1", "block_2")})
        before = (*channels[1:], channels[-1])                               # input channels of each level
        self.up = nn.ModuleList(Level(before[i], channels[i], groups, double=i > 0) for i in range(len(channels)))
        self.norm_out = Norm(groups, channels[0])
        self.conv_out = nn.Conv2d(channels[0], 3, 3, 1, 1)
        self.register_load_state_dict_post_hook(_laid_out)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, feature, 7, 7) -> (N, 3, 112, 112)."""
        if not _quick(x):
            return self.draw(x)
        x = x.contiguous(memory_format=torch.channels_last)
        return self.draw(x) if len(x) <= PIECE else torch.cat([self.draw(piece) for piece in x.split(PIECE)])

    def draw(self, x: Tensor) -> Tensor:
        """As `forward`, without chunks, in the input's memory layout."""
        x = self.middle(x)
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(_normed(self.norm_out, x))

    def half(self, x: Tensor) -> Tensor:
        """x: (N, feature, 7, 7) -> (N, 3, 56, 56): the last layer on the level before the last (Karras et al. 2018).

        For presets whose last two levels are of one width.
        """
        x = self.middle(x)
        for level in reversed(self.up[2:]):
            x = level(x)
        for block in self.up[1].block:
            x = block(x)
        return self.conv_out(_normed(self.norm_out, x))

    def middle(self, x: Tensor) -> Tensor:
        """x: (N, feature, 7, 7) -> (N, channels[-1], 7, 7), before the first doubling."""
        return self.mid["block_2"](self.mid["block_1"](self.conv_in(x)))


class Level(nn.Module):
    """Two residual blocks, then upsampling by 2, except on the last level."""

    def __init__(self, channels_in: int, channels: int, groups: int, double: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList((DecoderBlock(channels_in, channels, groups),
                                    DecoderBlock(channels, channels, groups)))
        self.upsample = nn.ModuleDict({"conv": nn.Conv2d(channels, channels, 3, 1, 1)}) if double else None

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, S, S) -> (N, channels, 2 S, 2 S), or S when not doubled."""
        for block in self.block:
            x = block(x)
        return x if self.upsample is None else _doubled(x, self.upsample["conv"])


class DecoderBlock(nn.Module):
    """Norm, activation, convolution, twice, beside a shortcut.

    Where the channel count changes, the published network applies the shortcut's convolution to the block's own result,
    not to its input; so does this one.
    """

    def __init__(self, channels_in: int, channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = Norm(groups, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False)
        self.norm2 = Norm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        if channels_in != channels:
            self.nin_shortcut = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels_in, S, S) -> (N, channels, S, S)."""
        h = self.conv1(_normed(self.norm1, x))
        h = self.conv2(_normed(self.norm2, h))
        return h + (self.nin_shortcut(h) if hasattr(self, "nin_shortcut") else x)


class Norm(nn.GroupNorm):
    """Group norm in float32 for any input type: exact under mixed precision, and 3 times as fast on a CPU."""

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__(groups, channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, S, S) -> the same shape and type."""
        if x.dtype == self.weight.dtype == torch.float32:
            return super().forward(x)
        return F.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps).to(x.dtype)


def _laid_out(decoder: nn.Module, _: object) -> None:
    """Convert weights to the memory layout used for generation, which saves a conversion at every call."""
    decoder.to(memory_format=torch.channels_last)


def _quick(x: Tensor) -> bool:
    """Whether generation runs on a CPU without gradients, where a faster equivalent form is used."""
    return x.device.type == "cpu" and not torch.is_grad_enabled()


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    return F.silu(norm(x), inplace=not torch.is_grad_enabled())


def _doubled(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv(every pixel of x four times): (N, C, S, S) -> (N, C, 2 S, 2 S).

    From 28 pixels on the quick way is one transposed convolution, which needs 16 products where the two steps need 36;
    on smaller maps summing its 4x4 kernel costs more than that saves.
    """
    if not _quick(x) or x.shape[2] < 28:
        return conv(F.interpolate(x, scale_factor=2, mode="nearest"))
    weight = conv.weight.flip(2, 3).transpose(0, 1)
    kernel = sum(F.pad(weight, (left, 1 - left, top, 1 - top)) for left in (0, 1) for top in (0, 1))
    return F.conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)
