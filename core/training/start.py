"""Initialisation of a Vec2Face: its encoder is pre-trained on a single token to predict small pictures.

The 49 tokens of a vector are copies of it that only differ by position. So one token is enough at first, and training
is fifty times faster. The result is then written into the decoder in closed form, as units that are active at one
position only. This saves the first hours of gradient descent.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.models.vec2face import TOKENS, Vec2Face
from core.training.optim import adamw_groups

SIDE = 4  # pixels of a token's patch in a picture of 28 x 28
PATCH = 3 * SIDE * SIDE
RIDGE = 0.1  # standard deviation of noise assumed by the first regression
NOISE = 0.1  # standard deviation of noise on the vectors during pre-training, against overfitting
BATCH, RATE = 128, 1e-3
CONTENT, PLACE = 0.5, 16.0  # initial norms of content (per standard deviation) and position in the decoder
OPEN = 5.0  # input of an active unit, and minus that of an inactive one: GELU is linear there, or flat
SWING = 0.8  # change of that input per standard deviation of the content


class Encoded(nn.Module):
    """The encoder on the identity token alone, with a linear prediction of a small picture."""

    def __init__(self, generator: Vec2Face, components: int) -> None:
        super().__init__()
        self.generator = generator
        self.components = nn.Linear(generator.config.width, components)
        self.patches = nn.Linear(components, TOKENS * PATCH)

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, 512) -> components that predict the picture, (N, C)."""
        generator = self.generator
        token = generator.token_emb.LayerNorm(generator.latent_prior_proj_f(vectors))[:, None]        # (N, 1, width)
        for block in generator.blocks:
            token = block(token)
        return self.components(generator.norm(token)[:, 0])


def early_start(generator: Vec2Face, vectors: Tensor, pictures: Tensor, steps: int = 4000, seed: int = 0) -> None:
    """Initialise the transformer so that its tokens contain small pictures.

    vectors: (N, 512). pictures: (N, 3, 28, 28) in [-1, 1]. The first 48 features of a token's map are its patch of
    4 x 4 pixels, the others the components it was made from. Encoder and decoder need equal widths. steps: of 128
    vectors each, 25 ms on one CPU core.
    """
    width, decoder = generator.config.width, generator.config.decoder_width
    if width != decoder or width <= 1 + TOKENS + PATCH:
        raise ValueError(f"widths are {width} and {decoder}; they must be equal and above 98")
    place, patch, content = directions(width, seed).split((TOKENS, PATCH, width - 1 - TOKENS - PATCH))
    patches = F.unfold(pictures, SIDE, stride=SIDE).transpose(1, 2)                                   # (N, 49, 48)
    middle, offset = vectors.mean(0), patches.mean(0)
    begin_encoder(generator, telling(vectors - middle, patches - offset, width), middle)
    encoded = Encoded(generator, len(content))
    learn(encoded, vectors, (patches - offset).flatten(1), steps, seed)
    maps = read_off(encoded, vectors, content)                                                        # (49, 48, C)
    begin_decoder(generator, maps, offset + encoded.patches.bias.detach().unflatten(0, offset.shape), place, patch,
                  content)


def directions(width: int, seed: int) -> Tensor:
    """Orthonormal rows (width - 1, width), random, each with mean zero, so that layer norms do not change them."""
    random = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
    random[:, 0] = 1.0
    return torch.linalg.qr(random)[0][:, 1:].T


@torch.no_grad()
def telling(vectors: Tensor, patches: Tensor, count: int) -> Tensor:
    """Reduced-rank ridge regression (Izenman 1975) of centred patches (N, 49, 48) on centred vectors (N, 512).

    Returns the `count` most predictive directions, scaled to unit standard deviation: (count, 512).
    """
    spreads = vectors.T @ vectors / len(vectors)
    full = torch.linalg.solve(spreads + RIDGE**2 * torch.eye(len(spreads)),
                              vectors.T @ patches.flatten(1) / len(vectors))  # (512, 49 * 48)
    values, rows = torch.linalg.eigh(spreads)
    outward = torch.linalg.svd((values.clamp(min=0).sqrt() * rows).T @ full, full_matrices=False)[2][:count]
    inward = (full @ outward.T).T  # (count, 512)
    spread = (vectors @ inward.T).square().mean(0).sqrt()
    return inward / spread.clamp(min=0.01 * float(spread.max()) + 1e-6)[:, None]


