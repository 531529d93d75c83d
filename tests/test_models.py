"""Every network and preset in the registry, and what each network promises beyond its shapes."""

import math

import pytest
import torch

from core.errors import SettingsError, VectorError
from core.faces import ATTRIBUTES
from core.models import NETWORKS, build
from core.models.iresnet import PReLU
from core.models.judge import BINARY, MEASURES, POSE, measure_scale
from core.models.landmarks import POINTS, centres
from core.models.layers import Residual
from core.models.vec2face import DecoderBlock, Norm, random_masks, truncated_normal

EVERY = [(name, preset) for name, row in NETWORKS.items() for preset in row.presets]
LARGE = {(name, preset) for name, preset in EVERY      # too slow here, and the same code as a small one
         if preset == "tiny-128" or preset.startswith("paper-")}
SMALL = [(name, preset) for name, preset in EVERY      # directions are measured, not trained
         if preset not in NETWORKS[name].published and (name, preset) not in LARGE and name != "directions"]
SIZES = {"landmarks": 96, "autoencoder": 128, "e4e": 128, "l2m_gan": 64, "l2m_discriminator": 64, "xploregan": 64,
         "xploregan_critic": 64}
VECTORS = {"vec2face": 512, "subject": 512, "stylegan2": 256}     # networks that take one vector each: its length


def example(network, batch=2, preset="tiny"):
    """A batch that the network takes: its first argument."""
    generator = torch.Generator().manual_seed(1)
    if network in VECTORS:
        return torch.randn(batch, VECTORS[network], generator=generator)
    if network == "unet":
        return torch.randn(batch, 8, 16, 16, generator=generator)
    if network == "text":
        return torch.randint(253, (batch, 32), generator=generator)
    if network == "latent-to-latent":
        rows, style = NETWORKS[network].presets[preset].rows, NETWORKS[network].presets[preset].style
        return torch.randn(batch, *([rows] if rows > 1 else []), style, generator=generator)
    size = SIZES.get(network, 112)
    if network == "stylegan2-discriminator":
        size = 128 if preset == "tiny-128" else 64
    channels = getattr(NETWORKS[network].presets.get(preset), "inputs", 3)
    return torch.rand(batch, channels, size, size, generator=generator) * 2 - 1


def answer(model, network, x):
    """The tensors a network gives for a batch; the denoiser also takes times and prompts, the mapper attributes.

    Of L2M-GAN: pictures edited to the first domain, then what the heads of all domains say.
    """
    if network == "l2m_gan":
        edited = model(x, *torch.zeros(2, len(x), dtype=torch.int64))
        encoder, seen = model.style_encoder, model.style_encoder.shared(x).flatten(1)
        codes = [head(seen) for head in encoder.unshared]
        return [edited, *codes, *(change(codes[0]) for change in encoder.transform2)]
    generator = torch.Generator().manual_seed(2)
    if network == "xploregan":
        return [model(x, torch.randn(9, model.config.condition_size, generator=generator)[: len(x)].abs())]
    more = [torch.arange(len(x)) * 300 + 5, torch.randn(9, 32, 128, generator=generator)[: len(x)]]
    if network == "latent-to-latent":
        more = torch.rand(2, 9, 35, generator=generator)[:, : len(x)]
    return leaves(model(x, *more) if network in ("unet", "latent-to-latent") else model(x))


