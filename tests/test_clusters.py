"""`clusters` on toys: the contract of every system (tests/test_systems.py), a visitor's own pictures, groups worn.

The system is registered once its networks ship; until then this is where its contract is run.
"""

import copy
import csv
import io
import json
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from clusters_toys import FACES, GROUPS, checkout, made_up
from gradio.utils import get_upload_folder
from gradio_client import Client
from PIL import Image
from test_systems import ActionContract, RequestContract, pixels

from core import hub, images, photos, systems
from core.commands.run import add, run
from core.engine.result import last
from core.errors import CheckpointError, SettingsError
from core.hub import manifest
from core.systems import clusters
from core.systems.clusters.crowd import faces_of
from core.systems.clusters.request import Discover, Wear
from spaces import api

REQUESTS = clusters.REQUESTS


@pytest.fixture(scope="module", autouse=True)
def toys(tmp_path_factory):
    """Toys in the registry and among the commands."""
    with pytest.MonkeyPatch.context() as patch:
        checkout(tmp_path_factory.mktemp("clusters") / "checkpoints", patch)
        patch.setattr(run, "registered_groups", [*run.registered_groups])
        add(clusters.SYSTEM)
        yield


@pytest.fixture(scope="module")
def client(toys):
    """An app that has nothing but the endpoints."""
    with gr.Blocks(analytics_enabled=False) as demo:
        api.endpoints(clusters.SYSTEM)
    demo.queue().launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield Client(demo.local_url, verbose=False)
    demo.close()


@pytest.fixture(scope="module")
def made() -> dict:
    return {}


@pytest.mark.parametrize(("system", "request_"), [("clusters", each) for each in REQUESTS],
                         ids=[each.action for each in REQUESTS])
class TestAction(ActionContract):
    pass


@pytest.mark.parametrize("request_", REQUESTS, ids=[each.action for each in REQUESTS])
class TestRequest(RequestContract):
    pass


# A visitor's own pictures


@pytest.fixture(scope="module")
def pipeline(toys):
    return systems.load("clusters")


def packed(folder: Path, pictures, extra: dict[str, bytes] | None = None) -> str:
    """A ZIP of pictures (N, S, S, 3)."""
    path = folder / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / "one.png")
            archive.write(folder / "one.png", f"face-{number:02d}.png")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return str(path)


def own(folder: Path, count: int = 12, **settings) -> Discover:
    extra = settings.pop("extra", None)
    given = {"images": packed(folder, made_up(count), extra), "aligned": True, "k": 4}
    return Discover(**given | settings)


def test_two_folders_are_compared(pipeline, tmp_path):
    """Groups are the four colours: three pictures each, of one of which all are in the same folder."""
    folders = {f"all/{'winter' if number % 4 == 1 else 'summer'}/{number:02}.png": picture
               for number, picture in enumerate(made_up(12))}
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, picture in folders.items():
            content = io.BytesIO()
            Image.fromarray(picture).save(content, "PNG")
            archive.writestr(name, content.getvalue())
    end = last(pipeline.run(Discover(images=str(path), aligned=True, k=4)))
    assert sorted(kept["sets"] for kept in end.settings) == [["0% of summer", "100% of winter"],
                                                             *[["33% of summer", "0% of winter"]] * 3]
    rows = list(csv.DictReader(io.StringIO(Path(end.files["facet-groups.csv"]).read_text())))
    assert len(rows) == 12 and rows[0]["picture"] == "all/summer/00.png"
    winter = next(kept["group"] for kept in end.settings if kept["sets"][0] == "0% of summer")
    assert all(row["picture"].startswith("all/winter") == (row["group"] == str(winter)) for row in rows)
    assert all(kept["sets"] == [] for kept in last(pipeline.run(own(tmp_path))).settings)


