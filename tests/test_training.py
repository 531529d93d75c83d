"""Each recipe on made-up pictures: a step of its own, its loss, what it leaves behind."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core import data
from core.cache import LRUCache
from core.faces import ATTRIBUTES, NAMES, traits_of
from core.training import embedder, judge, landmarks, loop, vectors


def made_up(people: int = 4, looks: int = 4, size: int = 112) -> data.DrawnSet:
    """Pictures in which a bright bar's place is the person, with random truths."""
    draw = np.random.default_rng(0)
    person = np.arange(people * looks) // looks
    images = draw.integers(0, 60, (len(person), size, size, 3), dtype=np.uint8)
    for picture, number in zip(images, person, strict=True):
        picture[:, 10 + 25 * number : 25 + 25 * number] += 150
    low, high = (np.array([getattr(a, end) for a in ATTRIBUTES.values()]) for end in ("low", "high"))
    truth = (low + (high - low) * draw.random((len(person), 35))).astype(np.float32)
    points = np.tile(np.array([[40, 50], [72, 50], [56, 70], [42, 90], [70, 90]], np.float32), (len(person), 1, 1))
    return data.DrawnSet(images, truth, person, points)


def stepped(recipe: loop.Recipe, progress: float, batch=None) -> list[str]:
    """Run one step by hand; every trained number must get a finite gradient. Returns the optimisers' names in order."""
    batch = batch or next(recipe.batches(0, (0, 1), None))
    done = []
    for name, loss, numbers in recipe.updates(recipe.networks, batch, progress):
        parameters = [p for group in recipe.optimizers[name].param_groups for p in group["params"]]
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters), name
        assert all(np.isfinite(float(value)) for value in numbers.values())
        recipe.optimizers[name].step()
        done.append(name)
    return done


def test_the_embedder_learns_its_people(tmp_path):
    preset = replace(embedder.PRESETS["tiny-check"], batch=8, rate=2e-3)
    recipe = embedder.EmbedderRecipe(preset, made_up(), made_up())
    assert stepped(recipe, 0.0) == ["loss"]
    batch = next(recipe.batches(1, (0, 1), None))
    losses = []
    for _ in range(6):
        _, loss, _ = next(recipe.updates(recipe.networks, batch, 0.0))
        recipe.optimizers["loss"].zero_grad()
        loss.backward()
        recipe.optimizers["loss"].step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]


def test_looks_are_scaled_to_their_range():
    low, high = (torch.tensor([[float(getattr(a, end)) for a in ATTRIBUTES.values()]]) for end in ("low", "high"))
    assert torch.allclose(embedder.scaled(low), -torch.ones(1, 35))
    assert torch.allclose(embedder.scaled(high), torch.ones(1, 35))


def test_arcface_counts_in_full_from_the_middle_on():
    assert [embedder.apart_share(p, 0.05) for p in (0, 0.5, 1)] == pytest.approx([0.05, 1, 1])


def test_the_margin_waits():
    assert [embedder.margin_at(p, 0.5) for p in (0, 0.3, 0.525, 0.75, 1)] == pytest.approx([0, 0, 0.25, 0.5, 0.5])


def test_traits_are_standardised_and_the_persons_own():
    traits = traits_of(40)
    assert traits.shape[0] == 40 and traits.shape[1] > 40
    assert np.allclose(traits.mean(0), 0, atol=1e-4) and np.allclose(traits.std(0)[traits.std(0) > 0], 1, atol=1e-3)
    assert not np.allclose(traits, traits_of(40, "validation"))


def test_a_judge_learns_from_both_views():
    preset = replace(judge.PRESETS["tiny-check"], batch=6)
    recipe = judge.JudgeRecipe(preset, {"aligned": made_up(), "portrait": made_up()}, {"aligned": made_up()})
    batch = next(recipe.batches(0, (0, 1), None))
    assert batch["upright"].tolist() == [True] * 3 + [False] * 3
    assert stepped(recipe, 0.0, batch) == ["loss"]
    assert len(next(judge.JudgeRecipe(replace(preset, batch=128), recipe.views, recipe.views).batches(
        0, (0, 1), None))["upright"]) == 2 * len(recipe.views["aligned"])      # fewer pictures than a batch takes
    numbers = recipe.check({"judge": recipe.networks["judge"].eval()})
    assert {"aligned balanced", "aligned age", "aligned yaw"} <= set(numbers)


