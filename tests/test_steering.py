"""Steering, the pipeline's part of AttrOP: pictures that remember how they were reached, and the command line."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from core import images, systems
from core.commands.run import run
from core.engine.result import last
from core.errors import SettingsError
from core.systems.vectors import numbers
from core.systems.vectors.request import Source, Steer


@pytest.fixture(scope="module")
def system():
    return systems.load("vectors")


@pytest.fixture(scope="module")
def source():
    return Source("drawn", np.random.default_rng(3).standard_normal(512).astype(np.float32), person=7, label="seven")


@pytest.fixture(scope="module")
def path(system, source):
    return list(system.steer([source], yaw=40, quality=0.9, limit=2, seed=5))


def test_every_step_is_a_result(path):
    assert [result.step for result in path] == [0, 1, 2]
    for result in path:
        assert len(result.images) == result.total == len(result.scores["yaw"]) == len(result.scores["quality"]) == 1
        assert (result.steps, result.seeds) == (2, (5,))
        assert set(result.settings[0]["missed"]) >= {"yaw"}


def test_new_people_are_steered_under_their_own_seeds(system):
    people, seeds = system.new_people(7, 6, 0.1)
    assert seeds != list(range(7, 13))              # somebody was too like somebody
    result = last(system.steer(people, quality=0, limit=0, similarity=-1, seeds=seeds))
    assert result.seeds == tuple(seeds) == tuple(kept["seed"] for kept in result.settings)
    with pytest.raises(SettingsError):
        system.steer(people, quality=0, seeds=[1.5] * 6)


def test_a_request_steers_new_people_under_their_own_seeds(system):
    request = Steer(count=3, pose=False, improve=True, quality=0.01, limit=0, similarity=-1, threshold=0.3)
    result = last(system.run(request))
    assert np.array_equal(np.stack([numbers.unpacked(kept["origin_vector"]) for kept in result.settings]),
                          system._people.draw(result.seeds).numpy())


def test_a_steered_picture_remembers_its_numbers(path, source):
    kept = images.settings_of(path[-1].images[0])
    assert kept == path[-1].settings[0]
    assert (kept["yaw_target"], kept["quality_target"], kept["limit"]) == (40, 0.9, 2)
    assert kept["yaw"] == pytest.approx(path[-1].scores["yaw"][0], abs=0.01)
    assert kept["quality"] == pytest.approx(path[-1].scores["quality"][0], abs=1e-3)
    assert kept["similarity"] == pytest.approx(path[-1].scores["similarity"][0], abs=1e-3)
    assert all(name in path[-1].notes[0] for name in kept["missed"])
    assert 0 <= kept["iterations"] <= 2
    assert (kept["origin"], kept["origin_person"], kept["judge"]) == ("drawn", 7, "judge-tiny")
    assert len(kept["judge_sha256"]) == 64
    assert "yaw40" in Path(path[-1].images[0]).name


def test_a_steered_picture_brings_its_whole_request_back(system, path, source):
    request = system.restored(path[-1].images[0]).request
    assert (request.pose, request.yaw, request.improve, request.quality) == (True, 40, True, 0.9)
    assert (request.source, request.person, request.limit, request.seed) == ("drawn", 7, 2, 5)
    assert np.array_equal(request.faces[0].vector, source.vector)
    again = last(system.run(request))
    apart = np.asarray(Image.open(again.images[0])).astype(int) - np.asarray(Image.open(path[-1].images[0]))
    assert abs(apart).max() <= 1


def test_steering_turns_towards_what_is_asked(system, source):
    """Opposite wishes move the same face apart."""
    left, right = (last(system.steer([source], yaw=yaw, limit=3, similarity=-1)) for yaw in (-60, 60))
    assert left.scores["yaw"][0] < right.scores["yaw"][0]


def test_variations_of_a_source_can_be_steered(system, source):
    """They begin apart, and are both held to the source."""
    result = next(system.steer([source, source], yaw=10, limit=0, seed=8, sigma=0.5))
    assert result.seeds == (8, 9)
    assert len(set(result.images)) == 2
    assert not np.array_equal(result.vectors[0], result.vectors[1])
    assert result.settings[0]["origin_sigma"] == 0.5


@pytest.mark.parametrize("asked", [{}, {"yaw": 100}, {"yaw": float("nan")}, {"quality": 1.5}, {"yaw": 5, "limit": 201},
                                   {"yaw": 5, "limit": -1}, {"yaw": 5, "sigma": 2}, {"yaw": 5, "seed": -2},
                                   {"yaw": 5, "similarity": 3}])
def test_impossible_wishes_are_refused(system, source, asked):
    with pytest.raises(SettingsError):
        system.steer([source], **asked)


def test_somebody_must_be_steered(system, source):
    for sources in ([], [source] * 65):
        with pytest.raises(SettingsError, match="number of faces"):
            system.steer(sources, yaw=5)


def test_the_command_line_steers(tmp_path, source):
    np.save(tmp_path / "face.npy", source.vector)
    done = CliRunner().invoke(run, ["vectors", "steer", "--source", "vector", "--file", str(tmp_path / "face.npy"),
                                    "--yaw", "40", "--limit", "1", "--seed", "4", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert re.search(r"seed 4  similarity 0\.\d\d  yaw -?\d+\.\d\d  quality 0", done.output)
    assert "misses the asked" in done.output
    assert len(list((tmp_path / "out").glob("facet-vector-seed4-*yaw40.png"))) == 1
    assert np.load(tmp_path / "out" / "facet-vectors.npy").shape == (512,)


def test_the_command_line_steers_new_people_as_unlike_as_asked(system, tmp_path):
    wanted = system.new_people(7, 6, 0.1)[1]
    done = CliRunner().invoke(run, ["vectors", "steer", "--count", "6", "--seed", "7", "--threshold", "0.1",
                                    "--no-pose", "--improve", "--quality", "0", "--limit", "0", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.name.split("-")[2] for path in tmp_path.glob("facet-people*.png")} == {
        f"seed{seed}" for seed in wanted}
