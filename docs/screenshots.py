"""Takes the pictures of the README and of the docs from the running shop, with a real Chromium.

    python docs/screenshots.py

It needs what `make test` installs, and chromium (or CHROMIUM with its path).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from playwright.sync_api import Browser, Page, expect, sync_playwright

DOCS = Path(__file__).parent
IMAGES = DOCS / "images"
SHOP = DOCS.parent / "examples" / "shop"
SIZE = {"width": 1280, "height": 800}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORT = _free_port()
SITE = f"http://localhost:{PORT}"

_open = build_opener(ProxyHandler({})).open


@contextmanager
def shop() -> Iterator[None]:
    """The shop with the toolbar, on a database of its own."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "OTEL_PYTHON_DISTRO": "otel_toolbar",
            "OTEL_SERVICE_NAME": "shop",
            "SHOP_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/shop.sqlite",
        }
        command = ["opentelemetry-instrument", "uvicorn", "app:app", "--port", str(PORT)]
        process = subprocess.Popen(
            [tools / command[0], *command[1:]],
            cwd=SHOP,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not _answers():
                if process.poll() is not None:
                    raise SystemExit("the shop did not start")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait()


def _answers() -> bool:
    try:
        return _open(f"{SITE}/openapi.json", timeout=2).status == 200
    except (URLError, OSError):
        return False


def drawer(page: Page) -> None:
    """The page with the N+1, and the toolbar open in it."""
    page.add_init_script("localStorage.setItem('otel-toolbar.height', '460')")
    page.goto(f"{SITE}/orders")
    page.get_by_role("button", name="Debug toolbar").click()
    frame = page.frame_locator("iframe[title='Debug panels']")
    expect(frame.get_by_role("treegrid")).to_be_visible()


def queries(page: Page) -> None:
    """The panel that says what the N+1 is and how it is cured."""
    page.request.get(f"{SITE}/orders")
    page.goto(f"{SITE}/_toolbar/t/{_newest(page, '/orders')}?panel=queries")


def history(page: Page) -> None:
    """All requests of a short visit: pages, JSON, an error."""
    order = {"customer_id": 1, "lines": [{"product_id": 7, "quantity": 2}]}
    page.request.get(f"{SITE}/boom")  # uvicorn closes the connection after it
    for path in ("/", "/products", "/api/products/1", "/api/products/999", "/orders"):
        page.request.get(SITE + path, max_retries=3)
    page.request.post(f"{SITE}/api/orders", data=order)
    for path in ("/admin/report", "/orders/fast", "/search?q=mug", "/export.csv"):
        page.request.get(SITE + path)
    page.goto(f"{SITE}/_toolbar/")
    expect(page.get_by_role("link", name="GET /export.csv")).to_be_visible()


def _newest(page: Page, path: str) -> str:
    found = page.request.get(f"{SITE}/_toolbar/api/traces?q={path}").json()["traces"]
    return next(trace["trace_id"] for trace in found if trace["name"] == f"GET {path}")


PICTURES: dict[str, tuple[Callable[[Page], None], str]] = {
    "drawer.png": (drawer, "light"),
    "queries.png": (queries, "dark"),
    "history.png": (history, "light"),
}


def take(browser: Browser, name: str) -> None:
    show, theme = PICTURES[name]
    context = browser.new_context(viewport=SIZE, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    show(page)
    page.wait_for_load_state("networkidle" if name == "drawer.png" else "load")
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / name)
    context.close()
    print(f"docs/images/{name}: {(IMAGES / name).stat().st_size // 1000} kB")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with shop(), sync_playwright() as playwright:
        for path in ("/orders", "/orders/fast", "/products", "/api/products/1"):
            _open(SITE + path).read()  # what is first only once is no part of the picture
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        for name in PICTURES:
            take(browser, name)
        browser.close()


if __name__ == "__main__":
    main()
