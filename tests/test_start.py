"""Where a generator begins: its tokens hold what the encoder alone has learnt of small pictures."""

import pytest
import torch
from torch.nn import functional as F

from core.models import build
from core.models.vec2face import Vec2Face, Vec2FaceConfig
from core.training.start import PATCH, Encoded, directions, early_start, telling


@pytest.fixture(scope="module")
def world() -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors whose first 128 numbers decide a picture, the earlier the more."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(1200, 512, generator=draw)
    shapes = torch.randn(128, 3, 7, 7, generator=draw) * torch.linspace(1, 0.1, 128)[:, None, None, None]
    shapes = F.interpolate(shapes, size=28, mode="bilinear")
    return vectors, torch.einsum("nk,kchw->nchw", vectors[:, :128], shapes) * 0.05


def patches(pictures: torch.Tensor) -> torch.Tensor:
    return F.unfold(pictures, 4, stride=4).transpose(1, 2)


SOME = 100      # vectors that a whole transformer looks at


@torch.no_grad()
def seen(generator: Vec2Face, vectors: torch.Tensor) -> torch.Tensor:
    """The first 48 features of every token of the first vectors, (SOME, 49, 48)."""
    vectors = vectors[:SOME]
    tokens = generator.decode(generator.encode(generator.tokens(vectors), None, None), None, None)
    return generator.im_decoder_proj(tokens[:, 1:])[..., :PATCH]


@pytest.fixture(scope="module")
def begun(world) -> Vec2Face:
    torch.manual_seed(0)
    generator = build("vec2face", "tiny").eval()
    early_start(generator, *world, steps=300)
    return generator


def test_tokens_hold_the_picture_of_a_vector(world, begun):
    vectors, pictures = world
    after = (seen(begun, vectors) - patches(pictures)[:SOME]).square().mean()
    assert after < 0.6 * patches(pictures).var()


def test_what_is_written_is_what_was_learnt(world):
    """The units of the decoder say what a linear reading of the encoder says, nearly."""
    from core.training import start

    vectors, pictures = world
    kept, read_off = {}, start.read_off
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "read_off", lambda encoded, *rest: kept.update(
            said=encoded.patches(encoded(vectors)).detach()) or read_off(encoded, *rest))
        generator = build("vec2face", "tiny").eval()
        early_start(generator, vectors, pictures, steps=40)
    said = (kept["said"].unflatten(1, (49, PATCH)) + patches(pictures).mean(0))[:SOME]
    assert (seen(generator, vectors) - said).square().mean() < 0.15 * said.var()


def test_hidden_tokens_are_filled_in(world, begun):
    """A masked position has the identity token in it, and that holds all a position's units need."""
    mask = torch.ones(8, 50, dtype=torch.bool)
    mask[:, 0] = False
    whole, hidden = (begun.tokens_and_image(world[0][:8], None, m).tokens for m in (None, mask))
    assert (whole - hidden).abs().mean() < 0.1 * whole.std()


def test_the_encoder_learns(world):
    vectors, pictures = world
    errors = []
    for steps in (0, 30):
        torch.manual_seed(0)
        generator = build("vec2face", "tiny").eval()
        early_start(generator, vectors, pictures.square(), steps=steps)     # a regression alone can't tell squares
        errors.append((seen(generator, vectors) - patches(pictures.square())[:SOME]).square().mean())
    assert errors[1] < 0.9 * errors[0]


def test_one_token_says_what_all_of_them_would(world, begun):
    """Alone and among its copies a token is encoded alike, for positions begin by mattering little."""
    encoded = Encoded(begun, 94)
    with torch.no_grad():
        alone = encoded(world[0][:8])
        among = encoded.components(begun.encode(begun.tokens(world[0][:8]), None, None)[:, 5])
    assert (alone - among).abs().mean() < 0.1 * alone.std()


def test_directions_are_apart_and_even():
    rows = directions(192, seed=3)
    assert torch.allclose(rows @ rows.T, torch.eye(191), atol=1e-4)
    assert rows.mean(1).abs().max() < 1e-5


def test_the_directions_that_tell_most_come_first(world):
    vectors, pictures = world
    middle, centred = vectors.mean(0), patches(pictures) - patches(pictures).mean(0)
    found = telling(vectors - middle, centred, 90)
    spread = ((vectors - middle) @ found.T).std(0)
    assert torch.allclose(spread, torch.ones(90), atol=0.05)
    assert found[:, :128].square().sum() > 0.5 * found.square().sum()


def test_a_start_needs_room():
    config = Vec2FaceConfig(width=96, depth=1, heads=2, decoder_width=96, decoder_depth=1, decoder_heads=2, feature=64,
                            channels=(8, 8, 8, 8, 8), groups=8)
    with pytest.raises(ValueError, match="above 98"):
        early_start(Vec2Face(config), torch.randn(4, 512), torch.randn(4, 3, 28, 28))
