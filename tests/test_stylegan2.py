"""The generator, its discriminator and its resampling, beyond what the recorded outputs show."""

import pytest
import torch
import torch.nn.functional as F

from core.errors import SettingsError
from core.kernels.resample import resample, resample_plain
from core.models import build
from core.models.stylegan2 import ModulatedConv2d, grow, mix
from core.models.stylegan2_discriminator import append_deviation

SMALL = dict(channels=(16, 16, 8), latent=12, style=8, mapping=2)      # pictures of 16 pixels, w+ of 6 rows


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build("stylegan2", "tiny").eval().requires_grad_(False)


def small(**changes):
    torch.manual_seed(0)
    return build("stylegan2", "tiny", **SMALL | changes).eval()


def some_z(batch, length=256):
    return torch.randn(batch, length, generator=torch.Generator().manual_seed(3))


# Resampling


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("down", [1, 2])
def test_resample_is_its_plain_twin(up, down):
    for pad in ((0, 0), (1, 1), (2, 1), (2, 2), (1, 3), (4, 0), (3, 4)):
        for size in ((7, 9), (8, 8)):
            x = torch.randn(2, 3, *size)
            plain = resample_plain(x, up=up, down=down, pad=pad, gain=up ** 2)
            fast = resample(x, up=up, down=down, pad=pad, gain=up ** 2)
            assert fast.shape == plain.shape
            assert torch.allclose(fast, plain, atol=1e-6)
            layout = x.to(memory_format=torch.channels_last)
            assert torch.allclose(resample(layout, up=up, down=down, pad=pad, gain=up ** 2), plain, atol=1e-6)


def test_resample_keeps_brightness_and_type():
    flat = torch.ones(1, 2, 16, 16)
    assert torch.allclose(resample(flat, up=2, pad=(2, 1), gain=4)[..., 4:-4, 4:-4], torch.ones(1, 2, 24, 24))
    assert torch.allclose(resample(flat, down=2, pad=(1, 1))[..., 1:-1, 1:-1], torch.ones(1, 2, 6, 6))
    assert resample(flat.bfloat16(), pad=(1, 1)).dtype == torch.bfloat16


