"""Headers of both directions, and what they are worth."""

from __future__ import annotations

import dataclasses

import pytest

from otel_toolbar.insights.security import judge
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.panels import headers
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.headers.view import HeadersView
from otel_toolbar.settings import Settings
from tests import recorded

SPAN = "b7ad6b7169203331"


def view(**attributes: object) -> HeadersView:
    span = Span(
        "a" * 32,
        "b" * 16,
        None,
        "GET /",
        Kind.SERVER,
        0,
        5,
        {"http.request.method": "GET", **attributes},
    )  # type: ignore[arg-type]
    return headers.PANEL.view(Trace.of("a" * 32, [span], 9), Settings())


def verdicts(sent: dict[str, list[str]], scheme: str = "https") -> dict[str, str]:
    return {check.name: check.verdict for check in judge(sent, scheme)}


def test_page_on_a_developers_machine() -> None:
    found = headers.PANEL.view(recorded.load("orders"), Settings())
    assert [(check.name, check.verdict) for check in found.checks] == [
        ("X-Content-Type-Options", "info"),
        ("Content-Security-Policy", "info"),
        ("Framing", "info"),
        ("Referrer-Policy", "info"),
        ("Cookie session", "info"),
        ("Cookie theme", "info"),
    ]
    assert found.problems == 0
    assert headers.PANEL.badge(found) == Badge()

    assert [field.name for field in found.request] == [
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "cookie",
    ]


def test_page_of_a_public_host() -> None:
    found = view(
        **{
            "url.scheme": "http",
            "server.address": "shop.com",
            "http.response.header.content-type": ("text/html",),
            "http.response.header.set-cookie": ("session=***; Path=/",),
        }
    )
    assert [check.name for check in found.checks if check.verdict == "warn"] == [
        "Content-Security-Policy",
        "Framing",
        "Cookie session",
    ]
    assert headers.PANEL.badge(found) == Badge("3", "warn")


def test_trace_context_of_a_caller() -> None:
    context = headers.PANEL.view(recorded.load("checkout"), Settings()).context
    assert dataclasses.asdict(context) == {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "valid": True,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "parent_id": SPAN,
        "sampled": True,
        "followed": True,
        "tracestate": (
            {"name": "rojo", "value": "00f067aa0ba902b7"},
            {"name": "congo", "value": "t61rcWkgMzE"},
        ),
        "baggage": "",
        "meaning": "The trace was started by the caller; this request is a part of it.",
    }


@pytest.mark.parametrize(
    ("sent", "valid", "meaning"),
    [
        (f"00-{'a' * 32}-{SPAN}-00", True, "started by the caller"),
        (f"00-{'c' * 32}-{SPAN}-00", True, "not carried on"),
        (f"00-{'0' * 32}-{SPAN}-00", False, "not valid"),
        (f"ff-{'a' * 32}-{SPAN}-00", False, "not valid"),
        (f"00-{'a' * 32}-{SPAN}-00-more", False, "not valid"),
        (f"01-{'a' * 32}-{SPAN}-00-more", True, "started by the caller"),
        ("rubbish", False, "not valid"),
        ("", False, "sent no traceparent"),
    ],
)
def test_traceparent(sent: str, valid: bool, meaning: str) -> None:
    context = view(**{"http.request.header.traceparent": (sent,)}).context
    assert (context.valid, context.sampled) == (valid, False)
    assert meaning in context.meaning


def test_headers_of_other_sdks_and_the_rest_of_many() -> None:
    found = view(
        **{
            "http.response.header.content_type": ("text/plain",),
            "toolbar.response.headers.more": ("Set-Cookie: a=1", "set-cookie: b=2", "x-odd"),
        }
    )
    assert [(field.name, field.value) for field in found.response] == [
        ("content-type", "text/plain"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-odd", ""),
    ]


def test_nothing_is_judged_before_there_is_a_response() -> None:
    found = view()
    assert (found.found, found.http, found.checks) == (False, True, ())
    assert headers.PANEL.badge(found) == Badge()


GOOD = {
    "content-type": ["text/html"],
    "x-content-type-options": ["nosniff"],
    "content-security-policy": ["default-src 'self'; frame-ancestors 'none'"],
    "referrer-policy": ["same-origin"],
    "strict-transport-security": ["max-age=31536000; includeSubDomains"],
    "set-cookie": ["a=1; Secure; HttpOnly; SameSite=Lax"],
}


def test_all_is_well() -> None:
    assert set(verdicts(GOOD).values()) == {"ok"}
    assert len(verdicts(GOOD)) == 6


@pytest.mark.parametrize(
    ("name", "value", "check", "verdict"),
    [
        ("content-security-policy", "default-src *; script-src 'unsafe-inline'", "Content-Security-Policy", "warn"),
        ("content-security-policy", "script-src 'unsafe-inline' 'nonce-x'", "Content-Security-Policy", "ok"),
        ("content-security-policy", "script-src 'self' 'unsafe-eval'", "Content-Security-Policy", "info"),
        ("content-security-policy", "img-src *", "Content-Security-Policy", "warn"),
        ("content-security-policy", "script-src", "Content-Security-Policy", "ok"),
        ("content-security-policy", "", "Framing", "warn"),
        ("referrer-policy", "unsafe-url", "Referrer-Policy", "warn"),
        ("strict-transport-security", "max-age=60", "Strict-Transport-Security", "info"),
        ("strict-transport-security", "", "Strict-Transport-Security", "warn"),
        ("set-cookie", "a=1; HttpOnly; SameSite=Lax", "Cookie a", "info"),
        ("set-cookie", "sid=1; HttpOnly; SameSite=Lax", "Cookie sid", "warn"),
        ("set-cookie", "session=; HttpOnly; Max-Age=0", "Cookie session", "ok"),
        ("set-cookie", "session=; expires=Thu, 01 Jan 1970 00:00:00 GMT", "Cookie session", "ok"),
        ("set-cookie", "__Host-a=1; HttpOnly; SameSite=Lax", "Cookie __Host-a", "warn"),
        ("set-cookie", "csrftoken=1; Secure; SameSite=Lax", "Cookie csrftoken", "info"),
        ("set-cookie", "a=1; SameSite=None", "Cookie a", "warn"),
        ("set-cookie", "session_id=1; Secure; SameSite=Lax", "Cookie session_id", "warn"),
    ],
)  # fmt: skip
def test_what_is_wrong(name: str, value: str, check: str, verdict: str) -> None:
    sent = {**GOOD, name: [value] if value else []}
    assert verdicts(sent)[check] == verdict


def test_only_what_matters_is_judged() -> None:
    assert list(verdicts({"content-type": ["application/json"]}, "http")) == [
        "X-Content-Type-Options"
    ]
    reported = {**GOOD, "content-security-policy": [], "x-frame-options": ["DENY"]}
    reported["content-security-policy-report-only"] = ["script-src 'self'"]
    assert verdicts(reported)["Content-Security-Policy"] == "info"
    assert verdicts(reported)["Framing"] == "ok"
    assert (
        verdicts({**GOOD, "set-cookie": ["a=1; HttpOnly; SameSite=Lax"]}, "http")["Cookie a"]
        == "info"
    )
