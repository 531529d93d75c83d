"""The stylegan2 recipe and the adversarial term, at toy size."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import made_up, stepped

from core import data, faces, hub
from core.cache import LRUCache
from core.hub import manifest
from core.models import build
from core.training import adversarial, sharpening, stylegan2
from core.training.face_numbers import fit_whitening, numbers_of
from core.training.loop import Settings, fit


def toy(soft_images: int = 1000, batch: int = 4, seed: int = 3, **fields) -> stylegan2.StyleGAN2Recipe:
    """64-pixel pictures of 16 made-up faces, with random z."""
    preset = replace(stylegan2.PRESETS["tiny"], batch=batch, soft_images=soft_images, warmup=1, seed=seed,
                     **fields)
    drawn = made_up(size=64)
    z = torch.randn(len(drawn), 256, generator=torch.Generator().manual_seed(0))
    return stylegan2.StyleGAN2Recipe(preset, drawn, drawn, z, z)


# The adversarial term


def test_pairs_are_compared():
    """Nothing is left to learn for a discriminator that scores real pictures much higher, and all for the generator."""
    high, low = torch.full((2, 1, 4, 4), 20.0), torch.zeros(2, 1, 4, 4)
    assert adversarial.discriminator_loss(high, low) < 1e-6 < 19 < adversarial.generator_loss(high, low)
    assert adversarial.generator_loss(low, low).item() == pytest.approx(np.log(2))


def test_the_gradient_penalty_of_a_known_slope():
    """Of scores 3 · (sum of a patch's pixels): 9 for each of the 12 numbers of a 2x2 patch, whatever the size."""
    weight = torch.full((1, 3, 2, 2), 3.0)
    for size in (4, 16):
        picture = torch.rand(2, 3, size, size)
        penalty = adversarial.gradient_penalty(lambda x, _: torch.conv2d(x, weight, stride=2), picture, picture)
        assert penalty.item() == pytest.approx(9 * 12)


def test_the_penalty_can_be_learned_from():
    critic = sharpening.Critic(build("discriminator", "paired"), build("stylegan2", "tiny"))
    adversarial.gradient_penalty(critic, torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)).backward()
    assert all(conv.weight.grad.abs().max() > 0 for conv in critic.discriminator.convs)


def test_the_discriminator_is_shown_detail_alone():
    """A picture in another colour scores as before; one without detail does not."""
    critic = sharpening.Critic(build("discriminator", "paired"), build("stylegan2", "tiny"))
    picture, condition = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    scores = critic(picture, condition)
    assert torch.allclose(critic(picture + 0.3, condition), scores, atol=1e-4)
    assert not torch.allclose(critic(torch.full_like(picture, 0.5), condition), scores, atol=1e-3)


def test_the_weight_balances_both_gradients_up_to_a_limit():
    wanted, fooled = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 10.0])
    assert adversarial.adaptive_weight(wanted, fooled, 0.6).item() == pytest.approx(0.3)
    assert adversarial.adaptive_weight(wanted, fooled * 1e-9, 0.6) == 3.0


def test_a_balanced_loss_has_the_gradient_of_the_weighted_sum():
    torch.manual_seed(0)
    layer, last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 6)

    def losses():
        picture = last(layer(torch.ones(2, 4)))
        return picture, (picture - 1).abs().mean(), picture.square().mean()

    picture, wanted, fooled = losses()
    loss, weight = adversarial.balanced_loss(picture, last.weight, wanted, fooled, 0.5)
    found = torch.autograd.grad(loss, layer.weight)[0]
    _, wanted, fooled = losses()
    assert loss.item() == pytest.approx((wanted + weight * fooled).item())
    assert torch.allclose(found, torch.autograd.grad(wanted + weight * fooled, layer.weight)[0], atol=1e-6)


# The renderer's numbers


def test_whitened_numbers_are_uncorrelated():
    """A column that repeats another leaves a zero; what was fitted serves other faces."""
    raw = np.random.default_rng(0).normal(size=(500, 4)) @ np.random.default_rng(1).normal(size=(4, 4))
    raw = np.concatenate([raw, raw[:, :1]], 1)
    whitening = fit_whitening(raw, 7)
    z = whitening.apply(raw)
    wanted = np.diag([1.0] * 4 + [0.0] * 3)
    assert z.shape == (500, 7)
    assert np.allclose(z.T @ z / 500, wanted, atol=1e-3)
    assert np.allclose(whitening.apply(raw[:2]), z[:2])


def test_numbers_say_what_a_picture_shows(tmp_path, monkeypatch):
    """In the order of the drawn set, the look's 35 among them, the same when read back."""
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    numbers = numbers_of("validation", 2, 3)
    assert numbers.shape[0] == 6 and np.isfinite(numbers).all()
    person = faces.person(1, split="validation")
    look = faces.look(person, data.look_seed("validation", 1, 2, 0), mixture="balanced")
    own = np.float32([getattr(look, name) for name in faces.NAMES])
    assert any(np.array_equal(numbers[5, at: at + 35], own) for at in range(numbers.shape[1] - 34))
    assert np.array_equal(numbers_of("validation", 2, 3), numbers)


