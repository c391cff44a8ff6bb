"""The templates of the trace: slowest first, then as a tree, with the queries made while rendering."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import reading, templates
from otel_toolbar.insights.hint import Hint
from otel_toolbar.insights.templates import Work
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.settings import Settings

_RENDERS = frozenset({"page", "parent", "include", "import"})
"""Roles in which a whole template is rendered."""


@dataclass(frozen=True)
class Value:
    """A name in a template's context; type and value with `CAPTURE=templates` only."""

    name: str
    type: str
    value: str


@dataclass(frozen=True)
class Query:
    """A query that a template made."""

    span_id: str
    summary: str
    duration: float
    place: shared.Place | None


@dataclass(frozen=True)
class Node:
    """Like pieces of work under one parent. Times in s."""

    span_id: str
    """Of the slowest one."""
    depth: int
    title: str
    """Template, or the name of the block or macro."""
    template: str
    role: str
    """page, parent, include, import, block, macro."""
    count: int
    duration: float
    """Together, with everything inside."""
    own: float
    """Without renders, queries and other spans inside."""
    longest: float
    share: float
    """Of the request, 0 to 1."""
    path: shared.Place | None
    """The template's file."""
    place: shared.Place | None
    """Where it was asked for: a line of the app, or of the template that includes it."""
    context: tuple[Value, ...]
    queries: int
    """Made by this template itself."""
    query_duration: float
    cached: bool | None
    """It was there already; None where nobody tells."""
    compile_duration: float | None
    running: bool
    errors: int


@dataclass(frozen=True)
class Template:
    """All renders of one template, with its blocks and macros. Times in s."""

    name: str
    engine: str
    path: shared.Place | None
    count: int
    """Renders; 0 where only its blocks or macros were called."""
    own: float
    share: float
    """Of `own`, of the request."""
    longest: float
    compile_duration: float | None
    queries: int
    query_duration: float
    errors: int
    made: tuple[Query, ...]
    """Those queries, at most 50."""


@dataclass(frozen=True)
class Failure:
    """An error of a template, told where it was raised."""

    span_id: str
    template: str
    message: str
    place: shared.Place | None
    """The line of the template."""


@dataclass(frozen=True)
class TemplatesView:
    """The panel; `found` is False without any template."""

    found: bool
    running: bool
    renders: int
    duration: float
    """In templates, with what they call."""
    share: float
    own: float
    """In templates, without queries and other spans inside."""
    compiled: int
    compile_duration: float
    queries: int
    """Made while rendering."""
    query_duration: float
    failures: tuple[Failure, ...]
    hints: tuple[Hint, ...]
    templates: tuple[Template, ...]
    """Most time of their own first."""
    tree: tuple[Node, ...]
    """Outer ones first, each with its depth."""
    dropped: int
    """Spans of the request that were not kept."""


def view(trace: Trace, settings: Settings) -> TemplatesView:
    """The templates of a trace."""
    works = list(templates.walk(templates.tree(trace)))
    compiles = [span for span in trace.spans if templates.is_compile(span)]
    whole = trace.main.duration_at(trace.now) if trace.main else 0
    top = sum(work.total for work, depth in works if depth == 0)
    failures = _failures(works, compiles, settings)
    queries = [span for work, _ in works for span in work.queries]
    return TemplatesView(
        found=bool(works or compiles),
        running=trace.running,
        renders=sum(work.count for work, _ in works if work.role in _RENDERS),
        duration=shared.seconds(top),
        share=_share(top, whole),
        own=shared.seconds(sum(work.own for work, _ in works)),
        compiled=len(compiles),
        compile_duration=_together(trace, compiles),
        queries=len(queries),
        query_duration=_together(trace, queries),
        failures=failures,
        hints=templates.find(trace),
        templates=_templates(trace, [work for work, _ in works], whole, settings),
        tree=tuple(_node(trace, work, depth, whole, settings) for work, depth in works),
        dropped=_dropped(trace),
    )


def badge(view: TemplatesView) -> Badge:
    """How many renders; a template that failed is an error, one that queries a warning."""
    warned = any(hint.severity == "warn" for hint in view.hints)
    level: Level = "error" if view.failures else "warn" if warned else "ok"
    return Badge(f"{view.renders:,}" if view.renders else None, level)


def _share(part: int, whole: int) -> float:
    return max(0.0, min(1.0, part / whole)) if whole > 0 else 0.0


def _together(trace: Trace, spans: Iterable[Span]) -> float:
    return shared.seconds(sum(span.duration_at(trace.now) for span in spans))


