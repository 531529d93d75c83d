"""The tab `clusters` in Chromium, on a desktop and on a phone: groups, a chosen one, faces that wear it."""

import re

import browsing
import pytest
from browsing import WIDTHS, visiting
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
browser = browsing.browser      # the fixture
NAME = "#clusters-name input, #clusters-name textarea"


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_group_is_chosen_named_and_worn(browser, shared_app, kind):
    with visiting(browser, shared_app, kind) as page:
        page.get_by_role("tab", name="Clusters").click()
        strips, picked = page.locator("#clusters-gallery .thumbnail-item"), page.locator("#clusters-picked")
        expect(strips).to_have_count(50)
        expect(page.locator("#clusters-status .done")).to_have_count(1)
        strips.nth(1).click()
        expect(picked).to_contain_text(re.compile(r"Group 1: \d+ of \d+ faces"))
        page.locator(NAME).fill("Sunny <b>")
        page.locator(NAME).press("Enter")
        expect(strips.nth(1)).to_contain_text("Sunny <b>")
        page.locator("#clusters-wear-group").click()
        expect(page.locator("#clusters-worn img")).to_have_count(8)
        expect(page.locator("#clusters-status .done")).to_contain_text("4 faces")
        page.locator("#clusters-map canvas").click(position={"x": 150, "y": 90})
        expect(picked).to_contain_text(re.compile(r"Group \d+: "))
        page.reload()
        page.get_by_role("tab", name="Clusters").click()
        expect(strips.nth(1)).to_contain_text("Sunny <b>")      # names stay in the browser
