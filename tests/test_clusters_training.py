"""The recipes behind `clusters` at toy size: feature networks, the crowd file, XploreGAN and its AdaIN twin."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clusters_toys import FACES, GROUPS, READERS, REAL, ROWS, TOY, drawn_toys, made_up, networks
from PIL import Image
from test_training import stepped

from core import data, hub
from core.cache import LRUCache
from core.clustering import nearest
from core.errors import CheckpointError, SettingsError
from core.features import space_of
from core.hub import manifest
from core.models import NETWORKS, build
from core.models.xploregan import GroupStatistics
from core.systems.clusters.crowd import shipped_crowd
from core.training import clusters, crowd, features
from core.training.loop import Settings, fit


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder of checkpoints with toys and a crowd of them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("crowd") / "checkpoints"
        folder.mkdir()
        patch.setattr(manifest, "CHECKPOINTS", folder)
        patch.setattr(hub, "_networks", LRUCache(99))
        patch.setattr(data, "drawn_set", drawn_toys)
        patch.setenv("FACET_CACHE", str(folder.parent / "cache"))
        for name in READERS:
            (folder / ROWS[name].file).symlink_to(REAL / ROWS[name].file)
            manifest.put(ROWS[name], folder)
        networks(folder, patch)
        for preset, norm in (("tiny", "asin"), ("tiny-adain", "adain")):
            patch.setitem(NETWORKS["xploregan"].presets, preset, replace(TOY, norm=norm))
        yield folder


@pytest.fixture(scope="module")
def crowded(shipped):
    crowd.build_crowd("texture", GROUPS, 0, 20, 2, 30, crowd.CROWD, shipped, "python -m core build crowd")
    return shipped


# Feature networks


def feature_recipe(preset: str, **changes) -> features.FeaturesRecipe:
    chosen = replace(features.PRESETS[preset], batch=4, **changes)
    return features.FeaturesRecipe(chosen, drawn_toys(), drawn_toys())


@pytest.mark.parametrize("preset", ["texture", "shape"])
def test_a_feature_network_learns_its_tasks(preset):
    recipe = feature_recipe(preset)
    batch = next(recipe.batches(0, (0, 1), None))
    assert stepped(recipe, 0.0, batch) == ["loss"]
    losses = []
    for _ in range(5):
        _, loss, _ = next(recipe.updates(recipe.networks, batch, 0.0))
        recipe.optimizers["loss"].zero_grad()
        loss.backward()
        recipe.optimizers["loss"].step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    with torch.no_grad():
        numbers = recipe.check({name: network.eval() for name, network in recipe.networks.items()})
    assert set(numbers) == {*recipe.tasks, "agreement"} and all(np.isfinite(value) for value in numbers.values())
    assert recipe.sheet(recipe.networks).size == (8 * 64 + 7 * 4, 2 * 64 + 4)


def test_attributes_take_no_part_in_features():
    """Another truth gives the same loss: nothing is learned from labels."""
    losses = []
    for shift in (0, 1):
        recipe = feature_recipe("texture")
        recipe.drawn = replace(recipe.drawn, truth=recipe.drawn.truth + shift)
        losses.append(next(recipe.updates(recipe.networks, next(recipe.batches(3, (0, 1), None)), 0.0))[1].item())
    assert losses[0] == losses[1]


def test_each_task_can_be_left_out():
    recipe = feature_recipe("shape", rotation=0.0, jigsaw=1.0, denoising=0.0)
    assert set(recipe.tasks) == set(recipe.networks["tasks"]) == {"jigsaw"} and recipe.sheet(recipe.networks) is None
    assert stepped(recipe, 0.0) == ["loss"]


def test_pictures_are_turned_and_cut():
    image = torch.arange(16.0).view(1, 1, 4, 4).expand(4, 3, 4, 4)
    ways = torch.tensor([0, 1, 2, 3])
    corners = features.turned(image, ways)[:, 0, 0, 0].tolist()
    assert corners == [0, 3, 15, 12]
    assert features.pieces(image, ways)[:, 0].tolist() == [
        [[0, 1], [4, 5]], [[2, 3], [6, 7]], [[8, 9], [12, 13]], [[10, 11], [14, 15]]]


def test_a_feature_network_is_written(shipped, tmp_path):
    recipe = feature_recipe("shape")
    path, = recipe.finish(recipe.networks, tmp_path, "python -m core train features --preset shape")
    found, x = hub.opened(path, "resnet"), torch.randn(2, 3, 64, 64)
    wanted = recipe.networks["features"].eval()(x)
    assert torch.allclose(found.features(x), wanted, rtol=0.02, atol=0.02)


# The crowd


def test_the_crowd_file_holds_faces_and_groups(crowded):
    faces, groups = shipped_crowd(crowd.CROWD)
    features_ = torch.cat([*crowd.compute(space_of("texture"), hub.load("clusters-texture-tiny"), made_up())])
    labels = groups.assign(groups.vectors(features_))
    assert groups.space == "texture" and groups.centres.shape == (GROUPS, FACES // 4)
    assert groups.statistics.variance.shape == groups.statistics.mean.shape == groups.centres.shape
    assert torch.allclose(groups.statistics.mean, groups.centres, atol=1e-3)        # k-means has ended
    assert sorted(labels.bincount().tolist(), reverse=True) == labels.bincount().tolist()
    assert len(faces) >= 30 and faces.images([0]).shape == (1, 96, 96, 3) and faces.table.shape == (len(faces), 35)
    assert set(faces.vectors) == {"texture", "shape", "persons"}
    own = nearest(faces.vectors["texture"], groups.centres)[0]
    assert set(own.tolist()) == set(range(GROUPS))      # the typical faces of every group are there
    small = np.stack([np.asarray(Image.fromarray(image).resize((96, 96))) for image in made_up()]).astype(int)
    assert all(np.abs(small - faces.images([row])[0].astype(int)).mean((1, 2, 3)).min() < 6 for row in (0, 9))


def test_a_crowd_needs_its_networks(shipped, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="no crowd") as error:
        crowd.read_groups("clusters-crowd-huge")
    assert "build crowd" in error.value.next_step
    with pytest.raises(CheckpointError, match="lacks space"):
        crowd.groups_in({}, {})
    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path)
    (tmp_path / "manifest.json").write_text('{"checkpoints": []}')
    with pytest.raises(CheckpointError, match="no network yet") as error:
        crowd.build_crowd("shape", 2, 0, 2, 2, 2, "a", tmp_path, "")
    assert "train features --preset shape" in error.value.next_step


# XploreGAN


def translator(crowded, preset: str = "tiny", **changes) -> clusters.ClustersRecipe:
    """The recipe with toys in the place of the preset's networks."""
    changes = {"batch": 3, "critics": 2} | changes
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(clusters.PRESETS, preset, replace(clusters.PRESETS[preset], **changes))
        return clusters.recipe(preset)