def _node(trace: Trace, work: Work, depth: int, whole: int, settings: Settings) -> Node:
    first = work.spans[0]
    slowest = max(work.spans, key=lambda span: templates.each(span, trace.now))
    return Node(
        span_id=slowest.span_id,
        depth=depth,
        title=_title(first),
        template=work.template,
        role=work.role,
        count=work.count,
        duration=shared.seconds(work.total),
        own=shared.seconds(work.own),
        longest=_longest(trace, work.spans),
        share=_share(work.total, whole),
        path=_path(first, None, settings),
        place=shared.place(first, settings),
        context=_context(first),
        queries=len(work.queries),
        query_duration=_together(trace, work.queries),
        cached=_cached(first),
        compile_duration=_compile_duration(work.spans),
        running=any(span.running for span in work.spans),
        errors=sum(reading.failed(span) for span in work.spans),
    )


def _title(span: Span) -> str:
    name = reading.text(span, semconv.TEMPLATE_NAME)
    return reading.text(span, semconv.TEMPLATE_BLOCK, semconv.TEMPLATE_MACRO) or name


def _path(span: Span, line: int | None, settings: Settings) -> shared.Place | None:
    path = reading.text(span, semconv.TEMPLATE_PATH)
    name = reading.text(span, semconv.TEMPLATE_NAME)
    if not path:
        return shared.Place(name, line, "", "") if line else None
    return shared.Place(path, line, "", shared.editor_link(path, line, settings.editor))


def _cached(span: Span) -> bool | None:
    told = span.attributes.get(semconv.TEMPLATE_CACHED)
    return told if isinstance(told, bool) else None


def _compile_duration(spans: Iterable[Span]) -> float | None:
    told = [reading.number(span, semconv.TEMPLATE_COMPILE_DURATION) for span in spans]
    known = [seconds for seconds in told if seconds is not None]
    return sum(known) if known else None


def _longest(trace: Trace, spans: Iterable[Span]) -> float:
    return shared.seconds(max(templates.each(span, trace.now) for span in spans))


def _context(span: Span) -> tuple[Value, ...]:
    values: dict[str, Value] = {}
    for name in reading.strings(span.attributes.get(semconv.TEMPLATE_CONTEXT_KEYS)):
        values[name] = Value(name, "", "")
    for text in reading.strings(span.attributes.get(semconv.TEMPLATE_CONTEXT_VALUES)):
        name, _, told = text.partition(": ")
        kind, _, value = told.partition(" = ")
        values[name] = Value(name, kind, value)
    return tuple(values.values())


def _templates(
    trace: Trace, works: Sequence[Work], whole: int, settings: Settings
) -> tuple[Template, ...]:
    by_template: dict[tuple[str, str], list[Work]] = {}
    for work in works:
        path = reading.text(work.spans[0], semconv.TEMPLATE_PATH)
        by_template.setdefault((work.template, path), []).append(work)
    found = [_template(trace, like, whole, settings) for like in by_template.values()]
    return tuple(sorted(found, key=lambda template: -template.own))


def _template(trace: Trace, works: Sequence[Work], whole: int, settings: Settings) -> Template:
    spans = [span for work in works for span in work.spans]
    queries = sorted((span for work in works for span in work.queries), key=lambda span: span.start)
    own = sum(work.own for work in works)
    return Template(
        name=works[0].template,
        engine=reading.text(spans[0], semconv.TEMPLATE_ENGINE),
        path=_path(spans[0], None, settings),
        count=sum(work.count for work in works if work.role in _RENDERS),
        own=shared.seconds(own),
        share=_share(own, whole),
        longest=_longest(trace, spans),
        compile_duration=_compile_duration(spans),
        queries=len(queries),
        query_duration=_together(trace, queries),
        errors=sum(reading.failed(span) for span in spans),
        made=tuple(_query(trace, span, settings) for span in queries[:50]),
    )


def _query(trace: Trace, span: Span, settings: Settings) -> Query:
    summary = reading.text(span, semconv.DB_QUERY_SUMMARY) or shared.title(span)
    duration = shared.seconds(span.duration_at(trace.now))
    return Query(span.span_id, summary, duration, shared.place(span, settings))


def _failures(
    works: Iterable[tuple[Work, int]], compiles: Iterable[Span], settings: Settings
) -> tuple[Failure, ...]:
    spans = [span for work, _ in works for span in work.spans]
    told = [span for span in [*spans, *compiles] if _tells_error(span)]
    return tuple(
        Failure(
            span.span_id,
            reading.text(span, semconv.TEMPLATE_NAME),
            shared.exception(span),
            _path(span, reading.integer(span, semconv.TEMPLATE_ERROR_LINE), settings),
        )
        for span in sorted(told, key=lambda span: span.start)
    )


def _tells_error(span: Span) -> bool:
    """True for the span in which an exception was raised, not for those that it went through."""
    return reading.failed(span) and any(
        event.name == semconv.EXCEPTION_EVENT for event in span.events
    )


def _dropped(trace: Trace) -> int:
    main = trace.main
    return trace.dropped + (max(0, main.integer(semconv.DROPPED) or 0) if main else 0)
