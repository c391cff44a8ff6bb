"""Who may see the toolbar, who may change something with it, and how its own pages are protected.

Without a token only a browser on this machine sees it: the peer's own address is loopback, no proxy
stands between, and the page was asked for by a local name (a foreign name that resolves to this
machine is DNS rebinding). Headers only ever refuse. Everybody else needs the token. Whoever is
refused gets the app's own answer.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from otel_toolbar import guard

Scope = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]

COOKIE: Final = "otel_toolbar"
TOKEN_HEADER: Final = b"x-toolbar-token"
CSRF_HEADER: Final = b"x-toolbar-csrf"

_CSRF: Final = secrets.token_urlsafe(32)
_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_ORIGIN: Final = re.compile(r"(https?)://(.+)", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Any of these says that somebody stands between the client and us.
_PROXY_NAMES: Final = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-proxyuser-ip",
        b"x-remote-ip",
        b"true-client-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"proxy-client-ip",
        b"wl-proxy-client-ip",
        b"cdn-loop",
    }
)
_PROXY_PREFIXES: Final = (
    b"x-forwarded",
    b"x-original-",
    b"x-envoy-",
    b"x-appengine-",
    b"x-azure-",
    b"x-arr-",
    b"x-amz-cf-",
    b"cf-",
)
# Characters of a query string that may stand in a Location as they are.
_QUERY_SAFE: Final = "!$%&'()*+,/:;=?@[]~"

_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    b" img-src 'self' data:; frame-ancestors 'self'; base-uri 'none';"
    b" form-action 'self'; require-trusted-types-for 'script'"
)


@dataclass(frozen=True)
class Access:
    """Promise 4. `scope` is the server's own, as no middleware has changed it.

    `trust_peer` is False for a middleware mounted by hand: what it sees as the peer may come from a
    proxy middleware, so there everybody needs the token. `csrf` is handed in where several
    processes answer for one page.
    """

    token: str | None = field(repr=False)
    allowed_hosts: tuple[str, ...]
    trust_peer: bool
    csrf: str = field(default=_CSRF, repr=False)

    def may_see(self, scope: Scope) -> bool:
        """Whether this client may know of the toolbar at all; for the app's pages and sockets."""
        try:
            return self._is_local(scope) or self._has_token(scope)
        except Exception:
            guard.failed("access check")
            return False

    def may_read(self, scope: Scope) -> bool:
        """Whether the toolbar's own pages, data and event streams may answer this request.

        A page of another origin may lead here by a link; it may not fetch, stream or frame.
        """
        return self.may_see(scope) and not _from_foreign_page(scope)

    def may_change(self, scope: Scope) -> bool:
        """Whether a request of our own page's script asks for it, and nobody else's."""
        return (
            scope.get("method") in _CHANGING
            and self.may_read(scope)
            and bool(_values(scope, b"origin"))
            and _same(_only(scope, CSRF_HEADER), self.csrf.encode())
            and _body_is_json(scope)
        )

    def token_login(self, scope: Scope) -> Headers | None:
        """Headers of the 303 that answers `GET <page of ours>?token=...`; None if it is no login.

        It leads to the same address without the token, so that no history or bookmark keeps it, by
        a relative reference, for a proxy may have shortened the path that we see.
        """
        given = _token_in_query(scope)
        if scope.get("method") != "GET" or given is None or not self._is_token(given):
            return None
        page = "./" + quote(scope["path"].rpartition("/")[2], safe="", errors="replace")
        rest = b"&".join(part for part in _query_parts(scope) if not _is_token_part(part))
        query = "?" + quote_from_bytes(rest, safe=_QUERY_SAFE) if rest else ""
        return [
            (b"location", (page + query).encode()),
            (b"set-cookie", self._cookie(scope).encode()),
            *own_headers(),
        ]

    def _is_local(self, scope: Scope) -> bool:
        if not self.trust_peer or not _peer_is_loopback(scope):
            return False
        headers = scope["headers"]
        place = _place_of_host(tuple([name for name, _ in headers]))
        return place is not None and self._knows(bytes(headers[place][1]))

    @cached_property
    def _allowed(self) -> frozenset[str]:
        return _LOCAL_HOSTS | {name.strip().lower() for name in self.allowed_hosts}

    def _knows(self, given: bytes) -> bool:
        """Whether a Host header names this machine."""
        host = _host_and_port(given)
        if host is None:
            return False
        allowed = self._allowed
        return host[0] in allowed or f"{host[0]}:{host[1]}" in allowed

    def _has_token(self, scope: Scope) -> bool:
        given = _only(scope, TOKEN_HEADER)
        if given and self._is_token(given):
            return True
        return self.token is not None and any(
            _same(value, self._proof(self.token)) for value in _cookies(scope)
        )

    def _is_token(self, given: bytes) -> bool:
        return self.token is not None and _same(given, _encoded(self.token))

    def _proof(self, token: str) -> bytes:
        """What the cookie carries: from it nobody gets the token back."""
        return hmac.new(_encoded(token), b"otel-toolbar cookie", sha256).hexdigest().encode()

    def _cookie(self, scope: Scope) -> str:
        assert self.token is not None
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        proof = self._proof(self.token).decode()
        return f"{COOKIE}={proof}; HttpOnly; SameSite=Strict; Path=/{secure}"


