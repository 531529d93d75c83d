"""The drawn faces: 35 attributes, edits of one of them, the same numbers the same picture, points and regions."""

import subprocess
import sys
import warnings
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from core.__main__ import application
from core.bench import faces as bench
from core.commands.faces import attribute_pairs, attribute_strip
from core.errors import SettingsError
from core.faces import (
    ATTRIBUTES,
    BINARY,
    MIXTURES,
    REGIONS,
    SPLITS,
    Face,
    draw,
    draw_many,
    edit,
    look,
    person,
    points,
    regions,
    through_life,
    traits_of,
    truth,
)
from core.faces.attributes import HAIR_COLOURS

ORDER = """age gender smile mouth_open anger sadness surprise eyes_closed yaw pitch roll bald hair_length fringe curly
black_hair brown_hair blond_hair red_hair gray_hair beard moustache sideburns glasses sunglasses hat earrings lip_makeup
eye_makeup chubby big_nose bushy_eyebrows exposure blur light_side""".split()
REFERENCE = Path(__file__).parent / "fixtures" / "faces.png"
TEMPLATE = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]


def plain(number: int = 5, **changes) -> Face:
    """A grown-up who faces the camera, with nothing on and nothing moved but `changes`."""
    identity = person(number, "test")
    return Face(identity, through_life(identity, 30)).with_(**changes)


