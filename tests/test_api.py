"""Every action of the tab as a named endpoint, through gradio_client, as another program would call it."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from test_aging_api import ENDPOINTS as AGING

ENDPOINTS = {"/people", "/variations", "/picture", "/walk", "/edit", "/turn", "/clear_up", "/drawn", "/from_photo",
             "/from_crop", "/faces_in_photo", "/strip", "/settings_of", "/about"}


@pytest.fixture(scope="module")
def address(shared_app) -> str:
    return shared_app


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Things to send: a photo, a vector, several vectors, and files that are neither."""
    from skimage import data

    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(1)
    Image.fromarray(data.astronaut()).save(folder / "photo.png")
    np.save(folder / "one.npy", rng.standard_normal(512).astype(np.float32))
    np.save(folder / "other.npy", rng.standard_normal(512).astype(np.float32))
    np.save(folder / "three.npy", rng.standard_normal((3, 512)).astype(np.float32))
    np.save(folder / "nan.npy", np.full(512, np.nan))
    (folder / "notes.txt").write_text("hello")
    Image.new("RGB", (200, 200), "teal").save(folder / "nobody.png")
    return folder


def picture_of(tile: dict) -> np.ndarray:
    return np.asarray(Image.open(tile["image"])).astype(int)


def test_every_action_is_named_typed_and_explained(client):
    api = client.view_api(return_format="dict")
    assert set(api["named_endpoints"]) == ENDPOINTS | AGING
    assert api["unnamed_endpoints"] == {}
    for name, endpoint in ((name, api["named_endpoints"][name]) for name in ENDPOINTS):
        assert len(endpoint["description"]) > 40, name
        assert endpoint["returns"], name
        for parameter in endpoint["parameters"]:
            assert parameter["parameter_name"].isidentifier(), name
            assert parameter["python_type"]["type"] in {"float", "filepath", "str"}, name
            assert parameter["label"], name


def test_people_come_with_their_numbers_and_a_zip(client):
    tiles, facts, npy, archive = client.predict(count=3, seed=7, api_name="/people")
    assert len(tiles) == len(facts) == 3
    assert tiles[0]["image"].endswith(".png")
    assert np.load(npy).shape == (3, 512)
    assert facts[0]["seed"] == 7
    assert -1 <= facts[0]["similarity"] <= 1
    assert archive.endswith(".zip")


def test_pictures_arrive_byte_for_byte(client):
    tile = client.predict(count=1, seed=7, api_name="/people")[0][0]
    kept = client.predict(handle_file(tile["image"]), api_name="/settings_of")
    assert (kept["source"], kept["seed"], len(kept["vector"])) == ("people", 7, 512)


def test_the_same_person_whoever_asks(client, address):
    other = Client(address, verbose=False)
    alone = client.predict(count=1, seed=9, api_name="/people")[0][0]
    among = other.predict(count=4, seed=9, api_name="/people")[0][0]
    assert abs(picture_of(alone) - picture_of(among)).max() <= 1


def test_two_visitors_at_once_get_their_own(client, address):
    jobs = [Client(address, verbose=False).submit(count=5, seed=seed, api_name="/people") for seed in (100, 200)]
    assert [job.result()[1][0]["seed"] for job in jobs] == [100, 200]


def test_long_work_comes_in_parts(client):
    job = client.submit(count=8, seed=1, api_name="/people")
    parts = [len(part[0]) for part in job]
    assert parts == [1, 4, 8]


def test_long_work_can_be_stopped(client):
    job = client.submit(count=64, seed=1, api_name="/people")
    next(iter(job))
    job.cancel()
    assert len(client.predict(count=1, seed=1, api_name="/people")[0]) == 1
    assert len(job.outputs()[-1][0]) < 64


def test_exact_numbers_in_and_out(client, files):
    tiles, facts, npy, _ = client.predict(handle_file(files / "one.npy"), api_name="/picture")
    assert len(tiles) == 1
    assert facts[0]["sigma"] == 0
    assert np.allclose(np.load(npy), np.load(files / "one.npy"))
    assert len(client.predict(handle_file(files / "three.npy"), api_name="/picture")[0]) == 3


def test_variations_of_a_vector(client, files):
    _, facts, npy, _ = client.predict(handle_file(files / "one.npy"), sigma=0.3, count=2, seed=5,
                                      api_name="/variations")
    assert [kept["seed"] for kept in facts] == [5, 6]
    assert facts[0]["sigma"] == 0.3
    assert not np.allclose(np.load(npy)[0], np.load(files / "one.npy"))


def test_a_walk_begins_and_ends_where_it_should(client, files):
    ends = [handle_file(files / name) for name in ("one.npy", "other.npy")]
    _, facts, npy, archive, film = client.predict(*ends, steps=3, api_name="/walk")
    assert [kept["step"] for kept in facts] == [1, 2, 3]
    assert np.allclose(np.load(npy)[[0, 2]], [np.load(files / name) for name in ("one.npy", "other.npy")], atol=1e-5)
    assert Image.open(film).n_frames == 4
    assert archive.endswith(".zip")


