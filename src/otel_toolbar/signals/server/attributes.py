"""What the SERVER span says of a request, read from the ASGI scope and messages.

Scopes are taken as they come: any part may be missing, and bytes need not be text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.util.types import AttributeValue

from otel_toolbar import semconv
from otel_toolbar.signals.core import masking

if TYPE_CHECKING:
    from .client import Client

Attributes = dict[str, AttributeValue]
Headers = Sequence[tuple[bytes, bytes]]

MAX_HEADERS = 32
"""Headers that become attributes of their own. The SDK keeps 128 attributes and drops the oldest."""

MAX_HEADERS_MORE = 200
"""Headers beyond those that are written down; the rest is counted."""

MAX_HEADER = 8192
"""Characters of one header's value."""

MAX_NAMES = 16
"""Cookies, path parameters and session keys that become attributes, each."""

_METHODS = frozenset(
    "CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE".split()  # noqa: SIM905
)
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def of_request(scope: Mapping[str, Any], client: Client) -> Attributes:
    """The standard attributes of an HTTP request, as the semantic conventions name them."""
    method = str(scope.get("method", ""))
    attributes = _of_url(scope, client, "http")
    if method in _METHODS:
        attributes[semconv.HTTP_REQUEST_METHOD] = method
    else:
        attributes[semconv.HTTP_REQUEST_METHOD] = "_OTHER"
        attributes[semconv.HTTP_REQUEST_METHOD_ORIGINAL] = method
    return attributes


def of_websocket(scope: Mapping[str, Any], client: Client) -> Attributes:
    """The standard attributes of a websocket connection."""
    return _of_url(scope, client, "ws") | {semconv.NETWORK_PROTOCOL_NAME: "websocket"}


def _of_url(scope: Mapping[str, Any], client: Client, scheme: str) -> Attributes:
    attributes = of_client(scope, client)
    attributes[semconv.URL_SCHEME] = str(scope.get("scheme", scheme))
    attributes[semconv.URL_PATH] = masking.path(str(scope.get("path", "")))
    query = scope.get("query_string")
    if query:
        attributes[semconv.URL_QUERY] = masking.query_string(query)
    version = scope.get("http_version")
    if version:
        attributes[semconv.NETWORK_PROTOCOL_VERSION] = str(version)
    address, port = _server(scope, client.host)
    if address:
        attributes[semconv.SERVER_ADDRESS] = address
    if port:
        attributes[semconv.SERVER_PORT] = port
    return attributes


def span_method(scope: Mapping[str, Any]) -> str:
    """The method as a span name has it: `HTTP` for one that is not known."""
    method = str(scope.get("method", ""))
    return method if method in _METHODS else "HTTP"


def of_headers(prefix: str, more: str, headers: Headers) -> Attributes:
    """Headers as `<prefix><name>` arrays, masked; beyond the first 32 names as one array `more`."""
    seen = _seen[prefix]
    try:
        if len(headers) <= MAX_HEADERS:
            attributes: dict[str, Any] = dict(
                [seen.get(pair) or _header(seen, prefix, *pair) for pair in headers]
            )
            if len(attributes) == len(headers):  # no name comes twice: so it is nearly always
                return attributes
    except (TypeError, ValueError):  # a list, or a memoryview of what may change
        pass
    return _of_many_headers(prefix, more, headers)


def _of_many_headers(prefix: str, more: str, headers: Headers) -> Attributes:
    attributes: dict[str, Any] = {}  # tuples of str
    rest: list[str] = []
    seen = _seen[prefix]
    for place, pair in enumerate(headers):
        try:
            key, values = seen[pair]
        except (KeyError, TypeError, ValueError):
            key, values = _header(seen, prefix, *pair)
        if key in attributes:
            attributes[key] += values
        elif len(attributes) < MAX_HEADERS:
            attributes[key] = values
        elif len(rest) < MAX_HEADERS_MORE:
            rest.append(f"{key[len(prefix) :]}: {values[0]}")
        else:
            rest.append(f"… {len(headers) - place} more")
            break
    if rest:
        attributes[more] = tuple(rest)
    return attributes


_PRIVATE = frozenset({"cookie", "authorization", "set-cookie", "proxy-authorization"})
_MAX_SEEN, _LONGEST_SEEN = 1024, 256

