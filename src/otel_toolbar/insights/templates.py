"""Templates in a trace: what rendered what, how long each worked itself, what it asked the database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from otel_toolbar import guard, semconv
from otel_toolbar.model import Span, Trace

from . import reading
from .hint import Figure, Hint, Rule

MANY_INCLUDES: Final = 50
"""Includes of one template from one other that are worth a word."""

SLOW_INCLUDES: Final = 50_000_000
"""ns together from which they are worth a warning, when there are a few of them."""
_FEW: Final = 10

UNNAMED: Final = "<template>"
"""Name of a template that was made from a string."""


@dataclass
class Work:
    """Like pieces of a template's work under one parent: renders, or calls of a block or macro."""

    name: str
    """Of the spans: `render orders.html`."""
    role: str
    """page, parent, include, import, block, macro."""
    spans: list[Span] = field(default_factory=list[Span])
    """In order of start."""
    count: int = 0
    total: int = 0
    """ns, with everything inside."""
    own: int = 0
    """ns, without what has a span of its own."""
    queries: list[Span] = field(default_factory=list[Span])
    """Made by this template itself, not by one inside of it."""
    inside: dict[tuple[str, str, str], Work] = field(
        default_factory=dict[tuple[str, str, str], "Work"]
    )
    """By name, role and template."""

    @property
    def template(self) -> str:
        return reading.text(self.spans[0], semconv.TEMPLATE_NAME)


def is_template(span: Span) -> bool:
    """True for a piece of a template's work; compiling it is not one."""
    return reading.category(span) == "template" and not is_compile(span)


def is_compile(span: Span) -> bool:
    return reading.text(span, semconv.TEMPLATE_ROLE) == "compile"


def time(span: Span, now: int) -> int:
    """ns at work: of several renders together the sum, of a stream without its reader's pauses."""
    told = reading.number(span, semconv.TEMPLATE_DURATION)
    return span.duration_at(now) if told is None else max(0, int(told * 1e9))


def count(span: Span) -> int:
    """Renders that stand on the span together."""
    return max(1, reading.integer(span, semconv.TEMPLATE_COUNT) or 1)


def each(span: Span, now: int) -> int:
    """ns of one render; of several on one span their mean."""
    return time(span, now) // count(span)


def tree(trace: Trace) -> tuple[Work, ...]:
    """What was rendered from outside of templates, with all inside. Kept with the trace."""
    if tree not in trace.memo:
        top: dict[tuple[str, str, str], Work] = {}
        around: dict[str, Work] = {}
        for span, _ in trace.walk():
            outer = around.get(span.parent_id or "")
            here = _take(trace, span, outer, top) if is_template(span) else outer
            if here is not None:
                around[span.span_id] = here
                if outer is not None and reading.is_query(span):
                    outer.queries.append(span)
        trace.memo[tree] = tuple(top.values())
    return trace.memo[tree]


def walk(works: Iterable[Work], depth: int = 0) -> Iterator[tuple[Work, int]]:
    """Every piece with its depth, outer ones first."""
    pending = [(work, depth) for work in reversed(list(works))]
    while pending:
        work, depth = pending.pop()
        yield work, depth
        pending.extend((inner, depth + 1) for inner in reversed(list(work.inside.values())))


def _take(
    trace: Trace, span: Span, outer: Work | None, top: dict[tuple[str, str, str], Work]
) -> Work:
    role = reading.text(span, semconv.TEMPLATE_ROLE) or ("include" if outer else "page")
    key = span.name, role, reading.text(span, semconv.TEMPLATE_NAME)
    beside = top if outer is None else outer.inside
    work = beside.get(key)
    if work is None:
        work = beside[key] = Work(span.name, role)
    total = time(span, trace.now)
    work.spans.append(span)
    work.count += count(span)
    work.total += total
    work.own += max(0, total - _inside(trace, span))
    return work


def _inside(trace: Trace, span: Span) -> int:
    children = trace.children.get(span.span_id, ())
    return sum(
        time(child, trace.now) if is_template(child) else child.duration_at(trace.now)
        for child in children
        if not child.flag(semconv.DETACHED) or span.flag(semconv.DETACHED)
    )


