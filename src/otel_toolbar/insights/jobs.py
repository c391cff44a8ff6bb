"""Jobs in a trace: what was sent, what ran, and the N+1 among those that were sent.

The rule is the one of queries, with a threshold of its own: jobs of one function that are sent to one
queue from one place. It knows no duration, because the first job of a process often opens the
connection, and no duplicates: the same job sent three times is three runs. What `Queue.map` sends is
no N+1: it is handed over together. A worker's own cron jobs are none either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.model import Kind, Span, Trace

from . import reading
from .n_plus_one import Detector, group_id

NO_DURATION: Final = 2**62
"""ns that nothing lasts: the rule for jobs has no duration."""

_TOGETHER: Final = frozenset({"map", "cron"})


def is_sent(span: Span) -> bool:
    """True for the sending of a job, by SAQ or by another system that follows the conventions."""
    return span.kind is Kind.PRODUCER and bool(_system(span))


def is_run(span: Span) -> bool:
    """True for the run of a job."""
    return span.kind is Kind.CONSUMER and bool(_system(span))


def _system(span: Span) -> str:
    return reading.text(span, semconv.MESSAGING_SYSTEM)


def sent(trace: Trace) -> list[Span]:
    """The jobs that were sent, in order of start."""
    if sent not in trace.memo:
        trace.memo[sent] = [span for span in trace.spans if is_sent(span)]
    return trace.memo[sent]


def function(span: Span) -> str:
    """The function that the job calls; of other systems than SAQ, what the span is called."""
    return reading.text(span, semconv.SAQ_JOB_FUNCTION) or span.name


def queue(span: Span) -> str:
    return reading.text(span, semconv.MESSAGING_DESTINATION_NAME)


def is_refused(span: Span) -> bool:
    """True when a job with that key was in the queue already."""
    return span.flag(semconv.SAQ_JOB_REFUSED)


@dataclass(frozen=True)
class Repeated:
    """Jobs of one scope that are alike."""

    group: str
    """16 hex digits over queue, function and call site."""
    spans: tuple[Span, ...]
    """In the order in which they were sent."""
    rule: str
    """`repeat`, or `count` when there are as many as the threshold."""

    @property
    def warning(self) -> bool:
        """True when it is more than worth knowing."""
        return self.rule == "count"


def repeated(trace: Trace, count: int) -> tuple[Repeated, ...]:
    """The N+1 of jobs; `count` of them make a warning. The largest first."""
    key = (repeated, count)
    if key not in trace.memo:
        trace.memo[key] = _repeated(trace, count)
    return trace.memo[key]


def _repeated(trace: Trace, count: int) -> tuple[Repeated, ...]:
    detectors: dict[str, Detector] = {}
    groups: dict[tuple[str, str], list[Span]] = {}
    rules: dict[tuple[str, str], str] = {}
    for span in sorted(sent(trace), key=trace.end_of):
        if span.running or span.flag(semconv.DETACHED) or _is_together(span):
            continue
        owner = trace.owners.get(span.span_id)
        scope = "" if owner is None else owner.span_id
        what, where = f"{queue(span)}\n{function(span)}", _place(span)
        detector = detectors.setdefault(scope, Detector(count, NO_DURATION))
        repeat = detector.observe(what, where, None, 0)
        group = scope, group_id(what, where)
        groups.setdefault(group, []).append(span)
        if repeat is not None:
            rules[group] = repeat.rule
    found = [
        Repeated(group[1], tuple(sorted(groups[group], key=_start)), rule)
        for group, rule in rules.items()
    ]
    return tuple(sorted(found, key=_largest_first))


def _start(span: Span) -> int:
    return span.start


def _largest_first(found: Repeated) -> int:
    return -len(found.spans)


def _is_together(span: Span) -> bool:
    return reading.text(span, semconv.SAQ_JOB_OPERATION) in _TOGETHER


def _place(span: Span) -> str:
    file = reading.text(span, semconv.CODE_FILE_PATH)
    return f"{file}:{reading.integer(span, semconv.CODE_LINE_NUMBER)}" if file else ""
