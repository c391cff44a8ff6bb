"""The newcomer's way in a real browser: the shop under `opentelemetry-instrument`, nothing of it ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.servers.serving import EXAMPLES, serving

OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}


def test_from_a_page_to_the_line_that_makes_the_queries(
    chromium: Any, violations: Any, tmp_path: Path
) -> None:
    with serving(EXAMPLES / "shop", tmp_path, environment=OURS) as shop:
        page = chromium.new_page(base_url=shop.url)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/orders")
        badge = page.get_by_role("button", name=re.compile("^Debug toolbar"))
        expect(badge).to_contain_text("59 q")
        page.keyboard.press("Alt+Shift+D")
        drawer = page.frame_locator("iframe[title='Debug panels']")
        drawer.get_by_role("link", name=re.compile("^Queries")).click()
        expect(drawer.get_by_text("38 times", exact=False).first).to_be_visible()
        expect(drawer.get_by_text("selectinload(OrderItem.product)").first).to_be_visible()
        expect(drawer.get_by_text(re.compile(r"shop/orders\.py:\d+")).first).to_be_visible()

        # What the page fetches later is listed too, and the history has everything.
        page.goto("/products")
        page.get_by_role("searchbox").first.type("tea")
        expect(badge).to_contain_text("+")
        shop.get("/boom")
        page.goto("/_toolbar")
        for name in ("GET /orders", "GET /search", "GET /boom"):
            expect(page.get_by_role("link", name=name).first).to_be_visible()
        assert violations(page) == []
        assert errors == []
        page.close()


def test_a_query_is_explained_on_demand(chromium: Any, violations: Any, tmp_path: Path) -> None:
    with serving(EXAMPLES / "shop", tmp_path, environment=OURS) as shop:
        page = chromium.new_page(base_url=shop.url)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        trace = shop.trace_of(shop.get("/orders"))
        page.goto(f"/_toolbar/t/{trace}?panel=queries")
        page.get_by_role("link", name="2", exact=True).first.click()
        ask = page.get_by_role("button", name="EXPLAIN", exact=True).first
        ask.focus()
        page.keyboard.press("Enter")
        plan = page.locator(".plan:visible")
        expect(plan).to_have_attribute("data-state", "done")
        expect(plan).to_contain_text("order_items")
        assert violations(page) == []
        assert errors == []
        page.close()
