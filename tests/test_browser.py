"""The real app in Chromium, on a desktop and on a phone: what a visitor does, and nothing on the console."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import browsing
import numpy as np
import pytest
from browsing import WIDTHS, choose, downloaded, visiting
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from core import images

pytestmark = pytest.mark.browser
browser = browsing.browser      # the fixture


@pytest.fixture(scope="module")
def address(shared_app) -> str:
    """The app with its networks loaded."""
    Client(shared_app, verbose=False).predict(api_name="/vectors_about")
    return shared_app


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    from skimage import data

    path = tmp_path_factory.mktemp("photo") / "astronaut.jpg"
    Image.fromarray(data.astronaut()).save(path)
    return path


both = pytest.mark.parametrize("page", WIDTHS, indirect=True)     # for what lays the page out anew


@pytest.fixture
def page(request, browser, address) -> Iterator[Page]:
    """A fresh visit with the first faces drawn, on a desktop unless a test is for `both`."""
    with visiting(browser, address, getattr(request, "param", "desktop")) as page:
        done(page)
        yield page


def done(page: Page, faces: int | None = None) -> None:
    """Wait until nothing is being drawn, and for so many faces."""
    expect(page.locator("#generate")).to_be_visible()
    expect(page.locator("#status .done")).to_have_count(1)
    if faces is not None:
        expect(page.locator("#gallery img")).to_have_count(faces)


def seeds(page: Page) -> list[str]:
    """The captions' last lines."""
    return [caption.splitlines()[-1] for caption in page.locator("#gallery .caption-label").all_inner_texts()]


def first_says(page: Page, words: str) -> None:
    """Wait for the caption of the first face."""
    expect(page.locator("#gallery .caption-label").first).to_contain_text(words)


def pick(page: Page, number: int) -> str:
    """Click a face and wait until it is the one looked at; returns its seed."""
    expect(page.locator("#gallery .caption-label").nth(number)).to_be_attached()
    page.wait_for_timeout(500)      # the page marks the first face itself; nobody clicks within that moment
    seed = seeds(page)[number].removeprefix("seed ")
    page.locator("#gallery .thumbnail-item").nth(number).click()
    expect(page.locator("#picked")).to_contain_text(re.compile(rf"seed\s*{seed}\s*$"))
    return seed


def how_many(page: Page, count: int) -> None:
    """Ask for so many faces, and let the field go."""
    field = page.locator("#count input[type=number]")
    field.fill(str(count))
    field.press("Tab")


def drop(page: Page, source: str, box: str, path: Path) -> None:
    """Choose a source and hand a file to its box."""
    choose(page, source)
    page.locator(f"#{box} input[type=file]").set_input_files(path)


@both
def test_it_opens_with_twelve_people(page):
    done(page, faces=12)
    assert seeds(page)[0] == "seed 344"
    expect(page.locator("#facts")).to_contain_text("vectors-tiny")
    expect(page.locator("#strip img")).to_be_visible()
    expect(page.locator(".honest").first).to_contain_text("only ever seen drawn faces")


def test_a_slow_machine_sees_every_face_too(browser, address):
    """Everything has arrived before the page has shown the first of it: nothing may be lost between."""
    with visiting(browser, address) as page:
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 8})
        page.reload()
        done(page, faces=12)


def test_surprise_me_and_same_again(page):
    page.locator("#generate").click()
    page.wait_for_function("document.querySelector('#gallery .caption-label').innerText.split('\\n')[1] != 'seed 344'")
    done(page, faces=12)
    before = seeds(page)
    assert page.locator("#seed input").input_value() == before[0].removeprefix("seed ")
    choose(page, "Fixed")
    page.evaluate("document.querySelector('#status .progress').id = 'before'")
    page.locator("#generate").click()
    expect(page.locator("#before")).to_have_count(0)        # something was said since
    done(page, faces=12)
    assert seeds(page) == before


def test_more_faces_keep_the_first(page):
    before = seeds(page)
    how_many(page, 16)
    done(page, faces=16)
    assert seeds(page)[:12] == before


@both
def test_a_photo_becomes_faces(page, photo):
    drop(page, "Your photo", "photo", photo)
    expect(page.locator("#found img")).to_have_count(1)
    first_says(page, "as it is")
    done(page, faces=12)
    expect(page.locator("#picked")).to_contain_text("a photo")
    expect(page.locator("#notice .bad")).to_have_count(0)


