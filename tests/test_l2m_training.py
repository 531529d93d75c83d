"""The l2m recipe at toy size: domains, losses, their gradients, and data from a folder."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from clusters_toys import drawn_toys
from PIL import Image
from test_training import stepped

from core import data, hub
from core.errors import SettingsError
from core.faces import NAMES
from core.models import NETWORKS, l2m_gan
from core.models.l2m_gan import StyleCodes, face_masks
from core.training import l2m
from core.training.loop import Settings, fit

SMALL = {"tiny": dict(size=64, width=4, max_width=8), "tiny-128": dict(size=128, width=2, max_width=8),
         "published": dict(size=64, width=4, max_width=8)}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for preset, sizes in SMALL.items():
        config = replace(l2m_gan.PRESETS[preset], style=8, **sizes)
        for network in ("l2m_gan", "l2m_discriminator"):
            monkeypatch.setitem(NETWORKS[network].presets, preset, config)
    monkeypatch.setattr(data, "drawn_set", drawn_toys)


def recipe_of(preset: str = "tiny", **changes) -> l2m.L2MRecipe:
    chosen = replace(l2m.PRESETS[preset], batch=4, **changes)
    return l2m.L2MRecipe(chosen, drawn_toys(), drawn_toys())


def batch_of(recipe: l2m.L2MRecipe) -> dict:
    return next(recipe.batches(0, (0, 1), None))


# Domains


def test_a_domain_is_a_combination_of_values():
    truth = torch.zeros(4, 35)
    truth[1, NAMES.index("smile")] = truth[2, NAMES.index("glasses")] = 1.0
    truth[3, [NAMES.index("smile"), NAMES.index("gender")]] = 0.9
    assert l2m.domains_of(truth, ("smile", "glasses", "gender")).tolist() == [0, 1, 2, 5]
    assert l2m.domains_of(truth, ("gender", "smile")).tolist() == [0, 2, 0, 3]


@pytest.mark.parametrize("attributes", [("smile", "smile", "gender"), ("smile", "age", "gender"), ("smile",)])
def test_attributes_that_give_other_domains_are_refused(attributes):
    with pytest.raises(SettingsError, match="attributes"):
        recipe_of(attributes=attributes)


def test_targets_of_a_batch_do_not_depend_on_the_ones_before():
    recipe = recipe_of()
    batches = recipe.batches(0, (0, 1), None)
    first, second = next(batches), next(batches)
    assert torch.equal(next(recipe.batches(1, (0, 1), None))["target"], second["target"])
    assert first["image"].shape == (4, 3, 64, 64) and not torch.equal(first["target"], second["target"])


# Losses


@pytest.mark.parametrize("preset", ["tiny", "tiny-base", "tiny-inner", "published"])
def test_every_weight_learns(preset):
    recipe = recipe_of(preset)
    assert stepped(recipe, 0.5) == ["critic", "editor"]
    with torch.no_grad():
        numbers = recipe.check({name: network.eval() for name, network in recipe.networks.items()})
        sheet = recipe.sheet(recipe.networks)
    assert set(numbers) == {"as asked", "strength 0 l1", "angle"} and 0 <= numbers["as asked"] <= 1
    rows = 1 + len(recipe.preset.attributes)
    assert sheet.size == (8 * 64 + 7 * 4, rows * 64 + (rows - 1) * 4)


def test_the_ladder_leaves_losses_out():
    found = {}
    for preset in ("tiny-base", "tiny-perceptual", "tiny-single", "tiny-inner", "tiny"):
        recipe = recipe_of(preset)
        loss, terms = recipe.editor_loss(recipe.networks, batch_of(recipe))
        assert loss.item() == pytest.approx(sum(term.item() for term in terms.values()), rel=1e-5)
        found[preset] = terms
    base = {"fooled", "cycle", "style"}
    assert set(found["tiny-base"]) == base and set(found["tiny-perceptual"]) == base | {"perception"}
    assert all(set(found[preset]) == base | {"perception", "orthogonal"} for preset in ("tiny-inner", "tiny"))
    assert recipe_of("tiny-base").encoder is None
    assert found["tiny-single"]["orthogonal"] < found["tiny"]["orthogonal"]


def test_a_weight_scales_its_loss():
    recipe = recipe_of()
    batch = batch_of(recipe)
    _, before = recipe.editor_loss(recipe.networks, batch)
    for name in ("cycle", "style", "perception", "orthogonal"):
        recipe.preset = replace(recipe_of().preset, **{name: 3.0})
        _, after = recipe.editor_loss(recipe.networks, batch)
        assert after[name].item() == pytest.approx(3 * before[name].item(), rel=1e-5)
        assert after["fooled"].item() == before["fooled"].item()


def test_gradients_reach_what_each_loss_is_about():
    """Orthogonality and style teach the style encoder; cycle and perception also the generator."""
    reached = {}
    for name in ("cycle", "style", "perception", "orthogonal"):
        nothing = dict.fromkeys({"cycle", "style", "perception", "orthogonal"} - {name}, 0.0)
        recipe = recipe_of(**nothing)
        loss, _ = recipe.editor_loss(recipe.networks, batch_of(recipe))
        network = recipe.networks["editor"].network
        fooled = torch.nn.functional.softplus(-recipe.networks["critic"](
            network(*(batch_of(recipe)[key] for key in ("image", "source", "target"))),
            batch_of(recipe)["target"])).mean()
        (loss - fooled).backward()
        reached[name] = {part for part in ("generator", "style_encoder") if any(
            weight.grad is not None and weight.grad.abs().max() > 1e-9
            for weight in getattr(network, part).parameters())}
    both = {"generator", "style_encoder"}
    assert reached == {"cycle": both, "style": both, "perception": both, "orthogonal": {"style_encoder"}}


def test_orthogonality_of_known_codes():
    """s_un = (1, 1), s_re = (1, -1): orthogonal, though no entry of their product is 0."""
    one, other = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    codes = StyleCodes(one + other, one, other, 2 * other)
    assert l2m.orthogonality(codes, "inner") == 0
    assert l2m.orthogonality(codes, "single") == 1 and l2m.orthogonality(codes, "element") == 3
    apart = StyleCodes(one, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 5.0]]))
    assert l2m.orthogonality(apart, "element") == 0


def test_the_penalty_of_a_known_slope():
    """A critic that sums 3 · x over 12 numbers has a squared gradient of 9 · 12."""
    found = l2m.real_penalty(lambda x, domain: 3 * x.sum((1, 2, 3)), torch.rand(5, 3, 2, 2), torch.zeros(5).long())
    assert found.item() == pytest.approx(108, rel=1e-5)


def test_the_critic_is_penalised_every_few_steps_and_learns_first():
    recipe = recipe_of(warmup=2)
    numbers, names = [], []
    for _ in range(9):
        for name, _, found in recipe.updates(recipe.networks, batch_of(recipe), 0.5):
            names.append(name)
            if name == "critic":
                numbers.append("r1" in found)
    assert numbers == [*[False] * 7, True, False]
    assert names == ["critic"] * 2 + ["critic", "editor"] * 7


def test_masks_are_spots_at_the_landmarks():
    points = torch.tensor([[[20.0, 24.0], [44.0, 24.0], [32.0, 34.0], [24.0, 46.0], [40.0, 46.0]]])
    masks = face_masks(points, 64)
    assert masks.whole.shape == masks.steady.shape == (1, 1, 64, 64)
    assert masks.whole[0, 0, 46, 24] == 1 and masks.steady[0, 0, 46, 24] < 0.01     # the mouth may move
    assert masks.whole[0, 0, 24, 20] == masks.steady[0, 0, 24, 20] == 1
    assert masks.whole[0, 0, 2, 2] < 1e-6


# Runs


def test_a_run_is_resumed_and_written(tmp_path):
    recipe = recipe_of()
    def run(recipe, folder, steps, resume=False):
        return fit(recipe, Settings(tmp_path / folder, steps=steps, threads=1, seed=1, resume=resume, floor=1.0,
                                    warmup=1))

    run(recipe, "parts", 8)
    again = recipe_of()
    networks, whole = run(again, "parts", 10, resume=True), run(recipe_of(), "whole", 10)
    assert int(again.networks["critic"].steps) == 10
    parts, whole = (each["editor"].state_dict() for each in (networks, whole))
    assert all(torch.equal(value, whole[name]) for name, value in parts.items())
    path, = again.finish(networks, tmp_path, "python -m core train l2m")
    loaded = hub.opened(path, "l2m_gan").cpu()
    x, source = torch.rand(2, 3, 64, 64), torch.tensor([0, 5])
    torch.testing.assert_close(loaded(x, source, source), networks["editor"].network(x, source, source), rtol=0.1,
                               atol=0.02)
    larger = l2m.recipe("tiny-128", generator=str(path), batch=4)
    inner = "generator.decode.1.conv1.weight"
    assert torch.equal(larger.networks["editor"].network.state_dict()[inner], loaded.state_dict()[inner])


# A folder


def folder_of(tmp_path, count: int = 20, **changes) -> None:
    rows = [{"file": f"{number:02}.png", "smile": number % 2, "glasses": 1, "gender": 0} | changes
            for number in range(count)]
    for row in rows:
        Image.fromarray(np.full((80, 70, 3), 12 * rows.index(row), np.uint8)).save(tmp_path / row["file"])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def test_a_folder_with_labels(tmp_path):
    folder_of(tmp_path)
    recipe = l2m.recipe("tiny", str(tmp_path), batch=4)
    assert (len(recipe.drawn), len(recipe.held_out)) == (18, 2)
    domains = l2m.domains_of(torch.from_numpy(recipe.drawn.truth), recipe.preset.attributes)
    assert domains.tolist() == [2 + number % 2 for number in range(20) if number % 10 != 9]
    assert stepped(recipe, 0.5) == ["critic", "editor"]


@pytest.mark.parametrize("changes", [{"smile": "yes"}, {"smile": ""}])
def test_a_label_that_is_neither_0_nor_1(tmp_path, changes):
    folder_of(tmp_path, **changes)
    with pytest.raises(SettingsError, match=r"neither 0 nor 1 for smile of 00\.png"):
        l2m.recipe("tiny", str(tmp_path))


def test_a_folder_without_labels_or_with_few_pictures(tmp_path):
    folder_of(tmp_path, count=3)
    with pytest.raises(SettingsError, match="3 pictures"):
        l2m.recipe("tiny", str(tmp_path))
    with pytest.raises(SettingsError, match="landmarks"):
        l2m.recipe("published", str(tmp_path))
    (tmp_path / "labels.csv").unlink()
    with pytest.raises(SettingsError, match=r"no labels\.csv"):
        l2m.recipe("tiny", str(tmp_path))
    with pytest.raises(SettingsError, match="people"):
        l2m.recipe("tiny", str(tmp_path), people=3)
    with pytest.raises(SettingsError, match="generator") as error:
        l2m.recipe("tiny-128", str(tmp_path))
    assert "train l2m --preset tiny" in error.value.next_step


def test_labels_of_a_spreadsheet(tmp_path):
    """Excel begins UTF-8 with a mark; other encodings are refused."""
    folder_of(tmp_path)
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(text, "utf-8-sig")
    assert len(l2m.labelled_folder(tmp_path, ("smile",), 64)) == 20
    (tmp_path / "labels.csv").write_bytes(text.replace("00.png", "é.png").encode("cp1252"))
    with pytest.raises(SettingsError, match="can be read"):
        l2m.labelled_folder(tmp_path, ("smile",), 64)
