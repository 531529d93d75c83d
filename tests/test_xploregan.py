"""XploreGAN: what ASIN, its twin, generator and critic promise at a small size; and the feature extractors."""

import copy

import pytest
import torch
import torch.nn.functional as F

from core import hub
from core.errors import CheckpointError, SettingsError
from core.models import bagnet, build
from core.models.xploregan import ASIN, EPS, GroupStatistics, Noise

SMALL = dict(width=16, blocks=2, clusters=5, hidden=32, features=8)


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


# The conditional norms


def test_asin_on_an_example_by_hand():
    """gamma * (x - mean) / deviation + beta: the values 1, 3, 5, 7 have mean 4 and variance 5."""
    norm = ASIN(1, 1)
    with torch.no_grad():
        norm.affine.weight.copy_(torch.tensor([[2.0], [-1.0]]))     # gamma = 1 + 2 s, beta = -s
    x = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    expected = 4 * torch.tensor([[-3.0, -1.0], [1.0, 3.0]]) / (5 + EPS) ** 0.5 - 1.5
    assert torch.allclose(norm(x, torch.tensor([[1.5]]))[0, 0], expected, atol=1e-5)


def test_asin_ignores_the_statistics_of_the_picture():
    norm, style = ASIN(4, 3), torch.randn(2, 3)
    x = torch.randn(2, 4, 8, 8)
    assert torch.allclose(norm(3 * x + 7, style), norm(x, style), atol=1e-4)


# Groups and conditions


def test_statistics_of_groups():
    features = torch.tensor([[0.0, 1.0], [2.0, 3.0], [5.0, 5.0]])
    found = GroupStatistics.of(features, torch.tensor([0, 0, 2]), 4)
    assert found.mean.tolist() == [[1, 2], [0, 0], [5, 5], [0, 0]]
    assert found.variance.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]


@pytest.fixture(scope="module")
def statistics():
    generator = torch.Generator().manual_seed(3)
    features = torch.nn.functional.normalize(torch.randn(200, 8, generator=generator), dim=1)
    return GroupStatistics.of(features, torch.arange(200) % 5, 5)


def network(**settings):
    torch.manual_seed(0)
    return build("xploregan", "tiny", **(SMALL | settings))


def test_what_is_not_replaced_stays_as_sharp_as_it_was():
    """With a share of 0 a larger picture comes back as it is, with 1 the drawn colours, enlarged."""
    network = build("xploregan", "tiny", width=8, blocks=1, hidden=16).eval()
    x, larger = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 160, 160) * 2 - 1
    condition = torch.randn(2, network.config.condition_size)
    with torch.no_grad():
        network.to_rgb.weight[3].zero_()
        network.to_rgb.bias[3] = -40
        assert torch.equal(network(x, condition), x) and torch.equal(network(x, condition, larger=larger), larger)
        network.to_rgb.bias[3] = 40
        drawn, enlarged = network(x, condition), network(x, condition, larger=larger)
        assert enlarged.shape == larger.shape and not torch.allclose(drawn, x, atol=0.1)
        assert torch.allclose(F.interpolate(drawn, (160, 160), mode="bilinear"), enlarged, atol=1e-4)


def test_what_is_painted_has_no_checkerboard():
    """Patterns that repeat every two pixels vanish up to the border; a plain colour stays, an edge stays an edge."""
    network = build("xploregan", "tiny", width=8, blocks=1, hidden=16).eval()
    board = torch.ones(1, 4, 64, 64)
    board[:, :, ::2, 1::2] = board[:, :, 1::2, ::2] = -1
    half = torch.ones(1, 4, 64, 64)
    half[:, :, :, :32] = -1
    shown = {}
    for name, drawn in (("board", board), ("plain", torch.ones(1, 4, 64, 64)), ("edge", half)):
        network.to_rgb.forward = lambda h, drawn=drawn: torch.cat([drawn[:, :3] * 3, torch.full_like(drawn[:, 3:], 40)],
                                                                  1)
        with torch.no_grad():
            shown[name] = network(torch.zeros(1, 3, 64, 64), torch.zeros(1, network.config.condition_size))
    assert shown["board"].abs().max() < 1e-5
    assert torch.allclose(shown["plain"], torch.tensor(3.0).tanh(), atol=1e-5)
    assert torch.allclose(shown["edge"][..., 34:], shown["plain"][..., 34:], atol=1e-5)
    assert shown["edge"][..., :30].max() < -0.99


def test_conditions_of_groups(statistics):
    groups = torch.tensor([4, 1])
    whole = network().group_condition(statistics, groups)
    exemplars = network(norm="adain").exemplar_condition(statistics.mean[groups])
    assert torch.equal(exemplars, whole[:, :8])     # an exemplar in the middle of a group stands for it
    assert torch.allclose(whole[:, :8], statistics.mean[groups] * 8 ** 0.5)
    assert torch.allclose(whole[:, 8:], statistics.variance[groups] * 8)
    assert torch.equal(network(condition="mean").group_condition(statistics, groups), whole[:, :8])
    label = network(condition="label").group_condition(statistics, groups)
    assert label.tolist() == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]


def test_conditions_are_of_order_one():
    """Of unit vectors of any length: the mapping then starts well."""
    features = torch.nn.functional.normalize(torch.randn(4000, 256), dim=1)
    found = GroupStatistics.of(features, torch.zeros(4000, dtype=torch.int64), 1)
    scaled = network(features=256).group_condition(found, torch.tensor([0]))
    assert scaled[:, 256:].mean().item() == pytest.approx(1, abs=0.05)


