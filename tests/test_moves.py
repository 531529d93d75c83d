"""Walks, edits, and what is looked at all together; by the networks that ship."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import images
from core.engine.result import Result, last
from core.errors import SettingsError, VectorError
from core.systems.vectors import numbers
from core.systems.vectors.pipeline import Vectors
from core.systems.vectors.request import Source


@pytest.fixture(scope="module")
def system() -> Vectors:
    return Vectors()


@pytest.fixture(scope="module")
def two(system) -> list[Source]:
    return system.new_people(1, 2)[0]


@pytest.fixture(scope="module")
def walked(system, two) -> Result:
    return last(system.walk(*two, steps=5))


def test_a_walk_has_both_ends_and_equal_turns(two, walked):
    assert np.allclose(walked.vectors[[0, -1]], [two[0].vector, two[1].vector], atol=1e-4)
    unit = walked.vectors / np.linalg.norm(walked.vectors, axis=1, keepdims=True)
    turns = np.arccos((unit[1:] * unit[:-1]).sum(1))
    assert turns.std() < 1e-3 * turns.mean()


def test_the_way_back_is_the_same_way(system, two, walked):
    back = last(system.walk(two[1], two[0], steps=5))
    assert np.allclose(back.vectors[::-1], walked.vectors, atol=1e-4)


def test_a_walk_comes_picture_by_picture(system, two):
    assert [len(part.images) for part in system.walk(*two, steps=5)] == [1, 4, 5]


def test_a_picture_of_a_walk_can_be_made_again(system, walked):
    again = last(system.run(system.restored(walked.images[2]).request))
    for before, after in zip(walked.images, again.images, strict=True):
        assert abs(np.asarray(Image.open(before)).astype(int) - np.asarray(Image.open(after))).max() <= 1
    stored = images.settings_of(walked.images[2])
    assert (stored["move"], stored["step"], stored["steps"]) == ("walk", 3, 5)
    assert np.array_equal(numbers.unpacked(stored["walk_to"]), walked.vectors[-1].astype(np.float32)) or np.allclose(
        numbers.unpacked(stored["walk_to"]), walked.vectors[-1], atol=1e-4)


def test_opposite_faces_have_no_shortest_way(system, two):
    with pytest.raises(VectorError, match="opposite"):
        system.walk(two[0], Source("vector", -two[0].vector), 5)


def test_offsets_are_exact_and_the_source_stays_as_it_was(system, two):
    before = two[0].vector.copy()
    result = last(system.edited(two[0], {0: 6.0, 511: -3.0}, steps=4))
    moved = result.vectors - before
    assert np.allclose(moved[:, 0], [0, 2, 4, 6], atol=1e-5)
    assert np.allclose(moved[:, 511], [0, -1, -2, -3], atol=1e-5)
    assert not moved[:, 1:511].any()
    assert np.array_equal(two[0].vector, before)


@pytest.mark.parametrize(("offsets", "steps", "said"), [
    ({}, 5, "nothing to edit"), ({512: 1.0}, 5, "dimension"), ({3: float("nan")}, 5, "offset"), ({3: 1.0}, 1, "steps"),
    ({3: 1.0}, 65, "steps"),
])
def test_impossible_edits_are_refused(system, two, offsets, steps, said):
    with pytest.raises(SettingsError, match=said):
        system.edited(two[0], offsets, steps)


@pytest.mark.parametrize(("text", "found"), [
    ("7: 2.0, 300: -1.5", {7: 2.0, 300: -1.5}), ("7:2;8:1\n9:.5", {7: 2.0, 8: 1.0, 9: 0.5}), ("", {}), (" , ", {}),
])
def test_offsets_are_read_as_people_write_them(text, found):
    assert numbers.offsets(text) == found


@pytest.mark.parametrize("text", ["7", "seven: 2", "7: two", "7 = 2"])
def test_other_words_are_refused(text):
    with pytest.raises(SettingsError, match="not a dimension and an offset"):
        numbers.offsets(text)


@pytest.mark.parametrize("offset", ["1e400", "nan", "-inf", "1001"])
def test_an_impossible_offset_is_named_as_it_was_written(offset):
    with pytest.raises(SettingsError, match=re.escape(f"'{offset}' is no offset for dimension 7")):
        numbers.offsets(f"3: 1, 7: {offset}")


@pytest.mark.parametrize("largest", [1e30, -2e4])
def test_a_number_that_no_face_has_is_named(largest):
    values = np.ones(512, np.float32)
    values[5] = largest
    with pytest.raises(VectorError, match=re.escape(f"a number of {abs(np.float32(largest)):g}")):
        numbers.checked(values)


def test_a_click_on_the_strip_sets_the_number_under_it(system):
    picture = numbers.strip(np.linspace(-1, 1, 512))
    assert numbers.cell_at(0, 0) == 0
    assert numbers.cell_at(picture.width - 1, picture.height - 1) == 511
    assert system.with_offset("3: 1", 12 * 5 + 1, 12 * 2 + 1, 4.0) == "3: 1, 69: 4"
    assert system.with_offset("69: 1", 12 * 5 + 1, 12 * 2 + 1, 4.0) == "69: 4"
    assert system.with_offset("7: 2.1234567, 9: 123.4567", 0, 0, 1.0) == "7: 2.1234567, 9: 123.4567, 0: 1"


def test_a_film_goes_there_and_back(system, walked):
    with Image.open(system.film(walked)) as film:
        assert film.n_frames == 8
        assert film.info["loop"] == 0
        assert b"trainedAlgorithmicMedia" in film.info["comment"]


def test_a_strip_shows_all_and_remembers_all(system, walked):
    path = system.strip_of(walked)
    assert Image.open(path).width > 5 * 112
    assert [kept["step"] for kept in images.settings_of(path)["sheet"]] == [1, 2, 3, 4, 5]
    assert Path(path).name == "facet-strip.png"


def test_a_strip_of_the_longest_walk_can_hold_its_settings(system, walked):
    count = numbers.MAX_COUNT
    many = replace(walked, images=walked.images[:1] * count, settings=walked.settings[:1] * count)
    assert len(images.settings_of(path := system.strip_of(many))["sheet"]) == numbers.MAX_COUNT
    assert system.restored(path) is None     # of many faces no single one comes back


def test_every_pair_is_counted_once(system):
    people = last(system.people(seed=1, count=6))
    alike = system.alike(people)
    assert alike.numbers.sum() == alike.pictures.sum() == 15
    unit = people.vectors / np.linalg.norm(people.vectors, axis=1, keepdims=True)
    assert alike.largest[0] == pytest.approx((unit @ unit.T - 2 * np.eye(6)).max(), abs=1e-5)
    assert alike.largest[0] < 0.3
    with pytest.raises(SettingsError, match="at least two people"):
        system.alike(last(system.people(seed=1, count=1)))
