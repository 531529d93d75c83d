"""The bars of attributes: what each figure means, and all of it at toy size."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from attribute_toys import SIZE, toy_checkout
from PIL import Image
from test_training import made_up
from torch.nn import functional as F

from core import data, hub, systems
from core.commands import score as score_command
from core.engine.system import System
from core.faces import NAMES, TIED
from core.scoring import attributes, edits, l2m, leakage
from core.scoring.edits import OURS, VARIANTS, Edits, Face, Table

SOME = ("smile", "age", "yaw")
SMILE, AGE, YAW, BLOND, BLACK = (NAMES.index(name) for name in ("smile", "age", "yaw", "blond_hair", "black_hair"))


def vector(angle: float) -> torch.Tensor:
    """A unit vector at an angle to the first axis."""
    return F.normalize(torch.tensor([math.cos(angle), math.sin(angle), *[0.0] * 510]), dim=0)


def found(people: int = 4, names: tuple[str, ...] = ("smile", "age"), move: float = 1.0, leak: float = 0.0,
          turn: float = 0.0) -> Edits:
    """People who do not smile and are 18 to 36 years old, asked to smile and to be 72. Every method goes `move` of the
    way, adds `leak` to yaw and turns the face vector by `turn`; the ideal pair does what was asked and leaks a third.
    """
    start = torch.zeros(people, 35)
    start[:, SMILE], start[:, AGE] = -3, torch.linspace(0.2, 0.4, people)
    start[:, YAW] = torch.linspace(0.4, 0.6, people)
    made = Edits(names, tables={variant.name: Table() for variant in VARIANTS})
    for row in start:
        made.faces.append(Face(torch.zeros(1, 1, 4), row.sigmoid()[None], np.zeros((8, 8, 3), np.uint8), row,
                               vector(0), row, vector(0)))
        made.goals.append(torch.tensor([1.0, 0.8]))
        for table, share, off, angle in ((made.ideal, 1.0, leak / 3, 0.0), *((each, move, leak, turn)
                                                                        for each in made.tables.values())):
            scores = row.repeat(2, 1)
            scores[0, SMILE] += 6 * share
            scores[1, AGE] += (0.8 - row[AGE]) * share
            scores[:, YAW] += off
            table.scores.append(scores)
            table.vectors.append(vector(angle).repeat(2, 1))
            table.outside.append(torch.zeros(2))
    return made


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    with toy_checkout(tmp_path_factory.mktemp("scored") / "checkpoints"):
        networks = systems.load("attributes").networks
        check = edits.Frozen(networks.frozen.generator, hub.load("judge-check-tiny"), hub.load("embedder-check-tiny"))
        yield edits.Editor(networks, check)


def values(bars) -> dict[str, float | None]:
    return {bar.name: bar.value for bar in bars}


# Success


@pytest.mark.parametrize(("move", "smiling", "aged"), [(1.0, 1.0, 1.0), (0.52, 1.0, 1.0), (0.3, 0.0, 0.0)])
def test_success_is_a_changed_answer_or_half_of_the_way(move, smiling, aged):
    made = found(move=move)
    assert attributes.success(made, made.tables[OURS]) == {"smile": smiling, "age": aged}
    assert attributes.success(made, made.ideal) == {"smile": 1.0, "age": 1.0}


def test_both_directions_count_alike_and_only_where_something_was_asked():
    before = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0])
    goal = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0])          # the last one smiles already
    after = torch.tensor([1.0, 1.0, 1.0, 1.0, -9.0])
    assert attributes._success(before, after, goal, yes_no=True) == pytest.approx(0.5)
    assert math.isnan(attributes._success(before[:1], after[:1], torch.zeros(1), yes_no=True))


def test_errors_are_in_years_and_degrees():
    bars = values(attributes.error_bars(found(move=0.5)))
    assert bars["age error of the ideal pair, years"] == 0
    assert bars["age error above the ideal pair's, years"] == pytest.approx(0.25 * 90, abs=0.1)


# Leakage and identity


def test_leakage_is_counted_in_standard_deviations_beyond_the_ideal_pair():
    made = found(leak=0.3)
    deviation = float(torch.linspace(0.4, 0.6, 4).std())
    rows = attributes.leakage(made, made.tables[OURS])
    assert rows[SMILE, YAW].item() == pytest.approx(0.2 / deviation, rel=1e-3) and rows[SMILE, AGE] == 0
    assert rows[SMILE, SMILE].isnan() and rows[YAW].isnan().all()


def test_tied_attributes_are_left_out():
    assert BLACK not in edits.others_of("blond_hair") and NAMES.index("roll") not in edits.others_of("smile")
    assert len(list(edits.others_of("blond_hair"))) == 33 - len(TIED["blond_hair"])


def test_the_strength_is_solved_where_the_target_has_moved_as_far():
    """Half of the way between two points of the path gives the mean of both; a level beyond the end is not reached."""
    moved = torch.tensor([0.5, 1.5, 2.5])
    table = torch.tensor([[0.1, 0.9], [0.3, 0.7], [0.5, 0.5]])
    rows = attributes.solve(moved, table)
    assert torch.allclose(rows[:2], torch.tensor([[0.2, 0.8], [0.4, 0.6]])) and rows[2].isnan().all()
    assert torch.allclose(attributes.solve(torch.tensor([2.0]), torch.tensor([[0.4, 0.6]]))[0],
                          torch.tensor([0.2, 0.8]))


def test_methods_are_compared_where_both_arrived():
    made = found()
    ours = attributes.Equal(torch.full((2, 3, 4), 0.1), torch.full((2, 3, 4), 0.9))
    theirs = attributes.Equal(torch.full((2, 3, 4), 0.4), torch.full((2, 3, 4), 0.8))
    theirs.leakage[0] = math.nan
    bars = values(attributes.equal_bars(made, {OURS: ours} | {
        variant.name: theirs for variant in VARIANTS if variant.name != OURS}, 4))
    assert bars["leakage at equal success, of GANSpace's"] == pytest.approx(0.25)
    assert bars["attributes of 2 with more identity than every other method"] == 1
    assert bars["identity at equal success, of the ideal pair's"] == pytest.approx(0.9)
    assert bars["leakage at equal success above the ideal pair's"] == pytest.approx(0.1)
    assert bars["GANSpace: reached 2 standard deviations"] == 0.5


def test_identity_is_a_cosine_to_the_own_face():
    bars = values(attributes.identity_bars(found(turn=math.pi / 3)))
    assert bars[f"{OURS}: identity, cosine"] == pytest.approx(0.5) and bars["the ideal pair: identity, cosine"] == 1


def test_change_outside_is_counted_outside_the_grown_difference():
    pictures = np.zeros((2, 32, 32, 3), np.uint8)
    pictures[1, 10, 10] = 200
    mask = edits.difference(pictures)[0]
    assert mask[7:14, 7:14].all() and mask.sum() == 49


# All of it


def test_everything_is_measured_at_toy_size(editor, tmp_path, monkeypatch):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    monkeypatch.setattr(attributes, "FEW", (2, 1, 1))
    monkeypatch.setattr(attributes, "STRENGTHS", (1.0,))
    monkeypatch.setattr(attributes, "Invert", partial(attributes.Invert, refine=2))
    monkeypatch.setattr(attributes, "collect", partial(edits.collect, names=SOME, workers=1))
    monkeypatch.setattr(data, "drawn_set", lambda *_, **__: made_up(people=6, looks=3, size=SIZE))
    monkeypatch.setattr(System, "choose", lambda self, name=None: self.choices[0])
    made = attributes.scored(quick=True)
    bars = {bar.name: bar for bar in made["bars"]}
    assert bars["nothing asked: the latent is the same"].value == 1
    assert bars["nothing asked: largest change, of 255"].value == 0
    goals = {name.split(" (")[0]: bar.goal for name, bar in bars.items() if bar.goal != "reported"}
    assert {"success, mean": ">= 0.90", "yaw error, degrees": "<= 4", "inversion: identity, refined": ">= 0.88",
            "sharpness, ratio to real": "0.6 to 1.3"}.items() <= goals.items()
    assert len(goals) == 21 and {"success, age", "success, yaw"} <= bars.keys()
    rows = made["leakage"]["rows"]
    assert len(rows) == len(rows[0]) == 35 and rows[SMILE][SMILE] is None and rows[SMILE][AGE] is not None
    leakage.write(tmp_path / "leakage.png", made["leakage"]["names"], rows)
    assert Image.open(tmp_path / "leakage.png").size == (35 * leakage.CELL + leakage.MARGIN + 8,) * 2


def test_l2m_gan_is_measured_at_toy_size(editor, tmp_path, monkeypatch):
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    monkeypatch.setattr(l2m, "FEW", 3)
    monkeypatch.setattr(l2m, "collect", partial(edits.collect, workers=1))
    monkeypatch.setattr(l2m, "ideal_pairs", partial(l2m.ideal_pairs, workers=1))
    monkeypatch.setattr(data, "drawn_set", lambda *_, **__: made_up(people=6, looks=3, size=SIZE))
    monkeypatch.setattr(System, "choose", lambda self, name=None: self.choices[0])
    made = l2m.scored(quick=True)
    bars = {bar.name: bar for bar in made["bars"]}
    goals = {name: bar.goal for name, bar in bars.items() if bar.goal != "reported"}
    assert {"success, mean": ">= 0.95", "identity, of the ideal pair's": ">= 0.85",
            "edits by reference with the reference's value": ">= 0.90"}.items() <= goals.items()
    assert len(goals) == 13 and all(bar.value is not None for bar in bars.values())
    rows = made["methods"]["rows"]
    assert [*rows] == [*(variant.name for variant in VARIANTS), "L2M-GAN", "Ideal pair"]
    assert all(math.isfinite(value) for row in rows.values() for value in row)
    assert rows["Ideal pair"][1] == 0
    assert "change elsewhere" in score_command.table({"bars": [], "methods": made["methods"]})


def test_a_probe_reads_what_is_there_and_nothing_else():
    rng = torch.Generator().manual_seed(0)
    there = torch.rand(400, generator=rng) > 0.7
    noise = torch.randn(400, 6, generator=rng).double()
    told = torch.cat([noise, there[:, None] + 0.01 * noise[:, :1]], 1)
    assert l2m.probed(told, there) == pytest.approx(1, abs=0.01)
    assert abs(l2m.probed(noise, there) - 0.5) < 0.12


def test_a_table_knows_which_pictures_its_edits_began_from():
    made = found()
    for number, face in enumerate(made.faces):
        made.faces[number] = replace(face, drawn_scores=face.scores + 1)
    assert torch.allclose(made.before(made.ideal, "scores"), made.before(made.tables[OURS], "scores") + 1)


def test_frozen_attributes_make_interfacegan_conditional(editor):
    face = editor.face(made_up(size=SIZE).images[0])
    plain, held = (editor.latent(face, variant, "smile", 1.0) - face.w for variant in VARIANTS[1:3])
    normals = editor.networks.editors["directions"].normals
    assert (held[0, 0] @ normals[AGE]).abs() < 1e-3 < (plain[0, 0] @ normals[AGE]).abs()
