"""What a response's security headers and cookies are worth.

Judged as a browser would feel it: Content-Security-Policy, framing and Referrer-Policy only matter
on pages, Strict-Transport-Security only over https.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "info", "warn"]

_REFERRER_LEAKS = frozenset({"unsafe-url", "no-referrer-when-downgrade"})
_HALF_A_YEAR = 15_768_000


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


def judge(headers: Headers, scheme: str) -> tuple[Check, ...]:
    """Judge the headers of a response, given by lower-case name."""
    page = "html" in " ".join(headers.get("content-type", ())).lower()
    checks = [_content_type_options(headers)]
    if page:
        checks += [_policy(headers), _framing(headers), _referrer(headers)]
    if scheme == "https":
        checks.append(_transport(headers))
    checks += [_cookie(line, scheme) for line in headers.get("set-cookie", ())]
    return tuple(checks)


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


def _cookie(line: str, scheme: str) -> Check:
    first, *rest = (part.strip() for part in line.split(";"))
    flags = {part.partition("=")[0].lower(): part.partition("=")[2].lower() for part in rest}
    name = f"Cookie {first.partition('=')[0]}"
    missing = [flag for flag in ("HttpOnly", "SameSite") if flag.lower() not in flags]
    if flags.get("samesite") == "none" and "secure" not in flags:
        return Check(name, "warn", line, "Browsers refuse `SameSite=None` without `Secure`.")
    if "secure" not in flags and scheme == "https":
        missing.insert(0, "Secure")
    if missing:
        return Check(name, "warn", line, f"Without {' and '.join(missing)}.")
    if "secure" not in flags:
        return Check(name, "info", line, "Without Secure: right on http, needed on https.")
    return Check(name, "ok", line, "Secure, HttpOnly and SameSite.")