_Shown = tuple[str, tuple[str]]
"""A header as an attribute: its key, and its one value."""

_Seen = dict[tuple[bytes, bytes], _Shown]

_seen: Mapping[str, _Seen] = {
    semconv.HTTP_REQUEST_HEADER: masking.remember(_Seen()),
    semconv.HTTP_RESPONSE_HEADER: masking.remember(_Seen()),
}
"""Headers as they are shown, by the prefix: a client sends the same with every request."""


def _header(seen: _Seen, prefix: str, raw_name: bytes, raw_value: bytes) -> _Shown:
    """A header with its masked value, remembered in `seen`."""
    name = _latin1(raw_name[:MAX_HEADER]).lower()
    value = masking.header(name, _latin1(raw_value[: 2 * MAX_HEADER]))
    shown = prefix + name, (value if len(value) <= MAX_HEADER else value[:MAX_HEADER] + "…",)
    if (
        type(raw_name) is bytes
        and type(raw_value) is bytes
        and len(raw_name) + len(raw_value) <= _LONGEST_SEEN
        and name not in _PRIVATE
    ):
        if len(seen) >= _MAX_SEEN:
            seen.clear()
        seen[raw_name, raw_value] = shown
    return shown


def of_parameters(scope: Mapping[str, Any]) -> Attributes:
    """Path parameters and the session, masked and cut."""
    attributes: Attributes = {}
    for prefix, values in (
        (semconv.REQUEST_PATH_PARAMETER, scope.get("path_params")),
        (semconv.REQUEST_SESSION, scope.get("session")),
    ):
        if values and isinstance(values, Mapping):
            attributes.update(_named(prefix, cast("Mapping[Any, Any]", values)))
    return attributes


def of_secret_path(scope: Mapping[str, Any]) -> Attributes:
    """The path again where one of its parameters is a secret by its name: `/invites/{token}`."""
    given = scope.get("path_params")
    if not given or not isinstance(given, Mapping):
        return {}
    parameters = cast("Mapping[Any, Any]", given).items()
    secrets = [str(value) for name, value in parameters if masking.is_secret(str(name))]
    if not any(secrets):
        return {}
    parts = str(scope.get("path", "")).split("/")
    return {
        semconv.URL_PATH: masking.path(
            "/".join(masking.MASK if part in secrets else part for part in parts)
        )
    }


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first header of a lower-case name."""
    for key, value in headers:
        if key.lower() == name:
            return _latin1(value)
    return None


def _named(prefix: str, values: Mapping[Any, Any]) -> Attributes:
    names = [name for name in list(values)[:MAX_NAMES] if isinstance(name, str)]
    return {prefix + name: masking.value(name, values[name]) for name in names}


def of_cookies(headers: Sequence[str]) -> Mapping[str, str]:
    """Cookies, from what their headers have, masked already."""
    # Split as browsers send them. `http.cookies` also unquotes, at twenty times the cost (measured).
    pairs = [pair.partition("=") for header in headers for pair in header.split(";")]
    found = [(name.strip(), value.strip()) for name, _, value in pairs if name.strip()]
    return {semconv.REQUEST_COOKIE + name: value for name, value in found[:MAX_NAMES]}


def of_client(scope: Mapping[str, Any], said: Client) -> Attributes:
    """Who asked."""
    attributes: Attributes = {}
    client = scope.get("client")
    if client:
        attributes[semconv.CLIENT_ADDRESS] = str(client[0])
        if isinstance(client[1], int):
            attributes[semconv.CLIENT_PORT] = client[1]
    if said.agent:
        attributes[semconv.USER_AGENT] = said.agent
    return attributes


def _server(scope: Mapping[str, Any], host: str | None) -> tuple[str, int | None]:
    """Address and port that the client asked for, from `Host`, else the server's own."""
    default = _PORTS.get(str(scope.get("scheme", "http")))
    if host:
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if name and port.isdecimal() and len(port) <= 5:
            return name, int(port)
        return host, default
    server = scope.get("server")
    if not server:
        return "", None
    return str(server[0]), server[1] if isinstance(server[1], int) else None


def _latin1(raw: Any) -> str:
    return bytes(raw).decode("latin-1")
