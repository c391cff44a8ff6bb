"""One job while it is sent: its span, and whether it repeats another of its request."""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from typing import Any, Final, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_toolbar import guard, semconv
from otel_toolbar.insights.jobs import NO_DURATION
from otel_toolbar.insights.n_plus_one import Detector
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import callsite, exceptions, light
from otel_toolbar.signals.core import record as records

from . import carrier, facts, state

SUBJECT: Final = "jobs"
CRON: Final = "cron"
ENQUEUE: Final = "enqueue"
_ALONE: Final = frozenset({ENQUEUE, "apply"})
"""Operations that send one job, so that a loop of them is an N+1."""

operation: ContextVar[str] = ContextVar("otel_toolbar_jobs_operation", default=ENQUEUE)
"""The method of the queue, or of the worker, on whose behalf a job is sent."""

_sending: ContextVar[Send | None] = ContextVar("otel_toolbar_jobs_sending", default=None)


class Jobs:
    """A request's jobs together: the subject `jobs` of its record."""

    def __init__(self, options: Settings) -> None:
        self.count = 0
        self.nanoseconds = 0
        self.detector = Detector(options.jobs_n_plus_one, NO_DURATION)

    def summary(self) -> dict[str, int]:
        return {
            semconv.JOBS_COUNT: self.count,
            semconv.JOBS_N_PLUS_ONE_COUNT: self.detector.warnings,
        }

    def server_timing(self) -> str:
        """What is known when the response's headers go out."""
        many = "job" if self.count == 1 else "jobs"
        return f'saq;dur={self.nanoseconds / 1e6:.3f};desc="{self.count} {many}"'

    @classmethod
    def of(cls, record: records.Record, options: Settings) -> Jobs:
        """The request's, made with its first job."""
        found = record.subjects.get(SUBJECT)
        if found is None:
            found = cls(options)
            record.subjects[SUBJECT] = found
            record.timed.append(found)
        return cast(Jobs, found)