def random_face(number: int, split: str = "test", mixture: str = "ordinary", **overrides) -> Face:
    identity = person(number, split)
    return Face(identity, look(identity, number, mixture, **overrides))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two pictures, in grey levels of 255."""
    return float(np.abs(a.astype(float) - b).mean())


def reference() -> np.ndarray:
    """Six people in both views: (64, 768, 3) uint8. After a change of how faces look, raise VERSION and write it anew:

        python -c "from tests.test_faces import *; Image.fromarray(reference()).save(REFERENCE)"
    """
    return np.concatenate([draw(random_face(n), 64, view) for view in ("portrait", "aligned") for n in range(6)], 1)


def test_thirty_five_attributes_in_order():
    assert list(ATTRIBUTES) == ORDER
    assert len(ORDER) == 35
    for name, attribute in ATTRIBUTES.items():
        assert attribute.name == name and attribute.kind in {"binary", "continuous"}
        assert attribute.low < attribute.high
        assert attribute.unit and len(attribute.about) > 8
    ranges = dict(age=(0, 90), yaw=(-60, 60), pitch=(-25, 25), roll=(-30, 30), smile=(0, 1), exposure=(-1, 1))
    assert {name: (ATTRIBUTES[name].low, ATTRIBUTES[name].high) for name in ranges} == ranges


def test_truth_is_the_look_in_the_order_of_the_table():
    values = truth(plain(age=61, yaw=-33, glasses=1, light_side=0.25))
    assert values.shape == (35,) and values.dtype == np.float32
    assert [values[ORDER.index(name)] for name in ("age", "yaw", "glasses", "light_side")] == [61, -33, 1, 0.25]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_looks_stay_in_range_and_obey_overrides(mixture: str):
    table = np.stack([truth(random_face(n, "train", mixture, roll=-7)) for n in range(200)])
    assert (table >= [ATTRIBUTES[name].low for name in ORDER]).all()
    assert (table <= [ATTRIBUTES[name].high for name in ORDER]).all()
    assert (table[:, ORDER.index("roll")] == -7).all()
    np.testing.assert_allclose(table[:, [ORDER.index(name) for name in HAIR_COLOURS]].sum(1), 1, atol=1e-6)


def test_the_balanced_mixture_has_enough_of_every_attribute():
    table = np.stack([truth(random_face(n, "train", "balanced")) for n in range(600)])
    shares = {name: (table[:, ORDER.index(name)] >= 0.5).mean() for name in BINARY}
    assert {name: share for name, share in shares.items() if not 0.04 <= share <= 0.96} == {}
    assert (table.std(0) > 0.02).all()


def test_any_age_spreads_the_ages_of_a_person():
    who = person(3)
    near, far = ([look(who, seed, any_age=any_age).age for seed in range(60)] for any_age in (None, True))
    assert np.ptp(near) <= 12 and np.abs(np.array(near) - who.usual_age).max() <= 6
    assert np.ptp(far) > 40


def test_people_are_fixed_by_number_and_split_and_splits_share_none():
    assert person(12, "test") == person(12, "test")
    with pytest.raises(FrozenInstanceError):
        person(12).number = 3
    unnumbered = {replace(person(n, split), number=0, split="train") for split in SPLITS for n in range(200)}
    assert len(unnumbered) == 600


def test_traits_are_standard_scores():
    table = traits_of(60)
    assert table.shape[0] == 60 and table.shape[1] > 100
    np.testing.assert_allclose(table.mean(0), 0, atol=1e-4)
    assert (np.abs(table.std(0) - 1) < 1e-2).mean() > 0.8  # shapes that only age or sex moves are alike for all


def test_people_differ_in_shape_and_not_only_in_colour():
    assert np.stack([points(plain(n), 256) for n in range(30)]).std(0).mean() > 1.5
    assert distance(draw(plain(1), 64), draw(plain(2), 64)) > 5


@pytest.mark.parametrize("name", ORDER)
def test_an_edit_changes_one_attribute_only(name: str):
    face, row = random_face(8, mixture="balanced"), ORDER.index(name)
    before, attribute = truth(face), ATTRIBUTES[name]
    value = attribute.low if before[row] > (attribute.low + attribute.high) / 2 else attribute.high
    changed = edit(face, name, value)
    after = truth(changed)
    assert after[row] == value != before[row]
    if name in HAIR_COLOURS:
        rows = [ORDER.index(each) for each in HAIR_COLOURS]
        assert after[rows].sum() == pytest.approx(1)
        before[rows] = after[rows] = 0
    before[row] = after[row]
    assert (before == after).all()
    assert changed.identity == face.identity and changed.look.seed == face.look.seed
    if name not in {"age", "gender", "lip_makeup"}:  # skin and stubble follow these
        assert changed.unnamed == face.unnamed


def test_hair_colours_share_the_hair():
    def colours(face):
        return [getattr(face.look, name) for name in HAIR_COLOURS]

    none = dict.fromkeys(HAIR_COLOURS, 0.0)
    mixed = plain(**none | {"brown_hair": 0.6, "gray_hair": 0.4})
    assert colours(edit(mixed, "red_hair", 0.5)) == pytest.approx([0, 0.3, 0, 0.5, 0.2])
    assert colours(edit(plain(**none | {"blond_hair": 1.0}), "blond_hair", 0)) == [0, 1, 0, 0, 0]
    assert colours(edit(plain(**none | {"brown_hair": 1.0}), "brown_hair", 0)) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("name", ORDER)
def test_each_attribute_shows(name: str):
    """From its lowest value to its highest the picture changes to the eye."""
    [(_, *pair)] = attribute_pairs(name, "test", 5, 1)
    low, high = (draw(face, 96).astype(int) for face in pair)
    changed = (np.abs(low - high).max(2) > 12).mean()
    assert changed > 0.0015, f"{name} changes {changed:.2%} of the picture"


def test_a_smile_and_a_beard_leave_the_hair_alone():
    """Strands come from streams of their own; at most a little light from the beard reaches the hair."""
    changed = np.abs(draw(plain(smile=0), 128).astype(int) - draw(plain(smile=1), 128)).max(2) > 8
    assert changed[64:].mean() > 3 * changed[:40].mean()
    [(_, *pair)] = attribute_pairs("beard", "test", 5, 1)
    low, high = (draw(face, 96).astype(int) for face in pair)
    hair = np.logical_and(*(regions(face, 96) == REGIONS.index("hair") for face in pair))
    assert hair.sum() > 300
    assert np.abs(low - high)[hair].max() <= 2
    assert distance(low, high) > 1


def test_exposure_brightens_blur_softens_and_light_comes_from_its_side():
    assert draw(plain(exposure=1), 64).mean() > draw(plain(exposure=-1), 64).mean() + 25
    sharp, soft = (np.abs(np.diff(draw(plain(blur=b), 96).astype(float), axis=1)).mean() for b in (0, 1))
    assert soft < 0.7 * sharp
    left, right = (draw(plain(light_side=side), 112, "aligned").astype(float)[40:90, 20:92] for side in (-1, 1))
    assert left[:, :36].mean() > left[:, 36:].mean() + 5
    assert right[:, :36].mean() < right[:, 36:].mean() - 5


def test_same_numbers_same_picture_on_every_machine():
    """As another machine drew them. Rounding differs between processors: that moves a few pixels by a little."""
    apart = np.abs(reference().astype(int) - np.asarray(Image.open(REFERENCE)))
    assert (apart <= 1).mean() >= 0.999 and apart.max() <= 16


def test_a_picture_does_not_depend_on_its_neighbours():
    faces = [plain(n, yaw=10.0 * n) for n in range(4)]
    many = np.stack(list(draw_many(faces, size=64, workers=2)))
    alone, again = (np.stack([draw(face, 64) for face in faces]) for _ in range(2))
    assert np.abs(many.astype(int) - alone).max() <= 1
    assert (alone == again).all()


@pytest.mark.parametrize("size", [32, 100, 512])
def test_any_size(size: int):
    picture = draw(plain(), size)
    assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
    assert picture.std() > 20


@pytest.mark.parametrize(("call", "named"), [
    (lambda: person(1, "holdout"), "validation"), (lambda: look(person(1), 0, "even"), "balanced"),
    (lambda: plain(age=120), "age.*90"), (lambda: edit(plain(), "yaw", 61), "yaw.*60"),
    (lambda: edit(plain(), "halo", 1), "halo.*smile"), (lambda: points(plain(), 64, "profile"), "view.*aligned"),
    (lambda: draw(plain(), 31), "size.*32"), (lambda: regions(plain(), 513), "size.*512"),
    (lambda: next(draw_many([plain()], 64, "profile")), "view.*aligned")])
def test_what_it_does_not_know_is_refused(call, named: str):
    with pytest.raises(ValueError, match=named):
        call()


def test_sizes_show_the_same_face():
    shrunk = draw(plain(), 256).reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert distance(shrunk, draw(plain(), 64)) < 6


@pytest.mark.parametrize("mixture", MIXTURES)
def test_every_pixel_is_a_number(mixture: str):
    """No division by zero on the way to a picture: a NaN would end as a black pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(24):
            draw(random_face(seed, "train", mixture), 32)


