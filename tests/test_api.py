"""Every action of the tab as a named endpoint, through gradio_client, as another program would call it."""

import json
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from core import systems

OTHERS = {"/vectors_faces", "/vectors_strip", "/aging_check_pictures", "/aging_teach", "/aging_people",
          "/aging_adapter"}


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


def draw(client: Client, **asked):
    return client.predict(**asked, api_name="/vectors_draw")


def numbers_in(files: list[str]) -> np.ndarray:
    return np.load(next(path for path in files if path.endswith(".npy")))


def test_every_endpoint_is_named_typed_and_explained(client):
    api = client.view_api(return_format="dict")
    of_systems = {f"/{name}_{action}" for name, row in systems.SYSTEMS.items()
                  for action in ("restore", "about", *(each.action for each in row.requests if each.draws))}
    assert set(api["named_endpoints"]) == of_systems | OTHERS
    assert api["unnamed_endpoints"] == {}
    for name, endpoint in api["named_endpoints"].items():
        assert len(endpoint["description"]) > 40 and endpoint["returns"], name
        for parameter in endpoint["parameters"]:
            assert parameter["parameter_name"].isidentifier() and parameter["label"], name
            assert parameter["python_type"]["type"] in {"float", "bool", "filepath", "str", "list[filepath]"}, name


def test_two_visitors_at_once_get_their_own(client, address):
    jobs = [Client(address, verbose=False).submit(count=5, seed=seed, api_name="/vectors_draw") for seed in (100, 200)]
    assert [job.result()[1][0]["seed"] for job in jobs] == [100, 200]


def test_long_work_comes_in_parts(client):
    job = client.submit(count=8, seed=1, api_name="/vectors_draw")
    assert [len(part[0]) for part in job] == [1, 4, 8, 8]        # the last brings the files


def test_long_work_can_be_stopped(client):
    job = client.submit(count=64, seed=1, api_name="/vectors_draw")
    next(iter(job))
    job.cancel()
    assert len(draw(client, count=1, seed=1)[0]) == 1
    assert len(job.outputs()[-1][0]) < 64


def test_exact_numbers_in_and_out(client, files):
    one = {"source": "vector", "file": handle_file(files / "one.npy")}
    tiles, facts, _, made = draw(client, **one, sigma=0)
    assert len(tiles) == 1 and facts[0]["sigma"] == 0
    assert np.allclose(numbers_in(made), np.load(files / "one.npy"))
    assert len(draw(client, source="vector", file=handle_file(files / "three.npy"))[0]) == 3
    _, facts, _, made = draw(client, **one, sigma=0.3, count=3, seed=5)
    assert [kept["seed"] for kept in facts] == [5, 5, 6] and facts[2]["sigma"] == 0.3
    assert not np.allclose(numbers_in(made)[2], np.load(files / "one.npy"))


def test_a_walk_begins_and_ends_where_it_should(client, files):
    _, facts, _, made = client.predict(source="vector", file=handle_file(files / "one.npy"),
                                       to_file=handle_file(files / "other.npy"), count=3, api_name="/vectors_walk")
    assert [kept["step"] for kept in facts] == [1, 2, 3]
    ends = [np.load(files / name) for name in ("one.npy", "other.npy")]
    assert np.allclose(numbers_in(made)[[0, 2]], ends, atol=1e-5)
    assert Image.open(next(path for path in made if path.endswith(".gif"))).n_frames == 4


def test_an_edit_is_exact_and_leaves_its_file_alone(client, files):
    before = np.load(files / "one.npy")
    _, facts, _, made = client.predict(source="vector", file=handle_file(files / "one.npy"), offsets="7: 2, 300: -4",
                                       count=3, api_name="/vectors_edit")
    moved = numbers_in(made) - before
    assert np.allclose(moved[:, 7], [0, 1, 2], atol=1e-6) and np.allclose(moved[:, 300], [0, -2, -4], atol=1e-6)
    assert not np.delete(moved, [7, 300], axis=1).any()
    assert facts[2]["offsets"] == {"7": 2.0, "300": -4.0}


