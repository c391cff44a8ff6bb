"""One run of a job in a worker: a trace of its own, linked to the span that sent the job.

It has a record of its own, so that queries, logs and N+1 within it are seen as in a request.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar, Token
from typing import Any, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import exceptions, masking, processor
from otel_toolbar.signals.core import record as records

from . import carrier, facts, state

_run: ContextVar[Run | None] = ContextVar("otel_toolbar_jobs_run", default=None)


class Run:
    """One pass of `Worker.process`: it waits for a job and runs it. None of its methods raises."""

    def __init__(self, options: Settings) -> None:
        self._options = options
        self._job: Any = None
        self._span: Span | None = None
        self._error: BaseException | None = None
        self._result: str | None = None
        self._token = _run.set(self)
        self._record: Token[records.Record | None] | None = None
        self._context: Token[Context] | None = None

    def begins(self, job: Any) -> None:
        """The worker has got a job."""
        if self._job is not None:
            return
        try:
            self._job = job
            self._begin(job)
        except Exception:
            guard.failed("start of a job")

    def _begin(self, job: Any) -> None:
        here = carrier.extract(job, _no_span())
        sender = trace.get_current_span(here).get_span_context()
        record = records.Record(self._options.max_spans)
        self._record = records.enter(record)
        span = trace.get_tracer(facts.SCOPE.name, facts.SCOPE.version).start_span(
            f"process {job.function}",
            context=Context(),
            kind=SpanKind.CONSUMER,
            attributes=facts.of_operation("process", job.get_queue(), str(job.function))
            | facts.of_job(job, self._options)
            | _waited(job),
            links=[Link(sender)] if sender.is_valid else None,
        )
        self._span = span
        if span.is_recording() and hasattr(span, "resource"):
            processor.adopt(record, cast(Any, span))
        self._context = otel_context.attach(trace.set_span_in_context(span, here))
        state.remember(job)

    def finishes(self, job: Any, result: Any) -> None:
        """The worker is about to store how the run went."""
        if job is not self._job:
            return
        try:
            error = sys.exc_info()[1]
            if isinstance(error, Exception):
                self._error = error
            if result is not None:
                self._result = facts.shown(result, self._options)
        except Exception:
            guard.failed("result of a job")

    def ends(self) -> None:
        """The worker is done with the job, whatever came of it."""
        try:
            if self._span is not None:
                try:
                    self._describe(self._span, self._job)
                finally:
                    self._span.end()
        except Exception:
            guard.failed("end of a job")
        finally:
            self._leave()

    def _describe(self, span: Span, job: Any) -> None:
        error, self._error = self._error, None
        span.set_attribute(semconv.SAQ_JOB_STATUS, facts.status(job))
        if self._result is not None:
            span.set_attribute(semconv.SAQ_JOB_RESULT, self._result)
        if error is not None:
            span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
            span.set_status(StatusCode.ERROR)
            exceptions.record(span, error)
        elif job.error and facts.status(job) != "complete":
            said = masking.text(str(job.error))[: self._options.value_length]
            span.set_attribute(semconv.SAQ_JOB_ERROR, said)

    def _leave(self) -> None:
        try:
            if self._context is not None:
                otel_context.detach(self._context)
            if self._record is not None:
                records.leave(self._record)
            _run.reset(self._token)
        except Exception:
            guard.failed("end of a job")


def current() -> Run | None:
    """The pass of `Worker.process` that this code runs in."""
    return _run.get()


def _no_span() -> Context:
    return trace.set_span_in_context(trace.INVALID_SPAN)


def _waited(job: Any) -> dict[str, float]:
    """SAQ's times are in ms, `scheduled` is in s."""
    if not job.queued or not job.started:
        return {}
    due = max(job.queued, job.scheduled * 1000)
    return {semconv.SAQ_JOB_WAITED: max(0, job.started - due) / 1000}
