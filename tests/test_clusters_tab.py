"""The tab `clusters` with toy networks: the wall of groups, map and tree, a visitor's pictures, worn groups."""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from clusters_toys import GROUPS, checkout, made_up
from PIL import Image

from core import systems
from core.systems.clusters.request import Discover, Wear
from spaces import clusters

VISIT = SimpleNamespace(session_hash="visit")       # of a gradio request


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        checkout(tmp_path_factory.mktemp("tab") / "checkpoints", patch)
        with gr.Blocks():
            made = clusters.Tab()
        yield made


def values(tab, **changes) -> dict:
    """What the widgets hold when the page opens, with some changed."""
    opened = {name: widget.value for name, widget in tab.inputs.items()} | {"checkpoint": "tiny", "k": GROUPS}
    return opened | changes


def drawn(tab, **changes) -> dict:
    """All changes of one run."""
    changed = {}
    for each in tab.draw("run", request=VISIT, **values(tab, **changes)):
        changed |= each
    return changed


@pytest.fixture(scope="module")
def found(tab) -> dict:
    """What the page shows when groups were found."""
    return drawn(tab)


def picked(tab, found: dict, group: int, names: dict | None = None) -> dict:
    """The changes of a click on a group."""
    return tab.pick(found[tab.found], names or {}, SimpleNamespace(index=group))


def test_groups_are_strips_with_sizes_a_map_and_a_tree(tab, found):
    titles = [title for _, title in found[tab.gallery]["value"]]
    sizes = [int(title.splitlines()[0].split("·")[1].split()[0]) for title in titles]
    assert len(titles) == GROUPS and sum(sizes) == len(systems.load("clusters").crowd)
    assert found[tab.map]["visible"] and len(found[tab.map]["value"]["points"]) == sum(sizes)
    assert "<ul" in found[tab.tree] and found[tab.notice]


def test_a_click_on_the_wall_and_on_the_map_choose_the_same_group(tab, found):
    wall, on_map = picked(tab, found, 2), tab.pick_on_map(found[tab.found], {}, {"picked": 2})
    assert wall == on_map and wall[tab.group] == 2 and wall[tab.wear]["interactive"]
    assert "Group 2" in wall[tab.facts]
    assert tab.group not in picked(tab, found, GROUPS) or picked(tab, found, GROUPS)[tab.group] != GROUPS


def test_a_name_stays_with_its_group(tab, found):
    named = tab.rename(" Sunny <b> ", found[tab.found], 1, {})
    titles = [title for _, title in named[tab.gallery]["value"]]
    assert titles[1].startswith("Sunny <b> ·") and titles[0].startswith("Group 0")
    assert picked(tab, found, 1, named[tab.names])[tab.name] == "Sunny <b>"
    other = Discover(k=GROUPS, seed=3, space="texture")
    assert clusters.key_of(other, 1) not in named[tab.names]


def test_a_chosen_group_is_worn_beside_the_groups(tab, found):
    asked = tab.ask_to_wear(found[tab.found])
    assert asked[tab.action] == "wear"
    worn = drawn(tab, action="wear", group=1, face="drawn", count=2)
    assert [caption[:10] for _, caption in worn[tab.worn]["value"]] == ["similarity"] * 2 and tab.gallery not in worn


def test_a_visitors_pictures_are_grouped(tab, tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, picture in enumerate(made_up(8)):
            Image.fromarray(picture).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"{number}.png")
        archive.writestr("notes.txt", "hello")
    changed = {}
    for each in tab.receive(str(path), True, "tiny"):
        changed |= each
    assert "8 of 9 pictures have a face" in changed[tab.notice] and "notes.txt" in changed[tab.notice]
    groups = drawn(tab, source="images", crowd=changed[tab.crowd], k=3)
    assert len(groups[tab.gallery]["value"]) == 3
    assert groups[tab.found].request.crowd is changed[tab.crowd]


def test_what_is_missing_is_one_sentence(tab, tmp_path):
    changed = drawn(tab, source="images")
    assert "There are no pictures yet." in changed[tab.notice] and tab.gallery not in changed
    (tmp_path / "no.zip").write_text("hello")
    refused, = tab.receive(str(tmp_path / "no.zip"), False, "tiny")
    assert "no ZIP file" in refused[tab.notice] and tab.run not in refused


def test_a_worn_picture_brings_its_settings_back(tab):
    request = Wear(k=GROUPS, group=3, face="drawn", person=4, method="adain", strength=0.5)
    result = [*systems.load("clusters").run(request)][-1]
    changed = tab.restore(result.images[0], **values(tab))
    assert (changed[tab.action], changed[tab.group], changed[tab.method], changed[tab.strength]) == (
        "wear", 3, "adain", 0.5)
    assert Path(result.images[0]).exists() and changed[tab.run].endswith(clusters.widgets.NOTICE)