def leaves(output):
    """All tensors of an output."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [leaf for value in (output.values() if isinstance(output, dict) else output) for leaf in leaves(value)]


@pytest.mark.parametrize(("network", "preset"), SMALL)
def test_every_weight_learns(network, preset):
    """Finite outputs, no weight without a gradient, and the same twice in eval mode."""
    torch.manual_seed(0)
    model = build(network, preset)
    outputs = answer(model, network, example(network, 4, preset))
    sum((x.float() * torch.linspace(-1, 2, x.numel()).reshape(x.shape)).sum() for x in outputs).backward()
    assert all(x.isfinite().all() for x in outputs)
    idle = [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert not idle
    model.eval()
    with torch.no_grad():
        first, second = (answer(model, network, example(network, 2, preset)) for _ in range(2))
        alone = answer(model, network, example(network, 2, preset)[:1])
    for a, b, c in zip(first, second, alone, strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a[:1], c, atol=1e-4)      # a face is the same alone and in a batch


@pytest.mark.parametrize(("network", "preset"), EVERY)
def test_every_preset_builds_without_memory(network, preset):
    """On the meta device; and nothing but parameters and saved buffers is left there for a loader to miss."""
    with torch.device("meta"):
        model = build(network, preset)
    saved = set(model.state_dict(keep_vars=True))
    assert {key for key, value in (*model.named_parameters(), *model.named_buffers()) if value.is_meta} <= saved
    assert model.config == NETWORKS[network].presets[preset]


@pytest.mark.parametrize(("network", "preset"), SMALL)
def test_mixed_precision_and_channels_last_train_as_well(network, preset):
    torch.manual_seed(0)
    model = build(network, preset).to(memory_format=torch.channels_last).eval()
    x = example(network, 2, preset)
    with torch.no_grad():
        wide = answer(model, network, x)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = answer(model, network, x)
    for a, b in zip(wide, narrow, strict=True):
        most = 0.06 if network == "autoencoder" else 0.05      # it has the most layers
        assert (a - b.float()).abs().mean() <= most * max(0.05, a.abs().mean().item())


def test_unknown_names_are_answered_with_the_known_ones():
    for call, listed in ((lambda: build("resnext", "tiny"), "iresnet, judge, vec2face"),
                         (lambda: build("iresnet", "18"), "tiny, tiny-check, 50, 100"),
                         (lambda: build("vec2face", "tiny", depht=3), "width, depth, heads")):
        with pytest.raises(SettingsError) as error:
            call()
        assert listed in error.value.next_step


def test_overrides_change_one_network_only():
    assert len(build("vec2face", "tiny", depth=1).blocks) == 1
    assert len(build("vec2face", "tiny").blocks) == NETWORKS["vec2face"].presets["tiny"].depth > 1


def test_the_steering_and_the_scoring_networks_differ():
    for network in ("iresnet", "judge"):
        presets = NETWORKS[network].presets
        assert presets["tiny"].widths != presets["tiny-check"].widths


# The recogniser


def test_iresnet_shapes():
    model = build("iresnet", "tiny").eval()
    x = example("iresnet")
    maps = model.maps(x)
    assert [tuple(m.shape) for m in maps] == [(2, width, size, size) for width, size
                                              in zip(model.config.widths, (56, 28, 14, 7), strict=True)]
    assert torch.equal(model.embed(maps[-1]), model(x)) and model(x).shape == (2, 512)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prelu_is_torchs(dtype):
    """Written out for a CPU's gradients, it still gives torch's, for slopes above 1 and below 0 too."""
    ours, theirs = PReLU(6), torch.nn.PReLU(6)
    with torch.no_grad():
        for layer in (ours, theirs):
            layer.weight.copy_(torch.tensor([-0.5, 0.0, 0.25, 0.5, 1.0, 2.0]))
    x = torch.randn(3, 6, 5, 5, dtype=dtype).requires_grad_()
    answers = []
    for y, layer in ((ours(x), ours), (torch.nn.functional.prelu(x, theirs.weight.to(dtype)), theirs)):
        answers.append((y.detach(), *torch.autograd.grad(y.square().sum(), (x, layer.weight))))
    for a, b in zip(*answers, strict=True):
        assert torch.allclose(a.float(), b.float(), rtol=1e-5 if dtype == torch.float32 else 3e-2, atol=1e-2)
    with torch.no_grad():
        assert torch.allclose(ours(x), answers[0][0], atol=1e-6 if dtype == torch.float32 else 3e-2)


# The judge


def test_the_judge_answers_for_every_attribute():
    assert sorted((*BINARY, *MEASURES)) == sorted(ATTRIBUTES) and len(ATTRIBUTES) == 35
    assert POSE == ("yaw", "pitch", "roll")


def test_judge_shapes_and_units():
    model = build("judge", "tiny").eval()
    x = example("judge")
    maps = model.maps(x)
    assert [tuple(m.shape[1:]) for m in maps] == [(width, size, size) for width, size
                                                  in zip(model.config.widths, (56, 28, 14, 7, 4), strict=True)]
    assert model.pool(maps[-1]).shape == (2, model.config.pooled)
    answers = model(x)
    assert {name: tuple(value.shape) for name, value in answers.items()} == {
        "binary": (2, 27), "continuous": (2, 4), "pose": (2, 3), "age": (2,), "quality": (2,)}
    assert ((answers["quality"] > 0) & (answers["quality"] < 1)).all()


def test_measures_span_their_ranges():
    """An output of -1 is the low end of the attribute's range, 1 the high end, in the attribute's own unit."""
    middle, half = measure_scale(torch.zeros(1))
    assert (middle - half).tolist() == pytest.approx([ATTRIBUTES[name].low for name in MEASURES])
    assert (middle + half).tolist() == pytest.approx([ATTRIBUTES[name].high for name in MEASURES])
    model = build("judge", "tiny").eval()
    with torch.no_grad():
        model.answers.weight.zero_()
        model.answers.bias.zero_()
        silent = model(example("judge", 1))
    assert silent["age"].item() == pytest.approx((ATTRIBUTES["age"].low + ATTRIBUTES["age"].high) / 2)
    assert silent["quality"].item() == 0.5 and silent["pose"].abs().max() == 0


# Vec2Face


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return build("vec2face", "tiny").eval().requires_grad_(False)


def test_vec2face_shapes(tiny):
    decoded = tiny.tokens_and_image(example("vec2face"))
    assert decoded.image.shape == (2, 3, 112, 112)
    assert decoded.tokens.shape == decoded.clean.shape == (2, 49, tiny.config.width)


def test_tokens_are_scaled_and_shifted_copies_of_the_identity(tiny):
    tokens = tiny.tokens(example("vec2face"))
    identity = tokens[:, 0]
    for i in (0, 20, 48):
        expected = tiny.feature_token.weight[i] * identity + tiny.feature_token.bias[i]
        assert torch.allclose(tokens[:, i + 1], expected, atol=1e-6)


def test_without_masks_or_generator_it_is_deterministic(tiny):
    rep, nothing = example("vec2face"), torch.zeros(2, 50)
    assert torch.equal(tiny(rep), tiny(rep))
    assert torch.allclose(tiny(rep), tiny(rep, nothing, nothing), atol=1e-5)


def test_a_generator_seeds_the_masks(tiny):
    rep = example("vec2face")
    a, b, c = (tiny(rep, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.allclose(a, c, atol=1e-4)
    assert torch.equal(a, tiny(rep, *random_masks(2, torch.Generator().manual_seed(1))))


def test_a_hidden_token_is_not_read(tiny):
    """Masking hides what a token says, dropping takes it out; a masked or dropped token has no say in the picture."""
    rep, (drop, mask) = example("vec2face"), random_masks(2, torch.Generator().manual_seed(0), mean=0.5)
    before = tiny(rep, drop, mask)
    clean = tiny.tokens(rep)
    other = torch.where(mask[..., None], clean + 1, clean)
    after = tiny.decode(tiny.encode(other, drop, mask), drop, mask)
    assert torch.equal(after, tiny.decode(tiny.encode(clean, drop, mask), drop, mask))
    assert not torch.allclose(before, tiny(rep), atol=1e-4)


def test_targets_carry_no_gradient():
    model = build("vec2face", "tiny", depth=1, decoder_depth=1)
    decoded = model.tokens_and_image(example("vec2face"))
    assert decoded.tokens.requires_grad and decoded.image.requires_grad and not decoded.clean.requires_grad


@pytest.mark.parametrize("rep", [torch.zeros(512), torch.zeros(1, 511)])
def test_wrong_vectors_are_refused(tiny, rep):
    with pytest.raises(VectorError, match="can't be drawn") as error:
        tiny(rep)
    assert "(N, 512)" in error.value.next_step


def test_wrong_masks_are_refused(tiny):
    rep, good = example("vec2face"), torch.zeros(2, 50)
    first, uneven = good.clone(), good.clone()
    first[0, 0] = 1
    uneven[0, 3] = 1
    for masks in ((good[:, 1:], good), (good, first), (uneven, good)):
        with pytest.raises(SettingsError):
            tiny(rep, *masks)


def test_masks_contain_each_other_and_spare_the_identity():
    rates = []
    for seed in range(200):
        drop, mask = random_masks(3, torch.Generator().manual_seed(seed), minimum=0.1)
        assert drop.shape == mask.shape == (3, 50) and drop.dtype == mask.dtype == torch.bool
        assert not mask[:, 0].any() and not (drop & ~mask).any()
        assert drop.sum(1).tolist() == [math.ceil(49 * 0.1)] * 3
        assert len(set(mask.sum(1).tolist())) == 1      # one rate for the whole batch
        rates.append(mask.sum().item() / 147)
    assert min(rates) < 0.15 and 0.5 < max(rates) <= 1
    drop, mask = random_masks(2, torch.Generator(), minimum=0.0, maximum=0.0)
    assert not drop.any() and not mask.any()
    with pytest.raises(SettingsError, match="can't be drawn"):
        random_masks(2, torch.Generator(), minimum=0.6, maximum=0.5)


@pytest.mark.parametrize(("minimum", "mean", "sd", "maximum"), [(0.1, 0.15, 0.25, 1.0), (0.5, 0.75, 0.25, 1.0)])
def test_truncated_normal_is_the_inverse_of_its_distribution(minimum, mean, sd, maximum):
    normal = lambda x: math.erf((x - mean) / (sd * 2 ** 0.5))   # noqa: E731
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        x = truncated_normal(share, minimum, mean, sd, maximum)
        assert minimum <= x <= maximum
        assert (normal(x) - normal(minimum)) / (normal(maximum) - normal(minimum)) == pytest.approx(share, abs=1e-9)


def test_a_block_that_changes_channels_has_no_skip():
    """The published quirk: the shortcut is a convolution of the block's own result."""
    block, x = DecoderBlock(8, 16, 4), torch.randn(2, 8, 7, 7)
    with torch.no_grad():
        block.conv2.weight.zero_()
        assert block(x).abs().max() == 0
        same = DecoderBlock(8, 8, 4)
        same.conv2.weight.zero_()
        assert torch.equal(same(x), x)