def test_an_edit_is_exact_and_leaves_its_file_alone(client, files):
    before = np.load(files / "one.npy")
    _, facts, npy, _ = client.predict(handle_file(files / "one.npy"), offsets="7: 2, 300: -4", steps=3,
                                      api_name="/edit")
    moved = np.load(npy) - before
    assert np.allclose(moved[:, 7], [0, 1, 2], atol=1e-6)
    assert np.allclose(moved[:, 300], [0, -2, -4], atol=1e-6)
    assert not np.delete(moved, [7, 300], axis=1).any()
    assert facts[2]["offsets"] == {"7": 2.0, "300": -4.0}


def test_turning_always_ends_and_says_what_it_misses(client, files):
    job = client.submit(handle_file(files / "one.npy"), yaw=80, limit=2, similarity=0.99, api_name="/turn")
    *_, (tiles, facts, _, archive) = list(job)
    assert len(tiles) == 1
    assert archive.endswith(".zip")
    assert facts[0]["missed"]
    assert facts[0]["iterations"] <= 2
    assert {"yaw", "quality", "similarity"} <= set(facts[0])


def test_clearing_up_asks_for_no_pose(client, files):
    facts = client.predict(handle_file(files / "one.npy"), quality=0, limit=1, similarity=-1, api_name="/clear_up")[1]
    assert facts[0]["missed"] == []
    assert facts[0]["yaw_target"] is None


def test_a_photo_becomes_faces(client, files):
    crops, names, npy = client.predict(handle_file(files / "photo.png"), api_name="/faces_in_photo")
    assert len(crops) == len(names) == 1
    assert Image.open(crops[0]["image"]).size == (112, 112)
    tiles, facts, _, _ = client.predict(handle_file(files / "photo.png"), sigma=0, api_name="/from_photo")
    assert facts[0]["source"] == "photo"
    exact = client.predict(handle_file(npy), api_name="/picture")[0]
    assert abs(picture_of(tiles[0]) - picture_of(exact[0])).max() <= 1


def test_a_face_marked_by_hand(client, files):
    marked = client.predict(handle_file(files / "photo.png"), x=0.44, y=0.22, size=0.28, count=1, api_name="/from_crop")
    assert len(marked[0]) == 1


def test_a_drawn_person(client):
    facts = client.predict(person=3, sigma=0, api_name="/drawn")[1]
    assert (facts[0]["source"], facts[0]["person"]) == ("drawn", 3)


def test_the_strip_is_a_picture_of_512_cells(client, files):
    strip = Image.open(client.predict(handle_file(files / "one.npy"), api_name="/strip"))
    assert strip.width == 2 * strip.height


def test_what_computes_here(client):
    about = client.predict(api_name="/about")
    assert about["checkpoint"] == "vectors-tiny"
    assert about["kernel"] in {"plain", "torch", "xformers"}


@pytest.mark.parametrize(("endpoint", "asked", "said"), [
    ("/people", {"count": 0}, "count can't be 0"),
    ("/people", {"count": 65}, "whole number from 1 to 64"),
    ("/people", {"seed": -7}, "seed"),
    ("/people", {"count": "many"}, "."),
    ("/drawn", {"person": -1}, "person can't be -1"),
    ("/drawn", {"sigma": 99}, "from 0 to 1.5"),
    ("/people", {"count": 64, "threshold": -0.5}, "people with cosines below"),
])
def test_impossible_wishes_are_refused_in_a_sentence(client, endpoint, asked, said):
    with pytest.raises(Exception, match=said):
        client.predict(**asked, api_name=endpoint)


@pytest.mark.parametrize(("endpoint", "file", "said"), [
    ("/picture", "notes.txt", "not a NumPy array"),
    ("/picture", "nan.npy", "not finite"),
    ("/variations", "three.npy", "3 faces"),
    ("/turn", "three.npy", "3 faces"),
    ("/edit", "notes.txt", "not a NumPy array"),
    ("/from_photo", "notes.txt", "not a picture"),
    ("/from_photo", "nobody.png", "No face was found"),
    ("/faces_in_photo", "one.npy", "not a picture"),
])
def test_a_bad_file_is_one_sentence(client, files, endpoint, file, said):
    with pytest.raises(Exception, match=said) as error:
        client.predict(handle_file(files / file), api_name=endpoint)
    assert "Traceback" not in str(error.value)


def test_files_of_the_server_can_not_be_asked_for(address, files):
    theirs = {"path": str(files / "photo.png"), "meta": {"_type": "gradio.FileData"}}      # there, but never uploaded
    call, kind = f"{address}/gradio_api/call/faces_in_photo", {"Content-Type": "application/json"}
    with urlopen(Request(call, json.dumps({"data": [theirs]}).encode(), kind)) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{call}/{event}") as answer:
        said = answer.read().decode()
    assert said.startswith("event: error")


def test_the_listeners_of_the_page_are_private(client):
    with pytest.raises(ValueError, match="api_name"):
        client.predict(api_name="/draw")
