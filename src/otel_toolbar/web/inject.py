"""Puts the toolbar's one tag into HTML pages and names the trace in response headers.

For responses to somebody who may see the toolbar. Everything else of the response goes out as the
app sent it: each message at once, but for the start of an HTML page with a Content-Length, which
waits for the first part of the body, because only then it is known whether the tag goes in.

Addresses begin with the `root_path` that the server knows (`uvicorn --root-path`): that is the
prefix which a proxy takes off. Where a proxy does so without the server's knowledge, the browser
does not find the toolbar, as it does not find anything behind an absolute link of the app.
"""

from __future__ import annotations

import codecs
import re
import string
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any, Final
from urllib.parse import quote

from otel_toolbar import guard

from .csp import SECURITY_POLICIES, Decision, Url, decide
from .prolog import Prolog
from .security import places, split_host

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

SCRIPT: Final = "/static/toolbar.js"
"""The tag's script, under the toolbar's path."""
TRACE_PAGE: Final = "/t/"
"""A trace's page, under the toolbar's path, before the trace id."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_UNDECIDED: Final = Decision(allowed=False)
_NO_PAGE_STATUS: Final = frozenset({204, 205, 206, 304})
# The script of a page asked for these, to put them into a document that has its tag already.
_PARTIAL_REQUEST: Final = frozenset(
    {
        b"hx-request",
        b"turbo-frame",
        b"x-requested-with",
        b"x-turbo-request-id",
        b"x-pjax",
        b"x-up-version",
        b"x-alpine-request",
        b"datastar-request",
    }
)
# What says something about the exact bytes of the body, which would no longer hold.
_BOUND_TO_BYTES: Final = frozenset(
    {
        b"content-digest",
        b"repr-digest",
        b"digest",
        b"content-md5",
        b"content-range",
        b"signature",
        b"signature-input",
    }
)

# All that is asked of a response's headers to know whether the tag may go in, but for its length.
_TELLING: Final = (
    _BOUND_TO_BYTES
    | {b"content-type", b"content-encoding", b"content-disposition", b"cache-control"}
    | SECURITY_POLICIES
)

_ASCII: Final = string.printable.replace("\\", "")  # a backslash is a yen sign in some


class Injector:
    """Stands between the app and the server for one response.

    `base` is the toolbar's path. `traceparent` gives the request's W3C trace parent, once it is
    known; without it nothing is added. `server_timing` gives further metrics for that header, as they
    are when the response starts.
    """

    def __init__(
        self,
        scope: MutableMapping[str, Any],
        send: Send,
        *,
        base: str,
        version: str,
        traceparent: Callable[[], str | None],
        server_timing: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        # A copy: frameworks write a mount's root_path, and some the method, into the scope.
        self._scope = dict(scope)
        self._send = send
        self._base = base
        self._version = version
        self._traceparent = traceparent
        self._server_timing = server_timing
        self._started = False
        self._held: Message | None = None
        self._prolog: Prolog | None = None
        self._headers: Headers = []
        self._host: tuple[str, int | None] = "", None
        self._decision = _UNDECIDED
        self._trace = ""

    async def send(self, message: Message) -> None:
        """The app's `send`."""
        if self._started and self._prolog is None and self._held is None:
            await self._send(message)  # nothing is looked for: so it is with all that is no page
            return
        for each in self._prepared(message):
            await self._send(each)

    async def finish(self) -> None:
        """The app has returned or raised: what it has sent must have reached the server."""
        for each in self._release():
            await self._send(each)

    def _prepared(self, message: Message) -> list[Message]:
        try:
            return self._prepare(message)
        except Exception:
            guard.failed("injection of the tag")
            self._prolog = None
            return [*self._release(), message]

    def _prepare(self, message: Message) -> list[Message]:
        if message["type"] == "http.response.start" and not self._started:
            self._started = True
            return self._start(message)
        if self._prolog is None:
            return [message]
        if message["type"] == "http.response.body":
            return self._body(message, self._prolog)
        # The body comes another way (pathsend), or not where we expect it.
        self._prolog = None
        return [*self._release(), message]

    def _release(self, longer: int = 0) -> list[Message]:
        """The start that is held back, if any, for a body that is `longer` than the app says."""
        start = self._held
        if start is None:
            return []
        if longer:
            start = {**start, "headers": _with_length(start["headers"], longer)}
        self._held = None
        return [start]

    def _start(self, message: Message) -> list[Message]:
        parts = _TRACEPARENT.fullmatch(self._traceparent() or "")
        given: Sequence[tuple[bytes, bytes]] = message.get("headers", ())
        if parts is None or not isinstance(given, (list, tuple)):
            return [message]
        self._trace = parts[1]
        self._headers = [(bytes(name).lower(), value) for name, value in given]
        start = {**message, "headers": [*given, *self._own(parts[0])]}
        self._prolog = self._page(message)
        if self._prolog is not None and self._values(b"content-length"):
            self._held = start
            return []
        return [start]

    def _own(self, traceparent: str) -> Headers:
        own = [(b"server-timing", f'traceparent;desc="{traceparent}"'.encode())]
        own += self._timing()
        if not self._values(b"x-trace-id"):
            own.append((b"x-trace-id", self._trace.encode()))
        return own

    def _timing(self) -> Headers:
        try:
            return [(b"server-timing", metric.encode()) for metric in self._server_timing()]
        except Exception:
            guard.failed("Server-Timing of a request")
            return []

    def _page(self, start: Message) -> Prolog | None:
        """What looks for the tag's place, when this response is a page that may have one."""
        charset = _page_charset(start["status"], self._telling())
        if (
            charset is None
            or start.get("trailers")
            or not _has_one_length(self._values(b"content-length"))
            or self._scope["method"] == "HEAD"
        ):
            return None
        headers = self._scope["headers"]
        names = tuple([name for name, _ in headers])
        asked_for = [headers[place][1] for place in places(names, b"sec-fetch-dest")]
        if _is_partial(names) or asked_for not in ([], [b"document"]):
            return None
        hosts = [headers[place][1] for place in places(names, b"host")]
        self._host = split_host(hosts) or ("", None)
        self._decision = self._judge()
        if not self._decision.allowed:
            return None
        return Prolog(labelled=charset != "", fragments=bool(asked_for))

    def _body(self, message: Message, prolog: Prolog) -> list[Message]:
        body = bytes(message.get("body", b""))
        place = prolog.feed(body, last=not message.get("more_body", False))
        # Once a start with a length is out, nothing can be added any more.
        if prolog.done or self._held is not None:
            self._prolog = None
        tag = b"" if place is None else self._tag(prolog.policies)
        tagged = {**message, "body": body[:place] + tag + body[place:]} if tag else message
        return [*self._release(len(tag)), tagged]

    def _judge(self, policies: Sequence[str] = ()) -> Decision:
        site = str(self._scope.get("scheme", "http")), *self._host
        return _decided(self._telling(), tuple(policies), site, self._prefix())

    def _telling(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers that tell whether the tag may go in: mostly the same for every page."""
        return tuple([(name, bytes(value)) for name, value in self._headers if name in _TELLING])

    def _prefix(self) -> str:
        root = self._scope.get("root_path", "").strip("/")
        return (f"/{quote(root)}" if root else "") + self._base

    def _tag(self, policies: Sequence[str]) -> bytes:
        """The tag, empty where the page's policies forbid it.

        Its `<noscript>` holds a `<link>`, for without scripts anything visible would end the head.
        """
        decision = self._judge(policies) if policies else self._decision
        if not decision.allowed:
            return b""
        prefix = escape(self._prefix())
        nonce = f' nonce="{escape(decision.nonce)}"' if decision.nonce else ""
        blocked = ["connect"] * (not decision.connect) + ["frame"] * (not decision.frame)
        limits = f' data-blocked="{" ".join(blocked)}"' if blocked else ""
        return (
            f'<script{nonce} src="{prefix}{SCRIPT}?v={quote(self._version)}"'
            f' data-trace="{self._trace}" data-base="{prefix}"{limits} async></script>'
            f'<noscript><link rel="help" href="{prefix}{TRACE_PAGE}{self._trace}"></noscript>'
        ).encode()

    def _values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self._headers if key == name]


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def _with_length(headers: list[tuple[bytes, bytes]], longer: int) -> Headers:
    return [
        (name, b"%d" % (int(value) + longer) if name.lower() == b"content-length" else value)
        for name, value in headers
    ]


@lru_cache(maxsize=128)
def _page_charset(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> str | None:
    """The charset of an HTML page, empty when it is not named; None when the tag cannot go in.

    XHTML gets none: there a page that is not well-formed is not shown at all.
    """
    content_types = _values(headers, b"content-type")
    if len(content_types) != 1 or not _may_change_body(status, headers):
        return None
    return _charset_of(content_types[0])


@lru_cache(maxsize=128)
def _decided(
    headers: tuple[tuple[bytes, bytes], ...],
    policies: tuple[str, ...],
    site: tuple[str, str, int | None],
    prefix: str,
) -> Decision:
    return decide(
        headers,
        script=Url(*site, path=prefix + SCRIPT),
        pages=Url(*site, path=prefix + "/"),
        metas=policies,
    )


def _charset_of(content_type: bytes) -> str | None:
    kind, *parameters = content_type.decode("latin-1").lower().split(";")
    if kind.strip() != "text/html":
        return None
    pairs = (parameter.partition("=") for parameter in parameters)
    names = [value.strip().strip("\"'") for name, _, value in pairs if name.strip() == "charset"]
    charset = names[0] if names else ""
    return charset if not charset or _extends_ascii(charset) else None


@lru_cache(maxsize=32)
def _extends_ascii(charset: str) -> bool:
    """Whether ASCII bytes mean ASCII in it: not so in UTF-16, UTF-7, ISO-2022-JP, EBCDIC."""
    try:
        stateful = codecs.lookup(charset).name.startswith(("iso2022", "johab"))
        return not stateful and _ASCII.encode("ascii").decode(charset) == _ASCII
    except (LookupError, ValueError):
        return False


@lru_cache(maxsize=256)
def _is_partial(names: tuple[bytes, ...]) -> bool:
    """Asked for every page, and a client sends the same names with each."""
    return not _PARTIAL_REQUEST.isdisjoint(name.lower() for name in names)


def _has_one_length(lengths: list[bytes]) -> bool:
    """None at all will do, too."""
    return not lengths or (len(lengths) == 1 and lengths[0].isdigit())


def _may_change_body(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether there is a body, and nothing in it or in the headers depends on its exact bytes."""
    if status < 200 or status in _NO_PAGE_STATUS:
        return False
    if any(name in _BOUND_TO_BYTES for name, _ in headers):
        return False
    encodings = b",".join(_values(headers, b"content-encoding")).lower().split(b",")
    return (
        all(encoding.strip() in (b"", b"identity") for encoding in encodings)
        and all(_inline(value) for value in _values(headers, b"content-disposition"))
        and not any(b"no-transform" in v.lower() for v in _values(headers, b"cache-control"))
    )


def _inline(disposition: bytes) -> bool:
    return disposition.split(b";")[0].strip().lower() == b"inline"