# The recipe


def test_stage_a_learns_its_pairs():
    recipe = toy()
    batch = next(recipe.batches(0, (0, 1), None))
    losses = []
    for _ in range(8):
        _, loss, _ = next(recipe.updates(recipe.networks, batch, 0.0))
        recipe.optimizers["loss"].zero_grad()
        loss.backward()
        for group, rate in zip(recipe.optimizers["loss"].param_groups, (0.2, 2e-3, 2e-3), strict=True):
            group["lr"] = rate
        recipe.optimizers["loss"].step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert int(recipe.networks["discriminator"].images) == 8 * 4


def test_stage_a_begins_with_small_pictures():
    """The last block learns once they have its size."""
    recipe = toy(small=((16, 4), (32, 8)))
    generator, batch, sizes = recipe.networks["generator"], next(recipe.batches(0, (0, 1), None)), []
    generator.register_forward_hook(lambda _, __, made: sizes.append(made.shape[-1]))
    learned = []
    for _ in range(3):
        _, loss, _ = next(recipe.updates(recipe.networks, batch, 0.0))
        generator.zero_grad()
        loss.backward()
        learned.append(generator.to_rgbs[-1].conv.weight.grad is not None)
    assert sizes == [16, 32, 64] and learned == [False, False, True]


def test_both_networks_learn_in_stage_b():
    """The condition is what the generator drew when the stage began, and stays."""
    recipe = toy(soft_images=0)
    assert stepped(recipe, 0.0) == ["discriminator", "loss"]
    before = {name: value.clone() for name, value in recipe.networks["discriminator"].soft.state_dict().items()}
    updates = recipe.updates(recipe.networks, next(recipe.batches(1, (0, 1), None)), 0.0)
    numbers = [logged for _, _, logged in updates]
    assert 0 < float(numbers[1]["weight"]) <= 3        # warm after one step
    after = recipe.networks["discriminator"].soft.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [group["betas"][0] for group in recipe.optimizers["loss"].param_groups] == [0.0] * 3


def test_stage_b_has_a_schedule_of_its_own(tmp_path):
    """It began at half of the run: after three quarters of the run, half of it is over."""
    fit(toy(soft_images=8), Settings(tmp_path, steps=4, threads=1, seed=3, warmup=1, floor=0.0, log_every=1))
    rates = [row["rate"] for row in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if "rate" in row]
    assert rates[3] == pytest.approx(0.5)


def test_stage_b_changes_fine_layers_alone(tmp_path):
    """What a face looks like as a whole stays."""
    recipe = toy(soft_images=0)
    before = {name: value.clone() for name, value in recipe.networks["generator"].named_parameters()}
    fit(recipe, Settings(tmp_path, steps=3, threads=1, seed=3, warmup=1))
    changed = {name for name, value in recipe.networks["generator"].named_parameters()
               if not torch.equal(value, before[name])}
    assert {"convs.4.conv.weight", "to_rgbs.2.conv.weight", "convs.7.conv.weight"} <= changed
    assert not any(name.startswith(("style.", "conv1.", "convs.3.", "to_rgb1.", "to_rgbs.1.")) for name in changed)


def test_a_resumed_run_is_the_same_run(tmp_path):
    """Across the change of stages: 8 pictures by pairs alone, then two steps of stage B."""
    def run(folder, steps, resume=False):
        settings = Settings(tmp_path / folder, steps=steps, threads=1, seed=3, resume=resume, floor=1.0, warmup=1)
        return fit(toy(soft_images=8), settings)["generator"].state_dict()

    whole = run("whole", 4)
    run("parts", 3)
    parts = run("parts", 4, resume=True)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert (tmp_path / "parts" / "sheet-000004.png").exists()


def test_a_run_goes_on_from_a_checkpoint(tmp_path, monkeypatch):
    """Stage B at once: the condition is what the shipped generator draws."""
    hub.save(build("autoencoder", "tiny"), "aging-autoencoder-tiny", network="autoencoder", preset="tiny", recipe="",
             about="", folder=tmp_path)
    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr(hub, "_networks", LRUCache(9))
    first = toy()
    first.finish({"generator": first.networks["generator"].eval()}, tmp_path, "")
    second = toy(soft_images=0, start=first.preset.name)
    shipped = hub.load(first.preset.name, "cpu").state_dict()
    assert all(torch.equal(value, shipped[name]) for name, value in second.networks["generator"].state_dict().items())
    assert stepped(second, 0.0) == ["discriminator", "loss"]
    assert f"further from {first.preset.name}" in second.about and "(0 by pairs alone)" in second.about
