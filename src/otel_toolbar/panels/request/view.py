"""What was asked."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import Field, Place, fields, place
from otel_toolbar.settings import Settings

_SCOPES = ("fastapi", "starlette", "litestar", "quart", "django", "asgi")


@dataclass(frozen=True)
class RequestView:
    """The request of the trace's main span; `found` is False when it serves no request."""

    found: bool
    name: str
    kind: str
    method: str
    path: str
    route: str
    """Template of the route that matched; empty when none did, or none was told."""
    endpoint: Place | None
    scheme: str
    host: str
    protocol: str
    """`HTTP/1.1`, `websocket`."""
    client: str
    user_agent: str
    content_type: str
    body_size: int | None
    """In bytes."""
    framework: str
    service: str
    process: str
    disconnected: bool
    query: tuple[Field, ...]
    path_parameters: tuple[Field, ...]
    cookies: tuple[Field, ...]
    session: tuple[Field, ...]
    form: tuple[Field, ...]
    """Fields of a form that the app has read."""


def view(trace: Trace, settings: Settings) -> RequestView:
    main = trace.main or Span(trace.trace_id, "", None, "", Kind.INTERNAL, trace.now, trace.now)
    headers = reading.request_headers(main)
    return RequestView(
        found=bool(reading.method(main)) or reading.is_websocket(main),
        name=main.name,
        kind=main.kind.value,
        method=reading.method(main),
        path=reading.path(main),
        route=reading.text(main, semconv.HTTP_ROUTE),
        endpoint=place(main, settings),
        scheme=reading.scheme(main),
        host=_host(main, headers),
        protocol=_protocol(main),
        client=_client(main),
        user_agent=reading.text(main, semconv.USER_AGENT, semconv.OLD_HTTP_USER_AGENT)
        or " ".join(headers.get("user-agent", ())),
        content_type=" ".join(headers.get("content-type", ())),
        body_size=_body_size(main, headers),
        framework=_framework(main),
        service=reading.service(main),
        process=_process(main),
        disconnected=main.flag(semconv.REQUEST_DISCONNECTED),
        query=_query(reading.query_string(main)),
        path_parameters=fields(main.below(semconv.REQUEST_PATH_PARAMETER)),
        cookies=_cookies(main, headers),
        session=fields(main.below(semconv.REQUEST_SESSION)),
        form=fields(main.below(semconv.REQUEST_FORM)),
    )


def badge(view: RequestView) -> Badge:
    return Badge(view.method or None, "warn" if view.disconnected else "ok")


def _host(main: Span, headers: dict[str, tuple[str, ...]]) -> str:
    sent = " ".join(headers.get("host", ())) or reading.text(main, semconv.OLD_HTTP_HOST)
    if sent:
        return sent
    return _address(main, semconv.SERVER_ADDRESS, semconv.SERVER_PORT)


def _client(main: Span) -> str:
    known = _address(main, semconv.CLIENT_ADDRESS, semconv.CLIENT_PORT)
    return known or reading.text(main, semconv.OLD_HTTP_CLIENT_IP, semconv.OLD_NET_PEER_IP)


def _address(main: Span, address: str, port: str) -> str:
    host, number = reading.text(main, address), reading.integer(main, port)
    if not host or number is None:
        return host
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _protocol(main: Span) -> str:
    name = reading.text(main, semconv.NETWORK_PROTOCOL_NAME)
    version = reading.text(main, semconv.NETWORK_PROTOCOL_VERSION, semconv.OLD_HTTP_FLAVOR)
    if name and name.lower() != "http":
        return f"{name} {version}".strip()
    return f"HTTP/{version}" if version else name.upper()


def _body_size(main: Span, headers: dict[str, tuple[str, ...]]) -> int | None:
    told = reading.integer(main, semconv.HTTP_REQUEST_BODY_SIZE, semconv.OLD_HTTP_REQUEST_SIZE)
    length = headers.get("content-length", ("",))[-1:]
    if told is None and length and length[0].isdecimal() and len(length[0]) < 19:
        return int(length[0])
    return told


def _framework(main: Span) -> str:
    told = reading.text(main, semconv.TOOLBAR_FRAMEWORK)
    scope = main.scope.name.lower()
    return told or next((name for name in _SCOPES if name in scope), "")


def _process(main: Span) -> str:
    pid = main.resource.get(semconv.PROCESS_PID)
    return "" if pid is None else reading.as_text(pid)


def _query(text: str) -> tuple[Field, ...]:
    try:
        pairs = parse_qsl(text.removeprefix("?"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return (Field("", text),)
    return tuple(Field(reading.as_text(key), reading.as_text(value)) for key, value in pairs)


def _cookies(main: Span, headers: dict[str, tuple[str, ...]]) -> tuple[Field, ...]:
    """Cookies as captured, else as the header has them."""
    captured = main.below(semconv.REQUEST_COOKIE)
    if captured:
        return fields(captured)
    try:
        jar = SimpleCookie("; ".join(headers.get("cookie", ())))
    except CookieError:
        return ()
    return tuple(Field(name, morsel.value) for name, morsel in jar.items())
