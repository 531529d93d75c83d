"""The terms of the recipes, against their definitions."""

import math

import pytest
import torch
from torch.nn import functional as F

from core.training import losses


def arcface(own: float, margin: float, scale: float = 64.0) -> float:
    """The loss of one feature at cosine `own` to its class and 0 to the only other one."""
    head = losses.ArcFace(3, 2, scale)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    feature = torch.tensor([[own, 0.0, math.sqrt(1 - own**2)]]) * 7  # length must not matter
    loss, cos = head(feature, torch.tensor([0]), margin)
    assert float(cos) == pytest.approx(own, abs=1e-5)
    return loss.item()


@pytest.mark.parametrize("own", [0.9, 0.3, -0.5])
def test_arcface_is_softmax_with_a_turned_angle(own):
    turned = math.cos(math.acos(own) + 0.5)
    wanted = -math.log(math.exp(4 * turned) / (math.exp(4 * turned) + 1))
    assert arcface(own, 0.5, scale=4) == pytest.approx(wanted, rel=1e-4)


def test_arcface_keeps_falling_where_the_angle_would_wrap_round():
    losses_ = [arcface(own, 0.5, scale=4) for own in (-0.80, -0.87, -0.88, -0.95, -0.999)]
    assert losses_ == sorted(losses_)


def test_arcface_pulls_towards_the_own_class():
    head = losses.ArcFace(8, 5)
    feature = torch.randn(4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    person = torch.tensor([0, 1, 2, 3])
    head(feature, person, 0.5)[0].backward()
    moved = (feature - 0.05 * feature.grad / feature.grad.norm()).detach()
    assert head(moved, person, 0.5)[1] > head(feature.detach(), person, 0.5)[1]


def test_perceptual_sees_direction_and_not_strength():
    maps = [torch.rand(2, 4, 6, 6) + 0.1, torch.rand(2, 8, 3, 3) + 0.1]
    assert losses.perceptual([3 * m for m in maps], maps) == pytest.approx(0, abs=1e-6)
    assert losses.perceptual([-m for m in maps], maps) == pytest.approx(4, rel=1e-4)


def test_perceptual_averages_the_maps():
    a, b = [torch.rand(1, 4, 5, 5), torch.rand(1, 4, 2, 2)], [torch.rand(1, 4, 5, 5), torch.rand(1, 4, 2, 2)]
    single = [losses.perceptual([x], [y]) for x, y in zip(a, b, strict=True)]
    assert losses.perceptual(a, b) == pytest.approx(float(sum(single) / 2))
    wanted = (F.normalize(a[0], dim=1) - F.normalize(b[0], dim=1)).pow(2).sum(1).mean()
    assert single[0] == pytest.approx(float(wanted))
