"""The facts of a process as readers want them, from whatever its log record holds.

The record comes over a wire from processes that may not be ours: what is not of the expected type is
left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.model import Span, Trace, Value

from . import reading


@dataclass(frozen=True)
class Code:
    """A function of the app. `line` None: not known."""

    function: str
    file: str
    line: int | None


@dataclass(frozen=True)
class Route:
    """One route, as `http.route` would name it."""

    framework: str
    kind: str
    """`http`, `websocket` or `mount`."""
    methods: tuple[str, ...]
    """Empty: all of them."""
    path: str
    name: str
    code: Code


@dataclass(frozen=True)
class Hook:
    """One hook, listener or exception handler. `name`: the event's or exception's."""

    kind: str
    name: str
    code: Code


@dataclass(frozen=True)
class Instrumentation:
    """One instrumentation; `note` says why it is not active."""

    name: str
    by: str
    active: bool
    note: str


@dataclass(frozen=True)
class Group:
    """Settings that belong together, as names and masked values."""

    title: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Document:
    """An OpenAPI document: `parsed` None when it was too large. `docs`: path of the app's pages."""

    parsed: Mapping[str, Any] | None
    docs: str
    docs_kind: str


def facts(trace: Trace) -> Mapping[str, Value]:
    """All facts of the process that served the trace; empty when they are not known."""
    return _map(trace.process.body) if trace.process is not None else {}


def routes(trace: Trace) -> tuple[Route, ...]:
    """All routes in the framework's order."""
    return tuple(
        Route(
            framework=_text(each, "framework"),
            kind=_text(each, "kind"),
            methods=tuple(reading.as_text(method) for method in _items(each.get("methods"))),
            path=_text(each, "path"),
            name=_text(each, "name"),
            code=_code(each),
        )
        for each in _maps(trace, "routes")
    )


def matched(trace: Trace) -> int | None:
    """Index in `routes` of the one that served the trace; None when that is not known.

    By `http.route` and the method.
    """
    main = trace.main
    route = reading.text(main, semconv.HTTP_ROUTE) if main is not None else ""
    if main is None or not route:
        return None
    method = _method(main)
    for number, each in enumerate(routes(trace)):
        accepts = not each.methods or method in each.methods
        if accepts and each.path == route and each.kind != "mount":
            return number
    return None


def _method(main: Span) -> str:
    return reading.text(main, semconv.HTTP_REQUEST_METHOD, semconv.OLD_HTTP_METHOD).upper()


def hooks(trace: Trace) -> tuple[Hook, ...]:
    """Litestar's hooks, listeners and exception handlers as declared."""
    return tuple(
        Hook(_text(each, "kind"), _text(each, "name"), _code(each))
        for each in _maps(trace, "hooks")
    )


def instrumentations(trace: Trace) -> tuple[Instrumentation, ...]:
    return tuple(
        Instrumentation(
            _text(each, "name"), _text(each, "by"), each.get("active") is True, _text(each, "note")
        )
        for each in _maps(trace, "instrumentations")
    )


def packages(trace: Trace) -> tuple[tuple[str, str], ...]:
    """Names and versions, in order of names."""
    return _pairs(facts(trace).get("packages"))


def settings(trace: Trace) -> tuple[Group, ...]:
    return tuple(
        Group(_text(each, "title"), _pairs(each.get("values"))) for each in _maps(trace, "settings")
    )


def documents(trace: Trace) -> tuple[Document, ...]:
    """The OpenAPI documents of the process's apps. Parsed once a record."""
    known = trace.memo.get(documents)
    if known is None:
        known = trace.memo[documents] = tuple(map(_document, _maps(trace, "openapi")))
    return known


def _document(fact: Mapping[str, Value]) -> Document:
    try:
        parsed: Any = json.loads(_text(fact, "document") or "null")
    except (ValueError, RecursionError):
        parsed = None
    known = cast("Mapping[str, Any]", parsed) if isinstance(parsed, dict) else None
    return Document(known, _text(fact, "docs"), _text(fact, "docs_kind"))


def _code(fact: Mapping[str, Value]) -> Code:
    line = fact.get("line")
    known = line if isinstance(line, int) and 0 < line < 2**31 else None
    return Code(_text(fact, "function"), _text(fact, "file"), known)


def _maps(trace: Trace, key: str) -> list[Mapping[str, Value]]:
    return [_map(each) for each in _items(facts(trace).get(key))]


def _pairs(value: Value) -> tuple[tuple[str, str], ...]:
    found = [_items(pair) for pair in _items(value)]
    return tuple((reading.as_text(p[0]), reading.as_text(p[1])) for p in found if len(p) == 2)


def _items(value: Value) -> tuple[Value, ...]:
    return value if isinstance(value, tuple) else ()


def _map(value: Value) -> Mapping[str, Value]:
    return value if isinstance(value, dict) else {}


def _text(fact: Mapping[str, Value], key: str) -> str:
    return reading.as_text(fact.get(key))
