"""Where a Vec2Face begins: as the linear regression of small pictures on vectors, written into its transformer.

The 49 tokens of one vector are copies of it, told apart by their positions alone, and what makes faces differ lies in
directions of little spread. From a random start, gradient descent spends its first hours on both. Both have a closed
form: the directions that tell most, evened out, and units of the decoder that open at one position only.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from core.models.vec2face import TOKENS, Vec2Face

SIDE = 4  # pixels of the patch that a token stands for, in a picture of 28 x 28
PATCH = 3 * SIDE * SIDE
NOISE = 0.3  # of a vector's numbers, that the regression is to bear: the ridge, and the least σ people are varied by
CONTENT, PLACE = 0.5, 16.0  # length of the content per unit of its spread, and of a position, where the decoder starts
OPEN = 5.0  # a unit's input where it is open, and minus that where it is shut: GELU is straight there, and flat
SWING = 0.8  # what one standard deviation of the content adds to it


@torch.no_grad()
def linear_start(generator: Vec2Face, vectors: Tensor, pictures: Tensor, seed: int = 0) -> None:
    """Set the transformer so that its tokens hold what a ridge regression sees of the pictures.

    vectors: (N, 512). pictures: (N, 3, 28, 28) in [-1, 1]. The first 48 features of a token's map are its patch of
    4 x 4 pixels, the others the components it was made from. Equal widths of encoder and decoder are needed.
    """
    width, decoder = generator.config.width, generator.config.decoder_width
    if width != decoder or width <= TOKENS + PATCH:
        raise ValueError(f"widths of {width} and {decoder} leave no room for a start; give equal ones above 97")
    rotation = torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))[0]
    place, patch, content = rotation.split((TOKENS, PATCH, width - TOKENS - PATCH))
    patches = F.unfold(pictures, SIDE, stride=SIDE).transpose(1, 2)
    middle, offset = vectors.mean(0), patches.mean(0)
    whiten, maps = telling(vectors - middle, patches - offset, len(content))
    _begin_encoder(generator, content.T @ whiten, middle)
    generator.decoder_embed.weight.copy_(torch.eye(width) * CONTENT * (len(content) / width) ** 0.5)
    generator.decoder_embed.bias.zero_()
    generator.decoder_pos_embed_learned.zero_()
    generator.decoder_pos_embed_learned[0, 1:] = PLACE * place + offset @ patch
    spread = ((PLACE**2 + CONTENT**2 * len(content)) / width) ** 0.5  # what layer norms divide by
    _begin_decoder(generator, maps, place, patch, content, spread)
    feature = generator.im_decoder_proj.weight.shape[0]
    generator.im_decoder_proj.weight.copy_(torch.cat([patch * spread, content * spread])[:feature])
    generator.im_decoder_proj.bias.zero_()


def telling(vectors: Tensor, patches: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Reduced-rank ridge regression (Izenman 1975) of centred patches (N, 49, 48) on centred vectors (N, 512).

    Returns the `count` directions of a vector that tell most of a picture, scaled to unit spread, (count, 512), and the
    maps from those components to the patches, (49, 48, count).
    """
    spreads = vectors.T @ vectors / len(vectors)
    full = torch.linalg.solve(spreads + NOISE**2 * torch.eye(len(spreads)),
                              vectors.T @ patches.flatten(1) / len(vectors))  # (512, 49 * 48)
    values, rows = torch.linalg.eigh(spreads)
    outward = torch.linalg.svd((values.clamp(min=0).sqrt() * rows).T @ full, full_matrices=False)[2][:count]
    inward = (full @ outward.T).T  # (count, 512)
    spread = (vectors @ inward.T).square().mean(0).sqrt()
    spread = spread.clamp(min=0.01 * float(spread.max()) + 1e-6)
    maps = (outward * spread[:, None]).T.unflatten(0, patches.shape[1:])
    return inward / spread[:, None], maps


def _begin_encoder(generator: Vec2Face, weight: Tensor, middle: Tensor) -> None:
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


def _begin_decoder(generator: Vec2Face, maps: Tensor, place: Tensor, patch: Tensor, content: Tensor,
                   spread: float) -> None:
    """Pairs of units that open at one position and add one singular direction of its map to its patch."""
    left, size, right = torch.linalg.svd(maps, full_matrices=False)  # (49, 48, 48), (49, 48), (49, 48, C)
    pairs = generator.decoder_blocks[0].mlp.fc1.weight.shape[0] // (2 * TOKENS)  # per block and position
    gate = 2 * OPEN * spread / PLACE
    for at, block in enumerate(generator.decoder_blocks):
        for pair in range(pairs):
            direction = at * pairs + pair
            if direction >= right.shape[1]:
                return
            units = torch.arange(TOKENS) * 2 * pairs + 2 * pair
            read = right[:, direction] @ content * (SWING * spread / CONTENT)  # (49, width)
            write = (left[:, :, direction] * size[:, direction, None]) @ patch / (2 * SWING)  # (49, width)
            for sign, rows in ((1.0, units), (-1.0, units + 1)):
                block.mlp.fc1.weight[rows] = gate * place + sign * read
                block.mlp.fc1.bias[rows] = -OPEN
                block.mlp.fc2.weight[:, rows] = sign * write.T
