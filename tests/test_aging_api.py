"""Every action of the tab `aging` as a named endpoint, through gradio_client, as another program would call it."""

from dataclasses import replace
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from core import faces_v3 as faces
from core import hub, subjects

AGES = ["child", "teenager", "youngadults", "middleaged", "elderly", "old"]


@pytest.fixture(scope="module")
def client(shared_app) -> Client:
    return Client(shared_app, verbose=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Things to send: pictures of one drawn person, adapters, and files that are neither."""
    folder, person = tmp_path_factory.mktemp("files"), faces.person(78, "test")
    for number in range(6):
        look = faces.look(person, number, age=30.0, yaw=4.0 * number - 10, pitch=0.0, roll=0.0, blur=0.0, exposure=0.0,
                          eyes_closed=0.0, sunglasses=0.0, hat=0.0)
        Image.fromarray(faces.draw(faces.Face(person, look), size=256)).save(folder / f"me{number}.png")
    (folder / "notes.txt").write_text("hello")
    whole = hub.file("aging-person-1")
    (folder / "cut.safetensors").write_bytes(whole.read_bytes()[:-1000])
    subjects.write(replace(subjects.read(whole), base="sd14"), folder / "other.safetensors")
    return folder


def test_somebody_at_an_age_comes_with_settings_and_a_zip(client):
    tiles, facts, far, archive = client.predict(prompt="photo of a wzx person as old", person="1", steps=4, seed=7,
                                                count=2, api_name="/aging_draw")
    assert len(tiles) == len(facts) == 2
    assert [kept["seed"] for kept in facts] == [7, 8]
    assert far["step"] == 4
    assert archive[0].endswith(".zip")
    kept = client.predict(handle_file(tiles[0]["image"]), api_name="/aging_restore")
    assert (kept["prompt"], kept["seed"], kept["steps"]) == ("photo of a wzx person as old", 7, 4)


def test_six_ages_arrive_in_parts(client):
    job = client.submit(steps=6, seed=1, api_name="/aging_strip")
    parts = list(job)
    assert len(parts) > 2
    assert parts[0][0][0]["caption"] == "under way"
    assert [kept["group"] for kept in parts[-1][1]] == AGES


def test_the_people_who_ship(client):
    portraits, facts = client.predict(api_name="/aging_people")
    assert len(portraits) == len(facts) == 4
    assert {kept["token"] for kept in facts} <= {"wzx", "sks", "ams", "ukj"}


def test_pictures_are_looked_at_one_by_one(client, files):
    crops, found = client.predict([handle_file(files / name) for name in ("me0.png", "notes.txt")],
                                  api_name="/aging_check_pictures")
    assert len(crops) == 1
    assert [kept["good"] for kept in found] == [True, False]
    assert "not a picture" in found[1]["problem"]


def test_somebody_is_taught_and_drawn(client, files):
    pictures = [handle_file(files / f"me{number}.png") for number in range(6)]
    far, preview, adapter = client.predict(pictures, "Ben", "ams", 2, 3, api_name="/aging_teach")
    assert (far["step"], far["token"]) == (2, "ams")
    assert preview.endswith(".png")
    assert (far["calibration"], far["notes"]) == (1, [])
    kept = client.predict(handle_file(adapter), api_name="/aging_adapter")
    assert kept["name"] == "Ben" and list(kept["ages"]) == AGES
    _, facts, _, _ = client.predict(adapter=handle_file(adapter), steps=2, seed=1, api_name="/aging_draw")
    assert facts[0]["subject"] == "Ben"


@pytest.mark.parametrize(("asked", "said"), [
    ({"prompt": ""}, "The prompt is empty"),
    ({"person": "Napoleon"}, "no person 'Napoleon'"),
    ({"steps": 0}, "steps can't be 0"),
    ({"count": 99}, "whole number from 1 to 16"),
    ({"guidance": 0.5}, "guidance can't be 0.5"),
    ({"solver": "magic"}, "solver can't be"),
    ({"floor": 2}, "floor can't be 2"),
    ({"seed": -7}, "seed"),
])
def test_impossible_wishes_are_refused_in_a_sentence(client, asked, said):
    with pytest.raises(Exception, match=said):
        client.predict(**asked, api_name="/aging_draw")


@pytest.mark.parametrize(("name", "said"), [
    ("notes.txt", "cut off or damaged"),
    ("cut.safetensors", "cut off or damaged"),
    ("other.safetensors", "sd14"),
    ("me0.png", "no safetensors file"),
])
def test_a_bad_adapter_is_one_sentence(client, files, name, said):
    with pytest.raises(Exception, match=said) as error:
        client.predict(handle_file(files / name), api_name="/aging_adapter")
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(("names", "said"), [([], "no pictures"), (["me0.png"], "only 1 usable picture"),
                                             (["notes.txt"], "None of the pictures can be used")])
def test_too_few_pictures_are_refused_in_a_sentence(client, files, names, said):
    with pytest.raises(Exception, match=said):
        client.predict([handle_file(files / name) for name in names], api_name="/aging_teach")
