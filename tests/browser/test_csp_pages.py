"""Strict policies in a real browser: the tag runs where it may, and violates nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from otel_toolbar.web.inject import Injector
from otel_toolbar.web.security import own_headers

playwright = pytest.importorskip("playwright.async_api", reason="playwright is missing")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is missing")
applications = pytest.importorskip("starlette.applications", reason="starlette is missing")

from starlette.responses import HTMLResponse, Response, StreamingResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing")

TRACE = "0af7651916cd43dd8448eb211c80319c"
ENFORCED, REPORTED = "content-security-policy", "content-security-policy-report-only"
# Does what the toolbar does on a page: fetches from its own address and frames it, if it may.
SCRIPT = """
const tag = document.currentScript, base = location.origin + tag.dataset.base;
const blocked = (tag.dataset.blocked || "").split(" ");
document.documentElement.dataset.ran = tag.dataset.trace;
if (!blocked.includes("connect")) fetch(base + "/api/traces").then(answer => answer.text());
if (!blocked.includes("frame")) {
  const frame = document.createElement("iframe");
  frame.src = base + "/t/" + tag.dataset.trace;
  const show = () => document.body.append(frame);
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", show); else show();
}
"""

DOCUMENT = (
    "<!doctype html><html lang=en><head><title>page</title>{}</head><body><h1>Hi</h1></body></html>"
)

# What the tag's script asks for: itself, the JSON, the framed page.
NOTHING: list[str] = []
SCRIPT_ONLY = ["script"]
NO_FRAME = ["api", "script"]
NO_FETCH = ["script", "t"]
ALL = ["api", "script", "t"]

POLICIES: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", ALL),
    "self": ("default-src 'self'", ALL),
    "nonce": ("script-src 'nonce-cmFuZG9t'", ALL),
    "nonce alone": ("default-src 'none'; script-src 'nonce-YQ=='", SCRIPT_ONLY),
    "strict dynamic": ("script-src 'strict-dynamic' 'nonce-YQ==' https: 'unsafe-inline'", ALL),
    "strict dynamic without": ("script-src 'strict-dynamic' 'self'", NOTHING),
    "none": ("default-src 'none'", NOTHING),
    "hash only": ("script-src 'sha256-abc='", NOTHING),
    "weird nonce": ("script-src 'nonce-\"><b>'", NOTHING),
    "weird nonce and self": ("script-src 'self' 'nonce-\"><b>'", ALL),
    "other host": ("script-src https://cdn.example", NOTHING),
    "elem forbids": ("script-src 'self'; script-src-elem 'none'", NOTHING),
    "elem allows": ("script-src 'none'; script-src-elem 'self'", ALL),
    "twice the directive": ("script-src 'self'; script-src 'none'", ALL),
    "joined": ("script-src 'nonce-YQ==', script-src 'self'", ALL),
    "joined, both fine": ("script-src 'nonce-YQ==', script-src 'self' 'nonce-YQ=='", ALL),
    "at odds": ("script-src 'nonce-YQ==', script-src 'nonce-Yg=='", NOTHING),
    "no connections": ("connect-src 'none'", NO_FETCH),
    "no frames": ("frame-src 'none'; connect-src 'self'", NO_FRAME),
    "no children": ("child-src 'none'", NO_FRAME),
    "path": ("script-src HOST/_toolbar/static/", ALL),
    "other path": ("script-src HOST/static/", NOTHING),
    "host": ("default-src HOST", ALL),
    "host without port": ("default-src localhost", NOTHING),
    "any port": ("script-src localhost:*", ALL),
    "scheme": ("default-src http:", ALL),
    "secure scheme": ("script-src https:", NOTHING),
    "trusted types": ("require-trusted-types-for 'script'; trusted-types 'none'", ALL),
    "sandbox": ("sandbox", NOTHING),
    "sandbox, scripts": ("sandbox allow-scripts", NOTHING),
    "sandbox, same origin": ("sandbox allow-scripts allow-same-origin", ALL),
}
ISOLATED = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
}
META = '<meta http-equiv=content-security-policy content="{}">'
# Headers, what stands at the beginning of the head, and what is asked for.
PAGES: dict[str, tuple[dict[str, str], str, list[str]]] = {
    **{name: ({ENFORCED: policy}, "", asked) for name, (policy, asked) in POLICIES.items()},
    **{
        f"{name}, reported": ({REPORTED: policy}, "", asked)
        for name, (policy, asked) in POLICIES.items()
        if "sandbox" not in name
    },
    "no policy": ({}, "", ALL),
    "isolated": (ISOLATED, "", ALL),
    "integrity policy": ({"integrity-policy": "blocked-destinations=(script)"}, "", NOTHING),
    "meta forbids": ({}, META.format("script-src 'none'"), NOTHING),
    "meta limits": ({}, META.format("default-src 'none'; script-src 'self'"), SCRIPT_ONLY),
    "meta with nonce": ({}, META.format("script-src 'nonce-YQ=='"), ALL),
    "base elsewhere": ({}, "<base href='https://elsewhere.example/'>", ALL),
    "decoys": ({}, "<!-- <head> <meta charset> --><script>'</body><head>'</script>", ALL),
}


def document(name: str) -> str:
    return DOCUMENT.format(PAGES[name][1])


async def show(request: Request) -> Response:
    name = request.path_params["name"]
    host = request.headers["host"]
    headers = {key: value.replace("HOST", host) for key, value in PAGES[name][0].items()}
    return HTMLResponse(document(name), headers=headers)


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for byte in document("self").encode():
            yield bytes([byte])

    return StreamingResponse(parts(), media_type="text/html", headers=PAGES["self"][0])


class Site:
    """A small app with the tag in its pages, and stand-ins for the toolbar's own addresses."""

    def __init__(self) -> None:
        self.asked: dict[str, list[str]] = {}  # by the page that asks
        self.port = 0
        self.app = applications.Starlette(
            routes=[
                Route("/page/{name}", show),
                Route("/stream", stream),
                Route("/_toolbar/static/toolbar.js", self.script),
                Route("/_toolbar/{rest:path}", self.own),
            ]
        )

    async def script(self, request: Request) -> Response:
        return self._answer(request, "script", SCRIPT, "text/javascript")

    async def own(self, request: Request) -> Response:
        name = request.path_params["rest"].partition("/")[0]
        return self._answer(request, name, "<p>own</p>", "text/html")

    def _answer(self, request: Request, name: str, content: str, media_type: str) -> Response:
        page = unquote(request.headers["referer"].rpartition("/")[2])
        self.asked.setdefault(page, []).append(name)
        response = Response(content, media_type=media_type)
        response.raw_headers += own_headers()
        return response

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_toolbar"):
            await self.app(scope, receive, send)
            return
        injector = Injector(
            scope,
            send,
            base="/_toolbar",
            version="0.1.0",
            traceparent=lambda: f"00-{TRACE}-b7ad6b7169203331-01",
        )
        try:
            await self.app(scope, receive, injector.send)
        finally:
            await injector.finish()


