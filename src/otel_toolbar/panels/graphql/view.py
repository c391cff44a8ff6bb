"""GraphQL operations: what was asked, what each resolver cost, and what failed where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import graphql, graphql_document, reading, traceback
from otel_toolbar.insights.graphql import Operation, Resolver
from otel_toolbar.insights.hint import Hint
from otel_toolbar.model import Event, Span, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class ErrorView:
    """One error of an operation."""

    span_id: str
    """Of the resolver that raised it, else of the operation."""
    path: str
    """Field in the result, `orders.3.customer`; empty for the whole operation."""
    type: str
    message: str
    handled: bool
    """Meant as an answer: the client's mistake, or raised as a GraphQLError."""
    place: shared.Place | None
    """The app's own line nearest to where it was raised."""
    frames: tuple[shared.Place, ...]
    """Those of the app, outermost first."""


@dataclass(frozen=True)
class ResolverView:
    """All calls of one resolver at one place of the result. Times in s."""

    path: str
    """List indexes collapsed: `orders.*.customer`."""
    depth: int
    field: str
    parent: str
    """Type that has the field."""
    type: str
    """What it returns."""
    span_id: str
    """Of the slowest call."""
    count: int
    duration: float
    """Of all calls together; those at the same time count each."""
    longest: float
    queries: int
    query_duration: float
    errors: int
    running: bool
    place: shared.Place | None
    """The function."""


@dataclass(frozen=True)
class OperationView:
    """One operation. Times in s."""

    span_id: str
    position: int
    type: str
    """query, mutation, subscription; empty where it is not known."""
    name: str
    roots: tuple[str, ...]
    """The outermost fields, 20 at most."""
    start: float
    """After the start of the trace."""
    duration: float
    running: bool
    document: str
    """Secrets masked."""
    variables: tuple[shared.Field, ...]
    """Likewise."""
    depth: int | None
    fields: int | None
    aliases: int | None
    """Complexity; None where the document tells nothing."""
    parsing: float | None
    validation: float | None
    resolvers: tuple[ResolverView, ...]
    """As a tree: outer ones first."""
    calls: int
    """Of resolvers."""
    results: int | None
    """That a subscription has sent."""
    queries: int
    query_duration: float
    errors: tuple[ErrorView, ...]
    """In order of time, those that were written down."""
    error_count: int


@dataclass(frozen=True)
class GraphqlView:
    """The panel."""

    count: int
    running: bool
    duration: float
    """Of all operations together, in s."""
    calls: int
    queries: int
    error_count: int
    hints: tuple[Hint, ...]
    operations: tuple[OperationView, ...]
    """In order of start."""
    dropped: int
    """Spans of the request that were not kept."""


def view(trace: Trace, settings: Settings) -> GraphqlView:
    """The GraphQL operations of a trace."""
    found = [
        _operation(trace, operation, position, settings)
        for position, operation in enumerate(graphql.operations(trace), 1)
    ]
    return GraphqlView(
        count=len(found),
        running=trace.running,
        duration=sum(operation.duration for operation in found),
        calls=sum(operation.calls for operation in found),
        queries=sum(operation.queries for operation in found),
        error_count=sum(operation.error_count for operation in found),
        hints=graphql.find(trace),
        operations=tuple(found),
        dropped=_dropped(trace),
    )


def badge(view: GraphqlView) -> Badge:
    """How many operations; an error when one failed, a warning when one asks one by one."""
    warned = any(hint.severity == "warn" for hint in view.hints)
    level: Level = "error" if view.error_count else "warn" if warned else "ok"
    return Badge(str(view.count) if view.count else None, level)


