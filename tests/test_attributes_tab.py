"""The tab `attributes` with toy networks: sliders, sources, masks, what it shows."""

import base64
import io

import browsing
import gradio as gr
import numpy as np
import pytest
from attribute_toys import SIZE, toy_checkout
from browsing import visiting
from PIL import Image
from playwright.sync_api import expect

from core import systems
from core.engine.result import last
from core.errors import PictureError
from core.faces import ATTRIBUTES
from core.systems.attributes.request import GROUPS, Compare, Edit, Invert, Sweep
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


def test_a_painted_mask_is_not_kept_for_another_face(tab):
    frozen = np.zeros((SIZE, SIZE), bool)
    frozen[:8] = True
    result = last(systems.load("attributes").run(Edit(seed=9, smile=1.0, frozen=frozen)))
    changed = tab.restore(result.images[0], **values(tab))
    assert changed[tab.paint]["mask"] == "" and "mask is not restored" in changed[tab.notice]
    assert tab.new_face()[tab.paint]["mask"] == ""


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
        expect(page.locator("#attributes-notice .bad")).to_have_count(0)
    demo.close()


def test_a_file_that_can_not_be_fetched_comes_with_its_step(tab):
    changed = tab.network.look("ffhq", "tiny")
    assert "core train" in changed[tab.network.about] and changed[tab.network.fetch]["visible"] is False