@contextlib.asynccontextmanager
async def serving(site: Site) -> AsyncIterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        site.port = listener.getsockname()[1]
        config = uvicorn.Config(site, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task


@contextlib.asynccontextmanager
async def browsing() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=str(CHROMIUM), chromium_sandbox=False, args=ARGS
        )
        try:
            yield browser
        finally:
            await browser.close()


async def visit(browser: Any, address: str, *, scripts: bool = True) -> tuple[Any, list[str]]:
    """Open a page; what it violated is told by the browser's console, sandboxed or not."""
    context = await browser.new_context(java_script_enabled=scripts)
    page = await context.new_page()
    violations: list[str] = []
    client = await context.new_cdp_session(page)

    def issue(event: dict[str, Any]) -> None:
        if event["issue"]["code"] == "ContentSecurityPolicyIssue":
            violations.append(str(event["issue"]["details"]))

    client.on("Audits.issueAdded", issue)
    await client.send("Audits.enable")
    await page.add_init_script(
        "window.violations = []; addEventListener('securitypolicyviolation',"
        " event => violations.push(event.violatedDirective), true)"
    )
    page.on("console", lambda m: violations.append(m.text) if "violates" in m.text else None)
    await page.goto(address, wait_until="networkidle")
    if scripts and "sandbox" not in address:
        violations += await page.evaluate("violations")
    return page, violations


async def test_no_page_sees_a_violation() -> None:
    site = Site()
    violations: dict[str, list[str]] = {}
    at_once = asyncio.Semaphore(6)

    async def look(browser: Any, name: str) -> None:
        async with at_once:
            address = f"http://localhost:{site.port}/page/{name}"
            page, violations[name] = await visit(browser, address)
            await page.context.close()

    async with serving(site), browsing() as browser:
        await asyncio.gather(*(look(browser, name) for name in PAGES))
    assert {name: found for name, found in violations.items() if found} == {}
    asked = {name: sorted(site.asked.get(name, [])) for name in PAGES}
    assert asked == {name: expected for name, (_, _, expected) in PAGES.items()}


async def test_a_violation_would_be_seen() -> None:
    site = Site()
    PAGES["violating"] = {ENFORCED: "script-src 'self'"}, "<script>1</script>", ALL
    try:
        async with serving(site), browsing() as browser:
            _, violations = await visit(browser, f"http://localhost:{site.port}/page/violating")
    finally:
        del PAGES["violating"]
    assert "script-src-elem" in violations


async def test_the_tag_stands_in_the_head_and_hurts_nothing() -> None:
    site = Site()
    async with serving(site), browsing() as browser:
        for address in ("page/self", "stream", "page/isolated"):
            page, _ = await visit(browser, f"http://localhost:{site.port}/{address}")
            root = page.locator("html")
            assert await root.get_attribute("data-ran") == TRACE
            assert await page.locator("head > script[data-trace]").count() == 1
            assert await page.locator("body").inner_text() == "Hi"
            assert await page.title() == "page"
            assert await page.evaluate("document.compatMode") == "CSS1Compat"
            timing = "performance.getEntriesByType('navigation')[0].serverTiming[0].description"
            assert await page.evaluate(timing) == f"00-{TRACE}-b7ad6b7169203331-01"
            await page.context.close()


async def test_without_scripts_the_head_stays_whole() -> None:
    """Anything visible in the `<noscript>` would end the head before the page's own title."""
    site = Site()
    async with serving(site), browsing() as browser:
        address = f"http://localhost:{site.port}/page/self"
        page, violations = await visit(browser, address, scripts=False)
        assert violations == []
        assert await page.locator("head > title").count() == 1
        assert await page.locator("head > noscript > link[rel=help]").count() == 1
        assert await page.locator("body > *").count() == 1
    assert site.asked == {}