def own_headers(*, cacheable: bool = False) -> Headers:
    """Headers of every response of our own; `cacheable` for files whose address has the version."""
    return [
        (b"content-security-policy", _POLICY),
        (b"x-content-type-options", b"nosniff"),
        # Not no-referrer: with it browsers send `Origin: null` along with forms.
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        # A page with a Cross-Origin-Embedder-Policy takes our script and frame only with these.
        (b"cross-origin-embedder-policy", b"require-corp"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"private, max-age=31536000, immutable" if cacheable else b"no-store"),
    ]


def split_host(values: list[bytes]) -> tuple[str, int | None] | None:
    """Name and port of the one Host header; None if it is missing, doubled or malformed."""
    return _host_and_port(bytes(values[0])) if len(values) == 1 else None


@lru_cache(maxsize=256)
def _host_and_port(given: bytes) -> tuple[str, int | None] | None:
    match = _HOST.fullmatch(given.decode("latin-1"))
    return (match[1].lower(), int(match[2]) if match[2] else None) if match else None


def _peer_is_loopback(scope: Scope) -> bool:
    client = scope.get("client")
    return bool(client) and _is_loopback(str(client[0]))


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:  # a Unix socket, a test client
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


@lru_cache(maxsize=256)
def _place_of_host(names: tuple[bytes, ...]) -> int | None:
    """Which of the headers is the one Host; None where there is not just one, or one tells of a proxy.

    Asked for every request, and a client sends the same names with each.
    """
    hosts = places(names, b"host")
    if len(hosts) != 1 or any(_tells_of_proxy(name) for name in names):
        return None
    return hosts[0]


@lru_cache(maxsize=512)
def places(names: tuple[bytes, ...], wanted: bytes) -> tuple[int, ...]:
    """Which of a request's headers, by their names, have the lower-case name that is wanted."""
    return tuple(place for place, name in enumerate(names) if name.lower() == wanted)


def _tells_of_proxy(name: bytes) -> bool:
    name = name.lower()
    return name in _PROXY_NAMES or name.startswith(_PROXY_PREFIXES)


def _from_foreign_page(scope: Scope) -> bool:
    if _values(scope, b"origin"):
        return not _origin_is_own(scope)
    site = _only(scope, b"sec-fetch-site")
    if site in (None, b"same-origin", b"none"):
        return False
    return _only(scope, b"sec-fetch-dest") != b"document"


def _origin_is_own(scope: Scope) -> bool:
    """The one Origin names the host that was asked. Schemes may differ: a proxy may do the TLS."""
    origin = _ORIGIN.fullmatch((_only(scope, b"origin") or b"").decode("latin-1"))
    host = split_host(_values(scope, b"host"))
    if origin is None or host is None:
        return False
    theirs = split_host([origin[2].encode("latin-1")])
    default = _DEFAULT_PORTS[origin[1].lower()]
    return theirs is not None and (theirs[0], theirs[1] or default) == (host[0], host[1] or default)


def _body_is_json(scope: Scope) -> bool:
    """A form cannot send JSON. In HTTP/2 a body need not be announced, so a type counts as one."""
    kinds = _values(scope, b"content-type")
    if not kinds:
        lengths = _values(scope, b"content-length")
        return not _values(scope, b"transfer-encoding") and all(size == b"0" for size in lengths)
    return len(kinds) == 1 and kinds[0].split(b";")[0].strip().lower() == b"application/json"


def _token_in_query(scope: Scope) -> bytes | None:
    values = [part[len(b"token=") :] for part in _query_parts(scope) if _is_token_part(part)]
    return unquote_to_bytes(values[0]) if values else None


def _query_parts(scope: Scope) -> list[bytes]:
    return scope.get("query_string", b"").split(b"&")


def _is_token_part(part: bytes) -> bool:
    return part.startswith(b"token=")


def _cookies(scope: Scope) -> Iterable[bytes]:
    """Every value of our cookie: a page of a parent domain may have set one of its own."""
    for header in _values(scope, b"cookie"):
        for pair in header.split(b";"):
            name, _, value = pair.partition(b"=")
            if name.strip() == COOKIE.encode():
                yield value.strip()


def _encoded(token: str) -> bytes:
    # An environment variable that is no UTF-8 reaches us with surrogates.
    return token.encode("utf-8", "surrogateescape")


def _same(given: bytes | None, expected: bytes) -> bool:
    return given is not None and hmac.compare_digest(given, expected)


def _only(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header that is there exactly once."""
    values = _values(scope, name)
    return values[0] if len(values) == 1 else None


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key.lower() == name]
