"""The tab `clusters` in Chromium, on a desktop and on a phone: groups, a chosen one, faces that wear it."""

import re

import browsing
import pytest
from browsing import WIDTHS, visiting
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
browser = browsing.browser      # the fixture
ON_MAP = """(group) => {     // click dots until one of the group is hit
  const canvas = document.querySelector('#clusters-map canvas'), box = canvas.getBoundingClientRect();
  const at = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, { clientX: x, clientY: y, bubbles: true }));
  for (let x = box.left; x < box.right; x += 7)
    for (let y = box.top; y < box.bottom; y += 7) {
      at('pointermove', x, y);
      if (document.querySelector('#clusters-map p').textContent.startsWith(`Group ${group} `)) {
        canvas.dispatchEvent(new MouseEvent('click', { clientX: x, clientY: y, bubbles: true }));
        return;
      }
    }
}"""
NAME = "#clusters-name input, #clusters-name textarea"


@pytest.mark.parametrize("kind", WIDTHS)
def test_a_group_is_chosen_named_and_worn(browser, shared_app, kind):
    with visiting(browser, shared_app, kind) as page:
        page.get_by_role("tab", name="Clusters").click()
        strips, picked = page.locator("#clusters-gallery .thumbnail-item"), page.locator("#clusters-picked")
        expect(strips).to_have_count(50)
        expect(page.locator("#clusters-map canvas")).to_be_visible()
        page.wait_for_timeout(1000)     # the last change of the wall arrives with the map
        strips.nth(1).click()
        expect(picked).to_contain_text(re.compile(r"Group 1: \d+ of \d+ faces"))
        page.locator(NAME).fill("Sunny <b>")
        page.locator(NAME).press("Enter")
        expect(strips.nth(1)).to_contain_text("Sunny <b>")
        page.locator("#clusters-wear-group").click()
        expect(page.locator("#clusters-worn img")).to_have_count(8)
        expect(page.locator("#clusters-status")).to_contain_text("4 faces")
        page.evaluate(ON_MAP, 7)
        expect(picked).to_contain_text(re.compile(r"Group 7: "))
        page.reload()
        page.get_by_role("tab", name="Clusters").click()
        expect(strips.nth(1)).to_contain_text("Sunny <b>")      # names stay in the browser
