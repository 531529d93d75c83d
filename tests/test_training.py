"""The loop on a toy recipe: exact resuming, averaging, schedule, logs. Then each recipe on made-up pictures."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from core import data
from core.errors import SettingsError
from core.faces import ATTRIBUTES, NAMES, traits_of
from core.training import embedder, judge, landmarks, loop, vectors

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Asked:
    rate: float
    batch: int


class Line(loop.Recipe):
    """Two networks that learn a line, one after the other, with noise of their own."""

    averaged = ("first",)
    batch = 4

    def __init__(self, rate: float = 0.1, at_step=None):
        torch.manual_seed(1)
        first = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.networks = {"first": first, "second": nn.Linear(1, 1)}
        self.optimizers = {name: torch.optim.AdamW([{"params": list(network.parameters()), "initial_lr": rate}], rate)
                           for name, network in self.networks.items()}
        self.at_step, self.seen = at_step, []

    def batches(self, start, shard, device):
        while True:
            self.seen.append(start)
            draw = torch.Generator().manual_seed(start)
            yield {"x": torch.randn(4, 2, generator=draw), "step": start}
            start += 1

    def updates(self, networks, batch, progress):
        if self.at_step:
            self.at_step(batch["step"])
        x = batch["x"] + 0.1 * torch.randn(4, 2)  # global randomness: resuming must restore it
        made = networks["first"](x)
        yield "first", (made - x.sum(1, keepdim=True)).square().mean(), {"progress": progress}
        with torch.no_grad():
            made = networks["first"](x)
        yield "second", (networks["second"](made) - 1).square().mean(), {}

    def check(self, networks):
        return {"training": float(any(network.training for network in networks.values()))}

    def sheet(self, networks):
        return Image.new("RGB", (4, 4))


def settings(out, **changes) -> loop.Settings:
    return replace(loop.Settings(out=out, steps=8, warmup=2, log_every=1, threads=1), **changes)


def weights(networks) -> torch.Tensor:
    return torch.cat([value.float().flatten() for net in networks.values() for value in net.state_dict().values()])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = loop.fit(Line(), settings(tmp_path / "whole"))

    def stop(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    handlers = [signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        loop.fit(Line(at_step=stop), settings(tmp_path / "halves"))
    assert [signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)] == handlers
    again = Line()
    torch.manual_seed(99)
    halves = loop.fit(again, settings(tmp_path / "halves", resume=True))
    assert again.seen[0] == 5 and again.seen[-1] >= 7
    assert torch.equal(weights(whole), weights(halves))


def test_a_run_is_not_begun_over_another(tmp_path):
    loop.fit(Line(), settings(tmp_path))
    with pytest.raises(SettingsError, match="holds a run already") as error:
        loop.fit(Line(), settings(tmp_path))
    assert "--resume" in error.value.next_step


def test_a_run_goes_on_at_the_rate_that_is_asked_for_and_as_it_was_begun(tmp_path):
    def line(rate: float, batch: int = 4) -> Line:
        recipe = Line()
        recipe.preset = Asked(rate, batch)
        for optimizer in recipe.optimizers.values():
            optimizer.param_groups[0]["initial_lr"] = rate
        return recipe

    loop.fit(line(0.1), settings(tmp_path, steps=4))
    slower = line(0.001)
    loop.fit(slower, settings(tmp_path, resume=True))
    assert {group["initial_lr"] for each in slower.optimizers.values() for group in each.param_groups} == {0.001}
    with pytest.raises(SettingsError, match="has batch 4, not 8"):
        loop.fit(line(0.001, batch=8), settings(tmp_path, resume=True))


def test_what_a_run_leaves_behind(tmp_path):
    networks = loop.fit(Line(), settings(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "first" in line]
    assert [line["step"] for line in steps] == list(range(1, 9)) and {"second", "rate", "img/s"} <= set(steps[0])
    assert lines[-1] == {"step": 8, "training": 0.0}
    assert Image.open(tmp_path / "sheet-000008.png").size == (4, 4)
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == "8"
    assert (tmp_path / "state").is_dir() and not (tmp_path / "state.new").exists()
    assert not any(network.training for network in networks.values())


def test_the_average_lags_behind(tmp_path):
    recipe = Line()
    start = weights({"first": recipe.networks["first"]}).clone()
    averaged = weights({"first": loop.fit(recipe, settings(tmp_path, average=0.5))["first"]})
    trained = weights({"first": recipe.networks["first"]})
    assert not torch.equal(averaged, trained)
    assert (averaged - trained).norm() < (start - trained).norm()


def test_a_killed_save_leaves_the_state_before(tmp_path):
    loop.fit(Line(), settings(tmp_path, steps=3))
    os.rename(tmp_path / "state", tmp_path / "state.old")
    (tmp_path / "state.new").mkdir()
    recipe = Line()
    loop.fit(recipe, settings(tmp_path, steps=5, resume=True))
    assert recipe.seen[0] == 3


def test_nothing_to_resume(tmp_path):
    with pytest.raises(SettingsError, match="no saved state"):
        loop.fit(Line(), settings(tmp_path, resume=True))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    class Broken(Line):
        def updates(self, networks, batch, progress):
            yield "first", networks["first"](batch["x"]).sum() * float("nan"), {}

    with pytest.raises(SettingsError, match="smaller learning rate"):
        loop.fit(Broken(), settings(tmp_path))


def test_time_ends_a_run_and_anneals_it(tmp_path):
    recipe = Line()
    loop.fit(recipe, settings(tmp_path, steps=None, minutes=0.02))
    rates = [json.loads(line)["rate"] for line in (tmp_path / "log.jsonl").read_text().splitlines() if "rate" in line]
    assert len(rates) > 3 and rates[-1] < 0.2 < max(rates)


def test_the_schedule():
    chosen = loop.Settings(out=None, warmup=10, floor=0.01)
    assert loop.rate_at(0, 0.0, chosen) == pytest.approx(0.1)
    assert loop.rate_at(50, 0.5, chosen) == pytest.approx(0.505)
    assert loop.rate_at(100, 1.0, chosen) == pytest.approx(0.01)


def test_gradients_are_clipped(tmp_path):
    class Steep(Line):
        def __init__(self):
            super().__init__()
            group = {"params": list(self.networks["first"].parameters()), "initial_lr": 1.0}
            self.optimizers = {"first": torch.optim.SGD([group], 1.0)}

        def updates(self, networks, batch, progress):
            yield "first", 1e6 * networks["first"](batch["x"]).mean(), {}

    recipe = Steep()
    before = [p.detach().clone() for p in recipe.networks["first"].parameters()]
    loop.fit(recipe, settings(tmp_path, steps=1, warmup=1, clip=0.5))
    moved = torch.cat([(p - q).flatten() for p, q in zip(recipe.networks["first"].parameters(), before, strict=True)])
    assert 0 < moved.norm() <= 0.51


# ------------------------------------------------------------------------------------------------------- recipes


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
    assert {"aligned binary", "aligned age", "aligned yaw"} <= set(numbers)


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
    path, = landmarks.finish(recipe, recipe.networks, tmp_path, "python -m core train landmarks")
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
    """The vectors recipe steered by untrained networks."""
    from core import hub
    from core.hub import manifest
    from core.models import build

    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(hub, "_networks", {})
    torch.manual_seed(0)
    for name, network in (("embedder-tiny", "iresnet"), ("judge-tiny", "judge")):
        hub.save(build(network, "tiny").eval(), name, network=network, preset="tiny", recipe="", about="",
                 folder=tmp_path / "checkpoints")
    return vectors.VectorsRecipe(replace(vectors.PRESETS["tiny"], batch=3), made_up(), made_up(8, 2), device="cpu")


def test_vectors_trains_the_discriminator_only_at_the_end(generator_recipe):
    batch = next(generator_recipe.batches(0, (0, 1), None))
    frozen = [p for network in generator_recipe.steering for p in network.parameters()]
    assert stepped(generator_recipe, 0.5, batch) == ["loss"]
    assert stepped(generator_recipe, 0.9, batch) == ["discriminator", "loss"]
    assert all(p.grad is None for p in frozen)


def test_the_identity_term_reaches_the_generator(generator_recipe):
    """The published aging code's identity loss had no gradient; this one must."""
    preset = replace(generator_recipe.preset, pixel=0, perceptual=0, structure=0, tokens=0)
    generator_recipe.preset = preset
    batch = next(generator_recipe.batches(0, (0, 1), None))
    _, loss, numbers = next(generator_recipe.updates(generator_recipe.networks, batch, 0.5))
    assert float(loss) == pytest.approx(preset.identity * float(numbers["identity"]))
    loss.backward()
    assert generator_recipe.last_layer(generator_recipe.networks["generator"]).grad.abs().sum() > 0


