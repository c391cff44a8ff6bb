"""A real Chromium, and axe-core; where one is missing the tests say which."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import Pages, Server

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is missing: pip install playwright"
)

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"

Open = Callable[..., Any]


@pytest.fixture(scope="package")  # playwright keeps the thread's event loop while it is open
def chromium() -> Iterator[Any]:
    path = (
        os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    )
    if path is None:
        pytest.skip("chromium is missing: apt-get install chromium, or set CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, chromium_sandbox=False, args=ARGUMENTS
        )
        yield browser
        browser.close()


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
def site(pages: Pages) -> Iterator[str]:
    with Server(pages) as url:
        yield url


@pytest.fixture
def opened(chromium: Any, site: str) -> Iterator[Open]:
    """Open an address in a fresh profile. What goes wrong in the page fails the test at its end."""
    contexts: list[Any] = []
    problems: list[str] = []

    def open_page(
        path: str, theme: str = "light", width: int = 1280, height: int = 720, **more: Any
    ) -> Any:
        viewport = {"width": width, "height": height}
        context = chromium.new_context(color_scheme=theme, viewport=viewport, base_url=site, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"{path}: {error}"))
        page.on("console", lambda message: _note(problems, path, message))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def _note(problems: list[str], path: str, message: Any) -> None:
    # A favicon that the app does not have is none of our business.
    if message.type == "error" and "favicon.ico" not in message.location.get("url", ""):
        problems.append(f"{path}: {message.text} {message.location.get('url')}")


@pytest.fixture
def violations() -> Callable[[Any], list[str]]:
    """What axe-core finds in a page and its frames: `rule: selector` each."""
    if not AXE.is_file():
        pytest.skip("axe-core is missing: npm ci --prefix tests/browser")
    script = AXE.read_text(encoding="utf-8")

    def check(page: Any) -> list[str]:
        found: list[str] = []
        for frame in page.frames:
            frame.evaluate(script)
            result = frame.evaluate(
                "axe.run(document, {resultTypes: ['violations'], iframes: false})"
            )
            for violation in result["violations"]:
                found += [f"{violation['id']}: {node['target']}" for node in violation["nodes"]]
        return found

    return check
