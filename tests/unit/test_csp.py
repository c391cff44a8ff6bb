"""What policies let the tag do. The page is http://app.example:8000, the toolbar at /_toolbar."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar.web.csp import Decision, Url, decide

SCRIPT = Url("http", "app.example", 8000, "/_toolbar/static/toolbar.js")
PAGES = replace(SCRIPT, path="/_toolbar/")
NO = Decision(allowed=False)
YES = Decision(allowed=True)
ENFORCED, REPORTED = b"content-security-policy", b"content-security-policy-report-only"


def judged(*policies: str, name: bytes = ENFORCED, metas: tuple[str, ...] = ()) -> Decision:
    headers = [(b"content-type", b"text/html"), *((name, each.encode()) for each in policies)]
    return decide(headers, SCRIPT, PAGES, metas)


def nonce(value: str, *, connect: bool = True, frame: bool = True) -> Decision:
    return Decision(allowed=True, nonce=value, connect=connect, frame=frame)


def silent() -> Decision:
    return Decision(allowed=True, connect=False, frame=False)


ONE_POLICY = {
    "empty": ("", YES),
    "only separators": (" ; ;; ", YES),
    "nothing about scripts": ("img-src 'none'; style-src 'none'", YES),
    "self": ("script-src 'self'", YES),
    "self for all": ("default-src 'self'", YES),
    "anything": ("default-src *", YES),
    "none": ("script-src 'none'", NO),
    "none for all": ("default-src 'none'", NO),
    "no source": ("script-src", NO),
    "none beside another is ignored": ("script-src 'none' 'self'", YES),
    "inline only": ("script-src 'unsafe-inline' 'unsafe-eval'", NO),
    "hashes only": ("script-src 'sha256-abc='", NO),
    "report-sample changes nothing": ("script-src 'report-sample' 'self'", YES),
    "nonce": ("script-src 'nonce-r4nd0m+/_-=='", nonce("r4nd0m+/_-==")),
    "nonce, upper case": ("SCRIPT-SRC 'NONCE-AbC'", nonce("AbC")),
    "nonce and self": ("script-src 'self' 'nonce-abc'", nonce("abc")),
    "nonce for all": ("default-src 'nonce-abc'", nonce("abc", connect=False, frame=False)),
    "two nonces": ("script-src 'nonce-a' 'nonce-b'", nonce("a")),
    "nonce that breaks out": ("script-src 'nonce-\"><script>alert(1)</script>'", NO),
    "nonce that breaks out, and self": ("script-src 'self' 'nonce-\"onload=x'", YES),
    "nonce without end": ("script-src 'nonce-abc", NO),
    "empty nonce": ("script-src 'nonce-'", NO),
    "strict-dynamic with nonce": ("script-src 'strict-dynamic' 'nonce-abc'", nonce("abc")),
    "strict-dynamic without": ("script-src 'self' https: * 'Strict-Dynamic'", NO),
    "strict-dynamic with hash": ("script-src 'strict-dynamic' 'sha256-abc='", NO),
    "elem before script": ("script-src 'none'; script-src-elem 'self'", YES),
    "elem forbids": ("script-src 'self'; script-src-elem 'none'", NO),
    "script before default": ("default-src 'none'; script-src 'self'", silent()),
    "attr does not matter": ("script-src-attr 'none'", YES),
    "first of two directives": ("script-src 'self'; script-src 'none'", YES),
    "first of two, the other way": ("script-src 'none'; Script-Src 'self'", NO),
    "trusted types": ("require-trusted-types-for 'script'; trusted-types 'none'", YES),
    "sandbox": ("sandbox", NO),
    "sandbox with scripts": ("sandbox allow-scripts", NO),
    "sandbox with both": ("sandbox Allow-Scripts allow-same-origin", YES),
    "other directives": ("frame-ancestors 'none'; upgrade-insecure-requests; base-uri 'none'", YES),
    "no fetching": ("connect-src 'none'", replace(YES, connect=False)),
    "fetching elsewhere": ("connect-src https://api.example", replace(YES, connect=False)),
    "fetching here": (
        "default-src 'none'; script-src 'self'; connect-src 'self'",
        replace(YES, frame=False),
    ),
    "no frames": ("frame-src 'none'", replace(YES, frame=False)),
    "frames by child-src": ("child-src 'none'", replace(YES, frame=False)),
    "frame-src before child-src": ("child-src 'none'; frame-src 'self'", YES),
    "frames by default": (
        "default-src 'none'; script-src 'self'; connect-src *",
        replace(YES, frame=False),
    ),
    "two joined by a comma": ("script-src 'self', script-src 'none'", NO),
    "two joined, both fine": ("script-src 'self', default-src *", YES),
    "not ASCII": ("script-src 'self' ü.example", YES),
}

SOURCES = {
    "app.example:8000": True,
    "APP.example:8000": True,
    "app.example:*": True,
    "http://app.example:8000": True,
    "*.example:8000": True,
    "*:8000": True,
    "*:*": True,
    "http:": True,
    "HTTP:": True,
    "http://*:8000": True,
    "app.example:8000/": True,
    "app.example:8000/_toolbar/": True,
    "app.example:8000/_toolbar/static/toolbar.js": True,
    "app.example:8000/%5Ftoolbar/": True,
    "app.example": False,
    "app.example:80": False,
    "other.example:8000": False,
    "example:8000": False,
    "*.app.example:8000": False,
    "https://app.example:8000": False,
    "https:": False,
    "data:": False,
    "blob:": False,
    "app.example:8000/_toolbar": False,
    "app.example:8000/static/": False,
    "[::1]:8000": False,
    "//app.example": False,
    "'unsafe-hashes'": False,
    "app.example:8000:8000": False,
}


@pytest.mark.parametrize(("policy", "expected"), ONE_POLICY.values(), ids=ONE_POLICY)
def test_one_policy(policy: str, expected: Decision) -> None:
    assert judged(policy) == expected


@pytest.mark.parametrize(("source", "allowed"), SOURCES.items(), ids=SOURCES)
def test_source(source: str, allowed: bool) -> None:
    assert judged(f"script-src {source}").allowed is allowed


def test_default_ports() -> None:
    plain = replace(SCRIPT, port=None)
    secure = replace(plain, scheme="https")
    for url, source, allowed in (
        (plain, "app.example", True),
        (plain, "app.example:80", True),
        (plain, "app.example:443", False),
        (secure, "app.example", True),
        (secure, "http://app.example", True),
        (secure, "http:", True),
        (secure, "https://app.example:443", True),
        (replace(plain, scheme="gopher"), "app.example", True),
        (replace(plain, host="[::1]"), "[::1]", True),
        (replace(plain, host=""), "app.example", False),
        (replace(plain, host=""), "'self'", True),
    ):
        policy = f"script-src {source}".encode()
        assert decide([(ENFORCED, policy)], url, url).allowed is allowed, (url, source)


def test_a_policy_that_only_reports_counts() -> None:
    """A report that we cause is a violation in somebody's dashboard."""
    assert judged("script-src 'none'", name=REPORTED) == NO
    assert judged("script-src 'nonce-abc'", name=REPORTED) == nonce("abc")
    assert judged("connect-src 'none'", name=REPORTED) == replace(YES, connect=False)
    assert judged("sandbox", name=REPORTED) == YES