def test_a_generator_without_a_picture_is_not_steered(generator_recipe):
    batch = next(generator_recipe.batches(0, (0, 1), None))
    _, _, numbers = next(generator_recipe.updates(generator_recipe.networks, batch, 0.0))
    assert {"pixel", "structure", "tokens"} == set(numbers)


def test_balance_makes_both_terms_pull_equally():
    weight = torch.ones(3, requires_grad=True)
    loss, fooled = (10 * weight).sum(), (0.1 * weight).sum()
    assert float(vectors.balance(loss, fooled, weight)) == pytest.approx(100, rel=1e-3)


def test_vectors_ships_the_generator_and_its_people(generator_recipe, tmp_path):
    from core import hub
    from core.hub import weights as stored
    from core.sampling import People

    for network in generator_recipe.networks.values():
        network.eval()
    assert "cos" in generator_recipe.check(generator_recipe.networks)
    assert generator_recipe.sheet(generator_recipe.networks).width > 8 * 112
    vectors.finish(generator_recipe, generator_recipe.networks, tmp_path / "checkpoints", "recipe")
    assert hub.load("vectors-tiny", "cpu")(torch.randn(2, 512)).shape == (2, 3, 112, 112)
    row = hub.row("vectors-people-tiny")
    people = People.from_dict(stored.read(hub.file(row.name), row))
    assert people.mean.shape == (512,) and people.draw([1, 2]).shape == (2, 512)


