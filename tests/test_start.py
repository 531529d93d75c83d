"""Where a generator begins: its tokens hold a linear regression of small pictures."""

import pytest
import torch
from torch.nn import functional as F

from core.models import build
from core.models.vec2face import Vec2Face, Vec2FaceConfig
from core.training.start import PATCH, linear_start, telling


@pytest.fixture(scope="module")
def world() -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors whose first 128 numbers decide a picture, the earlier the more."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(1500, 512, generator=draw)
    shapes = torch.randn(128, 3, 7, 7, generator=draw) * torch.linspace(1, 0.1, 128)[:, None, None, None]
    shapes = F.interpolate(shapes, size=28, mode="bilinear")
    return vectors, torch.einsum("nk,kchw->nchw", vectors[:, :128], shapes) * 0.05


def patches(pictures: torch.Tensor) -> torch.Tensor:
    return F.unfold(pictures, 4, stride=4).transpose(1, 2)


@torch.no_grad()
def seen(generator: Vec2Face, vectors: torch.Tensor) -> torch.Tensor:
    """The first 48 features of every token, (N, 49, 48)."""
    tokens = generator.decode(generator.encode(generator.tokens(vectors), None, None), None, None)
    return generator.im_decoder_proj(tokens[:, 1:])[..., :PATCH]


def test_tokens_hold_the_picture_of_a_vector(world):
    vectors, pictures = world
    generator = build("vec2face", "tiny").eval()
    before = (seen(generator, vectors) - patches(pictures)).square().mean()
    linear_start(generator, vectors, pictures)
    after = (seen(generator, vectors) - patches(pictures)).square().mean()
    assert after < 0.2 * patches(pictures).var()
    assert after < 0.2 * before


def test_hidden_tokens_are_filled_in(world):
    """A masked position has the identity token in it, and that holds all a position's units need."""
    vectors, pictures = world
    generator = build("vec2face", "tiny").eval()
    linear_start(generator, vectors, pictures)
    mask = torch.ones(8, 50, dtype=torch.bool)
    mask[:, 0] = False
    whole, hidden = (generator.tokens_and_image(vectors[:8], None, m).tokens for m in (None, mask))
    assert (whole - hidden).abs().mean() < 0.1 * whole.std()


def test_the_directions_that_tell_most_come_first(world):
    vectors, pictures = world
    middle, centred = vectors.mean(0), patches(pictures) - patches(pictures).mean(0)
    directions, maps = telling(vectors - middle, centred, 90)
    spread = ((vectors - middle) @ directions.T).std(0)
    assert torch.allclose(spread, torch.ones(90), atol=0.05)
    assert directions[:, :128].square().sum() > 0.5 * directions.square().sum()
    fitted = torch.einsum("pok,nk->npo", maps, (vectors - middle) @ directions.T)
    assert (fitted - centred).square().mean() < 0.2 * centred.square().mean()


def test_a_start_needs_room():
    config = Vec2FaceConfig(width=96, depth=1, heads=2, decoder_width=96, decoder_depth=1, decoder_heads=2, feature=64,
                            channels=(8, 8, 8, 8, 8), groups=8)
    with pytest.raises(ValueError, match="above 97"):
        linear_start(Vec2Face(config), torch.randn(4, 512), torch.randn(4, 3, 28, 28))
