"""Outgoing HTTP calls: slowest first, by host, and those that were made again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import reading, repeats, secrets
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings

_MADE_BY_CURL = secrets.words(
    "host content-length connection transfer-encoding traceparent tracestate accept-encoding"
)
"""Headers that are left out of a copied command: curl makes its own, or they belong to this request."""


@dataclass(frozen=True)
class CallView:
    """One call. Its time ends when the headers of the response have come."""

    id: str
    position: int
    """In order of start, from 1."""
    start: float
    """After the start of the trace, in s."""
    duration: float
    method: str
    url: str
    """Secrets masked."""
    host: str
    status: int | None
    """None without a response."""
    failed: bool
    """No response, or a status of 400 and above."""
    error: str
    request_size: int | None
    """By; None where the length was not declared."""
    response_size: int | None
    again: bool
    """GET or HEAD of a URL that this request had asked before."""
    library: str
    detached: bool
    running: bool
    curl: str
    """A command for the shell, without the body; secrets stay masked."""
    request_headers: tuple[shared.Field, ...]
    response_headers: tuple[shared.Field, ...]
    place: shared.Place | None
    stack: tuple[shared.Place, ...]
    around: tuple[shared.Around, ...]


@dataclass(frozen=True)
class HostView:
    """All calls to one host."""

    host: str
    count: int
    duration: float
    longest: float
    failed: int
    statuses: tuple[int, ...]
    received: int
    """By of the responses that declared their length."""


@dataclass(frozen=True)
class RepeatView:
    """The same question asked several times."""

    method: str
    url: str
    count: int
    duration: float
    """Of all but the first."""
    places: tuple[shared.Place, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True)
class HttpView:
    """The panel."""

    count: int
    duration: float
    """Together; calls at the same time count each."""
    failed: int
    sent: int
    received: int
    """By, of what declared its length."""
    repeats: tuple[RepeatView, ...]
    hosts: tuple[HostView, ...]
    """Longest together first."""
    calls: tuple[CallView, ...]
    """Slowest first."""
    running: bool


def view(trace: Trace, settings: Settings) -> HttpView:
    """The outgoing calls of a trace."""
    found = repeats.called_again(trace)
    calls = [
        _call(trace, span, position, again, settings)
        for position, span, again in repeats.numbered(repeats.calls(trace), found)
    ]
    by_id = {call.id: call for call in calls}
    return HttpView(
        count=len(calls),
        duration=sum(call.duration for call in calls),
        failed=sum(call.failed for call in calls),
        sent=_total(call.request_size for call in calls),
        received=_total(call.response_size for call in calls),
        repeats=tuple(_repeat([by_id[span.span_id] for span in each.spans]) for each in found),
        hosts=_hosts(calls),
        calls=tuple(sorted(calls, key=lambda call: -call.duration)),
        running=trace.running,
    )


def badge(view: HttpView) -> Badge:
    """How many calls; an error when one failed, a warning when one was made again."""
    level = "error" if view.failed else "warn" if view.repeats else "ok"
    return Badge(str(view.count) if view.count else None, level)


def _total(numbers: Iterable[int | None]) -> int:
    return sum(number for number in numbers if number)


def _call(trace: Trace, span: Span, position: int, again: bool, settings: Settings) -> CallView:
    method, url = reading.method(span), reading.whole_url(span)
    status, error = reading.status_code(span), shared.exception(span)
    sent = reading.request_headers(span)
    return CallView(
        id=span.span_id,
        position=position,
        start=shared.offset(trace, span),
        duration=shared.seconds(span.duration_at(trace.now)),
        method=method,
        url=url,
        host=reading.host(span),
        status=status,
        failed=bool(error) or (status or 0) >= 400,
        error=error if status is None else "",
        request_size=_size(span, semconv.HTTP_REQUEST_BODY_SIZE, semconv.OLD_HTTP_REQUEST_SIZE),
        response_size=_size(span, semconv.HTTP_RESPONSE_BODY_SIZE, semconv.OLD_HTTP_RESPONSE_SIZE),
        again=again,
        library=span.scope.name.rpartition(".")[2],
        detached=span.flag(semconv.DETACHED),
        running=span.running,
        curl=curl(method, url, sent),
        request_headers=_fields(sent),
        response_headers=_fields(reading.response_headers(span)),
        place=shared.place(span, settings),
        stack=shared.stack(span, settings),
        around=shared.around(trace, span),
    )


def _size(span: Span, *keys: str) -> int | None:
    number = reading.integer(span, *keys)
    return None if number is None or number < 0 else number


def _fields(headers: Mapping[str, Sequence[str]]) -> tuple[shared.Field, ...]:
    return tuple(
        shared.Field(name, value) for name, values in sorted(headers.items()) for value in values
    )


def curl(method: str, url: str, headers: Mapping[str, Sequence[str]]) -> str:
    """The call as a command; quoted, for a URL and a header may hold anything."""
    words = ["curl"]
    if method.upper() == "HEAD":
        words.append("--head")
    elif method.upper() != "GET":
        words += ["-X", shlex.quote(method)]
    words.append("--url")
    words.append(shlex.quote(url))
    for name, values in headers.items():
        if name not in _MADE_BY_CURL:
            words += [part for value in values for part in ("-H", shlex.quote(f"{name}: {value}"))]
    return " ".join(words)


def _hosts(calls: Iterable[CallView]) -> tuple[HostView, ...]:
    groups = shared.grouped(calls, lambda call: call.host)
    views = [_host(host, group) for host, group in groups.items()]
    return tuple(sorted(views, key=lambda each: -each.duration))


def _host(host: str, calls: Sequence[CallView]) -> HostView:
    return HostView(
        host=host,
        count=len(calls),
        duration=sum(call.duration for call in calls),
        longest=max(call.duration for call in calls),
        failed=sum(call.failed for call in calls),
        statuses=tuple(sorted({call.status for call in calls if call.status is not None})),
        received=_total(call.response_size for call in calls),
    )


def _repeat(calls: Sequence[CallView]) -> RepeatView:
    first = calls[0]
    return RepeatView(
        method=first.method,
        url=first.url,
        count=len(calls),
        duration=sum(call.duration for call in calls[1:]),
        places=tuple(dict.fromkeys(call.place for call in calls if call.place is not None)),
        calls=tuple(call.position for call in calls),
    )