@pytest.mark.parametrize(("names", "sets"), [
    (("a/1", "a/2", "b/1"), ("a", "b")), (("x/a/1", "x/b/c/1"), ("a", "b")), (("a/1", "b/1", "c/1"), None),
    (("1", "2"), None), (("a/1", "2"), None), (("a/1", "a/2"), None), (("a/b/1", "a/1"), None),
    (("a\\1", "b\\2"), ("a", "b")), (("<b>x\n" + "y" * 5000 + "/1", "b/1"), ("<b>x " + "y" * 19, "b"))])
def test_which_pictures_are_two_sets(names, sets):
    found = faces_of(names, made_up(len(names)), torch.zeros(len(names), 35)).sets
    if sets is None:
        assert found is None
    else:
        assert found[0] == sets and found[1].tolist() == [0, 0, 1][-len(names):]


def test_own_pictures_fall_into_groups(pipeline, tmp_path):
    """Groups are the four colours. Every file is written. A note names each picture that was left out."""
    asked = own(tmp_path, tree="2", members=True, extra={"notes.txt": b"hello", "face-99.png": b""})
    results = list(pipeline.run(asked))
    assert [result.step for result in results] == sorted(result.step for result in results)
    end = results[-1]
    assert end.step == end.steps == 13 + 12 + 4 and sum(end.scores["faces"]) == 12
    assert [note.split(":")[0] for note in end.notes if "Left out" in note] == ["Left out face-99.png"]
    files = pipeline.files(end)
    rows = [*csv.reader(Path(files["table"]).read_text("utf-8").splitlines())][1:]
    kinds = {row[0]: int(row[0][5:7]) % 4 for row in rows}
    groups = [{kinds[row[0]] for row in rows if row[1] == str(group)} for group in range(4)]
    assert sorted(map(tuple, groups)) == [(0,), (1,), (2,), (3,)]
    levels = json.loads(Path(files["tree"]).read_text())["levels"]
    assert [level["k"] for level in levels] == [2, 4]
    names = zipfile.ZipFile(files["zip"]).namelist()
    assert {"facet-groups.csv", "facet-groups.png", "facet-members-03.png", "settings.json"} < set(names)


def test_own_pictures_are_not_marked_nor_stored(pipeline, tmp_path):
    end = last(pipeline.run(own(tmp_path)))
    for path, kept in zip(end.images, end.settings, strict=True):
        assert images.AI_MADE.encode() not in Path(path).read_bytes()
        assert not any("faces.zip" in str(value) for value in kept.values())
    with pytest.raises(SettingsError, match="uploaded pictures"):
        pipeline.restored(end.images[0])


@pytest.mark.parametrize(("count", "k", "said"), [(3, 4, "k can't be 4 with 3 faces"), (1, 2, "there is one"),
                                                  (0, 2, "there are none")])
def test_more_groups_than_faces_are_refused(pipeline, tmp_path, count, k, said):
    for tree in ("", "2"):
        with pytest.raises(SettingsError, match=said):
            last(pipeline.run(own(tmp_path, count, k=k, tree=tree, extra={"a.png": b"hello"})))


def test_a_second_run_into_a_folder_replaces_nothing(toys, tmp_path):
    made = systems.make("clusters", "tiny", folder=tmp_path / "out")
    first, second = (last(made.run(Discover(k=k, space="texture", members=True))) for k in (3, 4))
    assert not set(first.files.values()) & set(second.files.values())
    assert len(Path(first.files["facet-groups.csv"]).read_text().splitlines()) == len(made.crowd) + 1
    assert made.files(second)["table"] == second.files["facet-groups.csv"]


def test_a_stopped_run_still_has_a_zip(pipeline):
    results = pipeline.run(Discover(k=6, space="texture", seed=9))
    stopped = next(result for result in results if result.images)
    results.close()
    assert set(pipeline.files(stopped)) == {"zip"}