def perfect(truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """The answers of a judge that is always right."""
    found = truth[:, judge.MEASURED]
    return {"binary": (truth[:, judge.YES_NO] > 0.5).float() * 40 - 20, "continuous": found[:, :4],
            "pose": found[:, 4:7], "age": found[:, 7], "quality": judge.quality_of(truth)}


def test_the_judges_loss_is_zero_for_the_truth_and_blind_to_the_roll_of_aligned_crops():
    truth = torch.from_numpy(made_up().truth)
    upright = torch.arange(len(truth)) < len(truth) // 2
    assert judge.judge_loss(perfect(truth), truth, upright)[0] == pytest.approx(0, abs=1e-4)
    for rows, seen in ((upright, False), (~upright, True)):
        wrong = perfect(truth)
        wrong["pose"] = wrong["pose"] + torch.tensor([0.0, 0.0, 9.0]) * rows[:, None]
        assert (judge.judge_loss(wrong, truth, upright)[0] > 1e-3) == seen


def test_measures_stand_where_the_judge_puts_them():
    truth = torch.from_numpy(made_up().truth)
    assert torch.equal(judge.measures(perfect(truth)), truth[:, judge.MEASURED])


def test_quality():
    truth = torch.zeros(4, 35)
    truth[1, NAMES.index("blur")], truth[2, NAMES.index("yaw")], truth[3, NAMES.index("exposure")] = 1.0, 60.0, -1.0
    assert judge.quality_of(truth).tolist() == pytest.approx([1, 0, 0.5, 0.5])


def test_scenes_keep_the_points_on_the_face():
    """A portrait black but for white squares at its points: where the scene has a face, they shine at its points."""
    image, points = torch.full((32, 3, 112, 112), -1.0), torch.from_numpy(made_up(people=8).points)
    for x, y in points[0].int().tolist():
        image[:, :, y - 4 : y + 5, x - 4 : x + 5] = 1
    scene = landmarks.scenes(image, points, 0.25, torch.Generator().manual_seed(0))
    there = scene["present"] > 0
    assert 6 < there.sum() < 32 and scene["image"].shape == (32, 3, 96, 96) and scene["image"].abs().max() <= 1
    middle = scene["points"][:, [0, 1]].mean(1, keepdim=True)  # between the eyes the portrait is black
    shine, dark = (F.grid_sample(scene["image"], each[:, None], align_corners=False).mean((1, 2))
                   for each in (scene["points"], middle))
    assert (shine.mean(1) > dark.mean(1) + 0.5)[there].float().mean() > 0.9
    assert (scene["points"][there].abs() < 1).all()


def test_scenes_are_the_same_however_many_processes_share_them():
    recipe = landmarks.LandmarksRecipe(replace(landmarks.PRESETS["tiny"], batch=8), made_up(), made_up(8, 4))
    fourth = list(islice(recipe.batches(0, (0, 1), None), 4))[3]
    shared = next(recipe.batches(1, (1, 2), None))
    assert all(torch.equal(value, shared[name]) for name, value in fourth.items())


def test_landmarks_take_a_step():
    recipe = landmarks.LandmarksRecipe(replace(landmarks.PRESETS["tiny"], batch=8), made_up(), made_up(8, 4))
    assert stepped(recipe, 0.0) == ["loss"]
    assert 0 <= recipe.check({"landmarks": recipe.networks["landmarks"].eval()})["present"] <= 1
    assert recipe.sheet({"landmarks": recipe.networks["landmarks"]}).width > 8 * 96


def test_the_checkpoint_and_the_command(tmp_path):
    recipe = landmarks.LandmarksRecipe(replace(landmarks.PRESETS["tiny"], batch=8), made_up(), made_up(8, 4))
    recipe.networks["landmarks"].eval()
    path, = recipe.finish(recipe.networks, tmp_path, "python -m core train landmarks")
    row = json.loads((tmp_path / "manifest.json").read_text())["checkpoints"][0]
    assert (row["name"], row["network"]) == ("landmarks-tiny", "landmarks")
    assert row["recipe"] == "python -m core train landmarks"
    assert path == tmp_path / "landmarks-tiny.safetensors"


def test_the_command_trains_and_ships(tmp_path, monkeypatch):
    from core.commands.train import train

    asked = {}

    def recipe(preset, **numbers):
        asked.update(numbers, preset=preset)
        return landmarks.LandmarksRecipe(replace(landmarks.PRESETS[preset], batch=8), made_up(), made_up(8, 4))

    monkeypatch.setattr(landmarks, "recipe", recipe)
    train("landmarks", out=tmp_path / "run", ship=tmp_path / "shipped", steps=1, minutes=1, threads=1, people=7,
          batch=5, rate=1e-4)
    assert (tmp_path / "shipped" / "landmarks-tiny.safetensors").is_file() and (tmp_path / "run" / "state").is_dir()
    assert asked == {"preset": "tiny", "people": 7, "batch": 5, "rate": 1e-4}


@pytest.fixture
def generator_recipe(tmp_path, monkeypatch):
    """The vectors recipe with an untrained embedder and encoder, of 16 made-up faces with random vectors."""
    from core import hub
    from core.hub import manifest
    from core.models import build

    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
    torch.manual_seed(0)
    for name, network in (("embedder-tiny", "iresnet"), ("aging-autoencoder-tiny", "autoencoder")):
        hub.save(build(network, "tiny").eval(), name, network=network, preset="tiny", recipe="", about="",
                 folder=tmp_path / "checkpoints")
    return vectors_recipe("tiny", half_images=3, soft_images=6, warmup=1)


def vectors_recipe(preset: str, **fields) -> vectors.VectorsRecipe:
    drawn = made_up(size=128)
    found = torch.randn(len(drawn), 512, generator=torch.Generator().manual_seed(1))
    return vectors.VectorsRecipe(replace(vectors.PRESETS[preset], batch=3, **fields), drawn, drawn, found, found,
                                 device="cpu")


def test_vectors_trains_small_then_soft_then_sharp(generator_recipe):
    """The tokens and the embedder stay as they are while the image decoder becomes sharp."""
    recipe, seen = generator_recipe, []
    frozen = [p for network in (recipe.embedder, recipe.encoder) for p in network.parameters()]
    batch = next(recipe.batches(0, (0, 1), None))
    assert batch["image"].shape == (3, 3, 112, 112) and batch["vectors"].shape == (3, 512)
    for wanted in ({"tokens"}, {"tokens", "identity", "perceptual"}):
        name, loss, numbers = next(recipe.updates(recipe.networks, batch, 0.0))
        assert name == "soft" and set(numbers) == {"pixel", "smaller", "edges"} | wanted
        seen.append(loss)
    network = recipe.networks["generator"].generator
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert stepped(recipe, 0.0, batch) == stepped(recipe, 0.0, batch) == ["discriminator", "sharp"]
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("im_decoder.") for name in changed)
    assert all(p.grad is None for p in frozen)
    assert int(recipe.networks["discriminator"].images) == 12