def test_group_norm_is_torchs_and_stays_exact_in_half_precision():
    ours, theirs = Norm(4, 8), torch.nn.GroupNorm(4, 8, eps=1e-6)
    x = torch.randn(2, 8, 7, 7) * 3 + 100
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert torch.equal(ours.bfloat16()(x.bfloat16()), theirs(x.bfloat16().float()).bfloat16())


def test_norms_divide_by_the_published_epsilons():
    """Too small to show in the recorded outputs."""
    for network, preset, eps in (("vec2face", "base", 1e-6), ("iresnet", "100", 1e-5)):
        with torch.device("meta"):
            model = build(network, preset)
        assert {layer.eps for layer in model.modules() if hasattr(layer, "eps")} == {eps}


# Landmarks, the discriminator, shared blocks


def test_landmarks_shapes_and_size():
    model = build("landmarks", "tiny").eval()
    points, presence = model(example("landmarks"))
    assert points.shape == (2, len(POINTS), 2) and presence.shape == (2,)
    assert points.abs().max() < 1
    assert sum(weight.numel() for weight in model.parameters()) <= 500_000


def test_centres_of_heat():
    """x to the right, y down, -1 and 1 the edges of the picture."""
    heat = torch.full((1, 2, 4, 8), -1e4)
    heat[0, 0, 3, 0] = 0                                # bottom left pixel
    heat[0, 1] = 0                                      # everywhere
    assert centres(heat)[0].tolist() == [[pytest.approx(-1 + 1 / 8), pytest.approx(1 - 1 / 4)],
                                         [pytest.approx(0), pytest.approx(0)]]


def test_discriminator_judges_patches():
    model = build("discriminator", "paired").eval()
    x = torch.randn(2, 6, 112, 112)
    assert model(x).shape == (2, 1, 14, 14)
    spoiled = x.clone()
    spoiled[..., :20, :20] = 0
    changed = (model(x) - model(spoiled)).abs() > 1e-6
    assert changed[..., 0, 0].all() and not changed[..., -1, -1].any()


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("squeeze", [0, 4])
def test_residual_halves_any_size(size, squeeze):
    assert Residual(16, 32, 2, squeeze)(torch.randn(2, 16, size, size)).shape == (2, 32, 4, 4)