def test_the_folder_of_all_uploads_is_refused(client):
    """gradio takes its own folder for an uploaded file."""
    settings = {name: setting.default for name, setting in Discover.settings().items()}
    uploads = {"path": get_upload_folder(), "meta": {"_type": "gradio.FileData"}}
    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    call = f"{client.src.rstrip('/')}/gradio_api/call/clusters_discover"
    content = json.dumps({"data": [*(settings | {"images": uploads}).values(), "tiny"]}).encode()
    asked = urllib.request.Request(call, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}") as answer:
        stream = answer.read().decode()
    assert "event: error" in stream and "images can't be a folder" in stream


def test_faces_go_to_another_process(pipeline):
    sent = copy.deepcopy(pipeline.crowd)        # by the same state as pickle
    assert sent.names == pipeline.crowd.names and sent.key == pipeline.crowd.key
    assert pipeline.discover(sent, "texture", 3).k == 3


def test_a_picture_given_twice_counts_once(pipeline, tmp_path):
    twice = np.concatenate([made_up(4), made_up(4)])
    asked = replace(own(tmp_path), images=packed(tmp_path, twice), k=5)
    with pytest.raises(SettingsError, match="k can't be 5 with 4 faces"):
        last(pipeline.run(asked))


def test_an_impossible_file_is_refused_before_anything_is_done(pipeline, tmp_path):
    (tmp_path / "no.zip").write_text("hello")
    for path, said in ((tmp_path / "no.zip", "no ZIP file"), (tmp_path / "none", "no ZIP file")):
        with pytest.raises(SettingsError, match=said):
            pipeline.run(Discover(images=str(path)))


def test_k_and_space_switch_without_looking_again(pipeline, tmp_path, monkeypatch):
    """Features are computed once for each space; faces that the caller holds are not read again."""
    from core.systems.clusters import crowd, intake

    faces = last(pipeline.check_pictures(intake.entries_in(own(tmp_path).images), aligned=True)).faces
    assert len(faces) == 12 and faces.table.shape == (12, 35)
    for space in ("texture", "shape"):
        assert pipeline.discover(faces, space, 4).k == 4
    monkeypatch.setattr(crowd.Faces, "images", lambda *rows: pytest.fail("a face was read again"))
    assert [pipeline.discover(faces, space, k).k for space in ("texture", "shape") for k in (2, 3, 5)] == [2, 3, 5] * 2
    monkeypatch.undo()
    end = last(pipeline.run(Discover(crowd=faces, k=3)))
    assert sum(end.scores["faces"]) == 12


# The crowd that ships


def test_the_translators_groups_are_the_default(pipeline):
    """With its space, its k and seed 0; another seed finds others."""
    found = pipeline.discover(pipeline.crowd, "texture", GROUPS)
    assert torch.equal(found.clusters.centres, pipeline.groups.centres)
    other = pipeline.discover(pipeline.crowd, "texture", GROUPS, seed=1)
    assert not torch.equal(other.clusters.centres, pipeline.groups.centres)
    assert pipeline.discover(pipeline.crowd, "persons", 3).k == 3


def test_a_space_needs_its_checkpoint(pipeline):
    with pytest.raises(SettingsError, match="space can't be dinov2") as error:
        pipeline.run(Discover(space="dinov2"))
    assert "photos" in error.value.next_step
    with pytest.raises(CheckpointError, match="dinov2-small"):
        systems.make("clusters", "photos")
    with pytest.raises(CheckpointError, match="bagnet17") as error:
        systems.make("clusters", "published")
    assert "import bagnet17 FILE" in error.value.next_step


# Wearing


def wear(pipeline, **settings):
    return last(pipeline.run(Wear(**{"k": GROUPS, "face": "drawn", "person": 3, "count": 1, "seed": 1} | settings)))


def test_a_face_wears_a_group(pipeline):
    """Each method, group and strength gives another picture; the same ask the same one, alone and among others."""
    picture = pixels(wear(pipeline, group=2).images[0])
    assert picture.shape == (256, 256, 3)
    assert np.array_equal(picture, pixels(wear(pipeline, group=2, count=2, person=3).images[0]))
    for change in ({"group": 1}, {"method": "adain"}, {"strength": 0.4}, {"k": 4}, {"space": "shape"}, {"grouping": 5}):
        assert not np.array_equal(picture, pixels(wear(pipeline, **{"group": 2} | change).images[0])), change


