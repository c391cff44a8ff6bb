"""Alerts: labelled cases of every rule, what speaks and what keeps quiet; the setting; one number."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
from typing import Any

import pytest

from otel_toolbar import guard, panels
from otel_toolbar.insights import alerts
from otel_toolbar.insights.hint import Hint
from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Event, Kind, Log, Span, Status, Trace
from otel_toolbar.settings import Settings
from tests import recorded

MS = 1_000_000
TRACE = "a" * 32
SERVER = "0" * 16
PLACE = {"code.file.path": "/app/shop.py", "code.line.number": 7, "code.function.name": "shop.page"}
SESSION = ("session=***; theme=dark",)
FORM = "application/x-www-form-urlencoded"


def headers(direction: str, **given: Any) -> dict[str, Any]:
    return {
        f"http.{direction}.header.{name.replace('_', '-')}": (value,)
        if isinstance(value, str)
        else value
        for name, value in given.items()
    }


def request(
    *,
    method: str = "GET",
    path: str = "/",
    status: int = 200,
    took: float = 20,
    host: str = "shop.com",
    scheme: str = "http",
    sent: dict[str, Any] | None = None,
    answered: dict[str, Any] | None = None,
    watched: bool = True,
    span_id: str = SERVER,
    parent: str | None = None,
    start: float = 0,
    running: bool = False,
    **more: Any,
) -> Span:
    """A request that was served; times in ms."""
    attributes = {
        "http.request.method": method,
        "http.response.status_code": status,
        "url.scheme": scheme,
        "url.path": path,
        "server.address": host,
        **({"toolbar.framework": "starlette"} if watched else {}),
        **headers("request", **(sent or {})),
        **headers("response", **(answered or {})),
        **more.pop("attributes", {}),
    }
    end = None if running else int((start + took) * MS)
    return Span(
        TRACE, span_id, parent, f"{method} {path}", Kind.SERVER, int(start * MS), end, attributes,
        more.pop("state", Status.ERROR if status >= 500 else Status.UNSET), **more,
    )  # fmt: skip


_ids = itertools.count(1)


def work(
    name: str,
    kind: Kind = Kind.CLIENT,
    took: float = 1,
    start: float = 1,
    parent: str | None = SERVER,
    error: bool = False,
    **more: Any,
) -> Span:
    """A span below the request."""
    return Span(
        TRACE, more.pop("span_id", f"{next(_ids):016x}"), parent, name, kind, int(start * MS),
        int((start + took) * MS), more.pop("attributes", {}),
        Status.ERROR if error else Status.UNSET, **more,
    )  # fmt: skip


def raised(kind: Any = "app.Broken", **attributes: Any) -> tuple[Event, ...]:
    text = f'Traceback (most recent call last):\n  File "/app/shop.py", line 9, in buy\n    pay()\n{kind}: no'
    facts = {"exception.type": kind, "exception.message": "no", "exception.stacktrace": text}
    return (Event("exception", 2 * MS, {**facts, **attributes}),)


def trace(*spans: Span, logs: tuple[Log, ...] = ()) -> Trace:
    if not any(span.kind in (Kind.SERVER, Kind.CONSUMER) for span in spans):
        spans = (request(), *spans)
    return Trace.of(TRACE, spans, 10_000 * MS, logs=logs)


def found(*spans: Span, logs: tuple[Log, ...] = (), **options: Any) -> list[str]:
    """The alerts as `name` or, when it is only information, `name?`."""
    told = alerts.find(trace(*spans, logs=logs), Settings(**options))
    for alert in told:
        assert alert.evidence
        assert alert.fix.endswith(".")
        assert alert.link.startswith("https://")
    return [alert.rule + "?" * (alert.severity == "info") for alert in told]


def only(*spans: Span, logs: tuple[Log, ...] = ()) -> Hint:
    (alert,) = alerts.find(trace(*spans, logs=logs), Settings())
    return alert


def query(
    number: int, took: float = 1, text: str = "SELECT a FROM t WHERE id = ?", **more: Any
) -> Span:
    attributes = {
        "db.system.name": "postgresql",
        "db.query.text": text,
        "db.query.parameter.0": str(number),
        **PLACE,
        **more.pop("attributes", {}),
    }
    return work("SELECT t", took=took, start=1 + number, attributes=attributes, **more)


def call(
    url: str = "https://rates.com/eur", status: int = 200, method: str = "GET", **more: Any
) -> Span:
    facts = {
        "http.request.method": method,
        "url.full": url,
        "http.response.status_code": status,
        **more.pop("attributes", {}),
    }
    return work(method, attributes=facts, **more)


def read(key: str = "rates", took: float = 0.2, command: str = "GET", **more: Any) -> Span:
    facts = {
        "cache.system": "redis",
        "cache.operation": command,
        "cache.key": key,
        "cache.hit": True,
        **PLACE,
        **more.pop("attributes", {}),
    }
    return work(command, took=took, attributes=facts, **more)


def job(number: int = 0, function: str = "mail", **more: Any) -> Span:
    facts = {"messaging.system": "saq", "saq.job.function": function, **PLACE}
    facts |= more.pop("attributes", {})
    return work(f"send {function}", Kind.PRODUCER, start=1 + number, attributes=facts, **more)


def include(
    name: str = "row.html", took: float = 0.01, parent: str = "f" * 16, **more: Any
) -> Span:
    return work(
        f"render {name}", Kind.INTERNAL, took, parent=parent,
        attributes={"template.name": name, "template.engine": "jinja2", **more.pop("attributes", {})},
        **more,
    )  # fmt: skip


def page_template() -> Span:
    return include("page.html", 5, SERVER, span_id="f" * 16)


def task(state: str = "running", **more: Any) -> Span:
    facts = {
        "asyncio.task.name": "Task-1",
        "asyncio.task.coroutine": "audit",
        "asyncio.task.state": state,
        **PLACE,
    }
    return work(
        "task audit", Kind.INTERNAL, took=19, attributes=facts | more.pop("attributes", {}), **more
    )


def blocking(took: float = 150, cause: str = "cpu", **more: Any) -> Span:
    facts = {
        "asyncio.blocking.threshold": 0.1,
        "asyncio.blocking.cause": cause,
        "asyncio.task.name": "Task-1",
        **PLACE,
        **more,
    }
    return work("blocking crunch", Kind.INTERNAL, took, attributes=facts)


def socket(
    code: int | None = 1000, initiator: str = "client", took: float = 600_000, **more: Any
) -> Span:
    facts = {
        "network.protocol.name": "websocket",
        "websocket.state": "closed",
        "websocket.close.initiator": initiator,
        "url.path": "/live",
        **({} if code is None else {"websocket.close.code": code}),
        **more.pop("attributes", {}),
    }
    return Span(TRACE, SERVER, None, "/live", Kind.SERVER, 0, int(took * MS), facts, **more)


def log(severity: Any = 17, body: Any = "cannot pay", **attributes: Any) -> Log:
    facts = {"toolbar.logger.name": "shop", **PLACE, **attributes}
    return Log(TRACE, SERVER, 3 * MS, severity, "ERROR", body, attributes=facts)


def html(**answered: Any) -> dict[str, Any]:
    return {"content_type": "text/html; charset=utf-8", **answered}


SAFE = html(
    content_security_policy="default-src 'self'; frame-ancestors 'none'",
    x_content_type_options="nosniff",
    referrer_policy="same-origin",
    strict_transport_security="max-age=31536000",
)


def form(**more: Any) -> Span:
    sent = {"content_type": FORM, "cookie": SESSION} | more.pop("sent", {})
    return request(method="POST", path="/buy", status=more.pop("status", 303), sent=sent, **more)


def attributes(**given: Any) -> dict[str, Any]:
    return {"attributes": {name.replace("__", "."): value for name, value in given.items()}}


CASES: list[tuple[str, list[Span], list[str]]] = [
    ("a quick page with all headers", [request(answered=SAFE)], []),
    # N+1
    ("five like queries from a line", [query(n) for n in range(5)], ["n-plus-one"]),
    ("two that take long", [query(1, 30), query(2, 30)], ["n-plus-one"]),
    ("four quick ones", [query(n) for n in range(4)], []),
    ("one query and its repeats", [query(1) for _ in range(5)], []),
    ("five after the response", [query(n, **attributes(toolbar__detached=True)) for n in range(5)], []),
    ("a batch", [query(n, **attributes(db__operation__batch__size=9)) for n in range(5)], []),
    (
        "counted, with spans that were dropped",
        [request(**attributes(toolbar__n_plus_one__count=2))],
        ["n-plus-one"],
    ),
    # Slow queries
    ("a query of 100 ms", [query(1, 100)], ["slow-query"]),
    ("a query of 99 ms", [query(1, 99)], []),
    ("two like ones are one alert", [query(1, 200), query(1, 300)], ["slow-query"]),
    ("a slow one after the response", [query(1, 200, **attributes(toolbar__detached=True))], []),
    (
        "a slow COMMIT",
        [work("COMMIT", took=200, attributes={"db.system.name": "x", "db.operation.name": "COMMIT"})],
        [],
    ),
    ("a hint that is a warning", [query(1, **attributes(db__response__returned_rows=9000))], ["missing-limit"]),
    ("a hint that is information", [query(1, **attributes(db__response__returned_rows=900))], []),
    # Slow requests
    ("a request of 500 ms", [request(took=500)], ["slow-request"]),
    ("a request of 499 ms", [request(took=499)], []),
    ("a health check of 600 ms", [request(took=600, path="/healthz")], ["slow-request"]),
    ("one that still runs", [request(running=True)], []),
    ("server-sent events for minutes", [request(took=300_000, answered={"content_type": "text/event-stream"})], []),
    ("a websocket for minutes", [socket()], []),
    (
        "a download that starts at once",
        [request(took=9000, **attributes(toolbar__response__first_byte=0.02, toolbar__response__streamed=True))],
        [],
    ),
    (
        "a stream whose first byte is late",
        [request(took=9000, **attributes(toolbar__response__first_byte=2.0, toolbar__response__streamed=True))],
        ["slow-request"],
    ),
    (
        "a stream of another SDK",
        [request(took=9000, watched=False, **attributes(toolbar__response__streamed=True))],
        [],
    ),
    ("a background task after the response", [request(took=9000, **attributes(toolbar__response__first_byte=0.01))], []),
    ("another SDK's slow request", [request(took=900, watched=False)], ["slow-request"]),
    # Server errors
    ("a 500 without an exception", [request(status=500)], ["server-error"]),
    ("a 502", [request(status=502)], ["server-error"]),
    ("a 404", [request(status=404)], []),
    ("a 304", [request(status=304)], []),
    ("a health check that is not ready", [request(status=503, path="/readyz")], []),
    ("a 503 of a page", [request(status=503, path="/cart")], ["server-error"]),
    (
        "a 502 because of another service",
        [request(status=502), request(status=500, span_id="9" * 16, parent=SERVER)],
        ["server-error"],
    ),
    # Bodies
    (
        "a page of 2 MiB",
        [request(answered=SAFE, **attributes(http__response__body__size=2 << 20))],
        ["large-response"],
    ),
    (
        "JSON of 2 MiB, compressed",
        [
            request(
                answered={"content_type": "application/json", "content_encoding": "gzip"},
                **attributes(http__response__body__size=2 << 20),
            )
        ],
        ["large-response"],
    ),
    *(
        (
            f"2 MiB of {name}",
            [request(answered=answered, method=method, status=status, **attributes(http__response__body__size=2 << 20, **more))],
            [],
        )
        for name, answered, method, status, more in [
            ("a picture", {"content_type": "image/png"}, "GET", 200, {}),
            ("a video's range", {"content_type": "text/plain"}, "GET", 206, {}),
            ("a download", {"content_type": "application/json", "content_disposition": "attachment; filename=a"}, "GET", 200, {}),
            ("an export as CSV", {"content_type": "text/csv"}, "GET", 200, {}),
            ("lines of JSON", {"content_type": "application/x-ndjson"}, "GET", 200, {}),
            ("a streamed page", SAFE, "GET", 200, {"toolbar__response__streamed": True}),
            ("HEAD", {"content_type": "application/json"}, "HEAD", 200, {}),
        ]
    ),
    ("a small page", [request(answered=SAFE, **attributes(http__response__body__size=1 << 19))], []),
    *(
        (
            f"2 MiB sent as {kind}",
            [request(method="POST", status=status, sent={"content_type": kind}, **attributes(http__request__body__size=2 << 20))],
            expected,
        )
        for kind, status, expected in [
            ("application/json", 201, ["large-request"]),
            (FORM, 200, ["large-request"]),
            ("application/json", 413, []),
            ("multipart/form-data; boundary=x", 200, []),
            ("application/octet-stream", 200, []),
        ]
    ),
    # The event loop
    ("a call that blocks", [request(took=400), blocking()], ["blocking-call"]),
    ("twice the same is one alert", [request(took=400), blocking(), blocking()], ["blocking-call"]),
    ("the machine was busy", [request(took=400), blocking(cause="machine")], []),
    ("garbage collection", [request(took=400), blocking(cause="gc")], ["blocking-call?"]),
    ("counted, without spans", [request(**attributes(toolbar__blocking__count=2))], ["blocking-call"]),
    (
        "counted, and the machine was busy",
        [request(**attributes(toolbar__blocking__count=1)), blocking(cause="machine")],
        [],
    ),
    ("lag of 100 ms", [request(**attributes(toolbar__event_loop__lag__max=0.1))], ["event-loop-lag"]),
    ("lag of 20 ms", [request(**attributes(toolbar__event_loop__lag__max=0.02))], []),
    (
        "lag of its own blocking",
        [request(took=400, **attributes(toolbar__event_loop__lag__max=0.15)), blocking()],
        ["blocking-call"],
    ),
    ("a task left behind", [task()], ["leaked-task"]),
    ("a task that was awaited", [task("done")], []),
    ("a task that was cancelled", [task("cancelled")], []),
    ("a library's own task", [task(**attributes(code__file__path="/venv/site-packages/pool.py"))], []),
    ("while the request runs", [request(running=True), task()], []),
    (
        "a task that ends a moment after the response",
        [
            task(span_id="b" * 16),
            work(
                "task audit", Kind.INTERNAL, 5, 20, parent="b" * 16,
                attributes={"asyncio.task.name": "Task-1", "asyncio.task.coroutine": "audit", "asyncio.task.state": "done", "toolbar.detached": True},
            ),
        ],
        [],
    ),
    ("a task of a job", [Span(TRACE, SERVER, None, "process mail", Kind.CONSUMER, 0, 20 * MS, {"messaging.system": "saq"}), task()], ["leaked-task"]),
    # Errors
    ("an exception that left the request", [request(status=500, events=raised())], ["unhandled-error"]),
    (
        "through two spans",
        [request(status=500, events=raised()), work("pay", Kind.INTERNAL, error=True, events=raised())],
        ["unhandled-error"],
    ),
    ("one that a handler answered", [request(status=404, events=raised("fastapi.HTTPException", **{"toolbar.exception.handled": True}))], []),
    ("one that a handler answered with 500", [request(status=500, events=raised(**{"toolbar.exception.handled": True}))], ["server-error"]),
    ("the client went away", [request(events=raised("asyncio.exceptions.CancelledError"))], []),
    ("a job that failed", [Span(TRACE, SERVER, None, "process mail", Kind.CONSUMER, 0, 5, {"messaging.system": "saq"}, Status.ERROR, events=raised())], ["unhandled-error"]),
    ("a query failed, and the page came", [query(1, error=True, events=raised("asyncpg.UndefinedTable"))], ["failed-step"]),
    ("an INSERT that was there already", [query(1, error=True, events=raised("sqlalchemy.exc.IntegrityError"))], ["failed-step?"]),
    (
        "a query failed, the request for another reason",
        [request(status=500, events=raised("app.Other")), query(1, error=True, events=raised("asyncpg.UndefinedTable"))],
        ["unhandled-error", "failed-step"],
    ),
    ("another service has answered 503", [call(status=503, error=True)], ["failed-step"]),
    ("another service has answered 404", [call(status=404, error=True)], ["failed-step?"]),
    ("work after the response failed", [work("later", Kind.INTERNAL, error=True, events=raised(), attributes={"toolbar.detached": True})], ["failed-step"]),
    # Repetition
    ("one include 60 times, quick", [page_template(), *(include() for _ in range(60))], ["template-include-loop?"]),
    ("one include 60 times, slow", [page_template(), *(include(took=1) for _ in range(60))], ["template-include-loop"]),
    ("one include 12 times, slow", [page_template(), *(include(took=5) for _ in range(12))], ["template-include-loop"]),
    ("one span for 60 includes", [page_template(), include(attributes={"template.render.count": 60})], ["template-include-loop?"]),
    ("a template that queries", [page_template(), *(query(n, parent="f" * 16) for n in range(2))], ["template-queries"]),
    ("a template that queries once", [page_template(), query(1, parent="f" * 16)], ["template-queries?"]),
    ("compiled twice", [page_template(), *(include(attributes={"template.role": "compile"}) for _ in range(2))], ["template-compiled?"]),
    ("49 quick includes", [page_template(), *(include() for _ in range(49))], []),
    ("60 different includes", [page_template(), *(include(f"{n}.html") for n in range(60))], []),
    ("60 pages rendered for themselves", [include("mail.html", parent=SERVER) for _ in range(60)], []),
    ("the same GET three times", [call() for _ in range(3)], ["duplicate-call"]),
    ("twice, quick", [call(), call()], ["duplicate-call?"]),
    ("twice, slow", [call(took=120), call(took=120)], ["duplicate-call"]),
    ("different URLs", [call(f"https://rates.com/{n}") for n in range(5)], []),
    ("the same POST", [call(method="POST") for _ in range(3)], []),
    ("retries", [call(status=503), call(status=503), call()], []),
    ("polling", [call(status=202) for _ in range(5)], []),
    ("a URL with a secret", [call("https://rates.com/?key=***") for _ in range(3)], []),
    ("after the response", [call(**attributes(toolbar__detached=True)) for _ in range(3)], []),
    ("secrets that are known to be the same", [call("https://rates.com/?key=***", **attributes(toolbar__http__url__fingerprint="a1")) for _ in range(3)], ["duplicate-call"]),
    ("one call, seen in a client and in the one below", [call(span_id="e" * 16), call(parent="e" * 16)], []),
    ("one key from one line ten times", [read() for _ in range(10)], ["duplicate-read"]),
    ("one key twice, quick", [read(), read()], ["duplicate-read?"]),
    ("one key twice, slow", [read(took=60), read(took=60)], ["duplicate-read"]),
    ("different keys", [read(f"item:{n}") for n in range(10)], []),
    ("from two lines", [read(), read(**attributes(code__line__number=9))], []),
    ("written in between", [read(), read(command="SET"), read()], []),
    ("waiting for a key", [*(read(**attributes(cache__hit=False)) for _ in range(10)), read()], []),
    ("a key with a secret", [read("session:***") for _ in range(10)], []),
    ("reads after the response", [read(**attributes(toolbar__detached=True)) for _ in range(10)], []),
    ("reads that failed", [read(error=True) for _ in range(2)], ["failed-step"]),
    ("one in each of three requests", [
        span
        for number in "123"
        for span in (request(span_id=number * 16), call(parent=number * 16))
    ], []),
    ("three jobs of a function", [job(n) for n in range(3)], ["jobs-in-a-loop"]),
    ("two jobs", [job(n) for n in range(2)], []),
    ("three functions", [job(n, f"f{n}") for n in range(3)], []),
    ("other SDKs' messages", [work("publish", Kind.PRODUCER, attributes={"messaging.system": "kafka"}) for _ in range(9)], []),
    # Websockets
    *((f"closed with {code}", [socket(code)], []) for code in (1000, 1001, 1005, 3500, 4401)),
    *((f"closed with {code}", [socket(code)], ["websocket-close"]) for code in (1002, 1006, 1007, 1009, 1011, 999)),
    *((f"refused with {code}", [socket(code, "server")], ["websocket-close?"]) for code in (1008, 1012, 3000)),
    ("lost without a code", [socket(None, "network")], ["websocket-close"]),
    ("closed without a code", [socket(None)], []),
    ("denied with 403", [socket(None, "server", **attributes(websocket__state="connecting", http__response__status_code=403))], ["websocket-close?"]),
    ("the handler raised", [socket(1011, "error", events=raised(), status=Status.ERROR)], ["unhandled-error"]),
    # Cookies
    *(
        (f"set over {scheme} at {host}: {line}", [request(host=host, scheme=scheme, answered={"set_cookie": line})], expected)
        for scheme, host, line, expected in [
            ("https", "shop.com", "session=***; Path=/", ["insecure-cookie"]),
            ("https", "shop.com", "session=***; HttpOnly; SameSite=Lax", ["insecure-cookie"]),
            ("https", "shop.com", "session=***; HttpOnly; SameSite=Lax; Secure", []),
            ("http", "shop.com", "session=***; HttpOnly; SameSite=Lax", []),
            ("http", "localhost", "session=***; HttpOnly; SameSite=Lax", []),
            ("https", "localhost", "session=***; HttpOnly; SameSite=Lax", []),
            ("http", "127.0.0.1", "session=***; SameSite=Lax", ["insecure-cookie"]),
            ("http", "localhost", "session=***; SameSite=None; HttpOnly", ["insecure-cookie"]),
            ("https", "shop.com", "theme=dark", []),
            ("https", "shop.com", "csrftoken=***; SameSite=Lax; Secure", []),
            ("https", "shop.com", "session=; Max-Age=0; Path=/", []),
            ("https", "shop.com", "session=null; expires=Thu, 01 Jan 1970 00:00:00 GMT", []),
            ("https", "shop.com", "__Secure-id=***; HttpOnly; SameSite=Lax", ["insecure-cookie"]),
        ]
    ),
    ("set by a redirect", [request(status=303, scheme="https", answered={"set_cookie": "sid=***"})], ["insecure-cookie"]),
    (
        "https ends at the proxy",
        [request(sent={"x_forwarded_proto": "https"}, answered={"set_cookie": "sid=***; HttpOnly; SameSite=Lax"})],
        ["insecure-cookie"],
    ),
    # Forged requests
    ("a form with a session, fields unknown", [form()], ["missing-csrf?"]),
    ("a form without a token", [form(**attributes(toolbar__request__form__amount="5"))], ["missing-csrf?"]),
    ("and its cookie is for all sites", [form(answered={"set_cookie": "session=***; HttpOnly; Secure; SameSite=None"}, **attributes(toolbar__request__form__amount="5"))], ["missing-csrf"]),
    ("and its cookie is not for other sites", [form(answered={"set_cookie": "session=***; HttpOnly; SameSite=Lax"}, **attributes(toolbar__request__form__amount="5"))], []),
    ("its cookie for all sites, fields unknown", [form(answered={"set_cookie": "session=***; HttpOnly; Secure; SameSite=None"})], ["missing-csrf?"]),
    ("a form with a token", [form(**attributes(toolbar__request__form__csrf_token="***"))], []),
    ("Django's field", [form(**attributes(toolbar__request__form__csrfmiddlewaretoken="***"))], []),
    ("of another site", [form(sent={"sec_fetch_site": "cross-site"})], ["missing-csrf"]),
    ("of another site by its Origin", [form(sent={"origin": "https://evil.net"})], ["missing-csrf"]),
    ("of a subdomain", [form(sent={"origin": "https://www.shop.com"})], ["missing-csrf?"]),
    ("with a broken Origin", [form(sent={"origin": "http://["})], ["missing-csrf?"]),
    ("of another site, refused", [form(status=403, sent={"sec_fetch_site": "cross-site"})], []),
    ("with a cookie's token", [form(sent={"cookie": ("session=***; csrftoken=***",)})], []),
    ("with a header's token", [form(sent={"x_csrf_token": "***"})], []),
    ("with the session's token", [form(**attributes(toolbar__request__session__csrf="***"))], []),
    ("SameSite=Lax", [form(answered={"set_cookie": "session=***; HttpOnly; SameSite=Lax"})], []),
    ("no session", [form(sent={"cookie": ("theme=dark",)})], []),
    ("a login form", [form(sent={"cookie": ()})], []),
    ("a bearer token", [form(sent={"authorization": "Bearer ***"})], []),
    ("JSON", [form(sent={"content_type": "application/json"})], []),
    ("PUT", [request(method="PUT", sent={"content_type": FORM, "cookie": SESSION})], []),
    ("a search form by GET", [request(sent={"cookie": SESSION})], []),
    # Headers
    ("a page without any", [request(answered=html())], ["missing-security-header"]),
    ("on localhost", [request(host="localhost", answered=html())], ["missing-security-header?"]),
    ("on a container's name", [request(host="web", answered=html())], ["missing-security-header?"]),
    ("on a private address", [request(host="192.168.1.7", answered=html())], ["missing-security-header?"]),
    ("on IPv6's loopback", [request(host="[::1]:8000", answered=html())], ["missing-security-header?"]),
    ("https without Strict-Transport-Security", [request(scheme="https", answered={**SAFE, "strict_transport_security": ()})], ["missing-security-header"]),
    ("https on localhost without it", [request(scheme="https", host="localhost", answered={**SAFE, "strict_transport_security": ()})], []),
    ("a JSON API", [request(answered={"content_type": "application/json"})], []),
    ("a script", [request(answered={"content_type": "text/javascript"})], []),
    ("a redirect", [request(status=302, answered=html())], []),
    ("not modified", [request(status=304, answered=html())], []),
    ("an error page", [request(status=404, answered=html())], []),
    ("a part of a page by htmx", [request(sent={"hx_request": "true"}, answered=html())], []),
    ("a part of a page by fetch", [request(sent={"sec_fetch_dest": "empty"}, answered=html())], []),
    ("a page in a frame", [request(sent={"sec_fetch_dest": "iframe"}, answered=html())], ["missing-security-header"]),
    ("another SDK's span", [request(watched=False, answered=html())], []),
    # Debug mode
    ("debug in production", [request(resource={"deployment.environment.name": "production"}, **attributes(toolbar__framework__debug=True))], ["debug-in-production"]),
    ("debug on a public host", [request(scheme="https", **attributes(toolbar__framework__debug=True))], ["debug-in-production"]),
    ("debug on a public host for tests", [request(scheme="https", resource={"deployment.environment": "test"}, **attributes(toolbar__framework__debug=True))], []),
    ("debug on localhost", [request(host="localhost", **attributes(toolbar__framework__debug=True))], []),
    ("debug through a tunnel", [request(scheme="https", host="x.ngrok-free.app", **attributes(toolbar__framework__debug=True))], []),
    ("production without debug", [request(resource={"deployment.environment.name": "production"})], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_labelled_case(spans: list[Span], expected: list[str]) -> None:
    assert found(*spans) == expected


@pytest.mark.parametrize(
    ("same_site", "cookie", "expected"),
    [
        ("None", "session", [("missing-csrf", "warn")]),
        ("Lax", "session", []),
        ("None", "other", [("missing-csrf", "info")]),
    ],
)
def test_a_setting_tells_of_the_sessions_cookie(
    same_site: str, cookie: str, expected: list[tuple[str, str]]
) -> None:
    values = (("SESSION_COOKIE_NAME", cookie), ("SESSION_COOKIE_SAMESITE", same_site))
    facts = {"settings": ({"title": "app.config (Quart)", "values": values},)}
    posted = form(**attributes(toolbar__request__form__amount="5"))
    given = dataclasses.replace(
        Trace.of(TRACE, [posted], 30 * MS),
        process=Log("", None, 1, 9, "", facts, event="toolbar.process"),
    )
    told = [(alert.rule, alert.severity) for alert in alerts.find(given, Settings())]
    assert told == expected


def test_every_rule_has_a_case() -> None:
    said = {name.rstrip("?") for _, _, expected in CASES for name in expected} | {"error-log"}
    assert {rule.id for rule in alerts.RULES} <= said


LOGS: list[tuple[str, list[Span], list[Log], list[str]]] = [
    ("an error", [], [log()], ["error-log"]),
    ("critical", [], [log(21)], ["error-log"]),
    ("a warning", [], [log(13)], []),
    ("like ones are one alert", [], [log(body="a 1", **{"log.record.template": "a %s"}), log(body="a 2", **{"log.record.template": "a %s"})], ["error-log"]),
    ("two kinds", [], [log(), log(body="other")], ["error-log", "error-log"]),
    ("an exception that was caught", [], [log(**{"exception.type": "app.Broken"})], ["error-log"]),
    (
        "the server's record of what is told",
        [request(status=500, events=raised())],
        [log(**{"exception.type": "Broken"})],
        ["unhandled-error"],
    ),
    ("an event of ours", [], [dataclasses.replace(log(), event="toolbar.process")], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spans", "logs", "expected"), [case[1:] for case in LOGS], ids=[case[0] for case in LOGS]
)
def test_logs(spans: list[Span], logs: list[Log], expected: list[str]) -> None:
    assert found(*spans, logs=tuple(logs)) == expected


def test_log_outside_of_spans() -> None:
    alone = dataclasses.replace(log(), span_id=None, attributes={})
    given = Trace.of(TRACE, [], 10, logs=[alone])
    (alert,) = alerts.find(given, Settings())
    assert (alert.spans, alert.place, alert.evidence) == ((), None, "ERROR of a logger: cannot pay")
    assert (summarize(given, Settings()).counts.alerts, summarize(given, Settings()).level) == (
        1,
        "warn",
    )


def test_what_an_alert_says() -> None:
    alert = only(
        *(query(n, **attributes(toolbar__query__lazy_loaded_from="Order.items")) for n in range(5))
    )
    assert (alert.title, alert.severity) == ("N+1 queries", "warn")
    assert alert.evidence == "Order.items: 5 queries from one place, 5.0 ms together."
    assert alert.fix == "Load it with the query above: `selectinload(Order.items)`."
    assert alert.place is not None
    assert (alert.place.file, alert.place.line) == ("/app/shop.py", 7)
    assert len(alert.spans) == 5
    assert [(figure.name, figure.value) for figure in alert.figures] == [
        ("queries", 5),
        ("time", 0.005),
    ]


@pytest.mark.parametrize(
    ("spans", "evidence"),
    [
        ([query(1, 150)], "SELECT t took 150 ms; the limit is 100 ms."),
        ([request(took=400), blocking()], "crunch held the event loop for 150 ms: no other request ran."),
        ([task(), task()], "2 tasks of audit were running when the request had ended, and never seen to end."),
        ([request(status=500, events=raised())], "app.Broken: no"),
        (
            [request(**attributes(toolbar__event_loop__lag__max=0.3, toolbar__event_loop__lag__other__name="GET /report"))],
            "The event loop ran up to 300 ms late while the request was handled: GET /report held it.",
        ),
        (
            [socket(1011, "server", **attributes(websocket__close__reason="oops"))],
            ("Closed by the server with 1011, internal error: The server failed: an exception left the handler."
            " It said: oops"),
        ),
        (
            [request(scheme="https", answered={"set_cookie": "sid=***"})],
            "Cookie sid: without Secure and HttpOnly and SameSite.",
        ),
    ],
)  # fmt: skip
def test_evidence(spans: list[Span], evidence: str) -> None:
    assert only(*spans).evidence == evidence


def test_the_worst_first() -> None:
    spans = [
        request(status=500, took=900, host="localhost", answered=html()),
        *(call() for _ in range(3)),
    ]
    assert found(*spans) == ["server-error", "slow-request", "duplicate-call"]


def test_thresholds_are_the_settings() -> None:
    assert found(query(1, 50), slow_query=50) == ["slow-query"]
    assert found(request(took=60), slow_request=50) == ["slow-request"]
    assert found(query(1), query(2), n_plus_one=2) == ["n-plus-one"]


def test_one_can_be_silenced_or_only_some_be_asked_for() -> None:
    spans = [request(took=900), *(query(n, 200) for n in range(5))]
    assert found(*spans) == ["n-plus-one", "slow-query", "slow-request"]
    assert found(*spans, alerts=("-slow-query",)) == ["n-plus-one", "slow-request"]
    assert found(*spans, alerts=("slow-query",)) == ["slow-query"]
    rows = query(1, **attributes(db__response__returned_rows=9000))
    assert found(rows, alerts=("-missing-limit",)) == []
    silenced = summarize(trace(*spans), Settings(alerts=("-slow-request", "-n-plus-one")))
    assert (silenced.slow, silenced.counts.alerts) == (False, 1)


def test_unknown_names_are_told_with_what_was_meant() -> None:
    assert alerts.unknown(("-slow-query", "+n-plus-one", "missing-limit")) == []
    assert alerts.unknown(("-slow-querry",)) == [
        "OTEL_TOOLBAR_ALERTS: no alert is named 'slow-querry'; did you mean slow-query?"
    ]
    (line,) = alerts.unknown(("zzz",))
    assert line.startswith(
        "OTEL_TOOLBAR_ALERTS: no alert is named 'zzz'; there are: unhandled-error, "
    )


@pytest.mark.parametrize(
    ("value", "says"), [("-slow-querry", "did you mean slow-query?"), ("", "")]
)
def test_the_line_is_logged_at_the_start(value: str, says: str) -> None:
    code = "from otel_toolbar.distro import runtime; runtime.install()"
    environment = os.environ | {"OTEL_TOOLBAR_ALERTS": value}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert says in done.stderr
    assert ("no alert is named" in done.stderr) is bool(value)


def test_names_are_unique() -> None:
    assert len(set(alerts.names())) == len(alerts.names())


def test_a_broken_rule_costs_its_own_alerts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[str] = []
    monkeypatch.setattr(guard, "failed", failed.append)

    def broken(*_: Any) -> Any:
        raise RuntimeError

    rules = tuple(
        dataclasses.replace(rule, find=broken) if rule.id == "slow-query" else rule
        for rule in alerts.RULES
    )
    monkeypatch.setattr(alerts, "RULES", rules)
    assert found(request(took=900), query(1, 200)) == ["slow-request"]
    assert failed == ["hints of the rule slow-query"]


@pytest.mark.parametrize("name", recorded.NAMES)
def test_one_number_everywhere(name: str) -> None:
    given, options = recorded.load(name), Settings()
    count = summarize(given, options).counts.alerts
    (panel,) = (each for each in panels.load() if each.id == "alerts")
    shown = panels.view(panel, given, options)
    assert shown.data.count == count == len(alerts.counted(given, options))
    assert (shown.badge.text, shown.badge.level) == (
        (str(count), summarize(given, options).level) if count else (None, "ok")
    )
