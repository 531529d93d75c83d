"""Straight directions in w, the scores of a judge, and the recipe that measures directions."""

from dataclasses import replace

import pytest
import torch

from core import hub
from core.faces import ATTRIBUTES, BINARY, CONFLICTS, NAMES, TIED
from core.models import NETWORKS, build
from core.models.directions import DirectionsConfig
from core.models.judge import SURE, scores_at, scores_of, units_of
from core.training import directions as recipe_file
from core.training.face_latents import LatentSet
from core.training.loop import Settings, fit

AGE, SMILE, YAW = (NAMES.index(name) for name in ("age", "smile", "yaw"))


def directions(style: int = 16, seed: int = 0):
    """Random normals and components, slopes of 2 and 3."""
    torch.manual_seed(seed)
    model = build("directions", "tiny", style=style)
    model.normals.copy_(torch.nn.functional.normalize(torch.randn(35, style)))
    model.components.copy_(torch.linalg.qr(torch.randn(style, style))[0])
    model.chosen.copy_(torch.arange(35) % style)
    model.slopes.fill_(2)
    model.chosen_slopes.fill_(3)
    return model


def change(**asked: float) -> torch.Tensor:
    row = torch.zeros(1, 35)
    for name, value in asked.items():
        row[0, NAMES.index(name)] = value
    return row


# Scores and units


def test_answers_become_one_table_in_the_order_of_the_attributes():
    torch.manual_seed(0)
    answers = build("judge", "tiny").eval()(torch.rand(3, 3, 112, 112))
    scores = scores_of(answers)
    assert torch.equal(scores[:, SMILE], answers["binary"][:, BINARY.index("smile")])
    assert torch.allclose(scores[:, AGE] * 90, answers["age"], atol=1e-3)
    assert torch.allclose(scores[:, YAW] * 120 - 60, answers["pose"][:, 0], atol=1e-3)
    units = units_of(scores)
    assert torch.equal(units[:, SMILE], scores[:, SMILE].sigmoid()) and 0 <= units.min() <= units.max() <= 1
    assert torch.allclose(units_of(scores_at(units)), units, atol=1e-4)


def test_certainty_is_never_asked_for():
    assert scores_at(torch.ones(1, 35))[0, SMILE] == SURE and scores_at(torch.ones(1, 35))[0, AGE] == 1


# InterFaceGAN and GANSpace


def test_a_boundary_is_crossed_as_far_as_asked():
    model = directions()
    move = model.interfacegan(change(smile=4.0, age=0.0))
    assert (move @ model.normals[SMILE] * 2).item() == pytest.approx(4)
    assert torch.equal(model.interfacegan(change()), torch.zeros(1, 16))


def test_frozen_boundaries_are_not_crossed():
    model = directions()
    frozen = torch.zeros(35, dtype=torch.bool)
    frozen[[AGE, YAW, SMILE]] = True
    free, held = model.interfacegan(change(smile=4.0)), model.interfacegan(change(smile=4.0), frozen)
    assert (free @ model.normals[AGE]).abs() > 1e-2 > 1e-5 > (held @ model.normals[[AGE, YAW]].T).abs().max()
    assert (held @ model.normals[SMILE] * 2).item() == pytest.approx(4, abs=1e-4)


def test_nothing_moves_where_the_frozen_boundaries_fill_the_space():
    model = directions(style=8)
    assert torch.equal(model.interfacegan(change(smile=4.0), torch.ones(35, dtype=torch.bool)), torch.zeros(1, 8))


def test_a_component_serves_its_attribute():
    model = directions()
    move = model.ganspace(change(smile=6.0))
    assert torch.allclose(move[0], 2 * model.components[model.chosen[SMILE]])


# What shares a place


def test_ties_go_both_ways_and_conflicts_are_ties():
    assert all(name in TIED[other] for name, others in TIED.items() for other in others)
    assert {"bald", "hair_length"} <= TIED["hat"] | TIED["bald"] and "sunglasses" in TIED["glasses"]
    assert not TIED["age"] and not TIED["smile"]
    assert all(second in TIED[first] and {first, second} <= set(BINARY) for first, second, _ in CONFLICTS)
    assert TIED.keys() == ATTRIBUTES.keys()


# The recipe


def linear_latents(count: int = 2000, style: int = 16, seed: int = 0) -> LatentSet:
    """Latents whose first axis is smiling, four logits a unit, and whose second is age; noise elsewhere."""
    draw = torch.Generator().manual_seed(seed)
    w = torch.randn(count, style, generator=draw)
    w[:, 1] *= 3
    scores = torch.randn(count, 35, generator=draw)
    scores[:, SMILE] = 4 * (w[:, 0] + 1)
    scores[:, AGE] = 0.5 + 0.05 * w[:, 1]
    return LatentSet(w[:, None].half(), scores, torch.zeros(count, 512).half())


def test_boundaries_and_components_are_found(monkeypatch, tmp_path):
    monkeypatch.setitem(NETWORKS["directions"].presets, "toy", DirectionsConfig(16))
    preset = replace(recipe_file.PRESETS["tiny"], network="toy", batch=256)
    recipe = recipe_file.DirectionsRecipe(preset, linear_latents(), linear_latents(seed=1))
    networks = fit(recipe, Settings(tmp_path / "run", steps=150, threads=1, warmup=5))
    path, = recipe.finish(networks, tmp_path, "train directions")
    found = hub.opened(path, "directions")
    assert found.normals[SMILE, 0] > 0.95 and found.normals[AGE, 1] > 0.95
    assert found.slopes[SMILE].item() == pytest.approx(4, rel=0.1)
    assert found.components[found.chosen[AGE], 1].abs() > 0.95 and found.chosen[AGE] == 0
    assert found.deviations[0].item() == pytest.approx(3, rel=0.1)
    assert found.spread[AGE].item() == pytest.approx(0.15, rel=0.1)
    for move in (found.interfacegan(change(age=0.2)), found.ganspace(change(age=0.2))):
        assert move[0, 1].item() == pytest.approx(4, rel=0.1)      # 0.2 at 0.05 a unit
    assert recipe.check(networks)["balanced"] > 0.5