def test_the_identity_term_reaches_the_generator(generator_recipe):
    """The published aging code's identity loss had no gradient; this one must."""
    batch = next(generator_recipe.batches(0, (0, 1), None))
    generator = generator_recipe.networks["generator"]
    generator_recipe.identity(generator(batch["vectors"]).image, batch["vectors"]).backward()
    assert generator.generator.im_decoder.conv_out.weight.grad.abs().sum() > 0


def test_vectors_ships_the_generator_and_its_people(generator_recipe, tmp_path):
    from core import hub
    from core.hub import weights as stored
    from core.sampling import People

    for network in generator_recipe.networks.values():
        network.eval()
    assert {"l1", "cos", "sharpness"} < set(generator_recipe.check(generator_recipe.networks))
    assert generator_recipe.sheet(generator_recipe.networks).width > 8 * 112
    generator_recipe.finish(generator_recipe.networks, tmp_path / "checkpoints", "recipe")
    assert hub.load("vectors-tiny", "cpu")(torch.randn(2, 512)).shape == (2, 3, 112, 112)
    row = hub.row("vectors-people-tiny")
    people = People.from_dict(stored.read(hub.file(row.name), row))
    assert people.mean.shape == (512,) and people.draw([1, 2]).shape == (2, 512)


def test_vectors_goes_on_from_what_ships(generator_recipe, tmp_path):
    from core import hub
    from core.hub import manifest

    generator_recipe.finish(generator_recipe.networks, tmp_path / "checkpoints", "recipe")
    recipe = vectors_recipe("onward")
    recipe.begin()
    shipped = hub.load("vectors-tiny", "cpu").state_dict()
    assert all(torch.equal(value, shipped[name])
               for name, value in recipe.networks["generator"].generator.state_dict().items())
    next(recipe.updates(recipe.networks, next(recipe.batches(0, (0, 1), None)), 0.0))
    soft = recipe.networks["discriminator"].soft.state_dict()
    assert all(torch.equal(value, shipped[f"im_decoder.{name}"]) for name, value in soft.items())
    recipe.finish(recipe.networks, tmp_path, "")
    assert "further from vectors-tiny" in next(
        row.about for row in manifest.rows(tmp_path) if row.name == "vectors-tiny")
