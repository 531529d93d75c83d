"""The bars: their form, and that the networks which steer never score."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from core import data, faces, scoring
from core.commands import score as command
from core.errors import SettingsError
from core.scoring.bars import bar_between


def truths(people: int, looks: int) -> data.DrawnSet:
    """A test set without its pictures: looks are chosen, not drawn."""
    rows = []
    for number in range(people):
        identity = faces.person(number, "test")
        rows += [faces.truth(faces.Face(identity, faces.look(identity, data.look_seed("test", number, index, 0),
                                                          mixture="balanced")))
                 for index in range(looks)]
    person = np.arange(people * looks) // looks
    return data.DrawnSet(np.zeros((len(rows), 1, 1, 3), np.uint8), np.stack(rows), person, np.zeros((len(rows), 5, 2)))


def test_a_bar_is_met_or_not():
    assert scoring.bar("a", 0.97, ">= 0.97").met and not scoring.bar("a", 0.9699, ">= 0.97").met
    assert scoring.bar("a", 4.0, "<= 4").met and not scoring.bar("a", 4.01, "<= 4").met
    assert not scoring.bar("a", float("nan"), ">= 0.5").met and not scoring.bar("a", float("nan"), "<= 6").met


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_missing_measure_is_reported_and_meets_no_bar(value):
    bars = [scoring.bar("a", value, ">= 0.5"), scoring.bar("a", value, "<= 6"), bar_between("a", value, 0, 1),
            scoring.reported("a", value)]
    assert [bar.value for bar in bars] == [None] * 4 and [bar.met for bar in bars] == [False] * 3 + [True]
    found = {"system": "a", "bars": [asdict(bar) for bar in bars]}
    lines = [line.split() for line in command.table(found).splitlines()]
    assert [line[1] for line in lines] == ["missing"] * 4 and lines[0][-2:] == ["NOT", "MET"]
    assert "null" in json.dumps(found, allow_nan=False)


def test_an_attribute_without_an_example_is_missing(monkeypatch):
    drawn = truths(3, 2)
    drawn.truth[:, [faces.NAMES.index(name) for name in faces.BINARY]] = 0.0
    monkeypatch.setattr(data, "drawn_set", lambda *a, **k: drawn)
    monkeypatch.setattr(scoring.hub, "load", lambda name: name)
    monkeypatch.setattr(data, "outputs", lambda network, drawn: {
        "binary": torch.ones(len(drawn), len(faces.BINARY)), "age": torch.zeros(len(drawn)),
        "pose": torch.zeros(len(drawn), 3)})
    mean, worst = scoring.score("judge", quick=True)["bars"][:2]
    assert mean["value"] is None and worst["value"] is None and not mean["met"] and not worst["met"]


def test_rounding_never_lifts_a_value_over_its_bar():
    assert not scoring.bar("a", 0.96999, ">= 0.97").met


def test_unknown_systems_are_refused():
    with pytest.raises(SettingsError, match="embedder, judge, vectors, aging"):
        scoring.score("portraits")
    with pytest.raises(SettingsError, match="--short"):
        scoring.score("judge", short=True)


@pytest.mark.parametrize("met", [True, False])
def test_the_command_prints_json_and_exits_by_the_bars(monkeypatch, met):
    found = {"system": "judge", "bars": [{"name": "age", "value": 5.0, "goal": "<= 6", "met": met}]}
    monkeypatch.setattr(scoring, "score", lambda *arguments: found)
    import typer

    app = typer.Typer()
    app.command()(command.score)
    told = CliRunner().invoke(app, ["judge", "--json"])
    assert json.loads(told.stdout) == found and told.exit_code == (0 if met else 1)
    assert ("NOT MET" in CliRunner().invoke(app, ["judge"]).stdout) != met


class Oracle(torch.nn.Module):
    """Reads the person off the picture's first pixel: features of unit length, one direction a person."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return torch.nn.functional.one_hot(((x[:, 0, 0, 0] + 1) * 127.5).round().long(), 512).float()


def test_a_perfect_embedder_scores_one(monkeypatch):
    drawn = truths(*scoring.QUICK)
    images = np.repeat(drawn.person.astype(np.uint8), 3).reshape(-1, 1, 1, 3)
    drawn = data.DrawnSet(images, drawn.truth, drawn.person, drawn.points)
    monkeypatch.setattr(data, "drawn_set", lambda *a, **k: drawn)
    asked = []
    monkeypatch.setattr(scoring.hub, "load", lambda name: (asked.append(name), Oracle())[1])
    bars = scoring.score("embedder", quick=True)["bars"]
    assert asked == [*scoring.EMBEDDERS, *scoring.OLD_EMBEDDERS] and len(bars) == 16
    spread = [bars.pop(row)["value"] for row in (15, 11, 7, 3)]
    assert spread == [pytest.approx(scoring.QUICK[0] - 1)] * 4
    assert all(bar["value"] == 1.0 and bar["met"] for bar in bars)
    assert [bar["goal"] for bar in bars[:3]] == [">= 0.97", ">= 0.92", ">= 0.92"]


