"""The dependencies of a trace in the order in which they were made, each with its own time."""

from __future__ import annotations

from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class DependencyView:
    """One value that was made, or taken again."""

    position: int
    span_id: str
    name: str
    """Of the parameter or key; of a function where there is none."""
    framework: str
    depth: int
    """0: needed by the endpoint; 1: by a dependency of it, and so on."""
    start: float
    """After the start of the trace, in s."""
    duration: float | None
    """With what it needs, in s; None while it is made."""
    own: float
    """Without what it needs, and without what it did that has a span, in s."""
    value: str
    """Masked, cut; empty when it is not known."""
    cached: bool
    """Taken from what was made before in this request: nothing was called."""
    requires: tuple[str, ...]
    place: shared.Place | None
    teardown: float | None
    """Time in s of what stands behind a generator's `yield`; None without one."""
    error: str


@dataclass(frozen=True)
class DependenciesView:
    """The panel."""

    count: int
    """Values that were made; those taken again are not counted."""
    total: float
    """Time in s in which dependencies were made, overlaps counted once."""
    teardown: float
    """Time in s in which they were torn down."""
    dependencies: tuple[DependencyView, ...]
    running: bool


def view(trace: Trace, settings: Settings) -> DependenciesView:
    """The dependencies of a trace."""
    found = [span for span, _ in trace.walk() if semconv.DEPENDENCY_PHASE in span.attributes]
    made = [span for span in found if span.text(semconv.DEPENDENCY_PHASE) != "teardown"]
    made.sort(key=lambda span: span.start)
    torn_down = [span for span in found if span.text(semconv.DEPENDENCY_PHASE) == "teardown"]
    depths = _depths(trace, {span.span_id for span in made})
    views = tuple(
        _dependency(trace, span, number, depths[span.span_id], torn_down, settings)
        for number, span in enumerate(made, 1)
    )
    return DependenciesView(
        count=sum(1 for each in views if not each.cached),
        total=shared.seconds(_covered(trace, made)),
        teardown=shared.seconds(_covered(trace, torn_down)),
        dependencies=views,
        running=trace.running,
    )


def badge(view: DependenciesView) -> Badge:
    """How many values were made."""
    return Badge(str(view.count) if view.count else None)


def _dependency(
    trace: Trace,
    span: Span,
    position: int,
    depth: int,
    torn_down: list[Span],
    settings: Settings,
) -> DependencyView:
    name = span.text(semconv.DEPENDENCY_NAME) or span.name.removeprefix("dependency ")
    cached = span.flag(semconv.DEPENDENCY_CACHED)
    ends = [] if cached else [each for each in torn_down if _same(each, span)]
    return DependencyView(
        position=position,
        span_id=span.span_id,
        name=reading.as_text(name),
        framework=reading.text(span, semconv.DEPENDENCY_FRAMEWORK),
        depth=depth,
        start=shared.offset(trace, span),
        duration=None if span.running else shared.seconds(span.duration_at(trace.now)),
        own=shared.seconds(trace.self_time(span)),
        value=reading.text(span, semconv.DEPENDENCY_VALUE),
        cached=cached,
        requires=reading.strings(span.attributes.get(semconv.DEPENDENCY_REQUIRES)),
        place=shared.place(span, settings),
        teardown=shared.seconds(ends[0].duration_at(trace.now)) if ends else None,
        error=reading.text(span, semconv.ERROR_TYPE),
    )


def _depths(trace: Trace, ids: set[str]) -> dict[str, int]:
    """By span id, how many of `ids` stand above it."""
    depths: dict[str, int] = {}
    for span, _ in trace.walk():  # parents come before their children
        depth = depths.setdefault(span.span_id, 0) + (span.span_id in ids)
        for child in trace.children.get(span.span_id, ()):
            depths[child.span_id] = depth
    return depths


def _same(teardown: Span, span: Span) -> bool:
    """True when both come from one function."""
    keys = (semconv.CODE_FILE_PATH, semconv.CODE_LINE_NUMBER)
    return all(
        key in span.attributes and teardown.attributes.get(key) == span.attributes[key]
        for key in keys
    )


def _covered(trace: Trace, spans: list[Span]) -> int:
    """Time in ns in which one of the spans ran."""
    covered, reached = 0, 0
    for span in sorted(spans, key=lambda each: each.start):
        begin, end = max(span.start, reached), trace.end_of(span)
        if end > begin:
            covered += end - begin
            reached = end
    return covered