class Send:
    """One call of `Queue.enqueue`. None of its methods raises."""

    def __init__(self, queue: Any, given: Any, options: Settings) -> None:
        self._options = options
        self._queue = queue
        self._job: Any = None
        self._operation = operation.get()
        self._function = str(given if isinstance(given, str) else given.function)
        self._attributes = facts.of_operation("send", queue, self._function)
        self._attributes[semconv.SAQ_JOB_OPERATION] = self._operation
        if _is_in_batch(queue):
            self._attributes[semconv.SAQ_JOB_BATCH] = True
        self._started = time.time_ns()
        self._place = ""
        self._span: Span = trace.INVALID_SPAN
        self._is_ours = True
        self._tokens: tuple[Token[Send | None], Token[Context] | None] | None = None
        if self._operation != CRON:
            self._start()
        context = None
        if self._span is not trace.INVALID_SPAN:
            context = otel_context.attach(trace.set_span_in_context(self._span))
        self._tokens = (_sending.set(self), context)

    @classmethod
    def start(cls, queue: Any, given: Any, options: Settings) -> Send | None:
        """Begin; None when it is not to be seen, or cannot be."""
        try:
            suppressed = otel_context.get_value("suppress_instrumentation")
            return None if suppressed or records.is_excluded() else cls(queue, given, options)
        except Exception:
            guard.failed("start of sending a job")
            return None

    def _start(self) -> None:
        self._place = _put_place(self._attributes, self._options)
        current = trace.get_current_span()
        self._is_ours = not _is_of_litestar_saq(current)
        if self._is_ours:
            name = f"send {self._function}"
            self._span = light.start(name, SpanKind.PRODUCER, self._attributes, facts.SCOPE)
        else:
            self._span = current
            current.set_attributes(self._attributes)

    def end(self, accepted: Any) -> None:
        """The queue has taken the job, or it has not: then `accepted` is None."""
        try:
            self._leave()
            taken = accepted is not None
            if self._operation == CRON:
                if taken:
                    self._report_cron(accepted)
                return
            job = accepted if taken else self._job
            if job is not None:
                self._span.set_attributes(facts.of_job(job, self._options))
            if taken:
                state.remember(accepted)
            else:
                self._span.set_attribute(semconv.SAQ_JOB_REFUSED, True)
            self._finish(taken=taken)
        except Exception:
            guard.failed("end of sending a job")

    def fail(self, error: BaseException) -> None:
        """The queue, or a hook of the app before it, has raised."""
        try:
            self._leave()
            if self._operation == CRON:
                return
            span = self._span
            if self._job is not None:
                span.set_attributes(facts.of_job(self._job, self._options))
            span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(error)))
            span.set_status(StatusCode.ERROR)
            exceptions.record(span, error)
            self._finish(taken=False)
        except Exception:
            guard.failed("error of sending a job")

    def takes(self, job: Any) -> None:
        """The job as it is about to be stored: from here on it bears this span's context."""
        if self._job is None:
            self._job = job
            if self._operation != CRON:
                carrier.put(job, trace.set_span_in_context(self._span))

    def _leave(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            return
        sending, context = tokens
        try:
            _sending.reset(sending)
        except ValueError:  # driven from another context than it was begun in
            _sending.set(None)
        if context is not None:
            otel_context.detach(context)

    def _finish(self, *, taken: bool) -> None:
        ended = time.time_ns()
        try:
            record = records.current()
            if record is not None and record.server is not None and not record.closed:
                self._count(Jobs.of(record, self._options), ended, taken=taken)
        finally:
            if self._is_ours:
                self._span.end(ended)

    def _count(self, jobs: Jobs, ended: int, *, taken: bool) -> None:
        jobs.nanoseconds += max(0, ended - self._started)
        jobs.count += taken
        if self._operation in _ALONE:
            self._flag(jobs.detector)

    def _flag(self, detector: Detector) -> None:
        repeat = detector.observe(f"{self._queue.name}\n{self._function}", self._place, None, 0)
        if repeat is not None:
            self._span.set_attributes(
                {
                    semconv.N_PLUS_ONE: True,
                    semconv.N_PLUS_ONE_GROUP: repeat.group,
                    semconv.N_PLUS_ONE_POSITION: repeat.position,
                    semconv.N_PLUS_ONE_RULE: repeat.rule,
                }
            )

    def _report_cron(self, job: Any) -> None:
        """A worker asks every second for every cron job, and is refused: only what was taken is told."""
        state.remember(job)
        tracer = trace.get_tracer(facts.SCOPE.name, facts.SCOPE.version)
        tracer.start_span(
            f"send {self._function}",
            context=Context(),
            kind=SpanKind.PRODUCER,
            attributes=self._attributes | facts.of_job(job, self._options),
            start_time=self._started,
        ).end()


def current() -> Send | None:
    """The call of `enqueue` that this code runs in."""
    return _sending.get()


def _is_in_batch(queue: Any) -> bool:
    callbacks: Any = getattr(queue, "_before_enqueues", None) or {}
    return any("Queue.batch." in getattr(each, "__qualname__", "") for each in callbacks.values())


def _is_of_litestar_saq(span: Any) -> bool:
    """True inside of litestar-saq's `InstrumentedQueue`, which makes a span of its own."""
    attributes: dict[str, Any] = getattr(span, "attributes", None) or {}
    scope: InstrumentationScope | None = getattr(span, "instrumentation_scope", None)
    return (
        getattr(span, "kind", None) is SpanKind.PRODUCER
        and bool(span.is_recording())
        and attributes.get(semconv.MESSAGING_SYSTEM) == facts.SYSTEM
        and scope is not None
        and scope.name != facts.SCOPE.name
    )


def _put_place(attributes: dict[str, Any], options: Settings) -> str:
    """Write the call site down; returns it as the N+1 rule's key, empty when there is none."""
    try:
        stack = callsite.stack()
    except Exception:  # the job is worth more than its place
        guard.failed("call site of a job")
        return ""
    if stack is None:
        return ""
    innermost = stack.places[0]
    attributes[semconv.CODE_FILE_PATH] = innermost.file
    attributes[semconv.CODE_LINE_NUMBER] = innermost.line
    attributes[semconv.CODE_FUNCTION_NAME] = innermost.function
    if options.stacks:
        attributes[semconv.CODE_STACKTRACE] = stack.text
    return stack.key