@pytest.mark.parametrize("preset", ["tiny", "tiny-adain"])
def test_critic_and_generator_take_turns(crowded, preset):
    recipe = translator(crowded, preset, critics=3)
    batch = next(recipe.batches(0, (0, 1), None))
    assert len(batch["image"]) == 9 and batch["image"].shape[2:] == (64, 64)
    assert stepped(recipe, 0.5, batch) == ["critic"] * 3 + ["generator"]
    with torch.no_grad():
        numbers = recipe.check({name: network.eval() for name, network in recipe.networks.items()})
        sheet = recipe.sheet(recipe.networks)
    assert set(numbers) == {"worn", "worn before", "cycle l1"} and sheet.width == 8 * 64 + 7 * 4
    rates = {name: each.param_groups[0]["lr"] for name, each in recipe.optimizers.items()}
    assert rates == {"critic": recipe.preset.discriminating, "generator": recipe.preset.rate}


def test_batches_do_not_depend_on_the_ones_before(crowded):
    recipe = translator(crowded, "tiny-adain")
    stream = recipe.batches(0, (0, 1), None)
    next(stream)
    second, alone = next(stream), next(recipe.batches(1, (0, 1), None))
    assert all(torch.equal(second[name], alone[name]) for name in second)


def test_the_generator_sees_all_people(crowded):
    """Its part of each batch is the last, and batches come sorted by person."""
    recipe = translator(crowded, critics=4, batch=4)        # 16 of 40 pictures
    rows = [batch["row"][-4:] for batch, _ in zip(recipe.batches(0, (0, 1), None), range(40), strict=False)]
    assert len(torch.cat(rows).unique()) > 30


