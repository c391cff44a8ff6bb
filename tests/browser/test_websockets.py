"""The websockets panel in a real browser: live, followed, filtered, by keyboard, with hostile content."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from otel_toolbar.model import Value
from tests import sockets

from .harness import Pages

AT = f"/_toolbar/t/{sockets.TRACE}?panel=websockets"
MARKUP = "<img src=x onerror=alert(1)><script>alert(2)</script>"
DEEP = {"rooms": [{"id": 2**70, "half": 1.50, MARKUP: MARKUP, "deep": {"er": [1]}}], "none": None}


def text(content: str) -> dict[str, Value]:
    size = len(content.encode())
    return {
        "websocket.message.type": "text",
        "websocket.message.size": size,
        "websocket.message.text": content,
    }


CONTENT: dict[int, dict[str, Value]] = {
    0: text(json.dumps(DEEP).replace("1.5", "1.50")),
    1: text(MARKUP),
    2: {
        "websocket.message.type": "binary",
        "websocket.message.size": 4000,
        "websocket.message.hex": bytes(range(65, 91)).hex(),
        "websocket.message.truncated": True,
    },
    3: {"websocket.message.type": "binary", "websocket.message.size": 9},
    4: {"websocket.message.type": "ping", "websocket.message.size": 0},
}


def rows(page: Page) -> Any:
    return page.locator(".row-of")


def scroller(page: Page) -> Any:
    return page.get_by_role("grid", name="Messages")


def at_end(page: Page) -> bool:
    return scroller(page).evaluate("g => g.scrollTop + g.clientHeight >= g.scrollHeight - 2")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_it_is_accessible(
    opened: Any, violations: Any, pages: Pages, width: int, theme: str
) -> None:
    pages.add(sockets.connection(30, total=900, live=True, content=CONTENT))
    pages.add(sockets.failed(sockets.connection(3, trace_id="3" * 32)))
    page = opened(AT, theme, width)
    expect(rows(page)).to_have_count(30)
    for number in (0, 2, 3):
        rows(page).nth(number).click()
        expect(page.get_by_role("region", name="Message")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(opened(f"/_toolbar/t/{'3' * 32}?panel=websockets", theme, width)) == []
    page = opened("/_toolbar/?kind=websocket", theme, width)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_is_live_and_follows(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(60, live=True))
    page = opened(AT)
    expect(page.locator("#live")).to_have_text("live")
    expect(rows(page)).to_have_count(60)
    assert at_end(page)
    pages.add(sockets.connection(64, live=True))
    expect(rows(page)).to_have_count(64, timeout=5000)
    assert at_end(page)
    expect(page.locator(".figures [data-value='received.messages']").first).to_have_text("32")

    # Scrolled away, nothing moves; what came meanwhile is counted.
    scroller(page).hover()
    page.mouse.wheel(0, -600)
    follow = page.get_by_role("button", name="Follow")
    expect(follow).to_have_attribute("aria-pressed", "false")
    first = page.evaluate("document.querySelector('.log .grid').scrollTop")
    pages.add(sockets.connection(70, live=True))
    pill = page.get_by_role("button", name="6 new")
    expect(pill).to_be_visible(timeout=5000)
    assert page.evaluate("document.querySelector('.log .grid').scrollTop") == first
    pill.click()
    expect(follow).to_have_attribute("aria-pressed", "true")
    assert at_end(page)
    expect(pill).to_be_hidden()


def test_rows_that_go_do_not_move_those_in_sight(opened: Any, pages: Pages) -> None:
    whole = sockets.connection(80, live=True)
    pages.add(whole)
    page = opened(AT)
    expect(rows(page)).to_have_count(80)
    rows(page).nth(40).click()
    chosen = page.locator(".row-of[aria-selected=true]")
    before = chosen.bounding_box()
    from otel_toolbar.model import Trace

    kept = Trace.of(whole.trace_id, [whole.spans[0], *whole.spans[31:]], whole.now)
    pages.add(kept)
    expect(rows(page)).not_to_have_count(80, timeout=5000)
    after = chosen.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) <= 1
    expect(page.get_by_role("region", name="Message")).to_contain_text('"message 40"')


def test_the_end_is_told_without_losing_what_is_read(opened: Any, pages: Pages) -> None:
    live = sockets.connection(20, live=True)
    pages.add(live)
    page = opened(AT)
    page.get_by_label("Filter messages by text").fill("message 1")
    rows(page).first.click()
    chosen = page.locator(".row-of[aria-selected=true]").get_attribute("id")
    pages.add(sockets.ended(live, 1006, websocket_close_initiator="network"))
    expect(page.locator("#socket-state")).to_contain_text("1006 abnormal closure", timeout=5000)
    expect(page.locator(".tabs [aria-current]")).not_to_contain_text("live")
    expect(page.locator(".strip h1")).to_contain_text("1006")
    expect(page.get_by_label("Filter messages by text")).to_have_value("message 1")
    assert page.locator(".row-of[aria-selected=true]").get_attribute("id") == chosen


def test_filters(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(30, content=CONTENT))
    page = opened(AT)
    page.get_by_label("Filter messages by text").fill("MESSAGE 2")
    expect(rows(page)).to_have_count(10)  # 20 to 29
    expect(page.locator("#matching")).to_have_text("10 of 30 match")
    page.get_by_label("Direction").select_option("transmit")
    expect(rows(page)).to_have_count(5)
    page.get_by_label("Filter messages by text").press("Escape")
    page.get_by_label("Direction").select_option("")
    page.get_by_label("Type").select_option("binary")
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Filter messages by text").fill("nothing has this")
    expect(rows(page)).to_have_count(0)
    expect(page.get_by_text("No message matches.")).to_be_visible()


def test_a_message_by_keyboard(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(12, content=CONTENT))
    page = opened(AT)
    expect(rows(page)).to_have_count(12)
    page.keyboard.press("/")
    page.keyboard.type("message 1")
    page.keyboard.press("Enter")
    expect(scroller(page)).to_be_focused()
    page.keyboard.press("Home")
    expect(page.locator(".row-of[aria-selected=true]")).to_contain_text("message 10")
    page.keyboard.press("j")
    detail = page.get_by_role("region", name="Message")
    expect(detail).to_contain_text('"message 11"')
    expect(detail).to_contain_text("#6 text")
    page.keyboard.press("k")
    expect(detail).to_contain_text("1 query, 1 sent")
    page.keyboard.press("Enter")
    expect(detail).to_be_focused()
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    expect(scroller(page)).to_be_focused()
    page.keyboard.press("End")
    detail.get_by_role("button", name=re.compile("^↓")).click()
    expect(detail).to_contain_text("received #6")
    detail.get_by_role("link", name="Show in trace").click()
    expect(page.locator(".row[aria-selected=true]:visible")).to_contain_text("websocket receive")


def test_json_is_a_tree_of_text(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(12, content=CONTENT))
    page = opened(AT, permissions=["clipboard-read", "clipboard-write"])
    page.on("dialog", lambda dialog: pytest.fail(f"markup ran: {dialog.message}"))
    rows(page).first.click()
    tree = page.locator(".json")
    expect(tree).to_contain_text("{ 2 items }")
    item = tree.locator("details", has_text="0: { 4 items }").last
    item.locator("summary").first.click()
    expect(tree).to_contain_text(str(2**70))  # as it was written, not as JavaScript rounds it
    expect(tree).to_contain_text("1.50")
    expect(tree).to_contain_text(json.dumps(MARKUP))
    page.get_by_role("button", name="Text", exact=True).click()
    expect(page.locator("pre.body")).to_contain_text(MARKUP.replace('"', ""))
    page.get_by_role("button", name="Copy text").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == DEEP
    page.keyboard.press("Escape")
    rows(page).nth(1).click()
    expect(page.locator("pre.body")).to_have_text(MARKUP)
    assert page.locator("main img").count() == 0


def test_bytes_are_shown_in_hex(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(12, content=CONTENT))
    page = opened(AT)
    rows(page).nth(2).click()
    detail = page.get_by_role("region", name="Message")
    expect(detail.locator("pre")).to_contain_text("000000  41 42 43 44 45 46 47 48  ABCDEFGH")
    expect(detail).to_contain_text("the first 26 B of 3.9 KiB are kept")
    rows(page).nth(3).click()
    expect(detail).to_contain_text("OTEL_TOOLBAR_WEBSOCKET_BINARY=true")


def test_the_client_is_copied(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(4))
    page = opened(AT, permissions=["clipboard-read", "clipboard-write"])
    expect(rows(page)).to_have_count(4)  # the scripts are there
    page.get_by_role("button", name="Copy as Python client").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    script = page.evaluate("navigator.clipboard.readText()")
    compile(script, "client.py", "exec")
    assert "ws://localhost:8000/chat/blue?since=12" in script


def test_large_messages_keep_the_document_small(opened: Any, pages: Pages) -> None:
    large = json.dumps([{"n": number, "text": "x" * 80} for number in range(110)])[:10_000] + '"}]'
    pages.add(sockets.connection(100, total=14_200, content={n: text(large) for n in range(100)}))
    page = opened(AT)
    expect(rows(page)).to_have_count(100)
    rows(page).nth(50).click()
    expect(page.locator("#kept")).to_contain_text("The last 100 of 14,200 messages are kept")
    assert page.evaluate("document.querySelectorAll('*').length") <= 1800
    assert len(page.locator("#messages").text_content() or "") < 100 * 400 + 2 * 10_240


def test_the_drawer_asks_without_an_event_stream(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(4, live=True))
    asked: list[str] = []
    page = opened("about:blank")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(AT + "&embed=1")
    expect(rows(page)).to_have_count(4)
    pages.add(sockets.connection(6, live=True))
    expect(rows(page)).to_have_count(6, timeout=5000)
    assert not [url for url in asked if "/api/stream" in url]


def test_without_javascript(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(40, content=CONTENT))
    page = opened(AT, java_script_enabled=False)
    expect(page.locator(".timeline")).to_contain_text("closed")
    expect(page.locator(".static-messages > li")).to_have_count(40)
    page.locator(".static-messages summary").last.click()
    expect(page.locator(".static-messages pre").last).to_contain_text('"message 39"')
    page.get_by_role("link", name="All connections").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Websocket connections")


def test_connections_are_listed_live(opened: Any, pages: Pages) -> None:
    pages.add(sockets.connection(10, total=400, live=True))
    pages.add(sockets.connection(6, trace_id="6" * 32))
    page = opened("/_toolbar/")
    page.get_by_label("Kind").select_option("websocket")
    expect(page.get_by_role("heading", level=1)).to_have_text("Websocket connections")
    listed = page.locator("#list tbody tr:visible")
    expect(listed.first).to_contain_text("● open")
    own = page.locator(f"tr[data-id='{sockets.TRACE}']")
    expect(own).to_contain_text("200 · 11.7 KiB")
    page.mouse.move(0, 0)
    pages.add(sockets.connection(14, total=900, live=True))
    expect(own).to_contain_text("450", timeout=5000)
    pages.add(sockets.ended(sockets.connection(14, total=900, live=True), 1001))
    expect(own).to_contain_text("closed 1001", timeout=5000)
    own.get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"{sockets.TRACE}.*panel=websockets"))


def test_a_fast_connection_stays_usable(opened: Any, pages: Pages) -> None:
    """What is shown keeps up with a thousand messages a second, of which the last 100 are kept."""
    pages.add(sockets.connection(100, total=100, live=True))
    page = opened(AT)
    expect(rows(page)).to_have_count(100)
    done = threading.Event()

    def chatter() -> None:
        total = 100
        while not done.is_set():
            total += 100
            pages.add(sockets.connection(100, total=total, live=True))
            time.sleep(0.1)

    talking = threading.Thread(target=chatter)
    talking.start()
    try:
        expect(page.locator("#kept")).to_contain_text("The last 100 of", timeout=5000)
        page.get_by_label("Filter messages by text").fill("message 9")
        expect(rows(page)).to_have_count(11)  # 9 and 90 to 99
        rows(page).nth(1).click()
        expect(page.get_by_role("region", name="Message")).to_contain_text('"message 90"')
    finally:
        done.set()
        talking.join()
