"""The latent mapper and the encoder in front of it."""

import pytest
import torch

from core import hub
from core.errors import SettingsError
from core.models import NETWORKS, build

PRESETS = ("tiny", "tiny-plus", "ffhq", "ffhq-plus")


def latents(preset, batch=4):
    config = NETWORKS["latent-to-latent"].presets[preset]
    torch.manual_seed(1)
    w = torch.randn(batch, config.rows, config.style)
    return w[:, 0] if config.rows == 1 else w


def mapper(preset="tiny", seed=0):
    """With larger last weights than at the start, so that every change is seen."""
    torch.manual_seed(seed)
    model = build("latent-to-latent", preset).eval().requires_grad_(False)
    model.out.weight.mul_(30)
    model.calibrate(latents(preset, 64) * 2 + 1)
    return model


@pytest.mark.parametrize("preset", PRESETS)
def test_an_empty_request_returns_exactly_the_latent(preset):
    model, w = mapper(preset), latents(preset)
    current = torch.rand(4, 35)
    assert torch.equal(model(w, current, current.clone()), w)
    wanted = current.clone()
    wanted[0, 3] += 0.5
    edited = model(w, wanted, current)
    assert edited.shape == w.shape and torch.equal(edited[1:], w[1:]) and not torch.allclose(edited[0], w[0])


def test_an_empty_request_stays_empty_in_half_precision():
    model, w = mapper(), latents("tiny")
    current = torch.rand(4, 35)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(w, current, current), w)


def test_each_attribute_changes_the_latent_its_own_way():
    model, w = mapper(), latents("tiny", 1)
    changes = model.change(w.expand(35, -1), torch.eye(35))
    assert changes.norm(dim=1).min() > 0
    unit = torch.nn.functional.normalize(changes)
    assert (unit @ unit.T - torch.eye(35)).abs().max() < 0.99


def test_edits_depend_on_the_face_and_are_no_straight_line():
    model, w, request = mapper(), latents("tiny"), torch.zeros(4, 35)
    request[:, 2] = 1
    change = model.change(w, request)
    assert not torch.allclose(change[0], change[1], atol=1e-3)
    assert not torch.allclose(model.change(w, 2 * request), 2 * change, atol=1e-3)


def test_one_row_edits_all_rows_of_w_plus_alike():
    model, w = mapper(), latents("tiny-plus")
    request = torch.rand(4, 35)
    change = model(w, request, torch.zeros(4, 35)) - w
    assert change.shape == w.shape and torch.allclose(change, change[:, :1].expand_as(change), atol=1e-5)
    same = latents("tiny")[:, None].expand(-1, 10, -1)
    assert torch.allclose(model.change(same, request)[:, 0], model.change(same[:, 0], request), atol=1e-5)


def test_an_edit_is_the_same_alone_and_in_a_batch():
    model, w, request = mapper("tiny-plus"), latents("tiny-plus", 8), torch.rand(8, 35)
    together = model.change(w, request)
    assert (model.change(w[:1], request[:1]) - together[:1]).abs().max() <= 1e-5 * together.abs().max()


def test_the_request_and_the_latent_get_gradients():
    model = build("latent-to-latent", "tiny")
    w, wanted = latents("tiny").requires_grad_(), torch.rand(4, 35, requires_grad=True)
    model(w, wanted, torch.rand(4, 35)).square().sum().backward()
    assert w.grad.abs().max() > 0 and (wanted.grad.abs().amax(0) > 0).all()
    assert all(weight.grad.abs().max() > 0 for weight in model.parameters())


def test_a_new_mapper_changes_little():
    torch.manual_seed(0)
    model, w = build("latent-to-latent", "tiny"), latents("tiny")
    assert 0 < (model(w, torch.rand(4, 35), torch.zeros(4, 35)) - w).std() < 0.2


def test_wrong_shapes_are_refused():
    for preset, w, request in (("tiny", torch.zeros(2, 127), torch.zeros(2, 35)),
                               ("tiny-plus", torch.zeros(2, 128), torch.zeros(2, 35)),
                               ("tiny-plus", torch.zeros(2, 9, 128), torch.zeros(2, 35)),
                               ("tiny", torch.zeros(2, 128), torch.zeros(2, 34)),
                               ("tiny", torch.zeros(2, 128), torch.zeros(3, 35))):
        with pytest.raises(SettingsError, match="shape"):
            build("latent-to-latent", preset).change(w, request)


# The encoder


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build("e4e", "tiny").eval().requires_grad_(False)


def test_the_encoder_gives_what_the_generator_takes(encoder):
    generator = build("stylegan2", "tiny").eval()
    w = encoder(torch.rand(2, 3, 128, 128) * 2 - 1)
    assert w.shape == (2, generator.config.styles, generator.config.style)
    assert generator.synthesize(w + generator.mean_style(64)).shape == (2, 3, 64, 64)


def test_rows_without_a_change_repeat_the_first(encoder):
    x = torch.rand(2, 3, 128, 128) * 2 - 1
    w, first, three = encoder(x), encoder(x, 0), encoder(x, 3)
    assert torch.equal(first, w[:, :1].expand_as(w))
    assert torch.equal(three[:, :4], w[:, :4]) and torch.equal(three[:, 4:], first[:, 4:])
    assert not torch.allclose(w[:, 1:], first[:, 1:], atol=1e-3)


def test_the_encoder_grows_rows_for_a_larger_generator():
    styles = build("stylegan2", "tiny-128").config.styles
    assert build("e4e", "tiny", styles=styles).eval()(torch.zeros(1, 3, 128, 128)).shape == (1, 12, 128)


def test_each_row_reads_its_own_size(encoder):
    assert [encoder.level(row) for row in range(10)] == [0] * 3 + [1] * 4 + [2] * 3
    assert [len(head.convs) // 2 for head in encoder.styles] == [1] * 3 + [2] * 4 + [3] * 3


def test_the_published_file_loads_with_its_prefix_and_without_its_generator(encoder):
    row = NETWORKS["e4e"]
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    state |= {key: torch.zeros(1) for key in row.unused}
    again = hub.from_published("e4e", state, "tiny")
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in encoder.state_dict().items())
