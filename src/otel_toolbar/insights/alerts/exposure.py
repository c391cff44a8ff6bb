"""What lets an attacker in: cookies, forms, headers, and debug mode where others can see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from otel_toolbar import semconv
from otel_toolbar.insights import process, reading, security, served
from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.insights.security import Check
from otel_toolbar.model import Span, Trace
from otel_toolbar.settings import Settings

_FORMS: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)
"""What a form of another site can send without being asked for leave (a "simple" request)."""
_PRODUCTION: Final = frozenset({"prod", "production", "live"})


def _cookies(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001 - the rules' signature
    for span in served.requests(trace):
        checks = security.judge_cookies(
            reading.response_headers(span), served.scheme(span), served.is_local(span)
        )
        bad = [check for check in checks if check.verdict == "warn"]
        if bad:
            yield INSECURE_COOKIE.hint(
                [span],
                " ".join(f"{check.name}: {_lower(check.advice)}" for check in bad),
                [Figure("cookies", len(bad))],
                severity="warn",
            )


def _headers(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    for span in served.requests(trace):
        code = reading.status_code(span) or 0
        page = served.content_type(span) == "text/html" and 200 <= code < 300
        if not (page and served.is_watched(span) and served.is_document(span)):
            continue
        checks = security.judge_headers(
            reading.response_headers(span), served.scheme(span), served.is_local(span)
        )
        weak = [check for check in checks if check.verdict == "warn" or _is_absent(check)]
        if weak:
            warned = any(check.verdict == "warn" for check in weak)
            yield MISSING_HEADER.hint(
                [span],
                f"{', '.join(f'{check.name} is {_state(check)}' for check in weak)}.",
                [Figure("headers", len(weak))],
                severity="warn" if warned else "info",
            )


def _is_absent(check: Check) -> bool:
    return check.verdict == "info" and not check.found


def _state(check: Check) -> str:
    return "weak" if check.found else "missing"


def _lower(advice: str) -> str:
    return advice[:1].lower() + advice[1:]


def _csrf(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    for span in served.requests(trace):
        sent = reading.request_headers(span)
        if not _could_be_forged(span, sent) or _has_token(span, sent):
            continue
        same_site = _same_site(trace, span, sent)
        if same_site in ("lax", "strict"):
            continue
        foreign = _is_foreign(span, sent)
        fields = bool(span.below(semconv.REQUEST_FORM))
        if foreign:
            evidence = "A form that another site sent was accepted with the session's cookie."
        else:
            evidence = (
                "A form was accepted with the session's cookie, and no"
                f" {'field, header or cookie' if fields else 'header or cookie'} has a token"
                f"{'' if fields else '; whether a field has one is not recorded'}. "
                + _SAME_SITE[same_site is not None]
            )
        sure = foreign or (fields and same_site is not None)
        yield MISSING_CSRF.hint([span], evidence, severity="warn" if sure else "info")


_SAME_SITE: Final = (
    "Whether that cookie has SameSite=Lax or Strict is not known: it was set by another response.",
    "That cookie has no SameSite=Lax or Strict.",
)


def _could_be_forged(span: Span, sent: dict[str, tuple[str, ...]]) -> bool:
    """True for a form that changed something, of a client known by its cookie alone."""
    kind = served.first(sent, "content-type").partition(";")[0].strip().lower()
    return (
        reading.method(span) == "POST"
        and kind in _FORMS
        and (reading.status_code(span) or 0) < 400
        and "authorization" not in sent
        and any(map(security.is_session, _cookie_names(span, sent)))
    )


def _cookie_names(span: Span, sent: dict[str, tuple[str, ...]]) -> set[str]:
    named = set(span.below(semconv.REQUEST_COOKIE))
    pairs = (pair for line in sent.get("cookie", ()) for pair in line.split(";"))
    return named | {pair.partition("=")[0].strip() for pair in pairs}


def _has_token(span: Span, sent: dict[str, tuple[str, ...]]) -> bool:
    """True when something is sent, or kept in the session, that is there against forged requests."""
    names = {
        *sent,
        *_cookie_names(span, sent),
        *span.below(semconv.REQUEST_FORM),
        *span.below(semconv.REQUEST_SESSION),
    }
    return any(map(security.is_csrf, names))


def _same_site(trace: Trace, span: Span, sent: dict[str, tuple[str, ...]]) -> str | None:
    """SameSite of the session's cookie, empty without one; None where neither the response nor a setting
    of Quart or Django tells."""
    lines = [
        line
        for line in reading.response_headers(span).get("set-cookie", ())
        if security.is_session(line.partition("=")[0].strip())
    ]
    if lines:
        told = [security.same_site(line) for line in lines]
        return next((each for each in told if each in ("lax", "strict")), told[0])
    groups = [dict(group.values) for group in process.settings(trace)]
    named = _cookie_names(span, sent)
    return next(
        (
            group["SESSION_COOKIE_SAMESITE"].lower()
            for group in groups
            if "SESSION_COOKIE_SAMESITE" in group and group.get("SESSION_COOKIE_NAME") in named
        ),
        None,
    )


def _is_foreign(span: Span, sent: dict[str, tuple[str, ...]]) -> bool:
    """True when the browser says that another site sent the form."""
    told = served.first(sent, "sec-fetch-site").lower()
    if told:
        return told == "cross-site"
    try:
        origin = (urlsplit(served.first(sent, "origin")).hostname or "").lower()
    except ValueError:
        return False
    own = served.host(span)
    related = origin == own or origin.endswith(f".{own}") or own.endswith(f".{origin}")
    return bool(origin and own) and not related


def _debug(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    for span in served.requests(trace):
        if not span.flag(semconv.FRAMEWORK_DEBUG):
            continue
        environment = _environment(span)
        public = served.scheme(span) == "https" and served.host(span) and not served.is_local(span)
        if environment in _PRODUCTION or (public and not environment):
            why = (
                f"the environment is called {environment}"
                if environment in _PRODUCTION
                else f"it is served as https://{served.host(span)}"
            )
            framework = reading.text(span, semconv.TOOLBAR_FRAMEWORK) or "the framework"
            yield DEBUG.hint(
                [span], f"Debug mode of {framework} is on, and {why}.", severity="error"
            )
            return


def _environment(span: Span) -> str:
    for key in (semconv.DEPLOYMENT_ENVIRONMENT_NAME, semconv.DEPLOYMENT_ENVIRONMENT):
        told = reading.as_text(span.resource.get(key)).strip().lower()
        if told:
            return told
    return ""


INSECURE_COOKIE: Final = Rule(
    id="insecure-cookie",
    title="Insecure cookie",
    when="A cookie that says who the client is (session, sid, auth, token, ...) is set without"
    " HttpOnly or SameSite, or over https without Secure; or one that browsers refuse. Not: other"
    " cookies, tokens against forged requests, cookies that are deleted, Secure on a developer's"
    " machine or over http.",
    evidence="The cookies and what they lack.",
    fix='Set it with `secure=True, httponly=True, samesite="lax"`.',
    link="https://developer.mozilla.org/en-US/docs/Web/Security/Practical_implementation_guides/Cookies",
    find=_cookies,
    panel="headers",
)
MISSING_CSRF: Final = Rule(
    id="missing-csrf",
    title="No protection against forged requests",
    when="A form was posted with a session cookie and accepted: by another site, or with no field,"
    " header, cookie or session key that looks like a token. Only information: where the form's"
    " fields are not recorded, or the cookie's SameSite is not known: neither the response sets it nor"
    " a setting of Quart or Django tells. Not: JSON and other bodies that need a preflight, PUT, PATCH,"
    " DELETE, refused requests, an Authorization header, no session cookie, one with SameSite=Lax or"
    " Strict.",
    evidence="What was accepted, and what was not there.",
    fix="Use your framework's CSRF protection, and set the session's cookie with SameSite=Lax.",
    link="https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html",
    find=_csrf,
    panel="headers",
)
MISSING_HEADER: Final = Rule(
    id="missing-security-header",
    title="Security headers missing",
    when="A page was sent without a Content-Security-Policy that restricts scripts, without a"
    " bound on framing, or over https without Strict-Transport-Security. Only information: on a"
    " developer's machine, and X-Content-Type-Options and Referrer-Policy. Not: JSON, files,"
    " redirects, errors, parts of pages, other SDKs' spans without headers.",
    evidence="The headers.",
    fix="Send them with every page from a middleware or the proxy; the Headers panel says what"
    " each is for.",
    link="https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html",
    find=_headers,
    panel="headers",
)
DEBUG: Final = Rule(
    id="debug-in-production",
    title="Debug mode in production",
    when="The framework's debug mode is on, and the environment is called prod, production or"
    " live, or it has no name and the app is served over https under a public name. Not: local and"
    " private addresses, tunnels.",
    evidence="Framework, environment or host.",
    fix="Switch debug off where others can reach the app: it shows them source code and settings.",
    link="https://cheatsheetseries.owasp.org/cheatsheets/Error_Handling_Cheat_Sheet.html",
    find=_debug,
    panel="request",
)

RULES: Final = (INSECURE_COOKIE, MISSING_CSRF, MISSING_HEADER, DEBUG)
