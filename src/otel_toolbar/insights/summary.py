"""One line about a trace: what the history, the badge and the strip of key figures show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Span, Status, Trace
from otel_toolbar.settings import Settings

from . import alerts, connection, event_loop, reading
from .n_plus_one import find


@dataclass(frozen=True)
class Counts:
    """How much of everything; `alerts` is what deserves a look, as the alerts panel lists it."""

    spans: int = 0
    queries: int = 0
    n_plus_one: int = 0
    tasks: int = 0
    blocking: int = 0
    errors: int = 0
    logs: int = 0
    alerts: int = 0


@dataclass(frozen=True)
class Socket:
    """A websocket connection in a line; totals count messages without a span, too."""

    state: connection.State
    live: bool
    path: str
    client: str
    """Address and port: what tells connections of one route apart."""
    close_code: int | None
    abnormal: bool
    """It was denied, or closed with a code that says that something went wrong."""
    received: int
    sent: int
    bytes_received: int
    bytes_sent: int
    rate: float
    """Messages/s both ways: of the last 10 s while it is open, else over all its time."""


@dataclass(frozen=True)
class Summary:
    """The line; the field names are the JSON's."""

    trace_id: str
    name: str
    kind: str
    """http, websocket, job, task or other."""
    start: float
    """Unix time in s."""
    duration: float | None
    """In s; None while it runs."""
    status: int | str
    """The HTTP status, else ok or error."""
    service: str
    counts: Counts
    websocket: Socket | None = None
    """Of a websocket connection."""
    level: Literal["ok", "warn", "error"] = "ok"
    """Of the worst of the alerts that are counted."""
    slow: bool = False
    """The client waited longer than `SLOW_REQUEST`."""
    links: tuple[str, ...] = ()
    """Traces that the main span links to: of a job, the request that sent it."""


def summarize(trace: Trace, settings: Settings) -> Summary:
    """The summary of a trace, told by its main span."""
    main = trace.main
    found = alerts.counted(trace, settings)
    level = alerts.level(found)
    if main is None:
        start = trace.logs[0].time if trace.logs else trace.now
        counts = Counts(logs=len(trace.logs), alerts=len(found))
        return Summary(
            trace.trace_id, "", "other", start / 1e9, None, "ok", "", counts, level=level
        )
    return Summary(
        trace_id=trace.trace_id,
        name=name(main),
        kind=kind(main),
        start=main.start / 1e9,
        duration=None if main.end is None else main.duration_at(trace.now) / 1e9,
        status=status(main),
        service=reading.service(main),
        counts=_counts(trace, settings),
        websocket=_socket(trace, main),
        level=level,
        slow=any(alert.rule == alerts.SLOW_REQUEST for alert in found),
        links=tuple(dict.fromkeys(link.trace_id for link in main.links)),
    )


def name(main: Span) -> str:
    """The span's name; where no route matched that is only the method, and the path is added."""
    path = reading.path(main)
    nothing = ("", "websocket", reading.method(main))
    bare = main.name.removeprefix("HTTP ").removeprefix("HTTP") in nothing
    return f"{reading.method(main)} {path}".strip() if bare and path else main.name


def kind(main: Span) -> str:
    if reading.is_websocket(main):
        return "websocket"
    if reading.is_http(main):
        return "http"
    if main.kind is Kind.CONSUMER or reading.category(main) == "job":
        return "job"
    return "task" if event_loop.is_task(main) else "other"


def _socket(trace: Trace, main: Span) -> Socket | None:
    if not connection.is_connection(main):
        return None
    traffic = connection.traffic(trace, main)
    return Socket(
        state=traffic.state,
        live=main.running,
        path=reading.path(main),
        client=connection.client(main),
        close_code=traffic.close_code,
        abnormal=connection.abnormal(main),
        received=traffic.received,
        sent=traffic.sent,
        bytes_received=traffic.bytes_received,
        bytes_sent=traffic.bytes_sent,
        rate=traffic.rate,
    )


def status(main: Span) -> int | str:
    code = reading.status_code(main)
    if code is not None and kind(main) == "http":
        return code
    return "error" if main.status is Status.ERROR else "ok"


def failures(trace: Trace) -> int:
    """Failed spans; an error counts where it happened, not on the spans it passed through."""
    failed = {span.span_id for span in trace.spans if reading.failed(span)}
    passed = {span.parent_id for span in trace.spans if span.span_id in failed}
    return len(failed - passed)


def _queries(trace: Trace) -> list[Span]:
    return [span for span in reading.queries(trace) if not span.flag(semconv.DETACHED)]


def _counts(trace: Trace, settings: Settings) -> Counts:
    n_plus_one = max(_told(trace, semconv.N_PLUS_ONE_COUNT), _repeated(trace, settings))
    blocking = max(_told(trace, semconv.BLOCKING_COUNT), len(event_loop.blocking(trace)))
    errors = failures(trace)
    tasks = len(event_loop.tasks(trace))
    return Counts(
        spans=len(trace.spans),
        queries=max(_told(trace, semconv.QUERIES_COUNT), len(_queries(trace))),
        n_plus_one=n_plus_one,
        tasks=max(_told(trace, semconv.TASKS_COUNT), tasks),
        blocking=blocking,
        errors=errors,
        logs=len(trace.logs),
        alerts=len(alerts.counted(trace, settings)),
    )


def _told(trace: Trace, key: str) -> int:
    """What the entry spans themselves say: it counts what was not kept, too."""
    return sum(
        max(0, span.integer(key) or 0)
        for span in trace.spans
        if span.kind in (Kind.SERVER, Kind.CONSUMER)
    )


def _repeated(trace: Trace, settings: Settings) -> int:
    """N+1 groups that reached the warning, by the rule itself: other SDKs flag none."""
    found = find(trace, settings.n_plus_one, settings.n_plus_one_duration * 1_000_000)
    return sum(group.warning for group in found.n_plus_one)