@pytest.mark.parametrize(("name", "source", "box", "said"), [
    ("notes.jpg", "Your photo", "photo", "not a picture"),
    ("empty.png", "Your photo", "photo", "The file is empty."),
    ("notes.npy", "Vector file", "npy", "not a NumPy array"),
])
def test_a_bad_file_is_refused_in_a_sentence(page, tmp_path, name, source, box, said):
    (tmp_path / name).write_text("" if name.startswith("empty") else "hello")
    drop(page, source, box, tmp_path / name)
    expect(page.locator("#notice .bad")).to_contain_text(said)
    expect(page.locator(f"#{box} input[type=file]")).to_be_attached()      # ready for the next


@both
def test_a_face_that_is_not_found_can_be_marked(page, tmp_path):
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "nobody.png")
    drop(page, "Your photo", "photo", tmp_path / "nobody.png")
    expect(page.locator("#notice .bad")).to_contain_text("No face was found")
    page.locator("#preview img").click()
    expect(page.locator("#found img")).to_have_count(1)
    done(page, faces=12)


def stopped(page: Page, count: int) -> bool:
    """Start a long job and press Stop; False if it was over before the button could be pressed."""
    how_many(page, count)
    try:
        expect(page.locator("#status")).to_contain_text(f" of {count}", timeout=5000)
        page.locator("#stop").click(timeout=5000)
        expect(page.locator("#status")).to_contain_text("Stopped at step", timeout=10_000)
    except (PlaywrightTimeout, AssertionError):
        done(page)
        return False
    return True


def test_a_long_job_can_be_stopped(page):
    choose(page, "Fixed")
    assert any(stopped(page, count) for count in (64, 63, 62, 61, 60)), "five jobs were over before a stop"
    page.wait_for_timeout(1500)     # pictures that were being drawn still come
    made = page.locator("#gallery img").count()
    assert 0 < made < 64
    page.wait_for_timeout(1500)
    assert page.locator("#gallery img").count() == made
    how_many(page, 4)
    done(page, faces=4)


def test_downloads_remember_and_come_back(page, tmp_path):
    seed = pick(page, 4)
    png = downloaded(page, "#download-png", tmp_path)
    assert images.settings_of(png)["seed"] == int(seed)
    with zipfile.ZipFile(downloaded(page, "#download-zip", tmp_path)) as archive:
        assert sum(name.endswith(".png") for name in archive.namelist()) == 12
    npy = downloaded(page, "#download-npy", tmp_path)
    assert np.load(npy).shape == (512,)

    page.locator("#restore button").first.click()
    page.locator("#made-here input[type=file]").set_input_files(png)
    expect(page.locator("#seed input")).to_have_value(seed)
    first_says(page, f"seed {seed}")
    done(page, faces=12)

    drop(page, "Vector file", "npy", npy)
    first_says(page, "as it is")
    done(page, faces=12)


def test_more_like_this(page):
    pick(page, 2)
    page.locator("#vary").click()
    first_says(page, "as it is")
    done(page, faces=12)
    expect(page.get_by_label("Vector file")).to_be_checked()
    page.locator("#sigma input[type=number]").fill("0")
    page.locator("#sigma input[type=number]").press("Tab")
    done(page, faces=1)


@both
def test_drawn_people_can_be_started_from(page):
    choose(page, "Drawn examples")
    first_says(page, "as it is")
    expect(page.locator("#examples img")).to_have_count(12)
    page.locator("#examples .thumbnail-item").nth(3).click()
    expect(page.locator("#picked")).to_contain_text("drawn person 3")
    done(page, faces=12)


def test_the_keyboard_is_enough(page):
    page.wait_for_timeout(500)      # the last pictures settle: a key that falls in between finds no face
    page.locator("#gallery .thumbnail-item").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#picked")).to_contain_text(re.compile(seeds(page)[1].replace(" ", r"\s*")))


