"""The tab `attributes` with toy networks: sliders, sources, masks, what it shows."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace

import browsing
import gradio as gr
import numpy as np
import pytest
from attribute_toys import SIZE, toy_checkout
from browsing import visiting
from PIL import Image
from playwright.sync_api import expect

from core import faces, systems
from core.engine.result import Restored, last
from core.errors import PictureError
from core.faces import ATTRIBUTES, NAMES
from core.systems.attributes.request import GROUPS, OF_LATENTS, SWITCHED, Compare, Edit, Invert, Strengths, Sweep
from spaces import attributes, paint
from spaces.sliders import empty

browser = browsing.browser      # the fixture


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with toy_checkout(tmp_path_factory.mktemp("tab") / "checkpoints"):
        with gr.Blocks():
            made = attributes.Tab()
        yield made


def values(tab, **changes) -> dict:
    """What the widgets hold when the page opens, with some changed."""
    return {name: widget.value for name, widget in tab.inputs.items()} | {"checkpoint": "tiny"} | changes


def asking(**asked: float) -> dict:
    return {**empty(), "asked": asked}


def test_every_attribute_has_a_slider(tab):
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(ATTRIBUTES)
    assert all(f'id="slider-{name}"' in tab.sliders.html_template for name in ATTRIBUTES)


def test_only_moved_sliders_are_asked_for(tab):
    request = tab.wanted(**values(tab, sliders={**asking(smile=1.0), "start": {"age": 30.0}, "frozen": ["glasses"]}))
    assert isinstance(request, Edit) and request.asked == {"smile": 1.0} and request.kept == ("glasses",)
    assert tab.is_quick(request) and not tab.is_quick(tab.wanted(**values(tab, source="example", refine=4)))


def test_a_swept_attribute_is_not_asked_for_by_value(tab):
    request = tab.wanted(**values(tab, action="sweep", swept="age", sliders=asking(age=70.0, smile=1.0))).checked()
    assert isinstance(request, Sweep) and request.asked == {"smile": 1.0}
    assert isinstance(tab.wanted(**values(tab, action="compare")), Compare)


def test_l2m_gan_gets_its_attributes_and_references(tab):
    asked = values(tab, method="l2m", sliders=asking(smile=1.0, age=70.0), glasses_reference="g.png")
    request = tab.wanted(**asked)
    assert request.asked == {"smile": 1.0} and request.references == {"glasses": "g.png"}
    assert tab.wanted(**asked | {"method": "ganspace"}).references == {}        # a hidden panel asks for nothing
    assert tab.wanted(**asked | {"action": "compare"}).asked == {"smile": 1.0, "age": 70.0}
    strip = tab.wanted(**asked | {"action": "strengths", "count": 4}).checked()
    assert isinstance(strip, Strengths) and len(strip.stops) == 4
    assert tab.is_quick(tab.wanted(**asked | {"source": "example", "refine": 4}))      # nothing is inverted


def test_an_action_shows_what_belongs_to_it(tab):
    seen = tab.open_action("edit", "l2m", asking(smile=1.0))
    assert seen[tab.sliders]["only"] == [*SWITCHED] and seen[tab.references.panel]["visible"]
    assert seen[tab.sliders]["asked"] == {"smile": 1.0}
    seen = tab.open_action("sweep", "l2m", asking())
    assert seen[tab.method]["value"] == "latent-to-latent" and "l2m" not in dict(seen[tab.method]["choices"]).values()
    assert seen[tab.sliders]["only"] == [] and seen[tab.swept]["visible"] and not seen[tab.references.panel]["visible"]
    seen = tab.open_action("strengths", "ganspace", asking())
    assert not seen[tab.strength]["visible"] and seen[tab.count]["visible"] and not seen[tab.swept]["visible"]
    assert tab.open_action("compare", "ganspace", asking())[tab.references.panel]["visible"]


def test_strengths_are_captions(tab):
    changes = {}
    for each in tab.draw("run", request=None, **values(tab, action="strengths", method="l2m", count=3,
                                                       sliders=asking(smile=1.0))):
        changes |= each
    titles = [title.splitlines()[0] for _, title in changes[tab.gallery]["value"]]
    assert titles == ["Before", "Strength -0.5", "Strength 0.5", "Strength 1.5"]
    assert changes[tab.table].count("Strength") == 3


def test_drawn_references_are_offered_with_and_without_an_attribute(tab):
    changed = tab.references.open("tiny", None)
    for name in SWITCHED:
        paths = changed[tab.references.people[name]]
        there = [faces.truth(faces.frontal(int(Path(path).stem.removeprefix("person"))))[NAMES.index(name)] > 0.5
                 for path in paths]
        assert there == [True] * 4 + [False] * 4
    assert not {*tab.references.people.values()} & tab.references.open("tiny", ["shown"]).keys()


def test_an_edit_is_shown_at_once_with_its_table(tab):
    changed, = tab.draw("run", request=None, **values(tab, sliders=asking(smile=1.0)))
    pictures = [title.splitlines()[0] for _, title in changed[tab.gallery]["value"]]
    assert pictures == ["Before", "Latent-to-Latent"]
    assert "smile 1.00" in changed[tab.table] and changed[tab.stop]["visible"] is False
    sliders = changed[tab.sliders]
    assert sliders["asked"] == {"smile": 1.0} and sliders["start"].keys() == set(ATTRIBUTES)
    again, = tab.draw("run", request=None, **values(tab, sliders=asking(smile=0.5)))
    assert again[tab.sliders]["face"] == sliders["face"]        # so that what was moved meanwhile stays
    other, = tab.draw("run", request=None, **values(tab, seed=8, sliders=empty()))
    assert other[tab.sliders]["face"] != sliders["face"] and other[tab.table] == ""


def test_a_drawn_person_comes_with_the_ideal_edit(tab):
    changed, = tab.draw("run", request=None, **values(tab, source="example", example=1, sliders=asking(glasses=1.0)))
    assert [title.splitlines()[0] for _, title in changed[tab.gallery]["value"]][-1] == "Ideal edit"
    assert changed[tab.table].count("<tr>") == 3


def test_a_photo_that_is_missing_is_one_sentence(tab):
    changed, = tab.draw("run", request=None, **values(tab, source="photo"))
    assert "needs a picture" in changed[tab.notice] and tab.gallery not in changed


def test_below_a_photo_that_can_not_be_used_stand_no_other_pictures(tab, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "grey.png")
    unread = tab.receive_photo(str(tmp_path / "notes.txt"), "tiny")
    faceless, = tab.draw("run", request=None, **values(tab, source="photo", photo=str(tmp_path / "grey.png")))
    for changed in (unread, faceless):
        assert changed[tab.gallery]["value"] is None and changed[tab.table] == "" and "bad" in changed[tab.notice]
    assert unread[tab.photo] is None and tab.run not in unread


def test_a_face_is_marked_by_hand(tab, tmp_path):
    Image.new("RGB", (2000, 1000), "grey").save(tmp_path / "drawing.png")
    changed = tab.receive_photo(str(tmp_path / "drawing.png"), "tiny")
    preview = changed[tab.marking.preview]
    assert Image.open(preview).size == (640, 320) and changed[tab.marking.crop] == ""
    crop = tab.marking.point(0.5, preview, SimpleNamespace(index=(160, 80)))
    assert crop == "0.250,0.250,0.5" and tab.marking.resized(0.3, crop) == "0.250,0.250,0.3"
    assert tab.marking.resized(0.3, "") == ""
    asked = values(tab, source="photo", photo=str(tmp_path / "drawing.png"), crop=crop, method="l2m",
                   sliders=asking(smile=1.0))
    changed, = tab.draw("run", request=None, **asked)
    assert len(changed[tab.gallery]["value"]) == 2      # no face is found in it, and it is edited all the same
    assert "could not be opened" in tab.receive_photo("nothing.png", "tiny")[tab.notice]


def test_a_painted_mask_is_what_was_painted(tab):
    mask = np.zeros((8, 8, 4), np.uint8)
    mask[2:4, 1:3] = 255
    memory = io.BytesIO()
    Image.fromarray(mask).save(memory, "PNG")
    value = {"mask": paint.URL + base64.b64encode(memory.getvalue()).decode()}
    assert np.array_equal(paint.painted(value), mask[..., 3] > 0)
    assert paint.painted({"mask": ""}) is None
    with pytest.raises(PictureError, match="mask"):
        paint.painted({"mask": paint.URL + "bm8="})


def test_a_picture_brings_its_settings_back(tab):
    request = Sweep(seed=9, smile=1.0, keep="hat", attribute="age", count=3)
    result = last(systems.load("attributes").run(request))
    changed = tab.restore(result.images[1], **values(tab))
    assert changed[tab.sliders]["asked"] == {"smile": 1.0} and changed[tab.sliders]["frozen"] == ["hat"]
    assert (changed[tab.action], changed[tab.swept], changed[tab.count], changed[tab.seed]) == ("sweep", "age", 3, 9)


def test_a_restored_photo_is_edited_from_its_latent(tab):
    pipeline = systems.load("attributes")
    latent = pipeline.source(Edit(seed=4)).w[0].cpu().numpy()
    result = last(pipeline.run(Edit(source="photo", latent=latent, smile=1.0)))
    changed = tab.restore(result.images[0], **values(tab))
    names = ("source", "latent", "sliders", "action", "paint")
    again, = tab.draw("run", request=None, **values(tab, **{name: changed[getattr(tab, name)] for name in names}))
    made = again[tab.shown].result
    assert all(np.array_equal(*(np.asarray(Image.open(path)) for path in pair))
               for pair in zip(made.images, result.images, strict=True))


def test_a_restored_reference_is_used_until_the_face_changes(tab):
    held = {"glasses": np.zeros((SIZE, SIZE, 3), np.uint8)}
    changed = tab.restored(Restored(Edit(method="l2m", seed=7, held=held), "tiny"))
    assert changed[tab.held] == held
    asked = values(tab, method="l2m", held=changed[tab.held])
    assert [*tab.wanted(**asked).references] == ["glasses"]
    assert tab.wanted(**asked | {"glasses_reference": "g.png"}).references == {"glasses": "g.png"}
    assert tab.new_face()[tab.held] == {}


def test_a_painted_mask_is_not_kept_for_another_face(tab):
    frozen = np.zeros((SIZE, SIZE), bool)
    frozen[:8] = True
    result = last(systems.load("attributes").run(Edit(seed=9, smile=1.0, frozen=frozen)))
    changed = tab.restore(result.images[0], **values(tab))
    assert changed[tab.paint]["mask"] == "" and "mask is not restored" in changed[tab.notice]
    assert tab.new_face()[tab.paint]["mask"] == ""


def test_without_its_network_l2m_gan_is_not_offered(tab, monkeypatch):
    """The other methods are compared without a note on it; asked for by name, it says which step brings it."""
    monkeypatch.setattr(type(systems.choose("attributes")), "has_l2m", property(lambda self: False))
    assert [name for _, name in attributes.offered("edit")] == [*OF_LATENTS]
    assert not tab.open_action("compare", "ganspace", asking())[tab.references.panel]["visible"]
    result = last(systems.load("attributes").run(Compare(seed=7, smile=1.0)))
    assert [kept.get("method") for kept in result.settings] == [*OF_LATENTS, None] and result.notes == ()


def test_drawn_people_begin_with_the_first(tab):
    changed = tab.enter("example", None, "tiny")
    assert (changed[tab.example], changed[tab.examples_state]) == (0, 0)


def test_an_inversion_comes_back_as_an_edit(tab):
    result = last(systems.load("attributes").run(Invert(source="example", person=1, refine=0)))
    changed = tab.restore(result.images[0], **values(tab))
    assert changed[tab.action] == "edit" and changed[tab.example] == 1


def test_a_sweep_shows_where_the_sliders_start(tab):
    changes = {}
    for each in tab.draw("run", request=None, **values(tab, action="sweep", swept="smile", count=2, seed=None)):
        changes |= each
    assert changes[tab.sliders]["start"].keys() == set(ATTRIBUTES)
    assert isinstance(changes[tab.seed], int)       # the seed that was chosen


@pytest.mark.browser
def test_sliders_edit_freeze_and_undo_in_the_page(browser, tab):
    with gr.Blocks(analytics_enabled=False) as demo:
        attributes.tab(demo.load)
    demo.queue().launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    with visiting(browser, demo.local_url.rstrip("/")) as page:
        expect(page.locator("#attributes-status .done")).to_have_count(1)
        expect(page.locator("#attributes-table")).to_contain_text("mouth open 1.00")     # what the page opens with
        page.locator(".sliders .reset-all").press("Enter")
        expect(page.locator("#attributes-table")).not_to_contain_text("mouth open")
        page.locator("#slider-mouth_open").press("End")
        expect(page.locator("#attributes-table")).to_contain_text("mouth open 1.00")
        page.locator("[data-name=mouth_open] .pin").press("Enter")
        expect(page.locator("#attributes-table")).not_to_contain_text("mouth open")
        page.locator(".sliders .undo").press("Enter")
        expect(page.locator("#attributes-table")).to_contain_text("mouth open 1.00")
        page.locator("#attributes-method input").click()
        page.get_by_role("option", name="L2M-GAN").click()
        expect(page.locator("#slider-mouth_open")).to_be_hidden()
        expect(page.locator("#attributes-references")).to_be_visible()
        page.locator("#slider-smile").press("End")
        expect(page.locator("#attributes-table")).to_contain_text("L2M-GAN")
        expect(page.locator("#attributes-table")).not_to_contain_text("mouth open 1.00")
        expect(page.locator("#attributes-notice .bad")).to_have_count(0)
    demo.close()


def test_a_file_that_can_not_be_fetched_comes_with_its_step(tab):
    changed = tab.network.look("ffhq", "tiny")
    assert "core train" in changed[tab.network.about] and changed[tab.network.fetch]["visible"] is False
