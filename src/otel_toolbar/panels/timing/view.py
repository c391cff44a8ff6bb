"""Where the time of the request went."""

from __future__ import annotations

import re
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.breakdown import breakdown
from otel_toolbar.insights.reading import Stream
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import duration_text, offset, seconds, title
from otel_toolbar.settings import Settings

_SLOWEST = 8
_TITLES = {
    "db": "Database",
    "cache": "Cache",
    "http": "Outgoing calls",
    "job": "Jobs and messages",
    "template": "Templates",
    "websocket": "Websocket messages",
    "internal": "Framework and own code, with a span",
    "rest": "No span of its own: code, waiting",
}
# A quoted part goes on to the end when its closing quote is missing.
_MEMBERS = re.compile(r'(?:"(?:[^"\\]|\\.)*(?:"|\\?$)|[^,"])+')
_PIECES = re.compile(r'(?:"(?:[^"\\]|\\.)*(?:"|\\?$)|[^;"])+')
_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+")


@dataclass(frozen=True)
class Part:
    """One kind of work. All parts add up to the request."""

    kind: str
    title: str
    duration: float
    """s of the request, overlapping work counted once."""
    sum: float
    """s of all its spans, together."""
    count: int
    share: float
    """Of the request, 0 to 1."""


@dataclass(frozen=True)
class Slow:
    """A span by its own time."""

    id: str
    name: str
    category: str
    start: float
    self_time: float
    share: float


@dataclass(frozen=True)
class Metric:
    """An entry of the app's Server-Timing header."""

    name: str
    duration: float | None
    """In s."""
    description: str


@dataclass(frozen=True)
class TimingView:
    """Times in s. `duration` is what has passed so far while `running`."""

    found: bool
    running: bool
    slow: bool
    """At least `SLOW_REQUEST`; not so a websocket connection or a stream of events."""
    start: float
    """Unix time."""
    duration: float
    first_byte: float | None
    stream: Stream | None
    """How a body in parts went; None for one that was sent at once."""
    cpu: float | None
    """CPU time of the event loop's thread meanwhile."""
    after: float
    """How long work went on after the request's end."""
    parts: tuple[Part, ...]
    slowest: tuple[Slow, ...]
    """Spans with the most time of their own."""
    server_timing: tuple[Metric, ...]


def view(trace: Trace, settings: Settings) -> TimingView:
    main = trace.main
    if main is None:
        return TimingView(False, False, False, 0.0, 0.0, None, None, None, 0.0, (), (), ())
    whole = main.duration_at(trace.now)
    return TimingView(
        found=True,
        running=main.running,
        slow=_is_slow(main, whole, settings),
        start=seconds(main.start),
        duration=seconds(whole),
        first_byte=reading.number(main, semconv.RESPONSE_FIRST_BYTE),
        stream=reading.stream(main),
        cpu=reading.number(main, semconv.CPU_TIME),
        after=max(0.0, seconds(trace.end - trace.end_of(main))),
        parts=_parts(trace, main, whole),
        slowest=_slowest(trace, whole),
        server_timing=_server_timing(reading.response_headers(main).get("server-timing", ())),
    )


def badge(view: TimingView) -> Badge:
    if not view.found:
        return Badge()
    return _badge(None if view.running else view.duration, view.slow)


def glance(trace: Trace, settings: Settings) -> Badge:
    main = trace.main
    if main is None:
        return Badge()
    whole = main.duration_at(trace.now)
    return _badge(None if main.running else seconds(whole), _is_slow(main, whole, settings))


def _badge(duration: float | None, slow: bool) -> Badge:
    return Badge(duration_text(duration), "warn" if slow else "ok")


def _is_slow(main: Span, whole: int, settings: Settings) -> bool:
    """Too long for a request; a connection or a stream of events is meant to last."""
    return whole >= settings.slow_request * 1_000_000 and not reading.lasts(main)


def _parts(trace: Trace, main: Span, whole: int) -> tuple[Part, ...]:
    return tuple(
        Part(
            kind=part.kind,
            title=_TITLES[part.kind],
            duration=seconds(part.duration),
            sum=seconds(part.sum),
            count=part.count,
            share=_share(part.duration, whole),
        )
        for part in breakdown(trace, main)
    )


def _slowest(trace: Trace, whole: int) -> tuple[Slow, ...]:
    within = (span for span in trace.spans if not span.flag(semconv.DETACHED))
    timed = sorted(((trace.self_time(span), span.span_id) for span in within), reverse=True)
    return tuple(
        _slow(trace, trace.by_id[span_id], own, whole) for own, span_id in timed[:_SLOWEST] if own
    )


def _slow(trace: Trace, span: Span, own: int, whole: int) -> Slow:
    return Slow(
        id=span.span_id,
        name=title(span),
        category=reading.category(span),
        start=offset(trace, span),
        self_time=seconds(own),
        share=_share(own, whole),
    )


def _share(part: int, whole: int) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _server_timing(values: tuple[str, ...]) -> tuple[Metric, ...]:
    """The app's own metrics; the line that names the trace is ours."""
    metrics = [_metric(member) for value in values for member in _MEMBERS.findall(value)]
    return tuple(m for m in metrics if _NAME.fullmatch(m.name) and m.name.lower() != "traceparent")


def _metric(member: str) -> Metric:
    """Parse `name;dur=12.5;desc="a \"quoted\" text"`."""
    name, _, rest = member.partition(";")
    parameters: dict[str, str] = {}
    for piece in _PIECES.findall(rest):
        key, _, value = piece.partition("=")
        parameters.setdefault(key.strip().lower(), _unquoted(value.strip()))
    return Metric(name.strip(), _milliseconds(parameters.get("dur")), parameters.get("desc", ""))


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[:1] == text[-1:] == '"' else text


def _milliseconds(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text):
        return None
    return float(text) / 1000