def test_a_radio_group_is_one_tab_stop_with_arrow_keys_and_a_name(page):
    group = page.get_by_role("radiogroup", name="Action")
    group.get_by_role("radio", name="Draw").focus()
    page.keyboard.press("ArrowRight")
    expect(group.get_by_role("radio", name="Walk")).to_be_checked()
    expect(page.locator("#goal")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#action')") is None
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.value") == "walk"


def test_the_focus_stays_at_generate(page):
    how_many(page, 64)      # twelve are drawn in half a second, which may pass between two looks at the page
    done(page, 64)
    page.locator("#generate").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_focused()
    done(page)
    expect(page.locator("#generate")).to_be_focused()


@both
def test_selected_tabs_can_be_read(page):
    colours = page.get_by_role("tab", name="Vectors").evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(document.body).backgroundColor]")
    assert contrast(*colours) >= 4.5
    expect(page.get_by_role("button", name="The 512 numbers of this face")).to_be_visible()


def contrast(*colours: str) -> float:
    """The WCAG contrast of two CSS colours."""
    darker, lighter = sorted(luminance(*map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(*channels: int) -> float:
    linear = [(v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4) for v in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("page", ["phone"], indirect=True)
def test_a_phone_shows_pictures_before_controls(page):
    tops = [page.locator(place).bounding_box()["y"] for place in ("#gallery img >> nth=0", "#source", "#strip")]
    assert tops == sorted(tops) and tops[0] < 300


def test_tabs_change_without_an_error(page):
    for pause_ms in (300, 100, 50, 300):
        for name in ("Aging", "Vectors"):
            page.get_by_role("tab", name=name).click()
            page.wait_for_timeout(pause_ms)
    page.locator("#generate").click()
    page.get_by_role("tab", name="Aging").click()
    expect(page.locator("#aging-status .done")).to_have_count(1)
    page.get_by_role("tab", name="Vectors").click()
    done(page)


def test_new_people_are_compared(page):
    expect(page.locator("#alike")).to_be_visible()
    expect(page.get_by_role("img", name="66 pairs")).to_have_count(2)


def test_a_walk_goes_to_the_face_that_was_picked(page, tmp_path):
    pick(page, 3)
    page.locator("#there").click()
    first_says(page, "step 1 of 12")
    done(page, faces=12)
    expect(page.locator("#goal")).to_contain_text("To the face 4")
    with Image.open(downloaded(page, "#download-film", tmp_path)) as film:
        assert film.n_frames == 22
    assert downloaded(page, "#download-strip", tmp_path).suffix == ".png"


@both
def test_a_click_on_the_strip_edits_that_number(page):
    choose(page, "Edit", exact=True)
    page.locator("#strip img").click(position={"x": 20, "y": 20})
    expect(page.locator("#offsets textarea, #offsets input")).to_have_value(re.compile(r"^\d+: 4$"))
    how_many(page, 3)
    first_says(page, "step 1 of 3")
    done(page, faces=3)
    expect(page.locator("#alike")).not_to_be_visible()


def test_offsets_that_make_no_sense_are_refused(page):
    choose(page, "Edit", exact=True)
    page.locator("#offsets textarea, #offsets input").fill("the nose, please")
    page.locator("#generate").click()
    expect(page.locator("#notice .bad")).to_contain_text("not a dimension and an offset")
    done(page, faces=12)


def test_turning_shows_its_numbers_and_can_be_stopped(page):
    choose(page, "Pose", exact=True)
    page.locator("#yaw input[type=number]").fill("85")
    page.locator("#similarity input[type=number]").fill("1")
    page.locator("#limit input[type=number]").fill("200")
    page.locator("#generate").click()
    expect(page.locator("#status")).to_contain_text("Step 1 of 200")
    page.locator("#stop").click()
    expect(page.locator("#status")).to_contain_text(re.compile(r"Stopped at step \d+ of 200"))
    first_says(page, "missed")
    expect(page.locator("#picked")).to_contain_text("yaw")


@both
def test_a_checkpoint_that_is_not_here_says_what_it_is_and_is_not_used(page):
    page.locator("#network button").first.click()
    choose(page, "Published Vec2Face")
    expect(page.locator("#about-checkpoint")).to_contain_text("non-commercial")
    expect(page.locator("#notice")).to_contain_text("not on this machine")
    page.locator("#fetch").click()
    expect(page.locator("#notice .bad")).to_contain_text("agreement to the terms")
    page.get_by_label("I agree to these terms").check()
    page.locator("#fetch").click()
    expect(page.locator("#notice .bad")).to_contain_text("Facet is offline")
    expect(page.locator("#fetch")).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("vectors-tiny")
