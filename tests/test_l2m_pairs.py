"""The l2m_pairs recipe at toy size: pictures in every domain, both stages, what each kind of edit asks for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import made_up, stepped

from core import faces
from core.errors import SettingsError
from core.faces import NAMES
from core.images import to_uint8
from core.models import NETWORKS, l2m_gan
from core.training import l2m_pairs, pairs
from core.training.pairs import Domains

SIZE, SWITCHED = 32, ("smile", "glasses", "gender")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    config = replace(l2m_gan.PRESETS["tiny"], size=SIZE, width=4, max_width=8, style=8)
    monkeypatch.setitem(NETWORKS["l2m_gan"].presets, "tiny", config)
    monkeypatch.setitem(NETWORKS["l2m_gan"].presets, "tiny-128", replace(config, size=2 * SIZE, width=2))


@pytest.fixture
def domains(tmp_path) -> Domains:
    """Twelve grey faces; a domain is a brightness."""
    paths = []
    for number in range(12):
        pictures = np.random.default_rng(number).integers(0, 60, (8, SIZE, SIZE, 3)).astype(np.uint8)
        np.save(tmp_path / f"{number}.npy", pictures + (20 * np.arange(8, dtype=np.uint8))[:, None, None, None])
        paths.append(tmp_path / f"{number}.npy")
    return Domains(tuple(paths), np.arange(12) % 8)


def recipe_of(domains: Domains, preset: str = "tiny", **changes) -> l2m_pairs.PairedRecipe:
    chosen = replace(l2m_pairs.PRESETS[preset], **{"batch": 4, **changes})
    return l2m_pairs.PairedRecipe(chosen, domains, made_up(size=SIZE), domains)


# Drawn faces in every domain


def test_a_face_is_drawn_in_every_domain(monkeypatch, tmp_path):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    found = pairs.in_every_domain(2, "train", SWITCHED, SIZE, workers=1)
    face = pairs.face_of(1, "train", mixture="balanced")
    own = sum(int(faces.truth(face)[NAMES.index(name)] > 0.5) << bit for bit, name in enumerate(SWITCHED))
    assert found.own[1] == own and len(found) == 2
    pictures = found.pictures([1] * 8, range(8))
    plain = face                                                # its camera is that of the domain without both
    for bit, name in enumerate(SWITCHED[:2]):
        plain = faces.edit(plain, name, 0.0) if own >> bit & 1 else plain
    assert np.array_equal(pictures[own], faces.draw(face, SIZE, "aligned", like=plain))
    man, woman = (faces.edit(plain, "gender", value) for value in (1.0, 0.0))
    assert np.array_equal(pictures[4 * (own < 4)], faces.draw(woman if own >= 4 else man, SIZE, "aligned"))
    assert len({picture.tobytes() for picture in pictures}) == 8
    monkeypatch.setattr(faces, "draw_many", lambda *_: iter(()))        # drawn once
    assert np.array_equal(pairs.in_every_domain(2, "train", SWITCHED, SIZE).pictures([1], [own])[0], pictures[own])


def test_a_face_without_glasses_puts_one_kind_on():
    """Which frames a person would wear is not to be seen in a picture without them."""
    wearers, others = [], []
    for number in range(12):
        face = pairs.face_of(number, "train", mixture="balanced")
        own = int(face.look.glasses)
        off, on = pairs._combined(number, "train", ("glasses",), 0)
        assert (on if own else off).look == face.look
        (wearers if own else others).append((face, on))
    assert wearers and others
    for face, on in wearers:
        assert on.unnamed == face.unnamed
    for face, on in others:
        assert on.unnamed == replace(face.unnamed, frame_shape=0, frame_colour=on.frames.colour, frame_thickness=0.014)
    assert any(face.unnamed.frame_shape for face, _ in others)


# Batches


def test_a_batch_is_of_pairs_that_share_their_mirroring(domains):
    recipe = recipe_of(domains, batch=64)
    batch = next(recipe.batches(3, (0, 1), None))
    assert batch["image"].shape == batch["ideal"].shape == (64, 3, SIZE, SIZE)
    brightness = batch["ideal"].mean((1, 2, 3)) - batch["image"].mean((1, 2, 3))
    assert torch.allclose(brightness, (batch["target"] - batch["source"]) * 20 / 127.5, atol=0.05)
    plain = {image.tobytes() for image in recipe.plain.images}
    for image, kind in zip(to_uint8(batch["image"]), batch["kind"], strict=True):
        assert (kind == 2) == (image.tobytes() in plain or np.ascontiguousarray(image[:, ::-1]).tobytes() in plain)
    kept = batch["kind"] == 2
    assert kept.any() and torch.equal(batch["image"][kept], batch["ideal"][kept]) and (batch["kind"] == 1).any()
    again = next(recipe.batches(3, (0, 1), None))
    assert all(torch.equal(batch[name], again[name]) for name in batch)


def test_larger_faces_begin_with_a_network_for_smaller_ones(domains):
    small = recipe_of(domains).networks["editor"].network
    large = l2m_pairs.PairedRecipe(replace(l2m_pairs.PRESETS["tiny-128"], batch=2), domains, made_up(size=SIZE),
                                   domains, small)
    found = large.networks["editor"].network
    assert torch.equal(found.style_encoder.transform1[0].weight, small.style_encoder.transform1[0].weight)
    assert next(large.batches(0, (0, 1), None))["image"].shape == (2, 3, 2 * SIZE, 2 * SIZE)
    with pytest.raises(SettingsError, match="There is no checkpoint and no file attributes-l2m-tiny-64") as error:
        l2m_pairs.recipe("tiny-128")
    assert "train l2m_pairs --preset tiny" in error.value.next_step


# What an edit asks for


def test_each_kind_of_edit_uses_its_own_related_part(domains):
    recipe = recipe_of(domains)
    batch, editor = next(recipe.batches(0, (0, 1), None)), recipe.networks["editor"].eval()
    x, source, ideal, target = (batch[name] for name in ("image", "source", "ideal", "target"))
    with torch.no_grad():
        made = [editor(x, source, ideal, target, torch.full((4,), kind))[0] for kind in range(3)]
        assert torch.allclose(made[0], editor.network(x, source, target), atol=1e-5)
        assert torch.allclose(made[1], editor.network.by_reference(x, source, ideal, target), atol=1e-5)
        assert torch.allclose(made[2], editor.network(x, source, target, 0.0), atol=1e-5)


def test_a_face_and_its_own_edit_have_one_style(domains):
    """Where the wanted picture is the face itself and nothing is transformed, the style loss is what transforming adds.
    """
    editor = recipe_of(domains).networks["editor"]
    encoder, x = editor.network.style_encoder, torch.rand(3, 3, SIZE, SIZE)
    domain = torch.tensor([0, 3, 5])
    _, terms = editor(x, domain, x, domain, torch.zeros(3, dtype=torch.int64))
    codes = encoder(x, domain, domain)
    style = (codes.edited - codes.related).abs().mean() / codes.code.abs().mean()
    assert terms["style"].item() == pytest.approx(style.item(), rel=1e-4)


# Training


@pytest.mark.parametrize(("soft_images", "updated"), [(10_000, ["editor"]), (0, ["discriminator", "editor"])])
def test_every_weight_learns_in_both_stages(domains, soft_images, updated):
    recipe = recipe_of(domains, soft_images=soft_images, batch=32, coded=0)
    assert stepped(recipe, 0.5) == updated
    assert recipe.optimizers["editor"].param_groups[0]["initial_lr"] == (1e-3 if soft_images else 3e-4)


def test_the_second_stage_has_a_schedule_of_its_own(domains):
    recipe = recipe_of(domains, soft_images=4)
    batches = recipe.batches(0, (0, 1), None)
    assert [name for name, *_ in recipe.updates(recipe.networks, next(batches), 0.4)] == ["editor"]
    assert recipe.stage(0.4) == pytest.approx(0.4)
    assert [name for name, *_ in recipe.updates(recipe.networks, next(batches), 0.5)] == ["discriminator", "editor"]
    assert recipe.stage(0.75) == pytest.approx(0.5)


def test_changed_pixels_count_by_themselves():
    image = torch.zeros(2, 3, 8, 8)
    ideal = image.clone()
    ideal[0, :, :2, :2] = 1         # a sixteenth of the first picture, nothing of the second
    assert l2m_pairs.changed_error(image, ideal, image).item() == pytest.approx(0.5)
    assert l2m_pairs.changed_error(ideal, ideal, image).item() == 0
    assert l2m_pairs.changed_error(image + 9, image, image).item() == 0


def test_without_orthogonality_its_loss_is_left_out(domains):
    for preset, there in (("tiny", True), ("tiny-loose", False)):
        recipe = recipe_of(domains, preset, coded=0)
        _, _, numbers = next(recipe.updates(recipe.networks, next(recipe.batches(0, (0, 1), None)), 0.5))
        assert ("orthogonal" in numbers) == there and "style" in numbers
    recipe = recipe_of(domains)                                 # at first an edit need not depend on the code
    _, _, numbers = next(recipe.updates(recipe.networks, next(recipe.batches(0, (0, 1), None)), 0.5))
    assert "changed" in numbers and not {"style", "orthogonal"} & numbers.keys()


def test_the_check_and_the_sheet_are_of_held_out_faces(domains):
    recipe = recipe_of(domains)
    networks = {name: network.eval() for name, network in recipe.networks.items()}
    with torch.no_grad():
        numbers, sheet = recipe.check(networks), recipe.sheet(networks)
    assert set(numbers) == {"as asked", "l1", "sharpness", "images"} and 0 <= numbers["as asked"] <= 1
    assert sheet.size == (8 * SIZE + 7 * 4, 7 * SIZE + 6 * 4)
