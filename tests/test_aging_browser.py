"""The tab `aging` in Chromium, on a desktop and on a phone: what a visitor does, and nothing on the console."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import browsing
import pytest
from browsing import WIDTHS, choose, downloaded, visiting
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Page, expect

from core import faces_v3 as faces
from core import hub, images, subjects

pytestmark = pytest.mark.browser
browser = browsing.browser      # the fixture
PROMPT = "#aging-prompt textarea, #aging-prompt input"
AGES = ["Child", "Teenager", "Young adult", "Middle-aged", "Elderly", "Old"]


@pytest.fixture(scope="module")
def address(shared_app) -> str:
    """The app with the networks of aging loaded."""
    Client(shared_app, verbose=False).predict(api_name="/aging_about")
    return shared_app


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    """Seven pictures of one drawn person nobody trained on."""
    folder, person = tmp_path_factory.mktemp("pictures"), faces.person(77, "test")
    for number in range(7):
        look = faces.look(person, number, age=35.0, yaw=3.0 * number - 9, pitch=0.0, roll=0.0, blur=0.0, exposure=0.0,
                          eyes_closed=0.0, sunglasses=0.0, hat=0.0)
        Image.fromarray(faces.draw(faces.Face(person, look), size=256)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    """A fresh visit on a desktop with the first strip drawn."""
    with visiting(browser, address) as page:
        opened(page)
        yield page


def opened(page: Page) -> None:
    """Open the tab and wait for its first strip."""
    page.get_by_role("tab", name="Aging").click()
    done(page, 6)
    page.wait_for_timeout(500)      # the page marks the first picture itself; nobody clicks within that moment


def done(page: Page, count: int) -> None:
    """Wait until nothing is being drawn, and for so many pictures with their captions."""
    expect(page.locator("#aging-gallery .caption-label", has_text="seed")).to_have_count(count)
    expect(page.locator("#aging-status .done")).to_have_count(1)


def says(page: Page, place: str, words: str | re.Pattern) -> None:
    expect(page.locator(place)).to_contain_text(words)


def captions(page: Page) -> list[str]:
    return page.locator("#aging-gallery .caption-label").all_inner_texts()


def prompt(page: Page, words: str) -> None:
    """Write a prompt and press Enter."""
    field = page.locator(PROMPT)
    field.fill(words)
    field.press("Enter")


def teaching(page: Page, files: list[Path]) -> None:
    """Open the panel and drop files there."""
    choose(page, "Train a person")
    page.locator("#aging-pictures input[type=file]").set_input_files(files)


def bring(page: Page, file: Path) -> None:
    """Hand over an adapter."""
    with page.expect_file_chooser() as choosing:
        page.locator("#aging-bring").click()
    choosing.value.set_files(file)


@pytest.mark.parametrize("kind", WIDTHS)
def test_it_opens_with_somebody_at_six_ages(browser, address, kind):
    with visiting(browser, address, kind) as page:
        opened(page)
        assert [caption.splitlines()[0] for caption in captions(page)] == AGES
        assert {caption.splitlines()[-1] for caption in captions(page)} == {"seed 1"}
        assert all(re.search(r"\d+ years\nsimilarity -?0\.\d\d", caption) for caption in captions(page))
        expect(page.locator("#aging-plot .dots i")).to_have_count(12)
        expect(page.locator("#aging-slider")).to_be_visible()
        expect(page.locator("#aging-people img")).to_have_count(4)
        says(page, "#aging-facts", "aging-unet-tiny")
        says(page, "#aging .honest >> nth=0", "only ever seen drawn faces")


def test_a_click_on_an_age_draws_the_person_at_it(page):
    token = page.locator("#aging-whose code").inner_text()
    page.locator("#aging-people .thumbnail-item").nth(1).click()
    expect(page.locator("#aging-whose code")).not_to_have_text(token)
    token = page.locator("#aging-whose code").inner_text()
    expect(page.locator(PROMPT)).to_have_value(f"photo of a {token} person")
    choose(page, "Elderly", exact=True)
    done(page, 4)
    assert {caption.splitlines()[0] for caption in captions(page)} == {"Elderly"}
    expect(page.locator(PROMPT)).to_have_value(f"photo of a {token} person as elderly")
    expect(page.locator("#aging-plot")).not_to_be_visible()
    page.wait_for_timeout(500)
    page.locator("#aging-gallery .thumbnail-item").nth(2).click()
    says(page, "#aging-picked", re.compile(r"seed\s*3"))


def test_pictures_appear_step_by_step_and_can_be_stopped(page):
    page.locator("#aging-how button").first.click()
    page.locator("#aging-paper").click()
    expect(page.locator("#aging-steps input[type=number]")).to_have_value("100")
    page.locator("#aging-generate").click()
    says(page, "#aging-status", re.compile(r"Step \d+ of 100"))
    says(page, "#aging-gallery .caption-label >> nth=0", re.compile("^Child$"))
    page.locator("#aging-stop").click()
    says(page, "#aging-status", "Stopped at step")
    expect(page.locator("#aging-generate")).to_be_visible()


def test_an_empty_prompt_is_refused_and_unknown_words_are_listed(page):
    prompt(page, " ")
    says(page, "#aging-notice .bad", "The prompt is empty")
    prompt(page, "photo of a wzx person as old pirate")
    done(page, 4)
    says(page, "#aging-notice", "pirate")


def test_a_picture_brings_its_settings_back(page, tmp_path):
    prompt(page, "photo of a wzx person as old, smiling")
    done(page, 4)
    png = downloaded(page, "#aging-png", tmp_path)
    kept = images.settings_of(png)
    assert kept["prompt"] == "photo of a wzx person as old, smiling"
    assert downloaded(page, "#aging-download-zip", tmp_path).suffix == ".zip"
    choose(page, "Child", exact=True)
    says(page, "#aging-gallery .caption-label >> nth=0", "Child")
    page.locator("#aging-restore button").first.click()
    page.locator("#aging-made-here input[type=file]").set_input_files(png)
    says(page, "#aging-notice", "settings of this picture are restored")
    says(page, "#aging-gallery .caption-label >> nth=0", re.compile(rf"^Old(.|\n)*seed {kept['seed']}$"))
    done(page, 4)
    says(page, "#aging-picked", "old, smiling")


def test_pictures_that_can_not_be_taught_from(page, pictures, tmp_path):
    (tmp_path / "notes.jpg").write_text("hello")
    teaching(page, [pictures[0], tmp_path / "notes.jpg"])
    says(page, "#aging-problems", "1 of 2 can be used, 4 more are needed")
    says(page, "#aging-problems .bad", "not a picture")
    page.locator("#aging-teach").click()
    says(page, "#aging-notice .bad", "only 1 usable picture")
    page.locator("#aging-clear").click()
    expect(page.locator("#aging-crops")).not_to_be_visible()
    page.locator("#aging-teach").click()
    says(page, "#aging-notice .bad", "There are no pictures")


def test_a_person_is_trained_kept_and_uploaded_again(page, browser, address, pictures, tmp_path):
    teaching(page, pictures)
    says(page, "#aging-problems", "7 of 7 can be used")
    page.locator("#aging-name textarea, #aging-name input").fill("Anna")
    page.locator("#aging-lessons input[type=number]").fill("800")      # outlasts another visitor's page
    page.locator("#aging-teach").click()
    says(page, "#aging-lesson-status", re.compile(r"Step ([89]|\d\d+) of 800"))
    expect(page.locator("#aging-curve polyline").first).to_be_attached()
    with visiting(browser, address) as other:       # the lesson is no hindrance to who comes meanwhile
        expect(other.locator("#gallery img")).to_have_count(12)
        expect(page.locator("#aging-stop-teach")).to_be_visible()
    page.locator("#aging-stop-teach").click()
    says(page, "#aging-lesson-status", "Anna is trained")
    adapter = downloaded(page, "#aging-taught", tmp_path)
    choose(page, "Show an age")
    expect(page.locator("#aging-people img")).to_have_count(5)
    says(page, "#aging-whose", "Anna")
    done(page, 6)
    page.locator("#aging-forget").click()
    expect(page.locator("#aging-people img")).to_have_count(4)
    bring(page, adapter)
    expect(page.locator("#aging-people img")).to_have_count(5)
    says(page, "#aging-whose", "private to you")


def test_an_adapter_that_is_cut_or_another_bases_is_refused(page, tmp_path):
    whole = hub.file("aging-person-1")
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-1000])
    subjects.write(replace(subjects.read(whole), base="sd14"), tmp_path / "other.safetensors")
    for name, said in (("cut.safetensors", "cut off or damaged"), ("other.safetensors", "sd14")):
        bring(page, tmp_path / name)
        says(page, "#aging-notice .bad", said)
    expect(page.locator("#aging-people img")).to_have_count(4)


def test_stable_diffusion_says_what_it_is_before_it_is_fetched(page):
    page.locator("#aging-network button").first.click()
    choose(page, re.compile("Stable Diffusion"))
    says(page, "#aging-about-checkpoint", re.compile("openrail", re.IGNORECASE))
    says(page, "#aging-notice", "not on this machine")
    page.locator("#aging-fetch").click()
    says(page, "#aging-notice .bad", "agreement to the terms")