def test_vectors_goes_on_from_what_ships(generator_recipe, tmp_path):
    """On pictures drawn larger, and without touching where people lie: the embedder is the same."""
    from core import hub

    for network in generator_recipe.networks.values():
        network.eval()
    vectors.finish(generator_recipe, generator_recipe.networks, tmp_path / "checkpoints", "recipe")
    larger = made_up(4, 4, 128)
    recipe = vectors.VectorsRecipe(replace(vectors.PRESETS["onward"], batch=2), larger, larger, device="cpu")
    begun = {name: value.clone() for name, value in recipe.networks["generator"].generator.state_dict().items()}
    shipped = hub.load("vectors-tiny", "cpu").state_dict()
    recipe.begin()
    assert all(torch.equal(value, shipped[name]) and torch.equal(value, begun[name])
               for name, value in recipe.networks["generator"].generator.state_dict().items())
    batch = next(recipe.batches(0, (0, 1), None))
    assert batch["image"].shape == (2, 3, 112, 112)
    assert {"identity", "perceptual"} <= set(next(recipe.updates(recipe.networks, batch, 0.0))[2])   # from the start
    with torch.no_grad():
        for p in recipe.networks["generator"].parameters():
            p.add_(1.0)
    (path,) = vectors.finish(recipe, recipe.networks, tmp_path, "")     # no people: the embedder is the same
    made = hub.opened(path, "vec2face").state_dict()
    assert all(torch.allclose(made[name], shipped[name] + 0.6, atol=4e-3) for name in dict(recipe.networks[
        "generator"].generator.named_parameters()))                      # where the preset's blend lies


def test_two_processes_train_one_network(tmp_path):
    """Without being told that there is no GPU, accelerate lets each process train a network of its own."""
    program = tmp_path / "count.py"
    program.write_text("from pathlib import Path\nfrom core.training.loop import Settings, _accelerator\n"
                       "print('of', _accelerator(Settings(Path(__file__).parent / 'run')).num_processes)\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE")}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", program]
    done = subprocess.run(command, cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.split() == ["of", "2", "of", "2"]
