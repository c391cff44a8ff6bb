"""Takes the pictures of the README and of the docs from the running examples, with a real Chromium.

    python docs/screenshots.py

It needs what `make test` installs, and chromium (or CHROMIUM with its path). The picture of the panel of jobs
needs redis-server, too; without it the picture stays as it is.
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
EXAMPLES = DOCS.parent / "examples"
SIZE = {"width": 1280, "height": 800}
PANEL_SIZE = {"width": 960, "height": 520}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORT = _free_port()
SITE = f"http://localhost:{PORT}"

_open = build_opener(ProxyHandler({})).open


@contextmanager
def example(name: str, **more: str) -> Iterator[None]:
    """An example with the toolbar, the shop on a database of its own."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "OTEL_PYTHON_DISTRO": "otel_toolbar",
            "OTEL_SERVICE_NAME": name.removesuffix("_app"),
            "SHOP_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/shop.sqlite",
            **more,
        }
        command = ["opentelemetry-instrument", "uvicorn", "app:app", "--port", str(PORT)]
        process = subprocess.Popen(
            [tools / command[0], *command[1:]],
            cwd=EXAMPLES / name,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not _answers():
                if process.poll() is not None:
                    raise SystemExit(f"{name} did not start")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait()


@contextmanager
def redis() -> Iterator[str]:
    """The address of a Redis that keeps nothing."""
    port = str(_free_port())
    process = subprocess.Popen(
        ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _answers() -> bool:
    try:
        return _open(f"{SITE}/", timeout=2).status == 200
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

PANELS = {
    "shop": {
        "trace": "/admin/report",
        "request": "/products?q=mug&page=1",
        "response": "/export.csv",
        "headers": "/",
        "timing": "/admin/report",
        "tasks": "/admin/report",
        "templates": "/products",
        "logs": "/delivery?weight=40",
        "errors": "/boom",
        "cache": "/delivery",
        "http": "/delivery",
        "dependencies": "/cart",
        "openapi": "/api/products/1",
        "routes": "/products/1",
        "settings": "/",
        "versions": "/",
        "alerts": "/orders",
    },
    "litestar_app": {"events": "/lend/3"},
    "graphql_app": {"graphql": "/graphql?query=query+Shelf+{authors{name+titles}}"},
    "jobs_app": {"jobs": "/loop"},
}
"""By example and panel: the page that is asked for, and whose trace is shown."""


def take(browser: Browser, name: str) -> None:
    show, theme = PICTURES[name]
    context = browser.new_context(viewport=SIZE, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    show(page)
    page.wait_for_load_state("networkidle" if name == "drawer.png" else "load")
    _save(page, name)
    context.close()


def take_panel(browser: Browser, panel: str, path: str) -> None:
    """A panel as the drawer shows it, as tall as a drawer."""
    context = browser.new_context(viewport=PANEL_SIZE, reduced_motion="reduce")
    page = context.new_page()
    answer = page.request.get(SITE + path, max_retries=3)
    trace = answer.headers["x-trace-id"]
    page.wait_for_timeout(1500)  # what comes after the response, and the facts of the process
    page.goto(f"{SITE}/_toolbar/t/{trace}?embed=1&panel={panel}")
    if panel == "openapi":  # the document is made when somebody first looks
        page.wait_for_timeout(4000)
        page.reload()
    _save(page, f"panel-{panel}.png")
    context.close()


def _save(page: Page, name: str) -> None:
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / name)
    print(f"docs/images/{name}: {(IMAGES / name).stat().st_size // 1000} kB")


def take_panels(browser: Browser, name: str) -> None:
    for panel, path in PANELS[name].items():
        take_panel(browser, panel, path)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        with example("shop"):
            for path in ("/orders", "/orders/fast", "/products", "/api/products/1", "/delivery"):
                _open(SITE + path).read()  # what is first only once is no part of the picture
            for name in PICTURES:
                take(browser, name)
            take_panels(browser, "shop")
        for name in ("litestar_app", "graphql_app"):
            with example(name):
                take_panels(browser, name)
        if shutil.which("redis-server"):
            with redis() as address, example("jobs_app", JOBS_URL=address):
                take_panels(browser, "jobs_app")
        browser.close()


if __name__ == "__main__":
    main()
