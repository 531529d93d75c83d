"""The tab `clusters` with toy networks: the wall of groups, map and tree, a visitor's pictures, worn groups."""

import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from clusters_toys import GROUPS, checkout, made_up
from PIL import Image

from core import systems
from core.engine.result import Restored
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


def test_names_are_kept_when_the_app_starts_again(tab):
    with gr.Blocks():
        assert clusters.Tab().names.secret == tab.names.secret      # what the browser keeps is encrypted with it


def test_a_photo_that_can_not_be_used_hides_the_worn_faces_and_keeps_the_groups(tab, found, tmp_path):
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "grey.png")
    chosen = picked(tab, found, 0)
    changed = drawn(tab, action="wear", group=0, grouping=chosen[tab.grouping], face="photo",
                    photo=str(tmp_path / "grey.png"))
    assert "bad" in changed[tab.notice] and changed[tab.worn]["visible"] is False and tab.gallery not in changed


def test_a_chosen_group_is_worn_beside_the_groups(tab, found):
    chosen = picked(tab, found, 1)
    assert tab.ask_to_wear(chosen[tab.group])[tab.action] == "wear" and tab.ask_to_wear(None).get(tab.action) is None
    asked = dict(action="wear", group=chosen[tab.group], grouping=chosen[tab.grouping], face="random", count=2, seed=5)
    worn, again = (drawn(tab, **asked, strength=strength) for strength in (1.0, 0.5))
    assert [caption[:10] for _, caption in worn[tab.worn]["value"]] == ["Before", "Similarity"] * 2
    assert tab.gallery not in worn
    both = drawn(tab, **asked, strength=1.0, method="both")
    assert [caption.split("\n")[0] for _, caption in both[tab.worn]["value"]] == ["Before", "ASIN", "AdaIN"] * 2
    assert "2 faces" in both[tab.status]
    kept = [[each["seed"] for each in changed[tab.shown].result.settings] for changed in (worn, again)]
    assert kept[0] == kept[1]       # the same faces at another strength
    assert worn[tab.shown].request.grouping == 0        # the seed of the groups on show, not the one being typed
    assert tab.other_faces("random", 0, 2)[tab.faces_seed] != tab.other_faces("random", 0, 2)[tab.faces_seed]


def test_a_visitors_pictures_are_grouped(tab, tmp_path):
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, picture in enumerate(made_up(8)):
            Image.fromarray(picture).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"{number}.png")
        archive.writestr("no-picture.png", "hello")
    changed = {}
    for each in tab.receive(str(path), True, 50, "tiny", VISIT):
        changed |= each
    assert not path.exists() and changed[tab.k] == 2
    assert "8 of 9 pictures have a face" in changed[tab.notice] and "no-picture.png" in changed[tab.notice]
    groups = drawn(tab, source="images", crowd=changed[tab.crowd], k=3)
    assert len(groups[tab.gallery]["value"]) == 3
    assert groups[tab.found].request.crowd is changed[tab.crowd]


def test_what_is_missing_is_one_sentence(tab, tmp_path):
    changed = drawn(tab, source="images")
    assert "There are no pictures yet." in changed[tab.notice] and tab.gallery not in changed
    (tmp_path / "no.zip").write_text("hello")
    for path, problem in ((tmp_path / "no.zip", "no ZIP file"), (tmp_path, "a folder")):
        *_, refused = tab.receive(str(path), False, 50, "tiny", VISIT)
        assert problem in refused[tab.notice] and tab.run not in refused
    assert "No group is chosen." in drawn(tab, action="wear")[tab.notice]


def test_a_worn_picture_brings_its_settings_back(tab):
    request = Wear(k=GROUPS, group=3, face="drawn", person=4, method="adain", strength=0.5)
    result = [*systems.load("clusters").run(request)][-1]
    changed = tab.restore(result.images[0], **values(tab))
    names = ("action", "grouping", "group", "face", "person", "faces_seed", "method", "strength", "count")
    redrawn = drawn(tab, **{name: changed[getattr(tab, name)] for name in names})
    assert redrawn[tab.shown].result.settings[0] == result.settings[0]
    foreign = tab.restored(Restored(Discover(space="dinov2"), "photos"), checkpoint="tiny")
    assert foreign[tab.space] == "texture"
    assert Path(result.images[0]).exists() and changed[tab.run].endswith(clusters.widgets.NOTICE)
