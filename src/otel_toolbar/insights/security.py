"""What a response's security headers and cookies are worth.

Judged as a browser would feel it: Content-Security-Policy, framing and Referrer-Policy only matter
on pages, Strict-Transport-Security only over https. On a developer's own machine what a proxy may add
later is only worth knowing, and Strict-Transport-Security would do harm: browsers apply it to every
port of `localhost`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "info", "warn"]

_REFERRER_LEAKS = frozenset({"unsafe-url", "no-referrer-when-downgrade"})
_HALF_A_YEAR = 15_768_000
_SESSION = re.compile(r"sess|(^|[-_.])sid$|auth(?!or)|token|jwt|remember|login|identity")
_CSRF = re.compile(r"csrf|xsrf|requestverification|authenticity")
_PAST = re.compile(r"\b19[67]\d\b")
"""Year of a date that deletes a cookie."""


@dataclass(frozen=True)
class Check:
    """One judgement."""

    name: str
    verdict: Verdict
    found: str
    """What was sent, empty when nothing was."""
    advice: str
    """What it means, or what to do."""


Headers = Mapping[str, Sequence[str]]


def judge(headers: Headers, scheme: str, local: bool = False) -> tuple[Check, ...]:
    """Judge the headers of a response, given by lower-case name. `local`: on a developer's machine."""
    return (*judge_headers(headers, scheme, local), *judge_cookies(headers, scheme, local))


def judge_headers(headers: Headers, scheme: str, local: bool) -> tuple[Check, ...]:
    """Judge all but the cookies."""
    page = "html" in " ".join(headers.get("content-type", ())).lower()
    checks = [_content_type_options(headers)]
    if page:
        checks += [_policy(headers), _framing(headers), _referrer(headers)]
    if scheme == "https" and not local:
        checks.append(_transport(headers))
    return tuple(_at_home(check) if local else check for check in checks)


def judge_cookies(headers: Headers, scheme: str, local: bool) -> tuple[Check, ...]:
    """Judge each cookie that is set."""
    needs_secure = scheme == "https" and not local
    return tuple(_cookie(line, needs_secure) for line in headers.get("set-cookie", ()))


def is_session(cookie: str) -> bool:
    """True for the name of a cookie that says who the client is; in doubt, False."""
    name = cookie.lower()
    return _SESSION.search(name) is not None and not is_csrf(name)


def is_csrf(name: str) -> bool:
    """True for the name of a field, header or cookie with a token against forged requests."""
    return _CSRF.search(name.lower().replace("_", "").replace("-", "")) is not None


def same_site(line: str) -> str:
    """SameSite of a `Set-Cookie` line in lower case; empty when it says none."""
    return _flags(line)[1].get("samesite", "")


def _at_home(check: Check) -> Check:
    missing = check.verdict == "warn" and not check.found
    return Check(check.name, "info", "", check.advice) if missing else check


def _joined(headers: Headers, name: str) -> str:
    return ", ".join(headers.get(name, ()))


def _content_type_options(headers: Headers) -> Check:
    found = _joined(headers, "x-content-type-options")
    if found.strip().lower() == "nosniff":
        return Check("X-Content-Type-Options", "ok", found, "Browsers keep to the Content-Type.")
    advice = "Send `nosniff`, or a browser may take an upload for a script."
    return Check("X-Content-Type-Options", "info", found, advice)


def _policy(headers: Headers) -> Check:
    name, found = "Content-Security-Policy", _joined(headers, "content-security-policy")
    if not found:
        trial = _joined(headers, "content-security-policy-report-only")
        if trial:
            return Check(name, "info", trial, "Only reported so far, nothing is blocked.")
        advice = "None sent: injected markup can run scripts. Start with `script-src 'self'`."
        return Check(name, "warn", "", advice)
    scripts = _directive(found, "script-src") or _directive(found, "default-src")
    if not scripts:
        return Check(name, "warn", found, "It does not restrict scripts: add `script-src`.")
    if _lets_inline_run(scripts):
        advice = "`'unsafe-inline'` lets injected scripts run: use a nonce or hashes."
        return Check(name, "warn", found, advice)
    if "'unsafe-eval'" in scripts:
        return Check(name, "info", found, "`'unsafe-eval'` lets text become code.")
    return Check(name, "ok", found, "Scripts are restricted.")