def test_both_methods_wear_it_side_by_side(pipeline):
    both = wear(pipeline, group=2, method="both", count=2)
    assert [kept["worn_by"] for kept in both.settings] == ["asin", "adain"] * 2
    assert both.total == both.step == 4 and len(both.files) == 2
    for method, at in (("asin", 0), ("adain", 1)):
        alone = wear(pipeline, group=2, method=method)
        assert np.array_equal(pixels(alone.images[0]), pixels(both.images[at]))
        assert Path(alone.images[0]).name == Path(both.images[at]).name


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_group_can_be_exaggerated(pipeline, group):
    assert np.isfinite(pixels(wear(pipeline, group=group, method="adain", strength=1.5, person=group).images[0])).all()


def test_at_strength_0_a_face_wears_its_own_group(pipeline):
    own_group = [pixels(wear(pipeline, group=group, strength=0.0).images[0]) for group in (0, 4)]
    assert np.array_equal(*own_group)


def test_own_pictures_can_be_worn(pipeline, tmp_path):
    from core.systems.clusters import intake

    faces = last(pipeline.check_pictures(intake.entries_in(own(tmp_path).images), aligned=True)).faces
    results = [wear(pipeline, crowd=faces, k=4, group=group, method=method)
               for group in (0, 1) for method in ("asin", "adain")]
    shown = [pixels(result.images[0]) for result in results]
    assert not any(np.array_equal(shown[0], other) for other in shown[1:])


def test_a_face_of_a_photo_wears_a_group(pipeline, tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    Image.fromarray(made_up(1)[0]).resize((300, 300)).save(path)
    face = photos.Face((50, 50, 250, 250), photos.TEMPLATE * 1.5 + 60, 1.0, "hand")
    monkeypatch.setattr(photos, "find", lambda picture: [face])
    end = wear(pipeline, face="photo", photo=str(path), count=4)
    assert len(end.images) == end.total == 1 and "photo" not in end.settings[0]
    before, = end.files.values()
    aligned = np.asarray(pipeline.face_in(str(path)))
    assert np.array_equal(pixels(before), aligned) and b"trainedAlgorithmicMedia" not in Path(before).read_bytes()
    with pytest.raises(SettingsError, match="which can't be 1"):
        wear(pipeline, face="photo", photo=str(path), which=1)
    with pytest.raises(SettingsError, match="no photo"):
        pipeline.restored(end.images[0])


def test_impossible_wishes_are_refused(pipeline):
    for settings, said in (({"group": 6}, "group can't be 6 with k 6"), ({"photo": "a.png"}, "photo has no use"),
                           ({"face": "photo"}, "no photo")):
        with pytest.raises(SettingsError, match=said):
            wear(pipeline, **settings)


def test_a_translator_of_labels_wears_its_own_groups_only(pipeline, monkeypatch):
    network = pipeline.wearing.networks["asin"]
    label = replace(network.config, condition="label", features=FACES // 4)
    torch.manual_seed(0)
    toy = type(network)(label).eval().requires_grad_(False)
    monkeypatch.setitem(pipeline.wearing.networks, "asin", toy)
    assert len(wear(pipeline, group=1).images) == 1
    with pytest.raises(SettingsError, match="its own groups only"):
        wear(pipeline, group=1, k=4)


# Registration


def test_the_system_is_not_offered_before_its_networks_ship(tmp_path, monkeypatch):
    assert clusters.SYSTEM.is_shipped
    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path)
    assert not clusters.SYSTEM.is_shipped           # no manifest at all
    for row in ROWS_BUT_ONE:
        manifest.put(row, tmp_path)
    assert not clusters.SYSTEM.is_shipped
    assert "clusters" in systems.SYSTEMS             # put there by the toys


ROWS_BUT_ONE = [hub.Row(name, f"{name}.safetensors") for name in clusters.CHOICES[0].files()[:-1]]
