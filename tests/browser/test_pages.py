"""The toolbar's own pages in a real browser: by keyboard, live, accessible, in every theme and width."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from otel_toolbar import panels
from otel_toolbar.insights import reading
from otel_toolbar.model import Trace
from tests import recorded

from .harness import Pages, renamed

ORDERS, CHECKOUT = recorded.load("orders").trace_id, recorded.load("checkout").trace_id
LARGE = recorded.large(2).trace_id
THEMES = ("light", "dark")


def at(trace_id: str, panel: str, **more: str) -> str:
    return f"/_toolbar/t/{trace_id}?panel={panel}" + "".join(f"&{k}={v}" for k, v in more.items())


# Colours do not depend on the width, nor what is there on the theme: two of the four tell all.
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 400)])
@pytest.mark.parametrize("panel", panels.BUILTIN)
def test_every_panel_is_accessible(
    opened: Any, violations: Any, panel: str, width: int, theme: str
) -> None:
    names = ["orders", "checkout", "job", "websocket", "clients"]
    for name in (*names, "graphql") if panel == "graphql" else names:
        page = opened(at(recorded.load(name).trace_id, panel), theme, width)
        if panel == "trace":
            expect(page.get_by_role("treegrid")).to_be_visible()
        # At once: a panel's script may put something else in their place.
        unfold = "parts => parts.slice(0, 6).forEach(part => { part.open = true })"
        page.locator(".panel details").evaluate_all(unfold)
        assert violations(page) == [], name


@pytest.mark.parametrize("theme", THEMES)
def test_history_and_messages_are_accessible(
    opened: Any, violations: Any, pages: Pages, theme: str
) -> None:
    for width in (1280, 320):
        assert violations(opened("/_toolbar/", theme, width)) == []
    assert violations(opened("/_toolbar/?q=nothing", theme)) == []
    pages.traces.clear()
    page = opened("/_toolbar/", theme)
    expect(page.get_by_role("heading", name="No requests yet")).to_be_visible()
    assert violations(page) == []


def test_gone_trace(opened: Any, violations: Any, chromium: Any, site: str) -> None:
    page = chromium.new_page()
    page.goto(f"{site}/_toolbar/t/{'0' * 32}")
    expect(page.get_by_role("heading", level=1)).to_have_text("This trace is gone")
    assert violations(page) == []
    page.close()


@pytest.mark.parametrize("theme", THEMES)
def test_inspector_and_help_are_accessible(opened: Any, violations: Any, theme: str) -> None:
    page = opened(at(CHECKOUT, "trace"), theme)
    page.get_by_role("row", name=re.compile("^▲ POST httpx")).click()
    expect(page.get_by_role("complementary", name="Span details")).to_contain_text("pay.example")
    assert violations(page) == []
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert violations(page) == []


def test_history_is_live(opened: Any, pages: Pages) -> None:
    page = opened("/_toolbar/")
    expect(page.get_by_role("status")).to_have_text("live")
    pages.add(renamed(recorded.load("orders"), "1" * 32))
    row = page.locator(f"tr[data-id='{'1' * 32}']")
    expect(row).to_contain_text("GET /orders", timeout=3000)
    expect(page.locator("#list tbody tr").first).to_have_attribute("data-id", "1" * 32)


def test_rows_do_not_move_under_the_pointer(opened: Any, pages: Pages) -> None:
    page = opened("/_toolbar/")
    expect(page.get_by_role("status")).to_have_text("live")
    page.locator("#list tbody tr").nth(2).hover()
    pages.add(renamed(recorded.load("orders"), "2" * 32))
    pill = page.get_by_role("button", name="1 new")
    expect(pill).to_be_visible(timeout=3000)
    expect(page.locator(f"tr[data-id='{'2' * 32}']")).to_have_count(0)
    pill.click()
    expect(page.locator(f"tr[data-id='{'2' * 32}']")).to_have_count(1)
    expect(pill).to_be_hidden()


def test_history_by_keyboard(opened: Any, pages: Pages) -> None:
    page = opened("/_toolbar/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("checkout")
    expect(page.locator("#list tbody tr:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    page.keyboard.press("p")
    expect(page.locator("tr[data-pinned]")).to_have_count(1)
    assert pages.pinned == {CHECKOUT}
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(CHECKOUT))


def test_filters(opened: Any) -> None:
    page = opened("/_toolbar/")
    rows = page.locator("#list tbody tr:visible")
    page.get_by_label("Kind").select_option("job")
    expect(rows).to_have_count(1)
    page.get_by_label("Kind").select_option("")
    page.get_by_label("Status").select_option("5xx")
    expect(rows).to_have_count(2)
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()


def test_clear(opened: Any, pages: Pages) -> None:
    page = opened("/_toolbar/")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("heading", name="No requests yet")).to_be_visible()
    assert pages.traces == {}


def selected(page: Page) -> Any:
    return page.locator(".row[aria-selected=true]:visible")


def test_waterfall_by_keyboard(opened: Any) -> None:
    page = opened(at(ORDERS, "trace"))
    grid = page.get_by_role("treegrid")
    expect(grid).to_have_attribute("aria-rowcount", "31")
    grid.focus()
    for key in ("ArrowDown", "j", "k", "ArrowDown"):
        page.keyboard.press(key)
    expect(selected(page)).to_contain_text("SELECT customers")
    page.keyboard.press("ArrowLeft")
    expect(selected(page)).to_contain_text("fastapi.dependencies")
    page.keyboard.press("ArrowLeft")
    expect(selected(page)).to_have_attribute("aria-expanded", "false")
    expect(grid).to_have_attribute("aria-rowcount", "30")
    page.keyboard.press("ArrowRight")
    expect(grid).to_have_attribute("aria-rowcount", "31")
    page.keyboard.press("End")
    expect(selected(page)).to_contain_text("render orders.html")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Span details")).to_contain_text(
        "template.engine"
    )
    page.keyboard.press("Escape")
    expect(page.locator("#inspector")).to_be_hidden()
    page.keyboard.press("c")
    expect(page.get_by_role("button", name="Critical path")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("w")
    expect(page.get_by_role("button", name="Whole time")).to_be_visible()
    page.keyboard.press("0")
    expect(page.get_by_role("button", name="Whole time")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("render")
    expect(page.locator("p.note")).to_have_text("1 of 30 spans match")
    page.keyboard.press("Enter")
    page.keyboard.press("]")
    expect(page).to_have_url(re.compile("panel=request"))
    page.keyboard.press("[")
    expect(page).to_have_url(re.compile("panel=trace"))


def test_span_of_an_address_is_shown(opened: Any) -> None:
    page = opened(at(ORDERS, "trace", span="a000000000000014"))
    expect(selected(page)).to_contain_text("SELECT order_items")
    expect(page.get_by_role("complementary", name="Span details")).to_contain_text(
        "a000000000000014"
    )


def test_large_trace_keeps_the_document_small(opened: Any) -> None:
    page = opened(at(LARGE, "trace"))
    grid = page.get_by_role("treegrid")
    expect(grid).to_have_attribute("aria-rowcount", re.compile(r"\d{2,}"))
    grid.focus()
    page.keyboard.press("End")
    expect(page.locator(".row:visible").last).to_contain_text("SELECT items")
    assert page.evaluate("document.querySelectorAll('*').length") <= 1500


def test_like_neighbours_are_folded(opened: Any, pages: Pages) -> None:
    large = recorded.large(400)
    spans = [
        span if not span.name.startswith("SELECT") else _named(span, "SELECT items")
        for span in large.spans
    ]
    pages.add(Trace.of(large.trace_id, spans, large.now))
    page = opened(at(LARGE, "trace"))
    run = page.locator(".row:visible", has_text=re.compile(r"^.?49 . SELECT items")).first
    expect(run).to_have_attribute("aria-expanded", "false")
    run.locator(".fold").click()
    expect(run).to_have_attribute("aria-expanded", "true")


def _named(span: Any, name: str) -> Any:
    return replace(span, name=name)


def test_running_trace_goes_on_by_itself(opened: Any, pages: Pages) -> None:
    running = recorded.load("running")
    page = opened(at(running.trace_id, "request"))
    expect(page.locator("#live")).to_contain_text("running")
    ended = [replace(span, end=span.end or running.now) for span in running.spans]
    pages.add(Trace.of(running.trace_id, ended, running.now))
    expect(page.locator("dl.figures")).to_contain_text("2.60 s", timeout=8000)


def test_queries_lead_to_each_other_and_to_the_trace(opened: Any) -> None:
    page = opened(at(ORDERS, "queries"))
    page.locator("#n-plus-one").get_by_role("link", name="7", exact=True).click()
    expect(page.locator("#q7")).to_be_visible()
    assert page.evaluate("scrollY") == 0, "the panel scrolls, not the page around it"
    page.locator("#q7").get_by_role("link", name="Show in trace").click()
    expect(selected(page)).to_contain_text("SELECT order_items")


def test_copy(opened: Any) -> None:
    page = opened(at(CHECKOUT, "queries"), permissions=["clipboard-read", "clipboard-write"])
    page.locator(".queries details").nth(2).locator("summary").click()
    page.get_by_role("button", name="Copy as SQL to run").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith(
        "UPDATE stock SET reserved = reserved + 1"
    )


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1280, 324), (320, 700)])
def test_an_opened_query_is_accessible(
    opened: Any, violations: Any, theme: str, width: int, height: int
) -> None:
    for trace_id, number in ((ORDERS, 3), (CHECKOUT, 5)):
        page = opened(at(trace_id, "queries"), theme, width, height)
        page.locator(f"#q{number} summary").first.click()
        expect(page.locator(f"#q{number} div.query")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_query_tells_all_when_it_is_opened(opened: Any, pages: Pages) -> None:
    trace = recorded.load("orders")
    here = {"code.file.path": __file__, "code.line.number": 3}
    spans = [replace(span, attributes={**span.attributes, **here}) for span in trace.spans]
    pages.add(Trace.of(trace.trace_id, spans, trace.now))
    page = opened(at(ORDERS, "queries"))
    query = page.locator("#q4")
    expect(query.locator("div.query")).to_have_count(0)
    query.locator("summary").first.click()
    expect(query.locator(".source .here")).to_contain_text("from __future__ import annotations")
    button = query.get_by_role("button", name="EXPLAIN")
    expect(button).to_have_attribute("data-explain", reading.queries(trace)[3].span_id)
    expect(query.locator("button.explain + .plan")).to_be_hidden()


def test_queries_are_filtered_while_typing(opened: Any) -> None:
    page = opened(at(CHECKOUT, "queries"))
    rows = page.locator("#queries > li")
    expect(rows).to_have_count(6)
    page.keyboard.press("/")
    page.keyboard.type("stock")
    expect(rows).to_have_count(1)
    expect(page.locator("#found")).to_have_text("1 of 6")
    expect(page.locator("#find")).to_be_focused()
    assert "q=stock" in page.url
    page.keyboard.press("Escape")
    expect(rows).to_have_count(6)
    page.get_by_label("Show only").select_option("only failed")
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="Show all").first.click()
    expect(rows).to_have_count(6)
    page.get_by_label("Sort").select_option("longest first")
    expect(rows.first).to_contain_text("UPDATE stock")


def test_queries_by_keyboard(opened: Any) -> None:
    page = opened(at(ORDERS, "queries"))
    expect(page.locator("#find")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    expect(page.locator("#q2 summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#q2 div.query")).to_be_visible()


def test_a_page_of_two_thousand_queries_is_small(opened: Any) -> None:
    page = opened(at(LARGE, "queries"))
    expect(page.locator("#queries > li")).to_have_count(100)
    assert page.evaluate("document.querySelectorAll('.panel *').length") <= 2000
    page.get_by_role("link", name="next 100").click()
    expect(page.locator("#q101")).to_be_visible()
    expect(page.locator("#q1")).to_have_count(0)
    page.locator(".finding").first.get_by_role("link", name=re.compile("Show the")).click()
    expect(page.locator("#found")).to_contain_text("of 4,899")


def test_a_query_that_is_gone_says_so(opened: Any) -> None:
    page = opened(at(ORDERS, "queries"))
    expect(page.locator("html.js")).to_be_attached()
    page.route("**/t/**", lambda route: route.fulfill(body="<p>gone</p>", content_type="text/html"))
    page.locator("#q1 summary").click()
    expect(page.locator("#q1")).to_contain_text("no longer kept")


def test_queries_without_javascript(opened: Any) -> None:
    page = opened(at(CHECKOUT, "queries"), java_script_enabled=False)
    page.get_by_role("searchbox").fill("payments")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#queries > li")).to_have_count(1)
    page.locator("#q4 summary").click()
    page.get_by_role("link", name="Show query 4").click()
    expect(page.locator("#q4 pre.sql")).to_contain_text("INSERT INTO payments")


@pytest.mark.parametrize("width", [1280, 400, 320])
def test_nothing_sticks_out(opened: Any, width: int) -> None:
    full = at(recorded.load("graphql").trace_id, "graphql")
    for path in ("/_toolbar/", full, *(at(CHECKOUT, panel) for panel in panels.BUILTIN)):
        page = opened(path, "light", width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_a_graphql_resolver_leads_to_its_slowest_call(opened: Any) -> None:
    page = opened(at(recorded.load("graphql").trace_id, "graphql"))
    expect(page.get_by_role("heading", name="Resolved one by one")).to_be_visible()
    page.get_by_role("link", name="orders.*.customer.name").focus()
    page.keyboard.press("Enter")
    details = page.get_by_role("complementary", name="Span details")
    expect(details).to_contain_text("resolve Customer.name")
    expect(details).to_contain_text("graphql.field.path")


def test_without_javascript(opened: Any) -> None:
    page = opened("/_toolbar/", java_script_enabled=False)
    page.get_by_role("link", name="GET /orders").click()
    expect(page.locator("table.static tbody tr")).to_have_count(30)
    page.get_by_role("link", name="SELECT customers").click()
    expect(page.get_by_role("complementary", name="Span details")).to_contain_text(
        "shop/orders.py:22"
    )
    page.get_by_role("link", name="Queries").click()
    expect(page.get_by_role("heading", name=re.compile("24 times"))).to_be_visible()


def test_hostile_values_are_text(opened: Any) -> None:
    trace_id = recorded.load("hostile").trace_id
    for panel in panels.BUILTIN:
        page = opened(at(trace_id, panel))
        page.on("dialog", lambda dialog: pytest.fail(f"markup ran: {dialog.message}"))
        expect(page.get_by_role("heading", level=1)).to_contain_text("<script>alert(1)</script>")
        if panel == "trace":
            page.get_by_role("treegrid").focus()
            page.keyboard.press("End")
            page.keyboard.press("Enter")
            expect(page.get_by_role("complementary", name="Span details")).to_be_visible()
        assert page.locator("img").count() == 0


def test_alerts_lead_to_what_shows_them(opened: Any, violations: Any) -> None:
    page = opened(at(CHECKOUT, "alerts"))
    cards = page.get_by_role("article")
    expect(cards).to_have_count(4)
    first = cards.first
    expect(first.get_by_role("heading", level=3, name="Error: Unhandled error")).to_be_visible()
    expect(first.get_by_role("link", name="shop/checkout.py:61")).to_have_attribute(
        "href", re.compile("^vscode://file/app/shop/checkout.py:61$")
    )
    first.get_by_text("Silence it").click()
    expect(first.locator("code")).to_have_text("OTEL_TOOLBAR_ALERTS=-unhandled-error")
    expect(first.get_by_role("button", name="Copy")).to_be_visible()
    assert violations(page) == []
    cards.nth(2).get_by_role("link", name="Queries panel").click()
    expect(page).to_have_url(re.compile("panel=queries"))
    page.go_back()
    first.get_by_role("link", name=re.compile("^Show ")).click()
    expect(page.get_by_role("complementary", name="Span details")).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
def test_alerts_when_there_is_nothing(opened: Any, violations: Any, theme: str) -> None:
    page = opened(at(recorded.load("job").trace_id, "alerts"), theme)
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    expect(page.get_by_text("What was looked for")).to_be_visible()
    expect(page.get_by_text("N+1 queries")).to_be_visible()
    assert violations(page) == []


def test_the_history_has_the_number_of_the_panel(opened: Any, pages: Pages) -> None:
    page = opened("/_toolbar/")
    row = page.locator(f"tr[data-id='{CHECKOUT}']")
    expect(row.locator("td.a")).to_have_text("▲ 4")
    expect(page.get_by_role("status")).to_have_text("live")
    pages.add(renamed(recorded.load("orders"), "3" * 32))
    live = page.locator(f"tr[data-id='{'3' * 32}'] td.a")
    expect(live).to_have_text("■ 1", timeout=3000)
