"""Sampling people by the thousand, at counts that take no time: what is counted, how growth is told, who refuses."""

import pytest
import torch

from core.bench import people
from core.commands import bench
from core.errors import SettingsError


def test_crowds_grow_and_are_counted():
    small, large = people.sampled((20, 200))
    assert (small.people, large.people) == (20, 200)
    assert small.draws == len(people.even(200).choose(20, 0)) and 200 <= large.draws < 220
    assert small.seconds >= 0 and 0 <= small.memory <= large.memory


def test_the_spread_is_even():
    spread = people.even(30)
    assert spread.dimension == pytest.approx(30)
    drawn = spread.draw(range(50))
    assert drawn.shape == (50, 512) and not drawn[:, 30:].any()
    assert torch.allclose(drawn.norm(dim=1), spread.norm.expand(50))


def test_too_few_dimensions_are_refused():
    with pytest.raises(SettingsError, match="30 dimensions"):
        list(people.sampled((1000,), dimensions=30))


def test_growth_is_told_per_tenfold():
    first = people.Crowd(10, 10, 1.0, 1000)
    assert people.growth(None, first) == ""
    assert people.growth(first, people.Crowd(1000, 1000, 100.0, 4000)) == "  seconds × 10.0, memory × 2.0"


def test_the_people_that_ship_answer_in_one_line():
    assert people.shipped(20).startswith("the people that ship: 20 found in")
    refused = people.shipped(100_000)
    assert "Only" in refused and "Ask for" in refused and "\n" not in refused


def test_the_command_prints_a_line_per_count(monkeypatch, capsys):
    monkeypatch.setattr(people, "COUNTS", (10, 100, 10_000))
    bench.crowds(100)
    lines = capsys.readouterr().out.splitlines()
    assert "200 equal dimensions" in lines[0] and "getrusage" in lines[1]
    assert [line.split()[0] for line in lines[3:5]] == ["10", "100"] and "seconds ×" in lines[4]
    assert lines[5].startswith("the people that ship: 10 found in") and len(lines) == 6
