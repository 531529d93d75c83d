"""Where a Vec2Face begins: what its encoder learns of small pictures on one token, written into all of them.

The 49 tokens of one vector are copies of it, told apart by their positions alone; so before anything is drawn the
encoder need not see them all. On the identity token by itself it learns to tell small pictures, fifty times faster.
What it found is then written into the decoder as units that open at one position only: a closed form for what gradient
descent through both would spend its first hours on.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.models.vec2face import TOKENS, Vec2Face

SIDE = 4  # pixels of the patch that a token stands for, in a picture of 28 x 28
PATCH = 3 * SIDE * SIDE
RIDGE = 0.1  # of a vector's numbers, the noise that the first regression is to bear
NOISE = 0.1  # spread of the noise on a vector's numbers while the encoder learns: few pictures are known by heart else
BATCH, RATE = 128, 1e-3
CONTENT, PLACE = 0.5, 16.0  # length of the content per unit of its spread, and of a position, where the decoder starts
OPEN = 5.0  # a unit's input where it is open, and minus that where it is shut: GELU is straight there, and flat
SWING = 0.8  # what one standard deviation of the content adds to it


class Encoded(nn.Module):
    """The encoder on the identity token alone, and a linear reading of a small picture off it."""

    def __init__(self, generator: Vec2Face, components: int) -> None:
        super().__init__()
        self.generator = generator
        self.components = nn.Linear(generator.config.width, components)
        self.patches = nn.Linear(components, TOKENS * PATCH)

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, 512) -> the components that a picture is read off, (N, C)."""
        generator = self.generator
        token = generator.token_emb.LayerNorm(generator.latent_prior_proj_f(vectors))[:, None]        # (N, 1, width)
        for block in generator.blocks:
            token = block(token)
        return self.components(generator.norm(token)[:, 0])


def early_start(generator: Vec2Face, vectors: Tensor, pictures: Tensor, steps: int = 4000, seed: int = 0) -> None:
    """Set the transformer so that its tokens hold small pictures, as well as the encoder can tell them by itself.

    vectors: (N, 512). pictures: (N, 3, 28, 28) in [-1, 1]. The first 48 features of a token's map are its patch of
    4 x 4 pixels, the others the components it was made from. Equal widths of encoder and decoder are needed. steps: of
    128 vectors each, 25 ms on one CPU core.
    """
    width, decoder = generator.config.width, generator.config.decoder_width
    if width != decoder or width <= 1 + TOKENS + PATCH:
        raise ValueError(f"widths of {width} and {decoder} leave no room for a start; give equal ones above 98")
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
    """Orthonormal rows (width - 1, width), in no order, with a mean of zero each: layer norms leave it alone."""
    random = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
    random[:, 0] = 1.0
    return torch.linalg.qr(random)[0][:, 1:].T


@torch.no_grad()
def telling(vectors: Tensor, patches: Tensor, count: int) -> Tensor:
    """Reduced-rank ridge regression (Izenman 1975) of centred patches (N, 49, 48) on centred vectors (N, 512).

    Returns the `count` directions of a vector that tell most of a picture, scaled to unit spread: (count, 512).
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
    """Every token is the whitened vector, and the blocks begin by changing nothing."""
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
    """Least squares of the patches (N, 49 * 48) by AdamW, the rate falling along half a cosine."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in encoded.parameters() if p.requires_grad], RATE, weight_decay=0.05)
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
    """Let the decoder begin with the components, evened out to unit spread, in its rows `content` (C, width).

    Returns the maps from the evened components to the patches, (49, 48, C).
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
    """Pairs of units that open at one position and add one singular direction of its map to its patch."""
    width = generator.config.decoder_width
    generator.decoder_pos_embed_learned.zero_()
    generator.decoder_pos_embed_learned[0, 1:] = PLACE * place + offset @ patch
    spread = ((PLACE**2 + CONTENT**2 * len(content)) / width) ** 0.5  # what layer norms divide by
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