def test_up_sampling_is_bilinear_inside():
    x = torch.randn(1, 1, 8, 8)
    wanted = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(resample(x, up=2, pad=(2, 1), gain=4)[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize("settings", [dict(up=2, pad=(2, 1)), dict(pad=(1, 1)), dict(down=2, pad=(2, 1))])
def test_resample_has_first_and_second_gradients(settings):
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: resample(x, **settings), x)
    assert torch.autograd.gradgradcheck(lambda x: resample(x, **settings).square(), x)


# Modulation


@pytest.mark.parametrize("upsample", [False, True])
def test_scaling_inputs_is_scaling_weights(upsample):
    """Section 2.2, equations 1 and 3, literally: one set of weights for each picture."""
    torch.manual_seed(0)
    conv = ModulatedConv2d(6, 4, 3, 8, upsample=upsample).double()
    x, style = torch.randn(3, 6, 5, 5).double(), torch.randn(3, 8).double()
    rows = []
    for picture, scales in zip(x, conv.modulation(style), strict=True):
        weight = conv.scale * conv.weight[0] * scales[:, None, None]                 # (4, 6, 3, 3)
        weight = weight / torch.sqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if upsample:
            row = F.conv_transpose2d(picture[None], weight.transpose(0, 1), stride=2)
            rows.append(resample_plain(row, pad=(1, 1), gain=4))
        else:
            rows.append(F.conv2d(picture[None], weight, padding=1))
    assert torch.allclose(conv(x, style), torch.cat(rows), atol=1e-10)


def test_outputs_have_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    conv = ModulatedConv2d(64, 64, 3, 8)
    x = torch.randn(4, 64, 32, 32)
    for strength in (0.1, 1.0, 30.0):
        assert conv(x, strength * torch.randn(4, 8))[..., 2:-2, 2:-2].std().item() == pytest.approx(1, abs=0.1)


# The generator


def test_tiny_sizes(tiny):
    assert sum(weight.numel() for weight in tiny.parameters()) == pytest.approx(1.1e6, rel=0.1)
    assert tiny(some_z(2)).shape == (2, 3, 64, 64)
    assert build("stylegan2", "tiny-128")(some_z(1)).shape == (1, 3, 128, 128)
    assert tiny.config.styles == 10 and tiny.config.noise_sizes == (4, 8, 8, 16, 16, 32, 32, 64, 64)


def test_a_picture_is_the_same_alone_and_in_a_batch(tiny):
    z = some_z(8)
    together = tiny(z)
    for row in (0, 5):
        alone = tiny(z[row:row + 1])
        assert (alone - together[row]).abs().max() <= 1e-5 * together.abs().max()


def test_w_and_equal_rows_of_w_plus_are_one_picture(tiny):
    w = tiny.map(some_z(2))
    assert torch.equal(tiny.synthesize(w), tiny.synthesize(w[:, None].expand(-1, 10, -1)))
    assert torch.equal(tiny.synthesize(w), tiny(some_z(2)))


def test_every_row_of_w_plus_changes_the_picture(tiny):
    w = tiny.map(some_z(1))[:, None].repeat(1, 10, 1)
    before = tiny.synthesize(w)
    for row in range(10):
        changed = w.clone()
        changed[:, row] += 0.5
        assert not torch.equal(tiny.synthesize(changed), before)


def test_truncation():
    model = small()
    z = some_z(4, 12)
    w, centre = model.map(z), model.mean_style(256)
    assert centre.shape == (1, 8) and torch.equal(centre, model.mean_style(256))
    assert torch.equal(model.truncate(w, 1.0, None), w)
    assert torch.allclose(model.truncate(w, 0.5, centre), (w + centre) / 2)
    pictures = model(z, truncation=0.0, centre=centre)
    assert torch.allclose(pictures, model.synthesize(centre).expand(4, -1, -1, -1), atol=1e-5)
    with pytest.raises(SettingsError, match="centre"):
        model(z, truncation=0.7)


def test_noise():
    model = small()
    with torch.no_grad():
        for layer in (model.conv1, *model.convs):
            layer.noise.weight.fill_(0.5)
    w = model.map(some_z(2, 12))
    none, constant = model.synthesize(w, "none"), model.synthesize(w)
    assert not torch.allclose(none, constant) and torch.equal(constant, model.synthesize(w, "constant"))
    seeded = [model.synthesize(w, "random", torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(seeded[0], seeded[1]) and not torch.allclose(seeded[0], seeded[2])
    assert torch.equal(model.synthesize(w, model.noise_maps("constant", 2)), constant)
    zeros = [torch.zeros(2, 1, size, size) for size in model.config.noise_sizes]
    assert torch.equal(model.synthesize(w, zeros), none)
    for wrong in ("loud", zeros[1:], [zeros[0], *zeros[:-1]]):
        with pytest.raises(SettingsError):
            model.synthesize(w, wrong)


@pytest.mark.parametrize("shape", [(8,), (1, 7), (1, 5, 8), (1, 6, 7)])
def test_wrong_styles_are_refused(shape):
    with pytest.raises(SettingsError, match="w can't have the shape"):
        small().synthesize(torch.zeros(shape))


def test_style_mixing():
    first, second = torch.zeros(2, 8), torch.ones(2, 8)
    mixed = mix(first, second, 4, 6)
    assert mixed.shape == (2, 6, 8) and mixed[:, :4].abs().max() == 0 and mixed[:, 4:].min() == 1


def test_a_grown_generator_begins_with_the_same_pictures():
    model = small()
    bigger = grow(model, 16)
    w = model.map(some_z(2, 12))
    doubled = resample(model.synthesize(w), up=2, pad=(2, 1), gain=4)
    assert bigger.config.size == 32 and torch.allclose(bigger.synthesize(w), doubled, atol=1e-5)


def test_weights_stay_themselves_when_their_layout_changes():
    """Five axes have no channels-last form; the weights are moved without the first."""
    model = small()
    w = model.map(some_z(2, 12))
    before, weight = model.synthesize(w), model.conv1.conv.weight
    model = model.to(memory_format=torch.channels_last)
    assert model.conv1.conv.weight is weight and weight.shape == (1, 16, 16, 3, 3)
    assert weight[0].is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(model.synthesize(w), before, atol=1e-5)
    assert model.double().conv1.conv.weight.dtype == torch.float64


# The discriminator


def test_discriminator_judges_each_picture_by_itself():
    model = build("stylegan2-discriminator", "tiny").eval()
    assert sum(weight.numel() for weight in model.parameters()) == pytest.approx(0.8e6, rel=0.1)
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    assert model(x).shape == (3, 1)
    assert torch.allclose(model(x[:1]), model(x)[:1], atol=1e-5)


def test_conditions_come_in_beside_the_picture():
    assert build("stylegan2-discriminator", "tiny", inputs=6)(torch.zeros(1, 6, 64, 64)).shape == (1, 1)


@pytest.mark.parametrize("filtered", [False, True])
def test_r1_has_a_gradient(filtered):
    model = build("stylegan2-discriminator", "tiny", channels=(8, 8, 8), filtered=filtered, group=2)
    x = torch.rand(2, 3, 16, 16).requires_grad_()
    gradient, = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)
    assert model.convs[1].conv2[1].weight.grad.abs().max() > 0


def test_minibatch_deviation():
    x = torch.randn(8, 3, 4, 4)
    out = append_deviation(x, 4)
    assert out.shape == (8, 4, 4, 4) and torch.equal(out[:, :3], x)
    for row in range(8):
        group = x[row % 2::2]
        wanted = (group.var(0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(out[row, 3], wanted.expand(4, 4))
    with pytest.raises(SettingsError, match="groups of 4"):
        append_deviation(x[:6], 4)