def test_drawing_needs_no_large_library():
    code = ("import sys; sys.modules |= dict.fromkeys(['torch', 'scipy', 'anny', 'PIL', 'gradio'])\n"  # None: no import
            "from core.faces import Face, draw, person, through_life\n"
            "draw(Face(person(1), through_life(person(1), 30)))")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_points_are_ordered_and_inside():
    for seed in range(40):
        found = points(random_face(seed), 128)
        assert found.shape == (5, 2)
        assert (found > 0).all() and (found < 128).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = points(plain(), 128)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_yaw_pitch_and_roll_move_the_points_as_documented():
    """Positive yaw turns to the right of the picture, positive pitch up, positive roll clockwise."""
    def nose(**pose) -> np.ndarray:
        found = points(plain(**pose), 128)
        return found[2] - found[:2].mean(0)

    assert nose(yaw=40)[0] > nose()[0] > nose(yaw=-40)[0]
    assert nose(pitch=20)[1] < nose()[1] < nose(pitch=-20)[1]
    left, right = points(plain(roll=20), 128)[:2]
    assert right[1] > left[1] + 5


def test_an_edit_with_the_same_camera_leaves_the_rest_in_its_place():
    face = plain()
    before = draw(face, 96, "aligned").astype(int)
    smiling = edit(face, "smile", 1.0)
    moved = [(abs(draw(smiling, 96, "aligned", like) - before).max(-1) > 12).mean() for like in (face, None)]
    assert 0 < moved[0] < 0.6 * moved[1]
    assert np.array_equal(draw(face, 96, "aligned", like=face), before)
    many = next(draw_many([smiling], 96, "aligned", workers=1, likes=[face]))
    assert np.array_equal(many, draw(smiling, 96, "aligned", face))


def test_the_aligned_view_puts_the_points_on_the_template():
    for face in (plain(), plain(7, roll=25), plain(9, yaw=15, pitch=8)):
        assert np.linalg.norm(points(face, 112, "aligned") - TEMPLATE, axis=1).mean() < 5
    assert np.allclose(points(plain(), 224, "aligned"), points(plain(), 112, "aligned") * 2, atol=1.5)


def test_eyes_are_drawn_where_the_points_are():
    """Closing the eyes changes the picture at the eye points more than elsewhere."""
    changed = np.abs(draw(plain(), 256).astype(int) - draw(plain(eyes_closed=1), 256)).max(2)
    for x, y in points(plain(), 256)[:2].round().astype(int):
        assert changed[y - 6:y + 7, x - 6:x + 7].mean() > 5 * changed.mean()


