"""Feature spaces: what each network is given, in batches and from the cache; DINOv2's published names."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core import features, hub
from core.errors import SettingsError
from core.features import SPACES, compute, space_of
from core.models import NETWORKS, build, dinov2


def pictures(count=5, size=40):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


class Seen(torch.nn.Module):
    """Gives the mean colours of what it was given, and remembers the sizes."""

    def __init__(self):
        super().__init__()
        self.weight, self.sizes = torch.nn.Parameter(torch.zeros(1)), []

    def features(self, x):
        self.sizes.append(tuple(x.shape))
        return x.mean((2, 3)) + self.weight


def test_pictures_come_in_batches_at_the_spaces_size():
    network, space = Seen(), space_of("shape")
    found = [*compute(space, network, pictures(), batch=2)]
    assert [tuple(each.shape) for each in found] == [(2, 3), (2, 3), (1, 3)]
    assert network.sizes[0] == (2, 3, 64, 64) and not found[0].requires_grad and not found[0].is_inference()


def test_white_is_normalised_as_imagenet_was():
    """(1 - mean) / deviation of each colour; in [-1, 1] it is 1."""
    white, network = np.full((1, 64, 64, 3), 255, np.uint8), Seen()
    wanted = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert next(compute(space_of("shape"), network, white))[0].tolist() == pytest.approx(wanted, abs=1e-4)
    plain = replace(space_of("shape"), imagenet=False)
    assert next(compute(plain, network, white))[0].tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_cells_say_where_in_the_picture_something_is():
    """A picture that is white on the left only: the left cells differ from the right ones."""
    class Maps(Seen):
        def maps(self, x):
            return [x[:, :2], x]

    half = np.zeros((1, 64, 64, 3), np.uint8)
    half[:, :, :32] = 255
    space = replace(space_of("shape"), cells=2, imagenet=False)
    found = next(compute(space, Maps(), half)).reshape(3, 2, 2)
    assert torch.allclose(found, torch.tensor([1.0, -1.0]).expand(3, 2, 2))


def test_an_unknown_space_is_answered_with_the_known_ones():
    with pytest.raises(SettingsError) as error:
        space_of("taste")
    assert all(name in error.value.next_step for name in SPACES)


def test_features_of_a_set_are_computed_once(tmp_path, monkeypatch):
    """Until the network's file changes."""
    calls = []
    monkeypatch.setattr(features, "compute", lambda space, network, images: calls.append(1) or [torch.eye(3)])
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "toy"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        monkeypatch.setattr(features, "network_of", lambda space: None)
        monkeypatch.setattr(hub, "file", lambda name: path)
        for split in ("train", "train", "test"):
            assert torch.equal(features.remember(space_of("texture"), pictures(), {"split": split}), torch.eye(3))
    assert len(calls) == 4


# DINOv2


@pytest.fixture(scope="module")
def toy():
    torch.manual_seed(0)
    config = replace(dinov2.PRESETS["small"], size=56, width=24, depth=2, heads=2)
    return dinov2.DINOv2(config).eval().requires_grad_(False)


def test_dinov2_features_do_not_depend_on_the_batch(toy):
    """The position embeddings of 56 pixels are interpolated for 84."""
    x = torch.randn(3, 3, 84, 84)
    found = toy.features(x)
    assert found.shape == (3, 24) and torch.allclose(toy(x[:1]), found[:1], atol=1e-5)
    wanted = toy.dino(x).last_hidden_state[:, 0]
    assert torch.equal(found, wanted)


def test_dinov2_loads_the_published_names(toy, monkeypatch):
    """`encoder.layer.0.attention.attention.query` and so on; strictly."""
    monkeypatch.setitem(NETWORKS["dinov2"].presets, "toy", toy.config)
    published = {}
    for key, value in toy.state_dict().items():
        for old, new in dinov2.NAMES.items():
            key = key.replace(new, old)
        published[key.removeprefix("dino.")] = value
    assert "encoder.layer.1.attention.attention.key.bias" in published
    assert "encoder.layer.0.attention.output.dense.weight" in published
    loaded = hub.from_published("dinov2", published, "toy")
    x = torch.randn(1, 3, 56, 56)
    assert torch.equal(loaded(x), toy(x))


def test_dinov2_small_has_the_size_of_the_published_file():
    """88,249,960 bytes with a header of about 20 kB."""
    with torch.device("meta"):
        model = build("dinov2", "small")
    assert 88_200_000 < 4 * sum(weight.numel() for weight in model.parameters()) < 88_249_960