def test_steering_always_ends_and_says_what_it_misses(client, files):
    job = client.submit(source="vector", file=handle_file(files / "one.npy"), yaw=80, limit=2, similarity=0.99,
                        api_name="/vectors_steer")
    *_, (tiles, facts, progress, made) = list(job)
    assert len(tiles) == 1 and made
    assert facts[0]["missed"] and facts[0]["iterations"] <= 2 and "misses the asked" in progress["notes"][0]


def test_a_photo_becomes_faces(client, files):
    crops, names, npy = client.predict(handle_file(files / "photo.png"), api_name="/vectors_faces")
    assert len(crops) == len(names) == 1
    assert Image.open(crops[0]["image"]).size == (112, 112)
    tiles, facts, _, _ = draw(client, source="photo", file=handle_file(files / "photo.png"), sigma=0)
    assert facts[0]["source"] == "photo"
    exact = draw(client, source="vector", file=handle_file(npy), sigma=0)[0]
    assert abs(picture_of(tiles[0]) - picture_of(exact[0])).max() <= 1
    marked = draw(client, source="photo", file=handle_file(files / "photo.png"), crop="0.44,0.22,0.28", count=1)
    assert len(marked[0]) == 1


def test_the_strip_is_a_picture_of_512_cells(client, files):
    strip = Image.open(client.predict(handle_file(files / "one.npy"), api_name="/vectors_strip"))
    assert strip.width == 2 * strip.height


def test_what_computes_here(client):
    about = client.predict(api_name="/vectors_about")
    assert about["checkpoint"] == "vectors-tiny" and about["kernel"] in {"plain", "torch", "xformers"}
    assert client.predict(api_name="/aging_about")["checkpoint"] == "aging-unet-tiny"


@pytest.mark.parametrize(("asked", "said"), [
    ({"count": 0}, "count can't be 0"), ({"count": 65}, "whole number from 1 to 64"), ({"seed": -7}, "seed can't be"),
    ({"source": "drawn", "person": -1}, "person can't be -1"), ({"sigma": 99}, "from 0 to 1.5"),
    ({"count": 64, "threshold": -0.5}, "people with cosines below"), ({"source": "photo"}, "needs a photo"),
])
def test_impossible_requests_are_refused_in_a_sentence(client, asked, said):
    with pytest.raises(Exception, match=said):
        draw(client, **asked)


@pytest.mark.parametrize(("source", "file", "said"), [
    ("vector", "notes.txt", "not a NumPy array"), ("vector", "nan.npy", "not finite"),
    ("photo", "notes.txt", "not a picture"), ("photo", "nobody.png", "No face was found"),
])
def test_a_bad_file_is_one_sentence(client, files, source, file, said):
    with pytest.raises(Exception, match=said) as error:
        draw(client, source=source, file=handle_file(files / file))
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("sent", ["photo.png", {"path": "{}", "meta": {"_type": "gradio.FileData"}}, None, 7])
def test_what_is_no_upload_is_refused_in_a_sentence(address, files, sent):
    """A text where a file belongs, a file of the server that was never uploaded, nothing at all."""
    sent = {**sent, "path": str(files / "photo.png")} if isinstance(sent, dict) else sent
    call, kind = f"{address}/gradio_api/call/vectors_faces", {"Content-Type": "application/json"}
    with urlopen(Request(call, json.dumps({"data": [] if sent is None else [sent]}).encode(), kind)) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{call}/{event}") as answer:
        said = answer.read().decode()
    assert said.startswith("event: error") and "null" not in said and "Upload" in said


def test_the_listeners_of_the_page_are_private(client):
    with pytest.raises(ValueError, match="api_name"):
        client.predict(api_name="/draw")
