"""The published networks, number by number. See parity.py for how; the fixtures say where each was recorded."""

import hashlib

import numpy as np
import pytest
import torch
from parity import Fixture, keys

from core.kernels.attention import forced
from core.models import NETWORKS, build

PUBLISHED = [(name, preset) for name, row in NETWORKS.items() for preset in row.published]


@pytest.mark.parametrize(("network", "preset"), PUBLISHED)
def test_names_and_shapes_are_the_published_files(network, preset):
    """Built on the meta device, so this costs neither time nor memory."""
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in build(network, preset).state_dict().items()}
    row = NETWORKS[network]
    published = {key: shape for key, (_, *shape) in keys(network, preset).items()}
    assert row.unused <= set(published)
    assert ours == {row.rename(key): shape for key, shape in published.items() if key not in row.unused}


def test_the_rule_gives_the_recorded_weights():
    """To tell a wrong rule from a wrong network."""
    fixture, digest = Fixture("iresnet50", "iresnet", "50"), hashlib.sha256()
    for value in fixture.weights().values():
        digest.update(value.numpy().astype("<f4").tobytes())
    assert digest.hexdigest() == fixture.facts["weights_sha256"]


@pytest.mark.parametrize("preset", ["50", "100"])
def test_iresnet(preset):
    fixture = Fixture(f"iresnet{preset}", "iresnet", preset)
    model = fixture.model()
    x = fixture.input("in.image")
    with torch.no_grad():
        maps = model.maps(x)
        for number, stage in enumerate(maps, 1):
            fixture.agrees(f"out.layer{number}", stage)
        fixture.agrees("out.embedding", model.embed(maps[-1]))
    if preset == "50":                                  # and in the form that a CPU uses where gradients are wanted
        fixture.agrees("out.embedding", model(x.requires_grad_()))


@pytest.fixture(scope="module")
def vec2face():
    fixture = Fixture("vec2face_base", "vec2face", "base")
    return fixture, fixture.model()


@pytest.mark.parametrize("case", ["", ".nodrop", ".allmask"])
def test_vec2face(vec2face, case):
    fixture, model = vec2face
    rep = fixture.input("in.rep")
    drop, mask = (fixture.input(f"in.token_{name}{case}") for name in ("drop_mask", "mask"))
    with torch.no_grad():
        feature = model.feature_map(model.decode(*encoded(model, rep, drop, mask)))
        fixture.agrees(f"out.decoder_feature{case}", feature)
        fixture.agrees(f"out.image{case}", model(rep, drop, mask))


def encoded(model, rep, drop, mask):
    """What `decode` takes."""
    drop, mask = drop.bool(), mask.bool()
    return model.encode(model.tokens(rep), drop, mask), drop, mask


def test_vec2face_on_the_way(vec2face):
    fixture, model = vec2face
    rep = fixture.input("in.rep")
    with torch.no_grad():
        fixture.agrees("out.gt_tokens", model.tokens(rep))
        latent, drop, mask = encoded(model, rep, fixture.input("in.token_drop_mask"), fixture.input("in.token_mask"))
        fixture.agrees("out.latent", latent)
        tokens = model.decode(latent, drop, mask)
        fixture.agrees("out.tokens", tokens)
        fixture.agrees("out.decoder_mid", model.im_decoder.middle(model.feature_map(tokens)))
        fixture.agrees("out.image.small", model.im_decoder(fixture.input("in.decoder_feature.small")))
        decoded = model.tokens_and_image(rep, drop, mask)
    assert torch.equal(decoded.tokens, tokens[:, 1:])
    assert torch.equal(decoded.clean, model.tokens(rep)[:, 1:])


def test_vec2face_without_masks_hides_nothing(vec2face):
    fixture, model = vec2face
    rep = fixture.input("in.rep")
    with torch.no_grad(), forced("plain"):              # and the plain kernel draws the same picture
        fixture.agrees("out.image.nodrop", model(rep))


def test_masks_follow_the_noise(vec2face):
    """The recorded masks hide the positions with the least noise: 5 of 49 dropped, 15 masked, at a rate of 0.3."""
    fixture, _ = vec2face
    rank = fixture.input("in.noise").argsort(1).argsort(1)
    for name, share in (("in.token_drop_mask", 0.1), ("in.token_mask", 0.3)):
        assert np.array_equal(fixture.stored[name][:, 1:], (rank < np.ceil(49 * share)).float().numpy())