def test_other_processes_can_make_batches(crowded):
    recipe = translator(crowded)
    wanted, made = (next(each.batches(0, (0, 1), None)) for each in (recipe, recipe.loader()))
    assert all(torch.equal(wanted[name], made[name]) for name in wanted)


def test_conditions_are_those_of_the_groups(crowded):
    recipe = translator(crowded)
    batch = next(recipe.batches(0, (0, 1), None))
    generator = recipe.networks["generator"].generator
    assert torch.equal(batch["wanted"], generator.group_condition(recipe.groups.statistics, batch["target"]))
    assert torch.equal(batch["own"], generator.group_condition(recipe.groups.statistics, batch["group"]))
    twin = translator(crowded, "tiny-adain")
    batch = next(twin.batches(0, (0, 1), None))
    assert torch.equal(batch["own"], twin.train.conditions[batch["row"]])
    scale = twin.config.features ** 0.5
    assert torch.equal(twin.groups.assign(batch["wanted"] / scale), batch["target"])
    assert torch.equal(twin.groups.assign(batch["own"] / scale), batch["group"])


def test_the_generators_loss_has_the_papers_terms(crowded):
    """Each term counts with its weight; without one of them it is left out of the sum."""
    recipe = translator(crowded)
    torch.manual_seed(0)
    batch = next(recipe.batches(0, (0, 1), None))
    part = {name: value[:3] for name, value in batch.items()}
    for network in recipe.networks.values():
        network.eval()
    loss, terms = recipe.generator_loss(recipe.networks, part)
    assert set(terms) == {"real", "group", "cycle", "latent", "change"}
    assert loss.item() == pytest.approx(sum(float(term) for term in terms.values()), rel=1e-4)
    recipe.preset = replace(recipe.preset, cycle=20.0, latent=0.0, change=0.0)
    _, other = recipe.generator_loss(recipe.networks, part)
    assert float(other["cycle"]) == pytest.approx(2 * float(terms["cycle"]), rel=1e-4) and float(other["latent"]) == 0
    assert "change" not in other and float(terms["change"]) > 0


def test_an_encoder_gains_nothing_by_shrinking_its_features(crowded):
    recipe = translator(crowded)
    batch = next(recipe.batches(0, (0, 1), None))
    cycle = recipe.networks["generator"].eval()
    encode = cycle.generator.encode
    distances = []
    for size in (1.0, 1e-3):
        cycle.generator.encode = lambda x, size=size: size * encode(x)
        cycle.generator.decode = lambda h, condition, picture: batch["image"].flip(0)
        distances.append(cycle(batch["image"], batch["wanted"], batch["own"])[2])
    assert torch.allclose(*distances, rtol=1e-3) and distances[0].min() > 0.1


def test_the_critic_knows_groups_before_the_generator_begins(crowded):
    recipe = translator(crowded, ahead=0.5)
    batch = next(recipe.batches(0, (0, 1), None))
    first, later = ([(name, set(terms)) for name, _, terms in recipe.updates(recipe.networks, batch, progress)]
                    for progress in (0.4, 0.6))
    assert first == [("critic", {"real group"})] * recipe.preset.critics
    assert [name for name, _ in later] == ["critic"] * recipe.preset.critics + ["generator"]
    assert "penalty" in later[0][1]


