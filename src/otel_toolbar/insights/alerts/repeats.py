"""Work that is done again and again: includes, calls and jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import jobs, reading
from otel_toolbar.insights.hint import Figure, Hint, Rule, place
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.model import Kind, Span, Trace
from otel_toolbar.settings import Settings

MANY_INCLUDES: Final = 50
"""Renders of one template in one request."""
COSTLY_INCLUDES: Final = 0.05
"""Seconds that 10 or more of them may take together."""
_FEW: Final = 10

MANY_CALLS: Final = 3
"""Like calls that make a warning; two are worth knowing."""
COSTLY_CALLS: Final = 0.1
"""Seconds that the repeats of a call may take together."""

_SAFE: Final = frozenset({"GET", "HEAD"})


def _includes(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001 - the rules' signature
    groups: dict[object, list[Span]] = {}
    for span in trace.spans:
        name = span.attributes.get(semconv.TEMPLATE_NAME)
        parent = trace.by_id.get(span.parent_id or "")
        # A page that is rendered for itself is included by none.
        if name and parent is not None and semconv.TEMPLATE_NAME in parent.attributes:
            groups.setdefault((_owner(trace, span), name), []).append(span)
    for spans in groups.values():
        seconds = _seconds(trace, spans)
        if len(spans) < MANY_INCLUDES and (len(spans) < _FEW or seconds < COSTLY_INCLUDES):
            continue
        yield TEMPLATE_IN_A_LOOP.hint(
            spans,
            f"{reading.text(spans[0], semconv.TEMPLATE_NAME)} was included {len(spans):,} times,"
            f" {seconds * 1000:.1f} ms together.",
            [Figure("includes", len(spans)), Figure("time", seconds, "s")],
            severity="warn" if seconds >= COSTLY_INCLUDES else "info",
        )


def _calls(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    groups: dict[object, list[Span]] = {}
    for span in trace.spans:
        address = reading.text(span, semconv.URL_FULL, semconv.OLD_HTTP_URL)
        if _can_be_repeated(span) and address and MASK not in address:
            key = _owner(trace, span), reading.method(span), address
            groups.setdefault(key, []).append(span)
    for spans in groups.values():
        if len(spans) < 2:
            continue
        again = _seconds(trace, spans[1:])
        address = reading.text(spans[0], semconv.URL_FULL, semconv.OLD_HTTP_URL)[:200]
        yield DUPLICATE_CALL.hint(
            spans,
            f"{reading.method(spans[0])} {address} was called {len(spans):,} times; all but the first"
            f" took {again * 1000:.0f} ms.",
            [Figure("calls", len(spans)), Figure("time of the repeats", again, "s")],
            severity="warn" if len(spans) >= MANY_CALLS or again >= COSTLY_CALLS else "info",
        )


def _can_be_repeated(span: Span) -> bool:
    """True for a call that got its answer: one that failed, or says 202, is asked again for a reason."""
    code = reading.status_code(span)
    return (
        span.kind is Kind.CLIENT
        and reading.method(span) in _SAFE
        and not span.running
        and not reading.failed(span)
        and not span.flag(semconv.DETACHED)
        and (code is None or (200 <= code < 300 and code != 202))
    )


def _jobs(trace: Trace, settings: Settings) -> Iterator[Hint]:
    for group in jobs.repeated(trace, settings.jobs_n_plus_one):
        first = group.spans[0]
        if not group.warning or (place(first) is None and not _is_flagged(first)):
            continue
        seconds = _seconds(trace, group.spans)
        yield JOBS_IN_A_LOOP.hint(
            group.spans,
            f"{len(group.spans):,} jobs of {jobs.function(first)} were sent one by one from one line,"
            f" {seconds * 1000:.1f} ms together.",
            [Figure("jobs", len(group.spans)), Figure("time", seconds, "s")],
            severity="warn",
        )


def _is_flagged(span: Span) -> bool:
    return bool(reading.text(span, semconv.N_PLUS_ONE_GROUP))


def _owner(trace: Trace, span: Span) -> str:
    owner = trace.owners.get(span.span_id)
    return owner.span_id if owner else ""


def _seconds(trace: Trace, spans: Iterable[Span]) -> float:
    return sum(span.duration_at(trace.now) for span in spans) / 1e9


TEMPLATE_IN_A_LOOP: Final = Rule(
    id="template-in-a-loop",
    title="Template included again and again",
    when="One template was included 50 times or more in a request, or 10 times taking 50 ms"
    " together, which is a warning. Not: pages that are rendered for themselves.",
    evidence="Template, times, time.",
    fix="Loop within the included template, or use a macro: it is looked up and set up once.",
    link="https://jinja.palletsprojects.com/en/stable/templates/#macros",
    find=_includes,
    panel="templates",
)
DUPLICATE_CALL: Final = Rule(
    id="duplicate-call",
    title="Same outgoing call again",
    when="The same GET or HEAD of the same URL was answered twice or more in one request; a"
    " warning from three on or when the repeats take 100 ms. Not: retries, answers of 202, URLs"
    " with a masked part, work after the response.",
    evidence="Method, URL, times, time of the repeats.",
    fix="Ask once and hand the answer on, or keep it in a cache for as long as it holds.",
    link="https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/Caching",
    find=_calls,
    panel="http",
)
JOBS_IN_A_LOOP: Final = Rule(
    id="jobs-in-a-loop",
    title="N+1 jobs",
    when="`JOBS_N_PLUS_ONE` jobs or more of one function were sent from one line in a request. Not: what"
    " `Queue.map` sends, and other SDKs' messages without a place.",
    evidence="Function, jobs, time.",
    fix="Send one job with the list of items, or all at once: `queue.map(...)`.",
    link="https://saq-py.readthedocs.io/en/latest/",
    find=_jobs,
    panel="jobs",
)

RULES: Final = (TEMPLATE_IN_A_LOOP, DUPLICATE_CALL, JOBS_IN_A_LOOP)