def test_all_policies_must_accept_the_one_tag() -> None:
    assert judged("script-src 'nonce-a'", "script-src 'nonce-b'") == NO
    assert judged("script-src 'nonce-a'", "script-src 'nonce-b' 'nonce-a'") == nonce("a")
    assert judged("script-src 'nonce-a'", "script-src 'nonce-b' 'self'") == nonce("a")
    assert judged("script-src 'nonce-a' 'self'", "script-src 'nonce-b'") == nonce("b")
    assert judged("script-src 'self'", "script-src 'nonce-b'") == nonce("b")
    assert judged("script-src 'self'", "script-src 'nonce-b' 'strict-dynamic'") == nonce("b")
    assert judged("script-src 'self'", "default-src 'none'") == NO


def test_header_names_in_any_case() -> None:
    headers = [(b"Content-Security-Policy", b"script-src 'none'")]
    assert decide(headers, SCRIPT, PAGES) == NO


def test_policies_of_the_document() -> None:
    assert judged("script-src 'self'", metas=("script-src 'none'",)) == NO
    assert judged("script-src 'self'", metas=("script-src 'nonce-a'",)) == nonce("a")
    assert judged(metas=("sandbox",)) == YES


@pytest.mark.parametrize("name", [b"Integrity-Policy", b"integrity-policy-report-only"])
def test_integrity_policy(name: bytes) -> None:
    """Our script has no hash, so a page that wants one for every script gets no tag."""
    assert decide([(name, b"blocked-destinations=(script)")], SCRIPT, PAGES) == NO
    assert decide([(name, b"blocked-destinations=(style)")], SCRIPT, PAGES) == YES


@given(st.text(max_size=60), st.text(max_size=20))
def test_no_text_breaks_it(policy: str, inner: str) -> None:
    for text in (policy, f"script-src 'nonce-{inner}' {policy}"):
        decision = decide([(ENFORCED, text.encode("utf-8", "replace"))], SCRIPT, PAGES)
        assert not set(decision.nonce or "") & set("\"'<>& ")