def test_the_twin_begins_as_the_asin_network(crowded, tmp_path):
    recipe = translator(crowded)
    path, = recipe.finish(recipe.networks, tmp_path, "")
    asin, twin = hub.opened(path, "xploregan").cpu(), translator(crowded, "tiny-adain", generator=str(path))
    begun, groups = twin.networks["generator"].generator.cpu().eval(), twin.groups.statistics
    mean, variance = groups.mean[1:2], groups.variance.mean(0)[None]
    with torch.no_grad():       # an exemplar at the mean of a group whose variance is the average
        wanted = asin.mapping(asin.group_condition(GroupStatistics(mean, variance), torch.tensor([0])))
        torch.testing.assert_close(begun.mapping(begun.exemplar_condition(mean)), wanted, rtol=1e-3, atol=1e-3)
    key = "decoder.0.conv1.weight"
    torch.testing.assert_close(begun.state_dict()[key], asin.state_dict()[key], rtol=1e-3, atol=1e-4)


def test_the_twin_needs_a_translator_by_mean_and_variance(crowded, tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.safetensors") as error:
        translator(crowded, "tiny-adain", generator="gone.safetensors")
    assert "train clusters --preset tiny" in error.value.next_step
    twin = translator(crowded, "tiny-adain")
    path, = twin.finish(twin.networks, tmp_path, "")
    with pytest.raises(SettingsError, match="mean and variance"):
        translator(crowded, "tiny-adain", generator=str(path))


def test_the_penalty_of_a_known_slope():
    """A critic that sums 3 · x over a 2 × 2 picture has a slope of 3 · √12 everywhere."""
    class Slope(torch.nn.Module):
        def forward(self, x):
            from core.models.xploregan import Critique
            return Critique((3 * x).sum((1, 2, 3))[:, None, None, None], x)

    found = clusters.gradient_penalty(Slope(), torch.rand(5, 3, 2, 2), torch.rand(5, 3, 2, 2))
    assert found.item() == pytest.approx((3 * 12**0.5 - 1) ** 2, rel=1e-4)


def test_the_critic_tells_real_from_made(crowded):
    """After a few of its own steps on one batch, real pictures score higher."""
    recipe = translator(crowded)
    part = {name: value[:3] for name, value in next(recipe.batches(0, (0, 1), None)).items()}
    made = torch.rand(part["image"].shape) * 2 - 1
    losses = []
    for _ in range(8):
        loss, logged = recipe.critic_loss(recipe.networks["critic"], part, made)
        recipe.optimizers["critic"].zero_grad()
        loss.backward()
        recipe.optimizers["critic"].step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and logged["apart"] > 0.005


def test_a_crowd_of_another_size_is_refused(crowded, monkeypatch):
    monkeypatch.setitem(NETWORKS["xploregan"].presets, "tiny", replace(TOY, clusters=GROUPS + 1))
    with pytest.raises(SettingsError, match=f"{GROUPS} groups") as error:
        translator(crowded)
    assert "--k 7" in error.value.next_step


def test_a_resumed_run_is_the_same_run(crowded, tmp_path):
    def run(folder, steps, resume=False):
        settings = Settings(tmp_path / folder, steps=steps, threads=1, seed=3, resume=resume, floor=1.0, warmup=1)
        return fit(translator(crowded), settings)["generator"].state_dict()

    whole = run("whole", 2)
    run("parts", 1)
    parts = run("parts", 2, resume=True)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert (tmp_path / "parts" / "sheet-000002.png").exists()


def test_a_translator_is_written(crowded, tmp_path):
    recipe = translator(crowded)
    path, = recipe.finish(recipe.networks, tmp_path, "python -m core train clusters")
    assert path.name == "clusters-asin-tiny.safetensors" and hub.opened(path, "xploregan").config == TOY
    assert build("xploregan", "tiny").config == TOY        # only while toys are there