def _operation(
    trace: Trace, operation: Operation, position: int, settings: Settings
) -> OperationView:
    span = operation.span
    document = reading.text(span, semconv.GRAPHQL_DOCUMENT)
    name = reading.text(span, semconv.GRAPHQL_OPERATION_NAME)
    asked = graphql_document.operation(document, name)
    depth, fields, aliases = _complexity(span, document, name)
    resolvers = [_resolver(trace, each, settings) for each in operation.resolvers]
    errors = tuple(_errors(operation, settings))
    return OperationView(
        span_id=span.span_id,
        position=position,
        type=reading.text(span, semconv.GRAPHQL_OPERATION_TYPE) or (asked.type if asked else ""),
        name=name,
        roots=tuple(asked.roots) if asked else (),
        start=shared.offset(trace, span),
        duration=shared.seconds(span.duration_at(trace.now)),
        running=span.running,
        document=document,
        variables=shared.fields(span.below(semconv.GRAPHQL_VARIABLES)),
        depth=depth,
        fields=fields,
        aliases=aliases,
        parsing=reading.number(span, semconv.GRAPHQL_PARSE_DURATION),
        validation=reading.number(span, semconv.GRAPHQL_VALIDATION_DURATION),
        resolvers=tuple(resolvers),
        calls=max(
            reading.integer(span, semconv.GRAPHQL_RESOLVERS_COUNT) or 0,
            sum(each.count for each in resolvers),
        ),
        results=reading.integer(span, semconv.GRAPHQL_RESULTS_COUNT),
        queries=len(operation.queries),
        query_duration=_together(trace, operation.queries),
        errors=errors,
        error_count=max(reading.integer(span, semconv.GRAPHQL_ERRORS_COUNT) or 0, len(errors)),
    )


def _complexity(span: Span, document: str, name: str) -> tuple[int | None, int | None, int | None]:
    """As told by who saw the whole document, else of what is there of it."""
    told = reading.integer(span, semconv.GRAPHQL_DEPTH)
    if told is not None:
        fields = reading.integer(span, semconv.GRAPHQL_FIELDS)
        return told, fields, reading.integer(span, semconv.GRAPHQL_ALIASES)
    return graphql_document.complexity(document, name) or (None, None, None)


def _resolver(trace: Trace, resolver: Resolver, settings: Settings) -> ResolverView:
    first = resolver.spans[0]
    each = {
        span.span_id: graphql.time(span, trace.now) // graphql.calls(span)
        for span in resolver.spans
    }
    slowest = max(each, key=lambda span_id: each[span_id])
    return ResolverView(
        path=resolver.path,
        depth=resolver.depth,
        field=reading.text(first, semconv.GRAPHQL_FIELD_NAME) or resolver.path.rpartition(".")[2],
        parent=reading.text(first, semconv.GRAPHQL_PARENT_NAME),
        type=reading.text(first, semconv.GRAPHQL_FIELD_TYPE),
        span_id=slowest,
        count=resolver.count,
        duration=shared.seconds(resolver.total),
        longest=shared.seconds(each[slowest]),
        queries=len(resolver.queries),
        query_duration=_together(trace, resolver.queries),
        errors=sum(reading.failed(span) for span in resolver.spans),
        running=any(span.running for span in resolver.spans),
        place=shared.place(first, settings),
    )


def _together(trace: Trace, spans: Iterable[Span]) -> float:
    return shared.seconds(sum(span.duration_at(trace.now) for span in spans))


def _errors(operation: Operation, settings: Settings) -> Iterator[ErrorView]:
    spans = [operation.span, *(span for each in operation.resolvers for span in each.spans)]
    found = [
        (event.time, span, event)
        for span in spans
        for event in span.events
        if event.name == semconv.EXCEPTION_EVENT
    ]
    for _, span, event in sorted(found, key=lambda each: each[0]):
        yield _error(span, event, settings)


def _error(span: Span, event: Event, settings: Settings) -> ErrorView:
    given = event.attributes
    chain = traceback.read(reading.as_text(given.get(semconv.EXCEPTION_STACKTRACE)))
    frames = tuple(
        shared.Place(
            frame.path,
            frame.line,
            frame.function,
            shared.editor_link(frame.path, frame.line, settings.editor),
        )
        for frame in (chain[0].frames if chain else ())
        if frame.own
    )
    return ErrorView(
        span_id=span.span_id,
        path=reading.as_text(given.get(semconv.GRAPHQL_ERROR_PATH)),
        type=reading.as_text(given.get(semconv.EXCEPTION_TYPE)) or "error",
        message=reading.as_text(given.get(semconv.EXCEPTION_MESSAGE)),
        handled=given.get(semconv.EXCEPTION_HANDLED) is True,
        place=frames[-1] if frames else None,
        frames=frames,
    )


def _dropped(trace: Trace) -> int:
    main = trace.main
    return trace.dropped + (max(0, main.integer(semconv.DROPPED) or 0) if main else 0)
