"""Faces found, mapped back and aligned: on a real photo, turned, shrunk, enlarged; and what happens without one."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from core import hub, photos, reading
from core.errors import CheckpointError, PhotoError
from core.photos import TEMPLATE, align, crop, face_in, find, similarity

EYES = np.array([(203.0, 101.0), (246.5, 103.5)])                  # of the astronaut, measured by eye
MOUTH = np.array([(204.5, 140.7), (243.7, 141.3)])
COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)], np.uint8)


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.astronaut())


@pytest.fixture(autouse=True)
def without_yunet(monkeypatch):
    """As on a machine that has fetched nothing, whatever this one's cache holds."""
    monkeypatch.setattr(hub, "place", lambda row: None if row.name == "yunet" else row.shipped)


def turned(image: Image.Image, degrees: float, points: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The picture turned counter-clockwise on a canvas that holds it, and where points go."""
    result = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="gray")
    angle = np.radians(degrees)
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    middle, new = (np.array(picture.size) / 2 - 0.5 for picture in (image, result))
    return result, (points - middle) @ turn.T + new


def moved(points: np.ndarray, face: photos.Face) -> np.ndarray:
    """Where points of the picture lie in the face's aligned crop."""
    return photos._mapped(similarity(face.points, TEMPLATE), points)


# ------------------------------------------------------------------------------------------------------ a real photo

def test_the_astronaut_has_one_face(astronaut):
    (face,) = find(astronaut)
    assert face.finder == "haar"
    assert np.abs(face.points[:2] - EYES).max() < 2.5
    x0, y0, x1, y1 = face.box
    assert x0 < EYES[:, 0].min() < EYES[:, 0].max() < x1
    assert y0 < EYES[:, 1].min() < MOUTH[:, 1].max() < y1


@pytest.mark.parametrize("degrees", [-40, 12, 35])
def test_turned_photos(astronaut, degrees):
    picture, eyes = turned(astronaut, degrees, EYES)
    (face,) = find(picture)
    assert np.abs(moved(eyes, face) - TEMPLATE[:2]).max() < 2.5


def test_a_photo_lying_on_its_side(astronaut):
    exif, stream = Image.Exif(), BytesIO()
    exif[0x0112] = 6
    astronaut.transpose(Image.Transpose.ROTATE_90).save(stream, "JPEG", exif=exif, quality=95)
    (face,) = find(reading.read(stream.getvalue()))
    assert np.abs(face.points[:2] - EYES).max() < 2.5


@pytest.mark.parametrize("scale", [0.6, 3.7])
def test_sizes(astronaut, scale):
    size = round(512 * scale)
    (face,) = find(astronaut.resize((size, size), Image.Resampling.LANCZOS))
    assert np.abs(face.points[:2] / scale - EYES).max() < 3
    assert np.abs(moved(EYES * scale, face) - TEMPLATE[:2]).max() < 2.5


def test_largest_first(astronaut):
    group = Image.new("RGB", (1100, 560), "gray")
    group.paste(astronaut.crop((100, 0, 350, 250)), (30, 40))
    group.paste(astronaut.crop((100, 0, 350, 250)).resize((500, 500)), (560, 40))
    large, small = find(group)
    assert large.area > 2 * small.area
    assert np.abs(large.points[:2] - ((EYES - (100, 0)) * 2 + (560, 40))).max() < 5
    assert np.abs(small.points[:2] - (EYES - (100, 0) + (30, 40))).max() < 2.5


def test_the_crop_shows_the_face(astronaut):
    (face,) = find(astronaut)
    picture = align(astronaut, face.points)
    assert (picture.size, picture.mode) == ((112, 112), "RGB")
    pixels = np.asarray(picture.convert("L")).astype(int)
    for x, y in TEMPLATE[:2].round().astype(int):
        pupil = pixels[y - 2:y + 3, x - 2:x + 3].min()
        cheek = pixels[y + 14:y + 19, x - 2:x + 3].mean()
        assert pupil < 90 < 150 < cheek


def test_two_look_at_once(astronaut):
    """The cascades are not made for that: without a lock they err, or see other boxes."""
    pictures = [astronaut, astronaut.resize((700, 900)).rotate(20, expand=True)]
    alone = [find(picture)[0].box for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert [faces[0].box for faces in pool.map(find, pictures * 6)] == alone * 6


def test_finding_changes_nothing(astronaut):
    picture = astronaut.copy()
    first, second = find(picture), find(picture)
    assert picture == astronaut
    assert np.array_equal(first[0].points, second[0].points)


def faceless(kind: str) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    return {"flat": Image.new("RGB", (300, 300), "pink"), "noise": Image.fromarray(noise),
            "one pixel": Image.new("RGB", (1, 1)), "line": Image.new("RGB", (4000, 1)),
            "column": Image.new("RGB", (3, 900), "white")}[kind]


@pytest.mark.parametrize("kind", ["flat", "noise", "one pixel", "line", "column"])
def test_no_face(kind):
    with pytest.raises(PhotoError, match="No face was found") as caught:
        find(faceless(kind))
    assert "by hand" in caught.value.next_step


@pytest.mark.parametrize("name", ["coffee", "chelsea", "coins"])
def test_things_are_not_faces(name):
    data = pytest.importorskip("skimage.data")
    with pytest.raises(PhotoError):
        find(reading.read(Image.fromarray(getattr(data, name)())))


# ---------------------------------------------------------------------------------------------------------- geometry

def dotted(size: tuple[int, int], points: np.ndarray, radius: float) -> Image.Image:
    """A black picture with five discs, COLOURS in order, exact to a part of a pixel."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for point, colour in zip(points, COLOURS, strict=True):
        low = np.floor(point - radius).clip(0).astype(int)
        part = pixels[low[1]:low[1] + int(2 * radius) + 3, low[0]:low[0] + int(2 * radius) + 3]
        rows, columns = np.indices(part.shape[:2])
        part[np.hypot(columns + low[0] - point[0], rows + low[1] - point[1]) < radius] = colour
    return Image.fromarray(pixels)


def placed(angle: float, scale: float, x: float, y: float) -> np.ndarray:
    """The (2, 3) matrix of a turn in degrees, a scale and a shift."""
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    return np.array([(cos, -sin, x), (sin, cos, y)])


SIMILARITY = st.builds(placed, st.floats(-180, 180), st.floats(0.05, 40), st.floats(-500, 500), st.floats(-500, 500))


@given(SIMILARITY)
def test_a_similarity_is_found_exactly(matrix):
    points = photos._mapped(matrix, TEMPLATE)
    assert np.allclose(photos._mapped(similarity(points, TEMPLATE), points), TEMPLATE, atol=1e-6)


@given(st.integers(0, 10**6), st.sampled_from(range(4)), st.sampled_from([-1e-3, 1e-3]))
def test_no_similarity_is_closer(seed, number, change):
    points = np.random.default_rng(seed).normal(0, 30, (5, 2))
    best = similarity(points, TEMPLATE)
    a, b, x, y = np.array([best[0, 0], best[1, 0], best[0, 2], best[1, 2]]) + change * np.eye(4)[number]
    other = np.array([(a, -b, x), (b, a, y)])
    def distance(m):
        return ((photos._mapped(m, points) - TEMPLATE) ** 2).sum()
    assert distance(best) <= distance(other)


def test_a_mirrored_face_is_not_mirrored_back():
    matrix = similarity(TEMPLATE * (-1, 1), TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), 7.0)])
def test_points_that_are_no_face(points):
    with pytest.raises(PhotoError):
        align(Image.new("RGB", (50, 50)), points)


@settings(max_examples=30)
@given(st.floats(-180, 180), st.floats(1, 12), st.sampled_from([112, 224]))
def test_points_land_on_the_template(angle, scale, size):
    points = photos._mapped(placed(angle, scale, 0, 0), TEMPLATE)
    points = points - points.min(0) + 40
    picture = dotted(tuple((points.max(0) + 40).astype(int).tolist()), points, 4 * scale)
    pixels = np.asarray(align(picture, points, size)).astype(float)
    found = [np.argwhere(np.abs(pixels - colour).max(2) < 60).mean(0)[::-1] for colour in COLOURS]
    off = np.array(found) * 112 / size - TEMPLATE
    assert np.abs(off.mean(0)).max() < 0.3      # half a pixel, were centres taken for corners
    assert np.abs(off).max() < 0.7              # a dot's own edge is rough


def test_what_lies_outside_is_black():
    pixels = np.asarray(align(Image.new("RGB", (112, 112), "white"), TEMPLATE + np.array([40, 0])))
    assert pixels[:, :70].min() == 255
    assert pixels[:, 74:].max() == 0


def test_shrinking_averages():
    stripes = np.zeros((1120, 1120, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(np.asarray(align(Image.fromarray(stripes), TEMPLATE * 10)).astype(int)[2:-2, 2:-2] - 127).max() <= 2


# ----------------------------------------------------------------------------------------------------------- by hand

def test_a_box_around_nothing_known_is_the_crop():
    picture = Image.new("RGB", (400, 300), "gray")
    ImageDraw.Draw(picture).rectangle((100, 50, 211, 161), fill="red")
    assert np.asarray(crop(picture, (100, 50, 212, 162))).reshape(-1, 3).mean(0).tolist() == [255, 0, 0]
    face = face_in(picture, (100, 50, 212, 162))
    assert (face.finder, face.score, face.box) == ("hand", 0, (100, 50, 212, 162))
    assert np.allclose(face.points, TEMPLATE + np.array([100, 50]))


def test_a_box_is_made_square_and_cut_to_the_picture():
    face = face_in(Image.new("RGB", (400, 300)), (-50, 100, 90, 1e9))
    assert face.box == (0, 100, 90, 300)
    assert np.allclose(photos.similarity(TEMPLATE, face.points), placed(0, 200 / 112, -55, 100))


def test_a_box_around_a_face_finds_its_eyes(astronaut):
    face = face_in(astronaut, (170, 50, 290, 180))
    assert face.finder == "hand"
    assert np.abs(face.points[:2] - EYES).max() < 2.5


def test_a_box_elsewhere_is_taken_at_its_word(astronaut):
    face = face_in(astronaut, (300, 300, 400, 400))
    assert np.allclose(face.points, TEMPLATE * (100 / 112) + 300)


BOXES = [(), (1, 2, 3), (1, 2, 3, 4, 5), ("a", 1, 2, 3), None, (0, 0, 5, 5), (50, 50, 10, 10), (0, 0, float("nan"), 90),
         (500, 500, 600, 600), (-90, -90, -10, -10), (0, 0, 0, 0)]


@pytest.mark.parametrize("box", BOXES)
def test_boxes_that_are_not(box):
    with pytest.raises(PhotoError) as caught:
        crop(Image.new("RGB", (100, 100)), box)
    assert caught.value.next_step


# ------------------------------------------------------------------------------------------------------------- YuNet

class FakeYuNet:
    """Answers as cv2.FaceDetectorYN does: rows of box, five points, score, in pixels of what it was shown."""

    @classmethod
    def create(cls, path, config, size, *thresholds):
        cls.size = size
        return cls()

    def detect(self, pixels):
        assert pixels.shape[:2] == self.size[::-1]
        assert pixels[0, 0].tolist() == [0, 0, 255]       # BGR: the picture is red
        rows = [[10, 20, 30, 40, *range(100, 110), 0.8], [0, 0, 90, 80, *range(10), 0.9]]
        return 1, np.array(rows, np.float32)


@pytest.fixture
def yunet(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "place", lambda row: tmp_path / "yunet.onnx")
    monkeypatch.setattr(hub, "file", lambda name: tmp_path / "yunet.onnx")
    return tmp_path / "yunet.onnx"


def test_yunet_comes_first_when_it_is_here(yunet, monkeypatch):
    monkeypatch.setattr("cv2.FaceDetectorYN", FakeYuNet)
    large, small = find(Image.new("RGB", (2048, 1024), "red"))        # shown at half its size
    assert large.box == (0, 0, 180, 160)
    assert small.box == (20, 40, 80, 120)
    assert small.points.tolist() == [[200, 202], [204, 206], [208, 210], [212, 214], [216, 218]]
    assert (small.finder, round(small.score, 3)) == ("yunet", 0.8)


def test_yunet_is_never_fetched_on_the_quiet(monkeypatch):
    monkeypatch.setattr(hub, "file", lambda *args, **options: pytest.fail("fetched"))
    with pytest.raises(PhotoError):
        find(faceless("flat"))


def test_a_broken_yunet_is_said_to_be(yunet):
    yunet.write_bytes(b"not a network")
    with pytest.raises(CheckpointError, match="not YuNet") as caught:
        find(faceless("flat"))
    assert "fetch yunet" in caught.value.next_step


# ------------------------------------------------------------------------------------------------------- drawn faces

def sees_dots(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Stands in for the point finder: (N, 3, 96, 96) in [-1, 1] -> points in [-1, 1] and logits, by colour."""
    assert batch.shape[1:] == (3, 96, 96)
    colours = torch.from_numpy(COLOURS) / 127.5 - 1
    near = ((batch[:, None] - colours[None, :, :, None, None]).abs().amax(2) < 0.7).float()      # (N, 5, 96, 96)
    count = near.sum((2, 3))
    at = (torch.arange(96) + 0.5) / 48 - 1
    x, y = (near.sum(2) * at).sum(2) / count, (near.sum(3) * at).sum(2) / count
    even = count.amin(1) > 0.6 * count.amax(1)                     # all five, none cut off, and only one face
    return torch.stack((x, y), 2).nan_to_num(), torch.where(even & (count.amax(1) < 300), count.amin(1), -9.0)


@pytest.fixture
def point_finder(monkeypatch):
    monkeypatch.setattr(photos, "_has_landmarks", lambda: True)
    monkeypatch.setattr(hub, "load", lambda name, device=None: sees_dots)


@pytest.mark.parametrize(("size", "matrix"), [
    ((400, 300), placed(15, 1.5, 150, 60)), ((96, 96), placed(0, 0.6, 15, 10)),
    ((900, 1800), placed(-10, 3, 300, 900)), ((128, 128), placed(0, 1, 8, 8))])
def test_where_the_point_finder_sees_a_face(point_finder, size, matrix):
    points = photos._mapped(matrix, TEMPLATE)
    (face,) = find(dotted(size, points, 5 * np.hypot(*matrix[:, 0])))
    assert face.finder == "drawn"
    assert np.abs(moved(points, face) - TEMPLATE).max() < 0.5


def test_two_drawn_faces(point_finder):
    large, small = (photos._mapped(placed(0, *where), TEMPLATE) for where in ((2, 330, 20), (1.4, 40, 60)))
    picture = Image.fromarray(np.maximum(dotted((600, 300), large, 10), dotted((600, 300), small, 7)))
    first, second = find(picture)
    assert np.abs(moved(large, first) - TEMPLATE).max() < 0.5
    assert np.abs(moved(small, second) - TEMPLATE).max() < 0.5


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_windows_cover_the_picture_and_are_few(width, height):
    whole, *parts = photos._windows(width, height)
    assert len(parts) < 250
    for squares in ([whole], parts or [whole]):
        boxes = np.array([photos._bounds(square) for square in squares]) + 0.5
        assert boxes[:, :2].min(0).max() <= 1e-6
        assert (boxes[:, 2:].max(0) >= np.array([width, height]) - 1e-6).all()


@pytest.mark.parametrize(("shift", "logit", "believed"), [(0.0, 15.0, True), (1.5, 15.0, True), (0.0, 5.0, False),
                                                          (9.0, 15.0, False)])
def test_the_point_finder_must_agree_about_the_eyes(astronaut, monkeypatch, shift, logit, believed):
    seen = np.array([*EYES, (225, 127.7), *MOUTH]) + shift
    monkeypatch.setattr(photos, "_has_landmarks", lambda: True)
    monkeypatch.setattr(photos, "_detect_points", lambda image, squares: (np.array([seen] * len(squares)),
                                                                    np.full(len(squares), logit)))
    (face,) = find(astronaut)
    assert face.finder == "haar"
    assert np.array_equal(face.points, seen) == believed


@pytest.mark.skipif(all(row.name != "landmarks-tiny" for row in hub.rows()), reason="landmarks-tiny has not shipped")
class TestShippedPointFinder:
    """What only the trained network can show."""

    def test_drawn_faces(self):
        from core import faces

        apart = []
        for number in range(12):
            identity = faces.person(number, split="test")
            drawn = faces.Face(identity, faces.look(identity, number))
            points = faces.points(drawn, 128, "portrait")
            try:
                face = find(Image.fromarray(faces.draw(drawn, 128, "portrait")))[0]
            except PhotoError:
                continue
            apart.append(np.abs(moved(points, face) - moved(face.points, face)).mean())      # in aligned pixels
        assert len(apart) >= 11
        assert np.mean(apart) < 2
        assert max(apart) < 6

    def test_the_astronaut_all_the_same(self, astronaut):
        """The cascade finds the photograph; points placed by the network stay near its eyes."""
        (face,) = find(astronaut)
        assert np.abs(face.points[:2] - EYES).max() < 3.5
        assert face.finder == "haar"

    def test_things_are_not_drawn_faces(self):
        data = pytest.importorskip("skimage.data")
        for name in ("chelsea", "rocket", "brick", "coffee", "coins"):
            assert not photos._drawn(reading.read(Image.fromarray(getattr(data, name)())))