@pytest.mark.parametrize("view", ["portrait", "aligned"])
def test_regions_lie_around_the_points(view: str):
    for face in (plain(2), plain(4, yaw=20, roll=-12, smile=0.7)):
        labels, (left, right, nose, *mouth) = regions(face, 128, view), points(face, 128, view)
        assert labels.shape == (128, 128) and labels.dtype == np.uint8
        assert labels.max() < len(REGIONS)

        def centre(region, near, reach, labels=labels):
            rows, columns = np.nonzero(labels == REGIONS.index(region))
            kept = np.hypot(columns - near[0], rows - near[1]) < reach
            return np.array([columns[kept].mean(), rows[kept].mean()])

        between = np.linalg.norm(right - left)
        for region, near in (("eyes", left), ("eyes", right), ("nose", nose), ("lips", np.mean(mouth, 0))):
            assert np.linalg.norm(centre(region, near, between / 2) - near) < 0.2 * between, region
        assert all((labels == REGIONS.index(region)).any() for region in ("background", "skin", "brows", "hair"))


@pytest.mark.parametrize(("name", "region"), [("beard", "beard"), ("sunglasses", "glasses"), ("hat", "hat"),
                                              ("mouth_open", "teeth")])
def test_an_edit_brings_its_region(name: str, region: str):
    [(_, *pair)] = attribute_pairs(name, "test", 5, 1)
    without, with_it = ((regions(face, 96) == REGIONS.index(region)).sum() for face in pair)
    assert with_it > without + 5


def run(*arguments: object) -> tuple[str, Exception | None]:
    done = CliRunner().invoke(application("faces"), ["faces", "--size", "32", *map(str, arguments)])
    return done.output, done.exception


def test_the_command_draws_a_sheet(tmp_path):
    out = tmp_path / "new" / "sheet.png"
    output, error = run("--count", 6, "--columns", 3, "--mixture", "balanced", "--any-age", "--out", out)
    assert error is None and "6 faces" in output
    width, height = Image.open(out).size
    assert width > 1.3 * height


def test_the_command_draws_a_strip_a_person_and_pairs(tmp_path):
    out = tmp_path / "strip.png"
    assert "age (years): 0, 45, 90" in run("--strip", "age", "--count", 3, "--out", out)[0]
    assert "2 faces" in run("--person", 4, "--looks", 2, "--out", out)[0]
    assert "4 faces" in run("--pairs", "beard", "--count", 2, "--columns", 1, "--out", out)[0]
    assert Image.open(out).size == (32 + 4 + 32, 32 + 12 + 32)
    assert [name for name, *_ in attribute_pairs("all", "test", 0, 1)] == ORDER


@pytest.mark.parametrize("name", ORDER)
def test_strips_and_pairs_change_only_their_attribute(name: str):
    [(_, *pair)] = attribute_pairs(name, "test", 0, 1)
    allowed = {ORDER.index(each) for each in (HAIR_COLOURS if name in HAIR_COLOURS else [name])}
    for low, high in (pair, attribute_strip(name, "test", 0, 2)):
        ends = np.stack([truth(low), truth(high)])
        assert tuple(ends[:, ORDER.index(name)]) == (ATTRIBUTES[name].low, ATTRIBUTES[name].high)
        assert name == "age" or set(np.flatnonzero(ends[0] != ends[1])) <= allowed


def test_the_command_refuses_what_it_cannot_draw():
    for option in ("--strip", "--pairs"):
        error = run(option, "halo")[1]
        assert isinstance(error, SettingsError)
        assert option in error.message and "smile" in error.next_step
    error = run("--strip", "age", "--person", 0, "--pairs", "smile")[1]
    assert isinstance(error, SettingsError)
    assert all(option in error.message for option in ("--strip", "--person", "--pairs"))


def test_the_benchmark_counts_every_stage():
    from core.faces import render

    before = {name: getattr(render, name) for name in ("build", "all_strands", "_develop")}
    cost = bench.measure(looks=2, size=32)
    assert set(cost.stages) == {*bench.STAGES, "other"}
    assert sum(cost.stages.values()) == pytest.approx(cost.face)
    assert min(cost.stages[stage] for stage in bench.STAGES) > 0
    assert all(getattr(render, name) is function for name, function in before.items())
