"""The previous renderer, as the networks of aging learned from it: the same numbers, the same picture and points."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from core.faces_v3 import VERSION, Face, draw, draw_many, look, person, points, through_life

FIXTURES = Path(__file__).parent / "fixtures"
TEMPLATE = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]


def calm(number: int = 5, **changes) -> Face:
    """A grown-up facing us, with nothing on and nothing moved but `changes`."""
    identity = person(number, "test")
    return Face(identity, through_life(identity, 30)).with_(**changes)


def test_splits_share_nobody():
    shapes = {shape_of(person(n, split)) for split in ("train", "validation", "test") for n in range(300)}
    assert len(shapes) == 900


def shape_of(identity) -> tuple:
    return tuple(value for name, value in vars(identity).items() if name not in {"number", "split"})


def test_same_numbers_same_picture():
    assert np.array_equal(draw(calm(3, yaw=20), 96), draw(calm(3, yaw=20), 96))


def test_same_numbers_same_picture_on_every_machine():
    """As another machine drew them, when the shipped networks were trained. Rounding may differ between processors."""
    drawn = [Face(person(number, "test"), look(person(number, "test"), number)) for number in range(6)]
    row = np.concatenate([draw(face, 64, view) for view in ("portrait", "aligned") for face in drawn], 1)
    assert VERSION == 3
    apart = np.abs(row.astype(int) - np.asarray(Image.open(FIXTURES / "faces_v3.png")))
    assert (apart <= 1).mean() >= 0.999 and apart.max() <= 3


def test_a_picture_does_not_depend_on_its_neighbours():
    faces = [calm(n, yaw=10.0 * n) for n in range(4)]
    many = np.stack(list(draw_many(faces, size=64, view="portrait", workers=2)))
    alone = np.stack([draw(face, 64) for face in faces])
    assert np.abs(many.astype(int) - alone).max() <= 1


def test_every_pixel_is_a_number():
    """No division by nothing on the way to a picture: a NaN would end as a black pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(24):
            someone = person(seed, "train")
            draw(Face(someone, look(someone, seed)), 64)


def test_points_are_ordered_and_inside():
    for seed in range(40):
        someone = person(seed, "test")
        face = Face(someone, look(someone, seed))
        found = points(face, 128, "portrait")
        assert found.shape == (5, 2)
        assert (found > 0).all() and (found < 128).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = points(calm(), 128, "portrait")
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_the_aligned_view_puts_the_points_on_the_template():
    for face in (calm(), calm(7, roll=25), calm(9, yaw=15, pitch=8)):
        error = np.linalg.norm(points(face, 112, "aligned") - TEMPLATE, axis=1)
        assert error.mean() < 5, error
    assert np.allclose(points(calm(), 224, "aligned"), points(calm(), 112, "aligned") * 2, atol=1.5)
