"""The toolbar in an app's page, whatever the page does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import recorded

from .harness import Pages, renamed

ORDERS, CHECKOUT = recorded.load("orders").trace_id, recorded.load("checkout").trace_id


def badge(page: Page) -> Any:
    return page.get_by_role("button", name=re.compile("^Debug toolbar"))


def drawer(page: Page) -> Any:
    return page.frame_locator("iframe[title='Debug panels']")


WATCH = """
window.violated = [];
document.addEventListener("securitypolicyviolation", (e) => violated.push(e.effectiveDirective));
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["plain", "hostile", "strict", "coep"])
def test_badge_and_drawer(opened: Any, violations: Any, name: str, theme: str) -> None:
    page = opened(f"/pages/{name}", theme)
    expect(badge(page)).to_have_accessible_name(
        "Debug toolbar: 214 ms 26 q (queries) ■ 1 alert: N+1 queries"
    )
    expect(badge(page)).to_have_attribute("title", "N+1 queries")
    box = badge(page).bounding_box()
    assert box["height"] == 28
    assert (box["x"] > 1000, box["y"] > 600) == (True, True)
    page.keyboard.press("Alt+Shift+D")
    expect(drawer(page).get_by_role("heading", level=1)).to_contain_text("GET /orders")
    expect(badge(page)).to_have_attribute("aria-expanded", "true")
    if name != "hostile":  # there the page itself is beyond help
        assert violations(page) == []
    # The keys work inside of the drawer's frame as well.
    drawer(page).get_by_role("treegrid").focus()
    page.keyboard.press("Escape")
    expect(page.locator("iframe[title='Debug panels']")).to_be_hidden()
    expect(badge(page)).to_be_focused()


def test_badge_names_the_worst(opened: Any, pages: Pages, violations: Any) -> None:
    page = opened(f"/pages/plain?trace={CHECKOUT}")
    worst = "Unhandled error, Failed step, Slow query and 1 more"
    expect(badge(page)).to_have_accessible_name(
        f"Debug toolbar: 1.28 s 5 q (queries) ▲ 4 alerts: {worst}"
    )
    expect(badge(page)).to_have_attribute("title", worst)
    expect(page.get_by_role("region", name="Debug toolbar")).to_have_attribute(
        "data-level", "error"
    )
    assert violations(page) == []


@pytest.mark.parametrize("name", ["plain", "strict"])
def test_no_policy_is_violated_and_nothing_moves(chromium: Any, site: str, name: str) -> None:
    page = chromium.new_page()
    page.add_init_script(WATCH)
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((l) => l.getEntries().forEach((e) => shift += e.hadRecentInput ? 0 : e.value))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    page.goto(f"{site}/pages/{name}")
    expect(badge(page)).to_contain_text("214 ms")
    badge(page).click()
    expect(drawer(page).get_by_role("treegrid")).to_be_visible()
    assert page.evaluate("[violated, shift]") == [[], 0]
    page.close()


def test_one_request_before_a_click(opened: Any, pages: Pages) -> None:
    page = opened("/pages/plain")
    expect(badge(page)).to_contain_text("214 ms")
    page.wait_for_timeout(300)
    assert pages.served == [f"/_toolbar/api/traces/{ORDERS}"]


def test_later_requests_are_found(opened: Any) -> None:
    page = opened("/pages/plain")
    page.evaluate("fetch('/data')")
    expect(badge(page)).to_contain_text("+1")
    badge(page).click()
    requests = page.get_by_role("list", name="Requests of this page")
    requests.get_by_role("button", name="/data").click()
    expect(drawer(page).get_by_role("heading", level=1)).to_contain_text("POST /checkout")
    expect(requests.locator("[aria-current=true]")).to_contain_text("/data")


def test_headers_know_better_than_a_cached_page(opened: Any, pages: Pages) -> None:
    pages.add(renamed(recorded.load("job"), "3" * 32))
    # The tag names one trace, the response's own header another.
    page = opened("/pages/stale?trace=" + "3" * 32)
    expect(page.get_by_role("link", name="Open the trace in a new tab")).to_have_attribute(
        "href", f"/_toolbar/t/{'3' * 32}"
    )


def test_page_that_forbids_frames(chromium: Any, site: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site}/pages/noframes")
    with context.expect_page() as tab:
        badge(page).click()
    expect(tab.value).to_have_url(re.compile(ORDERS))
    expect(badge(page)).to_have_attribute("aria-expanded", "false")
    context.close()


def test_open_dialog_of_the_page(chromium: Any, site: str) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site}/pages/modal")
    page.evaluate("document.querySelector('dialog').showModal()")
    with context.expect_page() as tab:
        page.keyboard.press("Alt+Shift+D")
    expect(tab.value).to_have_url(re.compile(ORDERS))
    context.close()


def test_size_and_place_are_remembered(opened: Any) -> None:
    page = opened("/pages/plain")
    badge(page).click()
    grip = page.get_by_role("separator", name="Height of the debug panels")
    expect(grip).to_have_attribute("aria-valuenow", "360")
    grip.focus()
    page.keyboard.press("ArrowUp")
    expect(grip).to_have_attribute("aria-valuenow", "384")
    page.get_by_role("button", name="Move badge").click()
    page.reload()
    expect(grip).to_have_attribute("aria-valuenow", "384")
    expect(page.locator(".bar")).to_have_attribute("data-corner", "bottom left")
    box = grip.bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] - 95, steps=4)
    page.mouse.up()
    expect(grip).to_have_attribute("aria-valuenow", re.compile("^4[78]"))


def test_quiet_in_frames(opened: Any) -> None:
    page = opened("/pages/plain")
    page.evaluate(
        "new Promise((done) => { const f = document.createElement('iframe'); f.src = '/pages/plain?x';"
        " f.onload = done; document.body.append(f) })"
    )
    assert page.frames[1].evaluate("document.querySelector('otel-toolbar')") is None


def test_page_that_replaces_its_document(opened: Any) -> None:
    page = opened("/pages/plain")
    expect(badge(page)).to_be_visible()
    page.evaluate("document.documentElement.replaceChildren(document.createElement('body'))")
    expect(badge(page)).to_be_visible()


def test_looking_around_leaves_the_history_of_the_page_alone(opened: Any) -> None:
    page = opened("/pages/plain")
    before = page.evaluate("history.length")
    badge(page).click()
    drawer(page).get_by_role("link", name=re.compile("^Queries")).click()
    expect(drawer(page).get_by_role("heading", name=re.compile("24 times"))).to_be_visible()
    assert page.evaluate("history.length") == before