@torch.no_grad()
def begin_encoder(generator: Vec2Face, weight: Tensor, middle: Tensor) -> None:
    """Set every token to the whitened vector, and all blocks to the identity."""
    generator.latent_prior_proj_f.weight.copy_(weight)
    generator.latent_prior_proj_f.bias.copy_(-(weight @ middle))
    generator.feature_token.weight.fill_(1.0)
    generator.feature_token.bias.zero_()
    generator.token_emb.position_embeddings.weight.mul_(0.04)
    for block in (*generator.blocks, *generator.decoder_blocks):
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()


def learn(encoded: Encoded, vectors: Tensor, patches: Tensor, steps: int, seed: int) -> None:
    """Least squares of the patches (N, 49 * 48) by AdamW with cosine decay."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = adamw_groups(([p for p in encoded.parameters() if p.requires_grad], RATE, 0.05))
    for step in range(steps):
        rows = torch.randint(len(vectors), (BATCH,), generator=draw)
        seen = vectors[rows] + NOISE * torch.randn(BATCH, vectors.shape[1], generator=draw)
        loss = (encoded.patches(encoded(seen)) - patches[rows]).square().mean()
        falling = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = RATE * min((step + 1) / 100, 1.0) * falling
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 500 == 0:
            print(f"early {step + 1} of {steps} loss {float(loss):.4f}", flush=True)


@torch.no_grad()
def read_off(encoded: Encoded, vectors: Tensor, content: Tensor) -> Tensor:
    """Feed whitened components to the decoder, in its rows `content` (C, width).

    Returns the maps from the whitened components to the patches, (49, 48, C).
    """
    generator, layer = encoded.generator, encoded.components
    found = torch.cat([encoded(part) for part in vectors.split(1024)])                                # (N, C)
    values, rows = torch.linalg.eigh((found - found.mean(0)).T @ (found - found.mean(0)) / len(found))
    spread = values.clamp(min=1e-4 * float(values[-1]) + 1e-12).sqrt()
    even = (rows / spread).T                                                                          # (C, C)
    generator.decoder_embed.weight.copy_(CONTENT * content.T @ (even @ layer.weight))
    generator.decoder_embed.bias.copy_(CONTENT * content.T @ (even @ (layer.bias - found.mean(0))))
    encoded.patches.bias.add_(encoded.patches.weight @ found.mean(0))
    return (encoded.patches.weight @ (rows * spread)).unflatten(0, (TOKENS, PATCH))


@torch.no_grad()
def begin_decoder(generator: Vec2Face, maps: Tensor, offset: Tensor, place: Tensor, patch: Tensor,
                  content: Tensor) -> None:
    """Set pairs of units, active at one position, that add one singular direction of its map to its patch."""
    width = generator.config.decoder_width
    generator.decoder_pos_embed_learned.zero_()
    generator.decoder_pos_embed_learned[0, 1:] = PLACE * place + offset @ patch
    spread = ((PLACE**2 + CONTENT**2 * len(content)) / width) ** 0.5  # divisor of layer norms
    left, size, right = torch.linalg.svd(maps, full_matrices=False)  # (49, 48, 48), (49, 48), (49, 48, C)
    pairs = generator.decoder_blocks[0].mlp.fc1.weight.shape[0] // (2 * TOKENS)  # per block and position
    gate = 2 * OPEN * spread / PLACE
    for direction in range(min(right.shape[1], pairs * len(generator.decoder_blocks))):
        block = generator.decoder_blocks[direction // pairs]
        units = torch.arange(TOKENS) * 2 * pairs + 2 * (direction % pairs)
        read = right[:, direction] @ content * (SWING * spread / CONTENT)  # (49, width)
        write = (left[:, :, direction] * size[:, direction, None]) @ patch / (2 * SWING)  # (49, width)
        for sign, rows in ((1.0, units), (-1.0, units + 1)):
            block.mlp.fc1.weight[rows] = gate * place + sign * read
            block.mlp.fc1.bias[rows] = -OPEN
            block.mlp.fc2.weight[:, rows] = sign * write.T
    feature = generator.im_decoder_proj.weight.shape[0]
    generator.im_decoder_proj.weight.copy_(torch.cat([patch * spread, content * spread])[:feature])
    generator.im_decoder_proj.bias.zero_()
