"""Recipes of the mapper and the encoder, their latents and ideal pairs, at toy size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import made_up, stepped

from core import data, faces, hub
from core.errors import CheckpointError
from core.faces import (
    CONFLICTS,
    NAMES,
    TIED,
    jit,  # noqa: F401  compiled code stays in the cache of the run, wherever a test puts its own
)
from core.images import aligned_from_ffhq
from core.models import build
from core.models.judge import YES_NO, scores_at, units_of
from core.training import encoder, face_latents, mapper, pairs
from core.training.edit_requests import ROLL, attribute_loss, sample, weights_of
from core.training.face_latents import Frozen, latent_set

AGE, SMILE, BLOND, BLACK = (NAMES.index(name) for name in ("age", "smile", "blond_hair", "black_hair"))


@pytest.fixture(scope="module")
def frozen() -> Frozen:
    """Small random networks: pictures of 64 pixels, w of 128 numbers, w+ of 10 rows."""
    torch.manual_seed(0)
    networks = (build("stylegan2", "tiny", channels=(8, 8, 8, 8, 8)),
                build("judge", "tiny-check", widths=(8, 8, 16, 16, 16), pooled=32),
                build("iresnet", "tiny-check", widths=(16, 16, 16, 16), depths=(1, 1, 1, 1)),
                build("e4e", "tiny", widths=(8, 8, 16, 16), features=16, head=8))
    return Frozen(*(network.eval().requires_grad_(False) for network in networks))


@pytest.fixture(scope="module")
def latents(frozen, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield latent_set(frozen, 12, 1, made_up(people=2, looks=2, size=64), block=6)


def learned(recipe, steps: int, rate: float) -> list[float]:
    """Losses of some steps on one batch."""
    batch, losses = next(recipe.batches(0, (0, 1), None)), []
    for _ in range(steps):
        _, loss, _ = next(recipe.updates(recipe.networks, batch, 0.0))
        recipe.optimizers["loss"].zero_grad()
        loss.backward()
        for group in recipe.optimizers["loss"].param_groups:
            group["lr"] = rate
        recipe.optimizers["loss"].step()
        losses.append(loss.item())
    return losses


# Latents


def test_latents_are_kept_with_what_is_seen_in_their_pictures(frozen, latents, monkeypatch):
    assert latents.w.shape == (12, 10, 128) and latents.scores.shape == (12, 35) and latents.vectors.shape == (12, 512)
    scores, _ = frozen.see(frozen.draw(latents.w[:1].float()))
    assert torch.allclose(scores, latents.scores[:1], atol=1e-4)
    monkeypatch.setattr(face_latents, "_made", lambda *_: pytest.fail("computed twice"))
    again = latent_set(frozen, 10, 1, made_up(people=2, looks=2, size=64), block=6)
    assert torch.equal(again.w, latents.w[:10])


def test_every_third_latent_is_a_drawn_face(frozen, latents):
    flat = (latents.w == latents.w[:, :1]).flatten(1).all(1)       # z gives one w for all rows, the encoder several
    assert flat.tolist() == [True, True, False] * 4
    picture = data.rows_of(made_up(people=2, looks=2, size=64), np.array([1]))["image"]
    assert torch.allclose(latents.w[5].float(), frozen.invert(picture)[0], atol=1e-2)


def test_without_an_encoder_there_is_one_row(frozen, tmp_path, monkeypatch):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    found = latent_set(replace(frozen, encoder=None), 3, 1, block=3)
    assert found.w.shape == (3, 1, 128) and len(found) == 3


def test_a_picture_framed_like_ffhq_is_cropped_to_the_face():
    """Eyes and mouth of the FFHQ frame come to lie where the template has them."""
    from core.alignment import FFHQ, TEMPLATE

    picture = torch.zeros(1, 3, 448, 448)
    for x, y in (FFHQ * 4 + 1.5).round().astype(int):
        picture[:, :, y - 4:y + 5, x - 4:x + 5] = 1
    seen = aligned_from_ffhq(picture)[0, 0]
    assert seen.shape == (112, 112)
    assert all(seen[round(y), round(x)] > 0.8 for x, y in TEMPLATE) and seen.mean() < 0.1


# Requests


def test_requests_change_some_attributes_and_leave_the_others():
    units = torch.rand(200, 35, generator=torch.Generator().manual_seed(0)) * 0.4
    wanted, asked = sample(units, 0.5, 4, torch.Generator().manual_seed(1))
    many = asked.sum(1)
    assert many.min() == 1 and many.max() == 4 and 0.35 < (many > 1).float().mean() < 0.65
    assert not asked[:, ROLL].any() and asked.any(0).sum() == 34
    tied = torch.tensor([[any(other in TIED[name] for name, chosen in zip(NAMES, row, strict=True) if chosen)
                          for other in NAMES] for row in asked.tolist()])
    assert torch.equal(wanted[~asked & ~tied], units[~asked & ~tied])
    flipped = (wanted > 0.5)[asked & torch.tensor(YES_NO)]
    assert flipped.float().mean() > 0.8
    for first, second, _ in CONFLICTS:
        alone = asked[:, NAMES.index(first)] & ~asked[:, NAMES.index(second)]
        both = wanted[:, NAMES.index(first)] + wanted[:, NAMES.index(second)]
        assert (both[alone] <= 1 + units.max()).all()


def test_asked_attributes_weigh_more_and_tied_ones_nothing():
    asked = torch.zeros(1, 35, dtype=torch.bool)
    asked[0, BLOND] = True
    weights = weights_of(asked, 4.0)[0]
    assert weights[BLOND] == 4 and weights[BLACK] == 0 and weights[ROLL] == 0 and weights[SMILE] == 1


def test_the_loss_is_zero_for_what_was_asked_and_grows_with_the_distance():
    units = torch.rand(4, 35, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    weights = torch.ones(4, 35)
    assert attribute_loss(scores_at(units), units, weights).item() == pytest.approx(0, abs=1e-5)
    near, far = (attribute_loss(scores_at((units + step).clamp(0, 1)), units, weights) for step in (0.05, 0.3))
    assert 0 < near < far
    blind = torch.zeros(4, 35)
    blind[:, AGE] = 1
    other = scores_at(units)
    other[:, SMILE] += 3
    assert attribute_loss(other, units, blind).item() == pytest.approx(0, abs=1e-5)


# The mapper


def test_the_mapper_learns_its_requests(frozen, latents):
    preset = replace(mapper.PRESETS["tiny"], batch=3)
    recipe = mapper.MapperRecipe(preset, frozen, latents, latents)
    assert stepped(recipe, 0.0) == ["loss"]
    losses = learned(recipe, 8, 3e-3)
    assert losses[-1] < losses[0]
    network = recipe.networks["mapper"].eval()
    w, units = latents.w.float(), units_of(latents.scores)
    assert torch.equal(network(w, units, units.clone()), w)       # the identity map, exactly
    assert {"asked", "kept", "identity"} == set(recipe.check({"mapper": network}))
    assert recipe.sheet({"mapper": network}).size == (8 * 68 - 4, 6 * 68 - 4)


def test_ideal_pairs_are_a_term_of_their_own(frozen, latents, tmp_path, monkeypatch):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    monkeypatch.setattr(mapper, "ideal_pairs", lambda people, split, names, workers=None: iter([pairs.Person(
        made_up(people=5, looks=7, size=64).images, np.tile(made_up().truth[:1], (35, 1)))] * people))
    found = mapper.pair_latents(frozen, 2)
    assert found.before.shape == found.after.shape == (68, 10, 128)
    assert torch.equal(found.before[0], found.before[33]) and not torch.equal(found.after[0], found.after[33])
    preset = replace(mapper.PRESETS["tiny+pairs"], batch=2)
    assert preset.name != mapper.PRESETS["tiny"].name and preset.pair > mapper.PRESETS["tiny"].pair == 0
    recipe = mapper.MapperRecipe(preset, frozen, latents, latents, found)
    (_, _, numbers), = recipe.updates(recipe.networks, next(recipe.batches(0, (0, 1), None)), 0.0)
    assert numbers["pair"] > 0
    stepped(recipe, 0.0)


def test_a_pair_that_is_met_costs_nothing(frozen, latents):
    class Shift(torch.nn.Module):
        def forward(self, w, wanted, current):
            return w + 1

    w = latents.w.float()
    batch = {"pair_before": w, "pair_after": w + 1, "pair_wanted": units_of(latents.scores),
             "pair_scores": latents.scores}
    assert mapper.MapperRecipe.pair_loss(Shift(), batch, torch.ones(128)) < 1e-6


def test_people_train_for_a_generator_of_their_own(frozen, tmp_path, monkeypatch):
    """As documented for the published StyleGAN2: no encoder, a judge from a file, both checkpoints written."""
    from core.training import directions
    from core.training.loop import Settings, fit

    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    monkeypatch.setattr(mapper, "CHECKED", 4)
    judge = hub.save(build("judge", "tiny-check"), "mine", network="judge", preset="tiny-check", recipe="", about="",
                     folder=tmp_path)
    torch.manual_seed(0)
    generator = hub.save(build("stylegan2", "tiny"), "theirs", network="stylegan2", preset="tiny", recipe="", about="",
                         folder=tmp_path)
    asked = {"generator": str(generator), "judge": str(judge), "embedder": "embedder-tiny", "latents": 6}
    monkeypatch.setitem(mapper.PRESETS, "ffhq", replace(mapper.PRESETS["ffhq"], network="tiny", batch=2))
    monkeypatch.setitem(directions.PRESETS, "ffhq", replace(directions.PRESETS["ffhq"], network="tiny", batch=4))
    for file in (mapper, directions):
        recipe = file.recipe("ffhq", **asked)
        assert recipe.preset.encoder is None and recipe.preset.frame == "ffhq"
        networks = fit(recipe, Settings(tmp_path / file.__name__, steps=1, threads=1))
        path, = recipe.finish(networks, tmp_path, "python -m core train")
        kind = "latent-to-latent" if file is mapper else "directions"
        assert path.stem == recipe.preset.name and hub.opened(path, kind).config.style == 128


# The encoder


def test_a_checkpoint_of_another_network_is_refused():
    with pytest.raises(CheckpointError, match="embedder-tiny holds iresnet, where judge is needed") as error:
        hub.network_of("embedder-tiny", "judge")
    assert "judge-tiny" in error.value.next_step


def test_the_encoder_learns_drawn_faces_and_known_latents(monkeypatch, frozen):
    monkeypatch.setattr(hub, "network_of", lambda *_: frozen.generator)
    small = build("e4e", "tiny", size=64, widths=(8, 8, 16, 16), features=16, head=8)
    monkeypatch.setattr(encoder, "build", lambda *_: small)
    preset = replace(encoder.PRESETS["tiny"], network="tiny", batch=4)
    recipe = encoder.EncoderRecipe(preset, made_up(size=64), made_up(size=64))
    assert stepped(recipe, 0.0) == ["loss"]
    losses = learned(recipe, 6, 2e-3)
    assert losses[-1] < losses[0]
    network = {"encoder": recipe.networks["encoder"].eval()}
    assert {"l1", "identity"} == set(recipe.check(network)) and recipe.sheet(network).height == 2 * 68 - 4


# Ideal pairs


def test_ideal_pairs_change_one_attribute_and_are_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    person, = pairs.ideal_pairs(1, "test", ("smile", "age"), size=32, workers=1)
    assert person.pictures.shape == (3, 32, 32, 3) and person.truth.shape == (3, 35)
    for row, name in ((1, SMILE), (2, AGE)):
        changed = person.truth[row] != person.truth[0]
        assert changed.nonzero()[0].tolist() == [name]
        assert (person.pictures[row] != person.pictures[0]).any()
    monkeypatch.setattr(faces, "draw_many", lambda faces, *_: iter(list(faces)))
    again, = pairs.ideal_pairs(1, "test", ("smile", "age"), size=32, workers=1)
    assert np.array_equal(again.pictures, person.pictures)


@pytest.mark.parametrize(("name", "value", "other"), [("smile", 0.9, 0.0), ("smile", 0.1, 1.0), ("age", 20, 70.0),
                                                      ("yaw", 12, -30.0), ("hair_length", 0.3, 0.9)])
def test_the_opposite_of_a_value(name, value, other):
    assert pairs.opposite(name, value) == other
