"""L2M-GAN: what the style codes, the generator and the discriminator promise, at a small size."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from core import hub
from core.errors import CheckpointError, SettingsError
from core.models import build
from core.models.l2m_gan import PRESETS, FaceMasks, StyleCodes, blend, high_pass, load_smaller

SMALL = dict(width=16, max_width=32, domains=3)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build("l2m_gan", "tiny").eval().requires_grad_(False)


def batch(n=8, size=64):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 3, size, size, generator=generator) * 2 - 1
    return x, torch.arange(n) % 8, (torch.arange(n) + 3) % 8


def test_the_two_parts_add_up_to_the_style_code(tiny):
    x, source, target = batch()
    codes = tiny.codes(x, source, target)
    assert all(part.shape == (8, 64) for part in codes)
    assert torch.allclose(codes.unrelated + codes.related, codes.code, atol=1e-6)
    assert torch.equal(codes.code, tiny.style_encoder.code(x, source))
    assert torch.equal(codes.unrelated, tiny.style_encoder.transform1(codes.code))


def test_strength_goes_from_the_code_to_the_edit_and_beyond(tiny):
    codes = tiny.codes(*batch())
    assert torch.allclose(codes.style(0.0), codes.code, atol=1e-6)
    assert torch.allclose(codes.style(), codes.unrelated + codes.edited, atol=1e-5)
    assert torch.allclose(codes.style(1.5) - codes.style(), (codes.edited - codes.related) / 2, atol=1e-5)
    each = torch.linspace(-0.5, 1.5, 8)
    assert torch.allclose(codes.style(each)[3], codes.style(each[3].item())[3], atol=1e-6)


def test_the_angle_is_in_degrees():
    zero = torch.zeros(3, 2)
    unrelated, related = torch.tensor([[1.0, 0.0]]).expand(3, 2), torch.tensor([[0.0, 5.0], [2.0, 2.0], [-3.0, 0.0]])
    assert StyleCodes(zero, unrelated, related, zero).angle.tolist() == pytest.approx([90, 45, 180], abs=1e-3)


def test_every_domain_has_its_own_head_and_transformer(tiny):
    x, source, target = batch(2)
    codes = tiny.codes(x, source, target)
    assert not torch.allclose(tiny.codes(x, target, target).code, codes.code, atol=1e-3)
    assert not torch.allclose(tiny.codes(x, source, source).edited, codes.edited, atol=1e-3)
    assert torch.allclose(tiny.style_encoder.transform2[3](codes.related[:1]), codes.edited[:1], atol=1e-5)


def test_one_picture_is_the_same_alone_and_in_a_batch(tiny):
    x, source, target = batch()
    together, alone = tiny(x, source, target), tiny(x[:1], source[:1], target[:1])
    assert together.shape == x.shape
    assert torch.allclose(together[:1], alone, atol=1e-4)


def test_a_strength_of_zero_asks_for_nothing(tiny):
    """The target has no say, and the picture is drawn from its own style code."""
    x, source, target = batch(2)
    assert torch.equal(tiny(x, source, target, 0.0), tiny(x, source, source, 0.0))
    own = tiny.generator(x, tiny.style_encoder.code(x, source))
    assert torch.allclose(tiny(x, source, target, 0.0), own, atol=1e-4)


def test_a_reference_gives_its_attribute_part(tiny):
    """Of itself it changes nothing; of another picture it gives s_re, and the source keeps s_un."""
    x, source, _ = batch(2)
    own = tiny.generator(x, tiny.style_encoder.code(x, source))
    assert torch.allclose(tiny.by_reference(x, source, x, source), own, atol=1e-4)
    reference, domain = x.flip(0), source.flip(0)
    unrelated, _ = tiny.style_encoder.split(tiny.style_encoder.code(x, source))
    _, related = tiny.style_encoder.split(tiny.style_encoder.code(reference, domain))
    asked = tiny.generator(x, unrelated + related)
    assert torch.allclose(tiny.by_reference(x, source, reference, domain), asked, atol=1e-4)


@pytest.mark.parametrize("high", [0.0, 1.0])
def test_gradients_reach_every_parameter(high):
    """Of the editing network, in one batch that visits every domain."""
    torch.manual_seed(0)
    model = build("l2m_gan", "tiny", **SMALL, high_pass=high)
    x, domain = batch(3)[0], torch.arange(3)
    masks = FaceMasks(*torch.rand(2, 3, 1, 64, 64)) if high else None
    (model(x, domain, domain.roll(1), masks=masks) * torch.randn(3, 3, 64, 64)).sum().backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_the_discriminator_answers_for_every_domain():
    torch.manual_seed(0)
    model = build("l2m_discriminator", "tiny", **SMALL)
    x, domain = batch(3)[0], torch.tensor([2, 0, 1])
    logits = model(x)
    assert logits.shape == (3, 3)
    assert torch.allclose(model(x, domain), logits[torch.arange(3), domain])
    model(x, domain).sum().backward()
    assert all(weight.grad.any() for weight in model.parameters())
    assert torch.allclose(model(x[:1]), logits[:1], atol=1e-4)


# Masks


def test_the_high_pass_filter():
    """8 in the middle, -1 around it, zeros outside, over the divisor."""
    kernel = torch.full((1, 1, 3, 3), -1.0)
    kernel[0, 0, 1, 1] = 8
    x = torch.randn(2, 1, 7, 7)
    assert torch.allclose(high_pass(x, 2.0), F.conv2d(x, kernel, padding=1) / 2, atol=1e-5)


def test_masks_add_details_where_they_are():
    torch.manual_seed(0)
    model = build("l2m_gan", "tiny", **SMALL, high_pass=1.0).eval().requires_grad_(False)
    x, domain = batch(2)[0], torch.zeros(2, dtype=torch.int64)
    nothing, everything = torch.zeros(2, 1, 64, 64), torch.ones(2, 1, 64, 64)
    plain = model(x, domain, domain)
    assert torch.equal(model(x, domain, domain, masks=FaceMasks(nothing, nothing)), plain)
    assert not torch.allclose(model(x, domain, domain, masks=FaceMasks(nothing, everything)), plain, atol=1e-3)


def test_masks_without_a_high_pass_are_refused(tiny):
    x, source, target = batch(1)
    mask = torch.ones(1, 1, 64, 64)
    with pytest.raises(SettingsError, match="masks"):
        tiny(x, source, target, masks=FaceMasks(mask, mask))


# Sizes and files


def test_other_sizes_are_refused(tiny):
    x, source, target = batch(1, 96)
    with pytest.raises(SettingsError) as error:
        tiny(x, source, target)
    assert "(N, 3, 64, 64)" in error.value.next_step


@pytest.mark.parametrize("network", ["l2m_gan", "l2m_discriminator"])
def test_a_network_for_twice_the_size_takes_over_the_weights(network):
    torch.manual_seed(0)
    small, large = build(network, "tiny"), build(network, "tiny-128")
    fresh = load_smaller(large, small.state_dict())
    assert {key.split(".")[0] for key in fresh} <= {"generator", "style_encoder", "main"}
    assert len(fresh) < len(small.state_dict()) / 3
    inner = "generator.decode.1.conv1.weight" if network == "l2m_gan" else "main.3.conv1.weight"
    outer = inner if network == "l2m_gan" else "main.4.conv1.weight"
    assert torch.equal(large.state_dict()[outer], small.state_dict()[inner])
    levels = sum(weight.numel() for key, weight in large.state_dict().items() if key in fresh)
    kept = sum(weight.numel() for weight in large.state_dict().values()) - levels
    assert levels < 0.1 * kept                          # the outermost level is the smallest
    with pytest.raises(SettingsError, match="does not fit"):
        load_smaller(small, large.state_dict())


def test_the_published_file_is_imported(tmp_path, monkeypatch):
    """It has a table for each network, two of which are not ours."""
    row = hub.row("l2m-gan")
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(PRESETS, row.preset, replace(PRESETS["tiny"], **SMALL, high_pass=1.0))
    torch.manual_seed(0)
    model = build("l2m_gan", row.preset)
    held = {"generator": model.generator.state_dict(), "style_encoder": model.style_encoder.state_dict(),
            "fan": {"conv1.weight": torch.zeros(1)}, "vgg": {"0.weight": torch.zeros(1)}}
    path = tmp_path / row.file
    torch.save(held, path)
    hub.import_file(row.name, path)
    loaded = hub.load(row.name, "cpu").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())
    del held["style_encoder"]
    torch.save(held, path)
    with pytest.raises(CheckpointError, match="no table style_encoder"):
        hub.import_file(row.name, path)


def test_what_is_not_painted_over_stays_as_it_is():
    model = build("l2m_gan", "tiny", **SMALL).eval().requires_grad_(False)
    x, domain = batch(2)[0], torch.zeros(2, dtype=torch.int64)
    last = model.generator.to_rgb[-1]
    last.weight[3:] = 0
    last.bias[3:] = -30                                 # nothing is replaced
    assert torch.allclose(model(x, domain, domain), x, atol=1e-5)
    last.bias[3:] = 30                                  # everything
    assert not torch.allclose(model(x, domain, domain), x, atol=0.1)


def test_blend_takes_one_strength_or_one_each():
    parts = torch.randn(3, 4, 6)
    assert torch.allclose(blend(*parts, torch.full((4,), 0.3)), blend(*parts, 0.3))


@pytest.mark.parametrize("network", ["l2m_gan", "l2m_discriminator"])
def test_weights_are_loaded_strictly(network):
    """All keys or none, and the same numbers come back."""
    state = build(network, "tiny").state_dict()
    loaded = hub.from_published(network, state, "tiny").state_dict()
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[key], state[key]) for key in state)
    first = next(iter(state))
    with pytest.raises(CheckpointError, match="missing"):
        hub.from_published(network, {key: value for key, value in state.items() if key != first}, "tiny")
    with pytest.raises(CheckpointError, match="unexpected"):
        hub.from_published(network, state | {"other.weight": torch.zeros(1)}, "tiny")
