"""Work that is done again and again: calls, reads of a cache, jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import jobs, reading, repeats
from otel_toolbar.insights.hint import Figure, Hint, Rule, place
from otel_toolbar.insights.repeats import Repeat
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.model import Span, Trace
from otel_toolbar.settings import Settings

MANY_CALLS: Final = 3
"""Like calls that make a warning; two are worth knowing."""
COSTLY_CALLS: Final = 0.1
"""Seconds that the repeats of a call may take together."""

MANY_READS: Final = 10
"""Like reads of a cache that make a warning: one takes less than a call."""
COSTLY_READS: Final = 0.05
"""Seconds that the repeats of a read may take together."""


def _calls(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001 - the rules' signature
    for spans in _of_each_owner(trace, repeats.called_again(trace), _can_be_repeated):
        again = _seconds(trace, spans[1:])
        address = reading.whole_url(spans[0])[:200]
        yield DUPLICATE_CALL.hint(
            spans,
            f"{reading.method(spans[0])} {address} was called {len(spans):,} times; all but the first"
            f" took {again * 1000:.0f} ms.",
            [Figure("calls", len(spans)), Figure("time of the repeats", again, "s")],
            severity="warn" if len(spans) >= MANY_CALLS or again >= COSTLY_CALLS else "info",
        )


def _tells_its_url(span: Span) -> bool:
    """False where a secret is left out, and nothing tells whether it was the same one."""
    whole = MASK not in reading.whole_url(span)
    return whole or bool(reading.text(span, semconv.HTTP_URL_FINGERPRINT))


def _reads(trace: Trace, settings: Settings) -> Iterator[Hint]:  # noqa: ARG001
    for spans in _of_each_owner(trace, repeats.read_again(trace), _was_there):
        again = _seconds(trace, spans[1:])
        key = reading.text(spans[0], semconv.CACHE_KEY)[:200]
        yield DUPLICATE_READ.hint(
            spans,
            f"{repeats.command(spans[0])} {key} was asked {len(spans):,} times from one line; all but the"
            f" first took {again * 1000:.1f} ms.",
            [Figure("reads", len(spans)), Figure("time of the repeats", again, "s")],
            severity="warn" if len(spans) >= MANY_READS or again >= COSTLY_READS else "info",
        )


def _was_there(span: Span) -> bool:
    """False for what was missed or failed: that is asked again for a reason, such as to wait for it."""
    missed = span.attributes.get(semconv.CACHE_HIT) is False
    late = span.running or span.flag(semconv.DETACHED)
    return not (
        missed or late or reading.failed(span) or MASK in reading.text(span, semconv.CACHE_KEY)
    )


def _of_each_owner(
    trace: Trace, found: Iterable[Repeat], counts: Callable[[Span], bool]
) -> Iterator[list[Span]]:
    """Two and more of the repeats that count, of one request, job or message."""
    for repeat in found:
        groups: dict[str, list[Span]] = {}
        for span in filter(counts, repeat.spans):
            groups.setdefault(_owner(trace, span), []).append(span)
        yield from (spans for spans in groups.values() if len(spans) > 1)


def _can_be_repeated(span: Span) -> bool:
    """True for a call that got its answer: one that failed, or says 202, is asked again for a reason."""
    code = reading.status_code(span)
    return (
        not span.running
        and not reading.failed(span)
        and not span.flag(semconv.DETACHED)
        and (code is None or (200 <= code < 300 and code != 202))
        and _tells_its_url(span)
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


DUPLICATE_CALL: Final = Rule(
    id="duplicate-call",
    title="Same outgoing call again",
    when="The same GET or HEAD of the same URL was answered twice or more in one request; a"
    " warning from three on or when the repeats take 100 ms. Not: retries, answers of 202, URLs"
    " with a masked part that nothing tells apart, work after the response.",
    evidence="Method, URL, times, time of the repeats.",
    fix="Ask once and hand the answer on, or keep it in a cache for as long as it holds.",
    link="https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/Caching",
    find=_calls,
    panel="http",
)
DUPLICATE_READ: Final = Rule(
    id="duplicate-read",
    title="Same key read again",
    when=f"One key was read again from a cache, from one line, and nothing was written to it in between; a"
    f" warning from {MANY_READS} reads on or when the repeats take {COSTLY_READS * 1000:.0f} ms. Not:"
    " reads that missed or failed, keys with a masked part, work after the response.",
    evidence="Command, key, times, time of the repeats.",
    fix="Read it once and hand the value on; for many keys read them at once, with `MGET`.",
    link="https://redis.io/docs/latest/commands/mget/",
    find=_reads,
    panel="cache",
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

RULES: Final = (DUPLICATE_CALL, DUPLICATE_READ, JOBS_IN_A_LOOP)