def test_each_norm_asks_for_its_own_condition(statistics):
    x, groups = torch.zeros(1, 3, 64, 64), torch.tensor([0])
    with pytest.raises(SettingsError, match="asin"):
        network().exemplar_condition(torch.zeros(1, 8))
    with pytest.raises(SettingsError, match="adain"):
        network(norm="adain").group_condition(statistics, groups)
    with pytest.raises(SettingsError, match="Conditions of shape"):
        network()(x, torch.zeros(1, 3))
    with pytest.raises(SettingsError, match="Pictures of shape"):
        network()(x[..., :32], torch.zeros(1, 16))


# The generator


KINDS = [dict(norm="asin", condition="mean-variance"), dict(norm="asin", condition="mean"),
         dict(norm="asin", condition="label"), dict(norm="adain")]


def conditions(model, statistics, x):
    """One for each picture: of group i mod 5, or of an exemplar near it."""
    if model.config.norm == "adain":
        return model.exemplar_condition(statistics.mean[torch.arange(len(x)) % 5] + 0.05)
    return model.group_condition(statistics, torch.arange(len(x)) % 5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.get("condition", "adain"))
def test_gradients_reach_every_parameter(kind, statistics):
    model = network(**kind)
    x = torch.rand(5, 3, 64, 64) * 2 - 1
    made = model(x, conditions(model, statistics, x))
    assert made.shape == x.shape and made.abs().max() <= 1
    (made * torch.randn(x.shape)).sum().backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.get("condition", "adain"))
def test_one_picture_is_the_same_alone_and_in_a_batch(kind, statistics):
    model = network(**kind).eval().requires_grad_(False)
    x = torch.rand(8, 3, 64, 64) * 2 - 1
    condition = conditions(model, statistics, x)
    together = model(x, condition)
    assert torch.allclose(model(x[:1], condition[:1]), together[:1], atol=1e-4)
    assert not torch.allclose(model(x, condition.roll(1, 0)), together, atol=1e-4)     # the condition has a say


def test_the_twins_differ_in_nothing_but_the_norm():
    """The AdaIN twin is the same network but for the number of inputs of the mapping."""
    shapes = [{key: value.shape for key, value in build("xploregan", preset).state_dict().items()}
              for preset in ("tiny", "tiny-adain")]
    assert shapes[0].keys() == shapes[1].keys()
    assert [key for key in shapes[0] if shapes[0][key] != shapes[1][key]] == ["mapping.0.weight"]


def test_the_encoder_has_spectral_norm():
    model = network()
    for _ in range(30):                                 # power iterations
        model.encode(torch.zeros(1, 3, 64, 64))
    model.eval()
    for layer in model.encoder.modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_noise_is_drawn_in_training_or_by_a_generator(statistics):
    """One map for all channels, another at every pixel; the strengths start at 0."""
    noise, x = Noise(3).eval(), torch.zeros(2, 3, 8, 8)
    with torch.no_grad():
        noise.strength.copy_(torch.tensor([0.0, 1.0, 2.0]))
    seeded = [noise(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(noise(x), x) and torch.equal(seeded[0], seeded[1]) and not torch.equal(seeded[0], seeded[2])
    assert not seeded[0][:, 0].any() and torch.equal(seeded[0][:, 2], 2 * seeded[0][:, 1])
    assert len(seeded[0][0, 1].unique()) == 64
    assert noise.train()(x).any()
    model = network().eval().requires_grad_(False)
    assert not any(layer.strength.any() for layer in model.modules() if isinstance(layer, Noise))


def test_mixtures_of_conditions_lead_from_one_group_to_another(statistics):
    """For a strength slider: half way lies between."""
    model = network().eval().requires_grad_(False)
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    here, there = (model.group_condition(statistics, torch.tensor([group])) for group in (0, 1))
    start, half, end = (model(x, here.lerp(there, weight)) for weight in (0.0, 0.5, 1.0))
    assert (half - start).norm() < (end - start).norm() and (half - end).norm() < (end - start).norm()


# The critic


def test_the_critic_judges_patches_and_clusters():
    torch.manual_seed(0)
    critic = build("xploregan_critic", "tiny", clusters=5, critic_width=16)
    x = torch.rand(8, 3, 64, 64) * 2 - 1
    said = critic(x)
    assert said.realness.shape == (8, 1, 4, 4) and said.clusters.shape == (8, 5)
    (said.realness.sum() + said.clusters.square().sum()).backward()
    assert all(weight.grad.any() for weight in critic.parameters())
    alone = critic(x[:1])
    assert torch.allclose(alone.realness, said.realness[:1], atol=1e-5)
    assert torch.allclose(alone.clusters, said.clusters[:1], atol=1e-5)


def test_a_gradient_penalty_can_be_taken():
    """WGAN-GP differentiates the gradient of the realness."""
    critic = build("xploregan_critic", "tiny", clusters=5, critic_width=16)
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    gradient, = torch.autograd.grad(critic(x).realness.mean((1, 2, 3)).sum(), x, create_graph=True)
    (gradient.flatten(1).norm(dim=1) - 1).square().mean().backward()
    assert critic.main[0].weight.grad.any()


def test_averaging_copies_the_generator():
    """Weights with spectral norm can be copied, saved and loaded strictly."""
    model = network()
    twin = copy.deepcopy(model)
    twin.load_state_dict(model.state_dict(), strict=True)
    x, condition = torch.rand(1, 3, 64, 64), torch.zeros(1, 16)
    assert torch.equal(model.eval()(x, condition), twin.eval()(x, condition))


@pytest.mark.parametrize("network", ["bagnet", "resnet", "xploregan", "xploregan_critic"])
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