def _directive(policy: str, name: str) -> list[str]:
    for part in policy.split(";"):
        words = part.lower().split()
        if words[:1] == [name]:
            return words[1:] or ["'none'"]
    return []


def _lets_inline_run(sources: list[str]) -> bool:
    """True unless a nonce or a hash makes browsers ignore `'unsafe-inline'`."""
    strict = any(source.startswith(("'nonce-", "'sha")) for source in sources)
    return "'unsafe-inline'" in sources and not strict


def _framing(headers: Headers) -> Check:
    ancestors = _directive(_joined(headers, "content-security-policy"), "frame-ancestors")
    found = _joined(headers, "x-frame-options")
    if ancestors:
        return Check("Framing", "ok", "frame-ancestors " + " ".join(ancestors), "Restricted.")
    if found.strip().lower() in ("deny", "sameorigin"):
        return Check("Framing", "ok", found, "Restricted by X-Frame-Options.")
    advice = "Any site can show this page in a frame (clickjacking): send `frame-ancestors 'self'`."
    return Check("Framing", "warn", found, advice)


def _referrer(headers: Headers) -> Check:
    name, found = "Referrer-Policy", _joined(headers, "referrer-policy")
    if any(word.strip().lower() in _REFERRER_LEAKS for word in found.split(",")):
        return Check(name, "warn", found, "Whole URLs, query string included, go to other sites.")
    if found:
        return Check(name, "ok", found, "Set.")
    return Check(name, "info", "", "Browsers take `strict-origin-when-cross-origin`; say it.")


def _transport(headers: Headers) -> Check:
    name, found = "Strict-Transport-Security", _joined(headers, "strict-transport-security")
    age = found.lower().partition("max-age=")[2].partition(";")[0].strip(' "')
    if not found:
        advice = "Send `max-age=31536000`, so that http is never tried again."
        return Check(name, "warn", "", advice)
    if not age.isdecimal() or int(age[:18]) < _HALF_A_YEAR:
        return Check(name, "info", found, "Shorter than half a year.")
    return Check(name, "ok", found, "Browsers keep to https.")


def _flags(line: str) -> tuple[str, dict[str, str]]:
    """Name and attributes of a cookie."""
    first, *rest = (part.strip() for part in line.split(";"))
    flags = {part.partition("=")[0].lower(): part.partition("=")[2].lower() for part in rest}
    return first.partition("=")[0], flags


def _cookie(line: str, needs_secure: bool) -> Check:
    cookie, flags = _flags(line)
    name = f"Cookie {cookie}"
    if flags.get("max-age", "1").strip('"')[:1] in ("0", "-") or _PAST.search(
        flags.get("expires", "")
    ):
        return Check(name, "ok", line, "Deleted.")
    refused = _refused(cookie, flags)
    if refused:
        return Check(name, "warn", line, refused)
    missing = [flag for flag in ("HttpOnly", "SameSite") if flag.lower() not in flags]
    if "secure" not in flags and needs_secure:
        missing.insert(0, "Secure")
    if missing:
        # A script may need to read a cookie of settings; who the client is, none needs to know.
        verdict: Verdict = "warn" if is_session(cookie) else "info"
        return Check(name, verdict, line, f"Without {' and '.join(missing)}.")
    if "secure" not in flags:
        return Check(name, "info", line, "Without Secure: right on http, needed on https.")
    return Check(name, "ok", line, "Secure, HttpOnly and SameSite.")


def _refused(cookie: str, flags: Mapping[str, str]) -> str:
    """Why browsers do not take it."""
    if "secure" in flags:
        return ""
    if flags.get("samesite") == "none":
        return "Browsers refuse `SameSite=None` without `Secure`."
    if cookie.startswith(("__Host-", "__Secure-")):
        return f"Browsers refuse `{cookie.partition('-')[0]}-` without `Secure`."
    return ""
