"""The tasks panel in a real browser: zoom, pan, keys, search, details, a thousand lanes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from otel_toolbar.model import Trace
from tests import recorded

from .harness import Pages

TASKS, MANY = recorded.load("dashboard").trace_id, recorded.gathered(2).trace_id
OVERVIEW = "Part of the time that is shown; behind it, how many tasks there were"


def at(trace_id: str, **more: str) -> str:
    return f"/_toolbar/t/{trace_id}?panel=tasks" + "".join(f"&{k}={v}" for k, v in more.items())


def grid(page: Page) -> Any:
    return page.get_by_role("treegrid")


def selected(page: Page) -> Any:
    return page.locator(".row[aria-selected=true]:visible")


def overview(page: Page) -> Any:
    return page.get_by_role("scrollbar", name=OVERVIEW)


def shown(page: Page) -> list[float]:
    """The stretch that is shown, in ms."""
    text = overview(page).get_attribute("aria-valuetext")
    return [float(number) for number in re.findall(r"([\d.]+) ms", text)]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360, 320])
def test_accessible_in_every_state(opened: Any, violations: Any, theme: str, width: int) -> None:
    page = opened(at(TASKS), theme, width)
    expect(grid(page)).to_have_attribute("aria-rowcount", "12")
    assert violations(page) == []
    grid(page).focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Span details")).to_contain_text("watch-stock")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_label("Search tasks").fill("price_of")
    expect(page.locator("p.note")).to_contain_text("4 of 11")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_empty_state_is_accessible(opened: Any, violations: Any) -> None:
    page = opened(at(recorded.load("old_names").trace_id))
    expect(page.get_by_role("heading", name="No tasks")).to_be_visible()
    assert violations(page) == []


def test_by_keyboard(opened: Any) -> None:
    page = opened(at(TASKS))
    grid(page).focus()
    for key in ("ArrowDown", "j", "j", "k", "j"):
        page.keyboard.press(key)
    expect(selected(page)).to_contain_text("load_prices")
    page.keyboard.press("ArrowLeft")
    expect(selected(page)).to_have_attribute("aria-expanded", "false")
    expect(grid(page)).to_have_attribute("aria-rowcount", "8")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(selected(page)).to_contain_text("prices:eu")
    page.keyboard.press("ArrowLeft")
    expect(selected(page)).to_contain_text("load_prices")
    page.keyboard.press("Enter")
    details = page.get_by_role("complementary", name="Span details")
    expect(details).to_contain_text("Task-13")
    page.keyboard.press("Home")
    expect(selected(page)).to_contain_text("GET /dashboard")
    expect(details).to_contain_text("asyncio.TaskGroup")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    page.get_by_role("button", name="Fold all").click()
    expect(grid(page)).to_have_attribute("aria-rowcount", "2")


def test_zoom_and_pan_by_keyboard(opened: Any) -> None:
    page = opened(at(TASKS))
    expect(grid(page)).to_be_visible()
    assert shown(page) == [0, 700]
    page.keyboard.press("w")
    assert shown(page) == [175, 525]
    page.keyboard.press("d")
    assert shown(page) == [245, 595]
    page.keyboard.press("a")
    page.keyboard.press("s")
    assert shown(page) == [0, 700]
    page.keyboard.press("w")
    overview(page).focus()
    for key, there in [
        ("ArrowRight", [210, 560]),
        ("ArrowLeft", [175, 525]),
        ("Home", [0, 350]),
        ("End", [350, 700]),
        ("PageUp", [35, 385]),
        ("PageDown", [350, 700]),
    ]:
        page.keyboard.press(key)
        assert shown(page) == pytest.approx(there), key
    grid(page).focus()
    page.keyboard.press("Shift+ArrowLeft")
    assert shown(page) == pytest.approx([315, 665])
    page.keyboard.press("0")
    expect(page.get_by_role("button", name="Whole time")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("f")
    assert shown(page) == pytest.approx([0, 255], abs=1), "load_orders, and a little around it"


def test_zoom_and_pan_by_pointer(opened: Any) -> None:
    page = opened(at(TASKS), height=1200)
    expect(grid(page)).to_be_visible()
    box = page.locator(".stripes canvas").bounding_box()
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 30)
    page.mouse.wheel(0, 100)
    assert shown(page) == [0, 700], "without Ctrl the wheel scrolls"
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    start, end = shown(page)
    assert end - start == pytest.approx(560, abs=1)
    assert (start + end) / 2 == pytest.approx(350, abs=2), "around the pointer"
    page.mouse.down()
    page.mouse.move(middle + 60, box["y"] + 30, steps=4)
    page.mouse.up()
    assert shown(page)[0] < start, "what is dragged to the right shows what was before"

    box = overview(page).bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20, steps=4)
    page.mouse.up()
    assert shown(page) == pytest.approx([175, 350], abs=2)
    page.mouse.wheel(0, -100)
    assert shown(page)[1] - shown(page)[0] == pytest.approx(140, abs=2)
    page.mouse.click(box["x"] + 20, box["y"] + 20)
    assert shown(page) == [0, 700]


def test_what_lies_under_the_pointer(opened: Any) -> None:
    page = opened(at(TASKS), height=1200)
    expect(grid(page)).to_be_visible()
    box = page.locator(".stripes canvas").bounding_box()

    def over(lane: int, ms: float, y: float = 12) -> Any:
        page.mouse.move(box["x"] + box["width"] * ms / 700, box["y"] + lane * 24 + y)
        return page.locator(".tip")

    expect(over(8, 150)).to_contain_text("thumbnail blocked the loop for 150 ms")
    expect(over(8, 150)).to_contain_text("shop/charts.py:88")
    expect(over(5, 300, 19)).to_contain_text("awaited asyncio.sleep for 28")
    expect(over(9, 450)).to_contain_text("awaited StreamReader.readline")
    expect(over(2, 245)).to_contain_text("in a thread")
    expect(over(1, 232)).to_contain_text("held the loop for 15.8 ms")
    expect(over(1, 150)).to_contain_text("thumbnail", timeout=2000)
    expect(over(1, 690)).to_be_hidden()
    over(8, 150)
    page.mouse.down()
    page.mouse.up()
    expect(selected(page)).to_contain_text("render_charts")


def test_lanes_are_painted(opened: Any) -> None:
    """axe and the document know nothing of a canvas: look at its pixels."""
    page = opened(at(TASKS))
    expect(grid(page)).to_be_visible()
    colours = page.evaluate(
        """() => {
            const canvas = document.querySelector(".stripes canvas");
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const at = (lane, ms) => {
                const i = (Math.round(lane * 24 + 12) * width + Math.round((ms / 700) * width)) * 4;
                return [...data.slice(i, i + 4)];
            };
            return { blocked: at(8, 150), thread: at(2, 245), held: at(1, 232), none: at(1, 690) };
        }"""
    )
    assert colours["blocked"][:3] == [0xB3, 0x21, 0x1B]
    assert colours["thread"][:3] == [0x0F, 0x7B, 0x6C]
    assert colours["held"][:3] == [0x3B, 0x6F, 0xD4]
    assert colours["none"] == [0, 0, 0, 0]


def test_details_of_a_task(opened: Any) -> None:
    page = opened(at(TASKS, span="b00000000000000e"))
    expect(selected(page)).to_contain_text("render_charts")
    details = page.get_by_role("complementary", name="Span details")
    expect(details.get_by_role("heading", name="render_charts")).to_be_visible()
    for text in ("It computed.", "charts.py:52", "162 ms", "3.10 ms later", "Future of sqlalchemy"):
        expect(details).to_contain_text(text)
    created = details.get_by_role("link", name="shop/pages.py:69")
    expect(created).to_have_attribute("href", "vscode://file/app/shop/pages.py:69")
    details.get_by_role("link", name="b00000000000000e").click()
    expect(page).to_have_url(re.compile("panel=trace&span=b00000000000000e"))
    expect(selected(page)).to_contain_text("task render_charts")


def test_search_and_states(opened: Any) -> None:
    page = opened(at(TASKS))
    expect(grid(page)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("prices:")
    expect(page.locator("p.note")).to_have_text("4 of 11 lanes match")
    page.get_by_label("State").select_option("failed")
    expect(page.locator("p.note")).to_have_text("1 of 11 lanes match")
    expect(page.locator(".row:visible:not(.dim)")).to_contain_text("no price in GBP")
    page.get_by_label("Search tasks").press("Escape")
    page.get_by_label("State").select_option("running")
    expect(page.locator("p.note")).to_have_text("1 of 11 lanes match")
    page.locator("article.finding").get_by_role("link", name="Task-14").click()
    expect(selected(page)).to_contain_text("render_charts")
    expect(page.get_by_label("State")).to_have_value("")


def test_a_thousand_lanes_keep_the_document_small(opened: Any) -> None:
    page = opened(at(MANY))
    expect(grid(page)).to_have_attribute("aria-rowcount", "1002")
    assert page.evaluate("document.querySelectorAll('*').length") <= 1600
    rows = page.locator("#lanes .row")
    before = rows.count()
    grid(page).focus()
    page.keyboard.press("End")
    expect(selected(page)).to_contain_text("Task-1000")
    for key in ("PageUp", "w", "w", "d", "s", "Home", "PageDown"):
        page.keyboard.press(key)
    assert rows.count() == before <= 26
    assert page.evaluate("document.querySelectorAll('*').length") <= 1600


def test_json_is_copied_and_downloaded(opened: Any, tmp_path: Path) -> None:
    page = opened(at(TASKS), permissions=["clipboard-read", "clipboard-write"])
    expect(grid(page)).to_be_visible()
    page.get_by_role("button", name="Copy JSON").click()
    expect(page.locator("#live")).to_contain_text("copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert (copied["trace_id"], len(copied["lanes"])) == (TASKS, 11)
    for embed in ("", "1"):
        page = opened(at(TASKS, embed=embed))
        with page.expect_download() as download:
            page.get_by_role("link", name="Download JSON").click()
        download.value.save_as(tmp_path / "timeline.json")
        assert download.value.suggested_filename == f"{TASKS}.timeline.json"
        assert json.loads((tmp_path / "timeline.json").read_text("utf-8")) == copied


def test_without_javascript(opened: Any) -> None:
    page = opened(at(TASKS), java_script_enabled=False)
    expect(page.get_by_role("table", name="Tasks, parents before children")).to_contain_text(
        "prices:jp"
    )
    expect(page.get_by_role("img", name="Tasks over time, at most 7 at once")).to_be_visible()
    page.locator("table.tasks").get_by_role("link", name="render_charts").click()
    expect(page.get_by_role("complementary", name="Span details")).to_contain_text(
        "asyncio.task.steps"
    )


def test_a_running_trace_goes_on(opened: Any, pages: Pages) -> None:
    known = recorded.load("dashboard")
    page = opened(at(TASKS))
    expect(selected(page)).to_be_visible()
    page.keyboard.press("j")
    later = known.now + 300_000_000
    pages.add(Trace.of(TASKS, known.spans, later))
    expect(overview(page)).to_have_attribute("aria-valuetext", "0.00 ms to 1.00 s", timeout=5000)
    ended = [replace(span, end=span.end or later) for span in known.spans]
    pages.add(Trace.of(TASKS, ended, later))
    expect(page.locator("#live")).to_have_text("", timeout=5000)
    # It is opened anew, at the request: what went on after that is more than half of the time.
    expect(overview(page)).to_have_attribute("aria-valuetext", "0.00 ms to 453 ms")


def test_the_waterfall_shows_where_the_loop_was_blocked(opened: Any) -> None:
    page = opened(f"/_toolbar/t/{TASKS}?panel=trace")
    stripe = page.locator(".stripes b")
    expect(stripe).to_have_count(1)
    track = page.locator(".stripes .track").bounding_box()
    box = stripe.bounding_box()
    assert (box["x"] - track["x"]) / track["width"] == pytest.approx(0.0754 / 0.7, abs=0.01)
    assert box["width"] / track["width"] == pytest.approx(0.1503 / 0.7, abs=0.01)
    axis = page.locator(".axis").bounding_box()
    assert (track["x"], track["width"]) == pytest.approx((axis["x"], axis["width"]), abs=1)
    assert box["height"] == pytest.approx(
        page.locator("#spans").bounding_box()["height"] - 26, abs=4
    )
