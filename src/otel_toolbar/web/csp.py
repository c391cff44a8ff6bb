"""What the Content-Security-Policy of a page lets our tag do, before we put it there.

A violation caused by us would stand in the app's own reports, so whatever is not plainly allowed
counts as forbidden, and a policy that only reports counts like one that blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Policy = dict[str, list[str]]
"""Directive name to its source expressions."""

_ENFORCED: Final = b"content-security-policy"
_REPORTED: Final = b"content-security-policy-report-only"
# A page under such a header loads only scripts with a hash in their `integrity`; our tag has none.
_INTEGRITY: Final = (b"integrity-policy", b"integrity-policy-report-only")
SECURITY_POLICIES: Final = frozenset({_ENFORCED, _REPORTED, *_INTEGRITY})
"""Names of the headers that `decide` looks at."""
_NEEDED_IN_SANDBOX: Final = {"allow-scripts", "allow-same-origin"}
_NONCE: Final = re.compile(r"'nonce-([A-Za-z0-9+/_-]+={0,2})'", re.IGNORECASE)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_HOST: Final = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|[^:/\[\]]+|\[[^\]]+\])"
    r"(?::(?P<port>\d+|\*))?(?P<path>/.*)?",
    re.IGNORECASE,
)
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Url:
    """An address of ours, as far as source expressions look at it. `port` None: the default."""

    scheme: str
    host: str
    port: int | None
    path: str


@dataclass(frozen=True)
class Decision:
    """Whether the tag may stand in the page, with which nonce, and what its script may do there."""

    allowed: bool
    nonce: str | None = None
    connect: bool = True
    frame: bool = True


def decide(
    headers: Iterable[tuple[bytes, bytes]], script: Url, pages: Url, metas: Sequence[str] = ()
) -> Decision:
    """Judge a response by its headers and by the policies found in its `<meta>` elements.

    `script` is the tag's source, `pages` where the script fetches from and what it frames.
    """
    headers = [(name.lower(), value) for name, value in headers]
    if any(name in _INTEGRITY and b"script" in value.lower() for name, value in headers):
        return Decision(allowed=False)
    policies = _policies(headers, metas)
    if not all(_sandbox_lets_scripts_run(policy) for policy in policies):
        return Decision(allowed=False)
    for nonce in [*_nonces(policies), None]:
        if all(_accepts_script(policy, script, nonce) for policy in policies):
            return Decision(
                allowed=True,
                nonce=nonce,
                connect=_accepts_url(policies, pages, "connect-src", "default-src"),
                frame=_accepts_url(policies, pages, "frame-src", "child-src", "default-src"),
            )
    return Decision(allowed=False)


def _policies(headers: list[tuple[bytes, bytes]], metas: Sequence[str]) -> list[Policy]:
    found: list[Policy] = []
    for name, value in headers:
        if name in (_ENFORCED, _REPORTED):
            parsed = [_parse(text) for text in value.decode("latin-1").split(",")]
            found += parsed if name == _ENFORCED else [_without_sandbox(each) for each in parsed]
    return found + [_without_sandbox(_parse(text)) for text in metas]


def _parse(text: str) -> Policy:
    policy: Policy = {}
    for directive in text.split(";"):
        words = directive.split()
        if words:
            # Of a directive given twice browsers take the first.
            policy.setdefault(words[0].lower(), words[1:])
    return policy


def _without_sandbox(policy: Policy) -> Policy:
    """Browsers heed `sandbox` only in an enforced header."""
    return {name: sources for name, sources in policy.items() if name != "sandbox"}


def _sandbox_lets_scripts_run(policy: Policy) -> bool:
    # Without allow-same-origin the page's origin is opaque: it may not even load our script.
    flags = policy.get("sandbox")
    return flags is None or {flag.lower() for flag in flags} >= _NEEDED_IN_SANDBOX


def _nonces(policies: list[Policy]) -> list[str]:
    """The well-formed nonces for scripts. Browsers skip others too; so none can carry markup."""
    sources = [source for policy in policies for source in _script_sources(policy) or ()]
    matches = [_NONCE.fullmatch(source) for source in sources]
    return list(dict.fromkeys(match[1] for match in matches if match))


def _script_sources(policy: Policy) -> list[str] | None:
    return _first(policy, "script-src-elem", "script-src", "default-src")


def _first(policy: Policy, *names: str) -> list[str] | None:
    return next((policy[name] for name in names if name in policy), None)


def _accepts_script(policy: Policy, script: Url, nonce: str | None) -> bool:
    sources = _script_sources(policy)
    if sources is None or (nonce is not None and nonce in _nonces([policy])):
        return True
    # 'strict-dynamic' makes browsers ignore 'self', hosts and schemes.
    strict = any(source.lower() == "'strict-dynamic'" for source in sources)
    return not strict and any(_matches(source, script) for source in sources)


def _accepts_url(policies: list[Policy], url: Url, *names: str) -> bool:
    for policy in policies:
        sources = _first(policy, *names)
        if sources is not None and not any(_matches(source, url) for source in sources):
            return False
    return True


def _matches(source: str, url: Url) -> bool:
    """Whether a source expression covers an address of the page's own origin."""
    if source.lower() in ("'self'", "*"):
        return True
    if scheme := _SCHEME.fullmatch(source):
        return _covers_scheme(scheme[1], url)
    parts = _HOST.fullmatch(source)
    return (
        parts is not None
        and (parts["scheme"] is None or _covers_scheme(parts["scheme"], url))
        and _covers_host(parts["host"].lower(), url)
        and _covers_port(parts["port"], url)
        and _covers_path(parts["path"], url)
    )


def _covers_scheme(scheme: str, url: Url) -> bool:
    return scheme.lower() == url.scheme or (scheme.lower(), url.scheme) == ("http", "https")


def _covers_host(host: str, url: Url) -> bool:
    if host.startswith("*."):
        return url.host.endswith(host[1:])
    return host in ("*", url.host)


def _covers_port(port: str | None, url: Url) -> bool:
    default = _PORTS.get(url.scheme)
    actual = url.port or default
    if port is None:
        return actual == default
    return port == "*" or int(port) == actual


def _covers_path(path: str | None, url: Url) -> bool:
    path = unquote(path or "/")
    return url.path.startswith(path) if path.endswith("/") else url.path == path
