"""Feature extractors for clustering."""

import pytest
import torch

from core.models import bagnet, build


@pytest.mark.parametrize("network", ["bagnet", "resnet"])
def test_features_of_small_pictures(network):
    """(N, 256) for 64 pixels, the same alone and in a batch; logits are a linear layer on them."""
    torch.manual_seed(0)
    model = build(network, "tiny").eval().requires_grad_(False)
    x = torch.randn(8, 3, 64, 64)
    features = model.features(x)
    assert features.shape == (8, 4 * model.config.widths[-1]) == (8, 256)
    assert torch.allclose(model.features(x[:1]), features[:1], atol=1e-5)
    assert torch.equal(model.fc(features), model(x))
    assert model(x).shape == (8, model.config.classes)


@pytest.mark.parametrize(("preset", "side"), [("tiny", 9), ("17", 17)])
def test_bagnet_sees_small_patches(preset, side):
    """The gradient of one position of the last map reaches a square of that many pixels and no more."""
    assert bagnet.PRESETS[preset].receptive_field == side
    torch.manual_seed(0)
    model = build("bagnet", preset, widths=(16, 16, 16, 16)).eval()
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    last = model.maps(x)[-1]
    place = last.shape[2] // 2
    last[0, :, place, place].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    assert seen.any(0).sum() == seen.any(1).sum() == side


def test_patch_logits_average_to_the_logits():
    torch.manual_seed(0)
    model = build("bagnet", "tiny").eval().requires_grad_(False)
    x = torch.randn(2, 3, 64, 64)
    patches = model.patch_logits(x)
    assert patches.shape == (2, 14, 14, model.config.classes)
    assert torch.allclose(patches.mean((1, 2)), model(x), atol=1e-6)