def find(trace: Trace) -> tuple[Hint, ...]:
    """What could be better about the templates of a trace, warnings first."""
    found: list[Hint] = []
    for rule in RULES:
        try:
            found += rule.find(trace)
        except Exception:  # one rule's fault must not cost the others' hints, nor the page
            guard.failed(f"hints of the rule {rule.id}")
    return tuple(sorted(found, key=lambda hint: hint.severity != "warn"))


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"


def _times(number: int) -> str:
    return f"{number:,} times" if number > 1 else "once"


def _queries(trace: Trace) -> Iterator[Hint]:
    by_template: dict[str, list[Span]] = {}
    for work, _ in walk(tree(trace)):
        by_template.setdefault(work.template, []).extend(work.queries)
    for template, spans in by_template.items():
        if spans:
            taken = sum(span.duration_at(trace.now) for span in spans)
            evidence = (
                f"`{template}` asked the database {_times(len(spans))}, {_ms(taken)} together."
            )
            figures = Figure("queries", len(spans)), Figure("duration", taken / 1e9, "s")
            severity = "warn" if len(spans) > 1 else "info"
            yield _QUERIES.hint(spans, evidence, figures, severity=severity)


def _includes(trace: Trace) -> Iterator[Hint]:
    for outer, _ in walk(tree(trace)):
        for work in outer.inside.values():
            slow = work.count >= _FEW and work.total >= SLOW_INCLUDES
            if work.role == "include" and (work.count >= MANY_INCLUDES or slow):
                evidence = (
                    f"`{outer.template}` included `{work.template}` {work.count:,} times,"
                    f" {_ms(work.total)} together."
                )
                figures = Figure("renders", work.count), Figure("duration", work.total / 1e9, "s")
                severity = "warn" if slow else "info"
                yield _INCLUDES.hint(work.spans, evidence, figures, severity=severity)


def _compiled(trace: Trace) -> Iterator[Hint]:
    by_template: dict[tuple[str, str], list[Span]] = {}
    for span in filter(is_compile, trace.spans):
        key = reading.text(span, semconv.TEMPLATE_NAME), reading.text(span, semconv.TEMPLATE_PATH)
        by_template.setdefault(key, []).append(span)
    for (template, _), spans in by_template.items():
        if len(spans) > 1 or template == UNNAMED:
            taken = sum(span.duration_at(trace.now) for span in spans)
            what = "A template made from a string" if template == UNNAMED else f"`{template}`"
            evidence = f"{what} was compiled {_times(len(spans))} in this request, {_ms(taken)}."
            yield _COMPILED.hint(
                spans,
                evidence,
                (Figure("compiles", len(spans)), Figure("duration", taken / 1e9, "s")),
            )


_DOCS = "https://jinja.palletsprojects.com/en/stable/"

_QUERIES = Rule(
    "template-queries",
    "A template asks the database",
    "A query was made while a template rendered, by that template itself; a warning from two on.",
    "How many, and their time.",
    "Load what the template shows before it is rendered: eagerly, where a relation is read.",
    "https://docs.sqlalchemy.org/en/20/orm/queryguide/relationships.html",
    _queries,
    "templates",
)
_INCLUDES = Rule(
    "template-include-loop",
    "Included again and again",
    f"One template includes another {MANY_INCLUDES} times or more, or {_FEW} times taking"
    f" {SLOW_INCLUDES // 1_000_000} ms together, which is a warning. Not: pages that are rendered for"
    " themselves.",
    "How often, and their time.",
    "Put the loop into the included template, or make it a macro: each include copies the context.",
    _DOCS + "templates/#include",
    _includes,
    "templates",
)
_COMPILED = Rule(
    "template-compiled",
    "Compiled while the request waits",
    "A template was made from a string, or one template was compiled more than once in one request.",
    "How often, and their time.",
    "Make the template once, at import, or put it into a file that the environment's cache can hold.",
    _DOCS + "api/#jinja2.Environment",
    _compiled,
    "templates",
)
RULES: Final[tuple[Rule, ...]] = (_QUERIES, _INCLUDES, _COMPILED)
"""All of them, in the order in which they are told."""