def test_a_perfect_judge_scores_one(monkeypatch):
    sets = {"aligned": truths(*scoring.QUICK), "portrait": truths(scoring.QUICK[0], 2)}
    sets["portrait"].truth[:2, [faces.NAMES.index(name) for name in faces.BINARY]] = [[0.0], [1.0]]  # both, of each
    monkeypatch.setattr(data, "drawn_set", lambda *a, view="aligned", **k: sets[view])
    monkeypatch.setattr(scoring.hub, "load", lambda name: name)
    columns = {name: faces.NAMES.index(name) for name in faces.NAMES}

    def answers(network, drawn, off=0.0):
        truth = torch.from_numpy(drawn.truth)
        return {"binary": truth[:, [columns[name] for name in faces.BINARY]] - 0.5, "age": truth[:, columns["age"]] + 3,
                "pose": truth[:, [columns[name] for name in ("yaw", "pitch", "roll")]] + 5}

    monkeypatch.setattr(data, "outputs", answers)
    values = {bar["name"]: (bar["value"], bar["met"]) for bar in scoring.score("judge", quick=True)["bars"]}
    assert values["judge-check-tiny: balanced accuracy, mean"] == (1.0, True)
    assert values["judge-tiny: age error, years"] == (pytest.approx(3, abs=1e-3), True)
    assert values["judge-tiny: yaw error, degrees"] == (pytest.approx(5, abs=1e-3), False)


def test_pictures_are_scored_as_the_visitor_sees_them(monkeypatch):
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, v):
            return v[:, :3, None, None].expand(-1, -1, 4, 4)

    monkeypatch.setattr(scoring.hub, "load", lambda name: Flat())
    found = scoring.pictures_of(torch.tensor([[0.1234, 5.0, -5.0] + [0.0] * 509]).repeat(40, 1))
    assert found.shape == (40, 3, 4, 4) and found[0, 1:, 0, 0].tolist() == [1, -1]
    grey = float(found[0, 0, 0, 0])
    assert grey != pytest.approx(0.1234, abs=1e-6) and grey == pytest.approx(0.1234, abs=1 / 127)


def test_vectors_are_scored_by_networks_that_never_steered(monkeypatch):
    """The steering embedder gives the source vectors only; everything else is asked of the two that check."""
    drawn = truths(scoring.QUICK[0], 2)
    asked = []

    def outputs(network, pictures):
        asked.append(network)
        if network == "judge-check-tiny":
            return {"binary": answers[:len(pictures)] - 0.5}
        return torch.nn.functional.one_hot(torch.arange(len(pictures)) % 512, 512).float()

    monkeypatch.setattr(data, "drawn_set", lambda *a, **k: drawn)
    monkeypatch.setattr(data, "outputs", outputs)
    monkeypatch.setattr(scoring.hub, "load", lambda name: name)
    monkeypatch.setattr(scoring, "pictures_of", lambda v: v)
    answers = torch.arange(drawn.people)[:, None].repeat(1, 27) % 2
    monkeypatch.setattr(scoring, "picture_bars", lambda made, real, judge: (asked.append(judge), [])[1])
    monkeypatch.setattr(scoring, "separable", lambda people, held_out: (asked.append(held_out), 1.0)[1])
    monkeypatch.setattr(scoring, "reached", lambda vectors, judge, limit: (asked.append(judge), 1.0)[1])
    bars = scoring.score("vectors", quick=True)["bars"]
    assert asked.count("embedder-tiny") == 1 and asked[0] == "embedder-tiny" and "judge-tiny" not in asked
    assert asked[-1] == "judge-check-tiny" and len(bars) == 8 and all(bar["met"] for bar in bars)
    assert [bar["goal"] for bar in bars] == [
        ">= 0.70", ">= 0.95", ">= 0.99", ">= 0.95", ">= 0.85", ">= 0.80", ">= 0.60", ">= 0.90"]


def test_turning_counts_both_sides_by_what_the_other_judge_sees(monkeypatch):
    """Every second face is asked to the left; one that is 6° short is not there."""
    from core.systems.vectors import steering

    asked = []

    def turned_by(vectors, yaw, limit):
        asked.append((len(vectors), yaw, limit))
        return torch.full((len(vectors),), yaw) - torch.where(vectors[:, 0] > 0, 6.0, 4.0) * (1 if yaw > 0 else -1)

    monkeypatch.setattr(steering, "turned_by", turned_by)
    monkeypatch.setattr(data, "outputs", lambda judge, pictures: {"pose": pictures[:, None]})
    vectors = torch.tensor([[1.0], [-1.0], [-1.0], [-1.0], [-1.0]]).expand(-1, 512)
    assert scoring.reached(vectors, "judge", 7) == 0.8
    assert asked == [(3, 45.0, 7), (2, -45.0, 7)]
