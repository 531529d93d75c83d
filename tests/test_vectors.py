"""The pipeline `vectors` and its command line, without a browser."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from core import images, reading, systems
from core.checks import number, whole
from core.commands.run import run
from core.engine.checks import square
from core.engine.result import Result, last
from core.errors import PhotoError, PictureError, SettingsError, VectorError
from core.metrics import cosine
from core.systems.vectors import numbers
from core.systems.vectors.pipeline import OPENING, sizes, varied
from core.systems.vectors.request import Source


@pytest.fixture(scope="module")
def system():
    return systems.load("vectors")


@pytest.fixture(scope="module")
def source() -> Source:
    return Source("vector", face(3))


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    from skimage import data

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def face(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(512).astype(np.float32)


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def apart(a: str, b: str) -> int:
    """The largest difference between two pictures, 0 .. 255."""
    return int(abs(pixels(a) - pixels(b)).max())


# --------------------------------------------------------------------------------------------- what people ask for

@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "3", None, -0.1, 1.6, [1]])
def test_a_number_out_of_range_is_named(value):
    with pytest.raises(SettingsError, match=r"sigma can't be .*\n  Choose a number from 0 to 1.5"):
        number(value, "sigma", 0, 1.5)


@pytest.mark.parametrize("value", [2.5, 0, 65, 1e30, float("nan"), True, "x" * 500])
def test_a_whole_number_is_whole_and_in_range(value):
    with pytest.raises(SettingsError) as error:
        whole(value, "count", 1, 64)
    assert len(error.value.message) < 80


def test_whole_takes_a_float_that_is_whole():
    assert whole(3.0, "count", 1, 64) == 3


@pytest.mark.parametrize(("x", "y", "side", "box"), [
    (0.5, 0.5, 1, (50, 0, 150, 100)), (0, 0, 0.5, (0, 0, 50, 50)), (1, 1, 0.5, (150, 50, 200, 100)),
])
def test_the_square_stays_inside_the_picture(x, y, side, box):
    assert square((200, 100), x, y, side) == box


def test_an_unknown_system_lists_the_known():
    with pytest.raises(SettingsError, match="Choose from: vectors"):
        systems.load("portraits")


# ------------------------------------------------------------------------------------------------------ numbers

@pytest.mark.parametrize("values", [
    np.zeros(512), np.full(512, np.nan), np.ones(511), np.ones((2, 3, 512)), np.ones((0, 512)), np.ones((65, 512)),
    "face", [["a"] * 512], 7.0,
])
def test_numbers_that_are_no_face_are_refused(values):
    with pytest.raises(VectorError):
        numbers.checked(values)


def test_checked_numbers_are_a_copy():
    values = np.ones(512, np.float32)
    numbers.checked(values)[0, 0] = 5
    assert values[0] == 1


@pytest.mark.parametrize("rows", [1, 3])
def test_a_file_of_vectors_comes_back_exactly(rows, tmp_path):
    vectors = np.stack([face(row) for row in range(rows)])
    path = numbers.write(vectors, tmp_path, "face.npy")
    assert np.array_equal(numbers.read(path), vectors)
    assert np.load(path).shape == ((512,) if rows == 1 else (3, 512))


def bad_files() -> dict[str, bytes]:
    def saved(array: np.ndarray, **options) -> bytes:
        from io import BytesIO

        np.save(stream := BytesIO(), array, **options)
        return stream.getvalue()

    huge = saved(np.ones(512, np.float32)).replace(b"(512,), ", b"(2000000000, 512), ")
    return {"empty": b"", "text": b"hello", "pickle": saved(np.array([{"a": 1}]), allow_pickle=True), "huge": huge,
            "cut": saved(np.ones(512))[:300], "short": saved(np.ones(500)), "words": saved(np.array(["a"] * 512)),
            "complex": saved(np.ones(512, complex)), "zip": b"PK\x03\x04" + bytes(40)} | {
                shape: saved(np.ones(512)).replace(b"(512,), }" + b" " * (len(shape) - 6), f"{shape}, }}".encode())
                for shape in ("(10**30, 512)", "(-1, 512)", "(9223372036854775807, 512)", "(((512,)")}


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(VectorError, match=r"gone\.npy is not there"):
        numbers.read(tmp_path / "gone.npy")


@pytest.mark.parametrize("kind", bad_files())
def test_a_bad_file_is_one_sentence(kind, tmp_path):
    path = tmp_path / "face.npy"
    path.write_bytes(bad_files()[kind])
    with pytest.raises(VectorError) as error:
        numbers.read(path)
    assert error.value.message.endswith(".")
    assert error.value.next_step


def test_packed_numbers_are_exact():
    assert np.array_equal(numbers.unpacked(numbers.packed(face(1))), face(1))


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", None, 7, numbers.packed(np.full(512, np.inf, np.float32))])
def test_packed_numbers_from_strangers_are_checked(text):
    with pytest.raises(VectorError):
        numbers.unpacked(text)


def test_the_strip_has_a_cell_for_every_number():
    vector = np.zeros(512, np.float32)
    vector[0], vector[511] = -1, 1
    strip = np.asarray(numbers.strip(vector, cell=2))
    assert strip.shape == (32, 64, 3)
    assert tuple(strip[0, 0]) == numbers.LOW
    assert tuple(strip[31, 63]) == numbers.HIGH
    assert tuple(strip[0, 2]) == numbers.MIDDLE


def test_batches_begin_with_one_picture():
    assert [list(sizes(total)) for total in (0, 1, 3, 20)] == [[], [1], [1, 2], [1, 3, 4, 8, 4]]


def test_sigma_turns_a_vector_and_keeps_its_length():
    moved = varied(np.stack([face(1)] * 3), [0.0, 0.3, 0.9], [1, 1, 1])
    assert np.allclose(np.linalg.norm(moved, axis=1), np.linalg.norm(face(1)), rtol=1e-4)
    assert np.allclose(moved[0], face(1), atol=1e-5)
    assert cosine(moved[1], face(1)) > cosine(moved[2], face(1)) + 0.1


# ------------------------------------------------------------------------------------------------------- pictures

def test_the_same_person_alone_and_among_others(system):
    many = last(system.people(seed=11, count=6))
    alone = last(system.people(seed=many.seeds[4], count=1))
    assert alone.seeds == many.seeds[4:5]
    assert apart(alone.images[0], many.images[4]) <= 1
    assert apart(many.images[0], many.images[1]) > 20


def test_the_same_variation_alone_and_among_others(system, source):
    many = last(system.variations(source, 0.5, 6, seed=20))
    alone = last(system.variations(source, 0.5, 1, seed=23))
    assert many.seeds == (20, 21, 22, 23, 24, 25)
    assert apart(alone.images[0], many.images[3]) <= 1
    assert np.array_equal(alone.vectors[0], many.vectors[3])


def test_variations_begin_with_the_source_itself_if_asked(system, source):
    result = last(system.variations(source, 0.5, 2, seed=5, itself=True))
    assert [kept["sigma"] for kept in result.settings] == [0.0, 0.5, 0.5]
    assert result.seeds == (5, 5, 6)
    assert apart(result.images[0], system.picture(source).images[0]) <= 1


def test_a_sheet_has_as_many_pictures_as_asked_for(system, source):
    assert len(last(system.sheet([source], count=3, seed=1)).images) == 3
    assert len(last(system.sheet([source], count=1, seed=1)).images) == 1
    assert len(last(system.sheet([source, Source("vector", face(4))], count=9)).images) == 2


def test_sigma_nought_is_one_picture(system, source):
    assert len(last(system.variations(source, 0.0, 9)).images) == 1


def test_the_similarity_is_that_of_the_picture_shown(system, source):
    result = last(system.variations(source, 0.5, 2, seed=1))
    for path, alike in zip(result.images, result.scores["similarity"], strict=True):
        assert float(cosine(system._embedded([reading.read(path)])[0], source.vector)) == pytest.approx(alike, abs=1e-3)


def test_work_comes_in_parts_and_stops_when_nobody_asks(system, monkeypatch):
    drawn, draw = [], system._pictures
    monkeypatch.setattr(system, "_pictures", lambda *both: drawn.append(len(both[0])) or draw(*both))
    results = system.people(seed=1, count=20)
    assert len(next(results).images) == 1
    assert len(next(results).images) == 4
    results.close()
    assert drawn == [1, 3]


def test_nothing_given_is_changed(system):
    vector = face(8)
    source = Source("vector", vector)
    last(system.variations(source, 0.9, 2, seed=1))
    system.vector(vector)
    assert np.array_equal(vector, face(8))


@pytest.mark.parametrize("asked", [{"count": 0}, {"count": 65}, {"count": float("nan")}, {"count": 1.5}, {"seed": -2},
                                   {"seed": 2**32}, {"seed": True}, {"seed": float("nan")}])
def test_impossible_wishes_are_refused(system, source, asked):
    with pytest.raises(SettingsError):
        system.people(**{"seed": 1, "count": 1, **asked})
    with pytest.raises(SettingsError):
        system.variations(source, **{"seed": 1, "count": 1, **asked})


@pytest.mark.parametrize("sigma", [-0.1, 1.51, float("nan"), None, True])
def test_impossible_sigmas_are_refused(system, source, sigma):
    with pytest.raises(SettingsError):
        system.variations(source, sigma)


# ---------------------------------------------------------------------------------------------- what files remember

def made(system, source) -> Result:
    return last(system.variations(source, 0.7, 3, seed=40))


def test_a_picture_remembers_how_to_make_it_again(system, source):
    result = made(system, source)
    request = system.restored(result.images[1]).request
    assert (request.source, request.sigma, request.count, request.seed) == ("vector", 0.7, 3, 41)
    again = last(system.variations(request.faces[0], request.sigma, 1, request.seed))
    assert apart(again.images[0], result.images[1]) <= 1


def test_a_picture_names_what_made_it(system, source):
    settings = images.settings_of(made(system, source).images[0])
    assert settings["system"] == "vectors"
    assert settings["checkpoint"] == "vectors-tiny"
    assert len(settings["sha256"]) == len(settings["embedder_sha256"]) == 64
    assert {"kernel", "device", "version", "torch", "similarity"} <= set(settings)


def test_other_files_remember_nothing(system, photo, tmp_path):
    other = images.save(Image.new("RGB", (8, 8)), {"system": "aging"}, tmp_path)
    assert system.restored(photo) is None
    assert system.restored(other) is None


@pytest.mark.parametrize("changed", [{"sigma": 99}, {"count": 10**9}, {"seed": -5}, {"seed": "x"}, {"vector": "AAAA"},
                                     {"vector": None}, {"source": "drawn", "person": -1}, {"source": "drawn"}])
def test_settings_from_strangers_are_checked(system, source, tmp_path, changed):
    settings = images.settings_of(made(system, source).images[0]) | changed
    with pytest.raises((SettingsError, VectorError)):
        system.restored(images.save(Image.new("RGB", (8, 8)), settings, tmp_path))


def test_the_zip_holds_pictures_numbers_and_settings(system, source):
    result = made(system, source)
    with zipfile.ZipFile(system.files(result)["zip"]) as archive:
        names = archive.namelist()
        assert sum(name.endswith(".png") for name in names) == 3
        assert json.loads(archive.read("settings.json"))[2]["seed"] == 42
        with archive.open("facet-vectors.npy") as stream:
            assert np.array_equal(np.load(stream), result.vectors)


def test_old_files_go(system):
    old, young = Path(system.npy(face(1)[None])).parent, Path(system.npy(face(1)[None])).parent
    os.utime(old, (0, 0))
    systems.tidy()
    assert not old.exists()
    assert young.exists()


def test_those_whom_everybody_sees_first_are_drawn_once(system):
    first, second = (last(system.people(*OPENING)).images for _ in range(2))
    assert first == second
    assert last(system.people(*OPENING[:2], threshold=0.31)).images != first
    for old in (system.folder, Path(first[0]).parent):
        os.utime(old, (0, 0))
    assert last(system.people(*OPENING)).images == first
    systems.tidy()                # somebody has just seen them
    assert Path(first[0]).exists()
    os.utime(Path(first[0]).parent, (0, 0))
    systems.tidy()
    again = last(system.people(*OPENING)).images
    assert again != first
    assert apart(again[-1], last(system.people(*OPENING)).images[-1]) == 0


def test_a_folder_of_ones_own_is_kept(tmp_path):
    mine = systems.make("vectors", folder=tmp_path / "mine")
    last(mine.people(seed=1, count=1))
    os.utime(next(mine.folder.iterdir()), (0, 0))
    mine.tidy()
    assert {path.name for path in mine.folder.iterdir()} >= {"facet-people-seed1-sigma0.png"}
    assert {Path(image).parent for image in last(mine.people(*OPENING)).images} == {mine.folder}


# -------------------------------------------------------------------------------------------------------- sources

def test_a_photo_gives_its_face(system, photo):
    found = system.faces_in(photo)
    assert len(found) == 1
    assert found[0].vector.shape == (512,)
    assert Image.open(found[0].picture).size == (112, 112)
    assert last(system.from_photo(photo, 0, 0.3, 2, seed=1)).settings[0]["source"] == "photo"


def test_only_faces_that_are_there_can_be_chosen(system, photo):
    with pytest.raises(SettingsError, match="from 0 to 0"):
        system.from_photo(photo, face=1)


def test_a_picture_without_a_face_says_so(system):
    with pytest.raises(PhotoError):
        system.faces_in(Image.new("RGB", (300, 200), "teal"))


def test_a_file_that_is_no_picture_says_so(system):
    with pytest.raises(PictureError):
        system.faces_in(b"hello")


def test_a_face_can_be_marked_by_hand(system, photo):
    marked = system.cropped(photo, x=0.44, y=0.22, size=0.28)
    assert cosine(marked.vector, system.faces_in(photo)[0].vector) > 0.5
    with pytest.raises(SettingsError):
        system.cropped(photo, x=7)


def test_the_preview_is_small_and_bare(system, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "camera"
    Image.new("RGB", (3000, 1000), "teal").save(tmp_path / "big.jpg", exif=exif)
    preview = Image.open(system.preview(tmp_path / "big.jpg"))
    assert preview.size == (640, 213)
    assert not preview.getexif()


def test_a_drawn_person_is_the_same_every_time(system):
    person = system.person(5)
    assert np.array_equal(system.person(5).vector, person.vector)
    assert not np.array_equal(system.person(6).vector, person.vector)
    assert person.person == 5
    with pytest.raises(SettingsError):
        system.person(-1)


# --------------------------------------------------------------------------------------------------- command line

def called(*arguments: str):
    return CliRunner().invoke(run, ["vectors", *arguments])


def test_the_command_line_draws_people(tmp_path):
    done = called("draw", "--count", "2", "--seed", "5", "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "2 pictures" in done.output
    assert len(list(tmp_path.glob("facet-people-*.png"))) == 2
    assert np.load(tmp_path / "facet-vectors.npy").shape == (2, 512)


def test_the_command_line_takes_a_photo_and_numbers(photo, tmp_path):
    done = called("draw", "--source", "photo", "--file", str(photo), "--count", "2", "--seed", "5", "--out",
                  str(tmp_path))
    assert done.exit_code == 0, done.output
    np.save(tmp_path / "one.npy", np.load(tmp_path / "facet-vectors.npy")[0])
    done = called("draw", "--source", "vector", "--file", str(tmp_path / "one.npy"), "--sigma", "0", "--out",
                  str(tmp_path / "b"))
    assert done.exit_code == 0, done.output
    photo_itself = next(tmp_path.glob("facet-photo-*-sigma0.png"))
    assert apart(photo_itself, next((tmp_path / "b").glob("facet-vector-*.png"))) <= 1


def test_the_command_line_zips(tmp_path):
    called("draw", "--count", "2", "--seed", "5", "--zip", "--out", str(tmp_path))
    with zipfile.ZipFile(tmp_path / "facet-pictures.zip") as archive:
        assert {"facet-vectors.npy", "settings.json"} < set(archive.namelist()) and len(archive.namelist()) == 4


def test_the_command_line_draws_a_picture_again(system, tmp_path):
    first = called("draw", "--source", "drawn", "--person", "7", "--count", "3", "--sigma", "0.4", "--seed", "9",
                   "--out", str(tmp_path))
    assert first.exit_code == 0, first.output
    path = tmp_path / "facet-drawn7-seed10-sigma0.4.png"
    assert called("draw", "--like", str(path), "--count", "2", "--out", str(tmp_path / "b")).exit_code == 0
    assert sorted(each.name for each in (tmp_path / "b").glob("facet-drawn*.png")) == [
        "facet-drawn7-seed10-sigma0.4.png", "facet-drawn7-seed10-sigma0.png"]
    assert apart(path, tmp_path / "b" / path.name) <= 1
    Image.open(path).convert("RGB").save(tmp_path / "plain.png")
    wrong = ("draw", "plain.png", "does not hold the settings"), ("walk", path.name, "made by draw")
    for action, file, said in wrong:
        refused = called(action, "--like", str(tmp_path / file), "--out", str(tmp_path / "c"))
        assert said in refused.exception.message


def test_the_command_line_takes_a_face_that_is_marked(system, photo, tmp_path):
    done = called("draw", "--source", "photo", "--file", str(photo), "--crop", "0.45,0.3,0.4", "--count", "1", "--out",
                  str(tmp_path))
    assert done.exit_code == 0, done.output
    path, = tmp_path.glob("facet-photo-*.png")
    assert np.array_equal(system.restored(path).request.faces[0].vector, system.cropped(photo, 0.45, 0.3, 0.4).vector)


@pytest.mark.parametrize("arguments", [("--source", "photo"), ("--source", "drawn", "--person", "-1"),
                                       ("--source", "vector", "--file", "no"), ("--file", "me.jpg"),
                                       ("--crop", "0.5,0.3,0.4"), ("--preset", "magic"),
                                       ("--source", "photo", "--file", "me.jpg", "--crop", "0.5,0.3")])
def test_the_command_line_says_what_is_missing(arguments, tmp_path):
    done = called("draw", *arguments, "--out", str(tmp_path))
    assert isinstance(done.exception, SettingsError | VectorError)
