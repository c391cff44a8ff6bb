"""The jobs of the trace: what repeats first, then by function and queue, then all in order.

A run is a trace of its own. It is shown with the job that it came from where the store has both; what
has not run yet, or ran where this store does not see it, has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from otel_toolbar import semconv
from otel_toolbar.insights import jobs, reading, repeats
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels.contract import Badge, Level
from otel_toolbar.panels.shared import (
    Place,
    exception,
    grouped,
    offset,
    place,
    seconds,
    stack,
)
from otel_toolbar.settings import Settings

_ADVICE = (
    "Each is a round trip to the queue, and a run of its own. `queue.map(...)` sends all and waits for"
    " their results; where nobody waits, send one job with the list:"
)


@dataclass(frozen=True)
class Run:
    """One attempt to run a job. Times in s."""

    trace_id: str
    span_id: str
    sender: str
    """Trace that sent the job, empty when it is not known."""
    sender_span: str
    job_id: str
    function: str
    queue: str
    status: str
    """`complete`, `failed`, `aborted`, `queued` for another attempt, `active` while it runs."""
    level: Level
    attempt: int | None
    attempts: int | None
    """Attempts that the job has."""
    start: float
    """Unix time."""
    waited: float | None
    """From when the job was first sent, or due, to this start."""
    duration: float
    timeout: int | None
    running: bool
    arguments: str
    result: str
    error: str


@dataclass(frozen=True)
class Job:
    """One job that was sent. Times in s."""

    id: str
    """Of its span."""
    position: int
    """From 1, in order of start."""
    start: float
    """Since the start of the trace."""
    duration: float
    """Of handing it to the queue."""
    function: str
    queue: str
    system: str
    operation: str
    """`enqueue`, `apply`, `map`, or `cron`."""
    batch: bool
    """Sent while a `queue.batch()` was open."""
    job_id: str
    key: str
    status: str
    """As the queue had it when it was sent."""
    scheduled: float | None
    """Unix time at which it is due; None for at once."""
    timeout: int | None
    attempts: int | None
    """Attempts that it has."""
    ttl: int | None
    arguments: str
    place: Place | None
    stack: tuple[Place, ...]
    refused: bool
    """A job with its key was there already."""
    error: str
    running: bool
    detached: bool
    n_plus_one: str
    """Id of its N+1 group, else empty."""
    runs: tuple[Run, ...]
    """Those that are kept here, in order."""


@dataclass(frozen=True)
class Group:
    """Jobs of one function, or of one queue."""

    name: str
    count: int
    scheduled: int
    refused: int
    errors: int
    duration: float
    """Of sending them, together."""
    ran: int
    """Of them, those with a run that is kept here."""
    failed: int
    """Of them, those whose last run failed."""
    waited: float | None
    """Mean time until the first run, of those that ran."""
    jobs: tuple[int, ...]
    """Their positions."""


@dataclass(frozen=True)
class NPlusOne:
    """Jobs of one function sent one by one from one place in the code."""

    id: str
    count: int
    duration: float
    level: Level
    rule: str
    function: str
    queue: str
    place: Place | None
    alike: bool
    """All have the same arguments, as far as they are shown."""
    hint: str
    code: str
    jobs: tuple[int, ...]


@dataclass(frozen=True)
class JobsView:
    """All of them; `found` is False without any."""

    found: bool
    running: bool
    count: int
    """Jobs that a queue took; those that were not kept as spans included."""
    immediate: int
    scheduled: int
    refused: int
    errors: int
    afterwards: int
    """Sent by work after the response; in no other figure."""
    dropped: int
    duration: float
    """Time in sending, together."""
    average: float | None
    ran: int
    """Jobs with a run that is kept here."""
    waited: float | None
    """Mean time until the first run, of those that ran."""
    waited_longest: float | None
    run: Run | None
    """What this trace itself is, when it is a job's run."""
    n_plus_one: tuple[NPlusOne, ...]
    functions: tuple[Group, ...]
    queues: tuple[Group, ...]
    jobs: tuple[Job, ...]


def view(trace: Trace, settings: Settings) -> JobsView:
    spans = jobs.sent(trace)
    repeated = jobs.repeated(trace, settings.jobs_n_plus_one)
    groups = repeats.groups(repeated)
    runs = _runs(trace)
    all_jobs = tuple(
        _job(trace, span, position, groups, runs.get(span.span_id, ()), settings)
        for position, span in enumerate(spans, 1)
    )
    by_span = {job.id: job for job in all_jobs}
    within = [job for job in all_jobs if not job.detached]
    taken = [job for job in within if _is_taken(job)]
    told = _told(trace.main)
    waits = _waits(within)
    duration = sum(job.duration for job in within)
    run = _own_run(trace)
    return JobsView(
        found=bool(all_jobs) or told > 0 or run is not None,
        running=trace.running,
        count=max(told, len(taken)),
        immediate=sum(job.scheduled is None for job in taken),
        scheduled=sum(job.scheduled is not None for job in taken),
        refused=sum(job.refused for job in within),
        errors=sum(bool(job.error) for job in all_jobs),
        afterwards=len(all_jobs) - len(within),
        dropped=max(0, told - len(taken)),
        duration=duration,
        average=duration / len(within) if within else None,
        ran=sum(bool(job.runs) for job in within),
        waited=sum(waits) / len(waits) if waits else None,
        waited_longest=max(waits, default=None),
        run=run,
        n_plus_one=tuple(_n_plus_one(found, by_span) for found in repeated),
        functions=_grouped(within, "function"),
        queues=_grouped(within, "queue"),
        jobs=all_jobs,
    )


def badge(view: JobsView) -> Badge:
    text = f"{view.count:,}" if view.count else None
    failed = view.run is not None and view.run.level == "error"
    if view.errors or failed or any(job.runs and _failed(job.runs[-1]) for job in view.jobs):
        return Badge(text, "error")
    warned = view.refused or any(group.level == "warn" for group in view.n_plus_one)
    return Badge(text, "warn" if warned else "ok")


def _told(main: Span | None) -> int:
    return max(0, main.integer(semconv.JOBS_COUNT) or 0) if main else 0


def _is_taken(job: Job) -> bool:
    return not job.refused and not job.error


def _failed(run: Run) -> bool:
    return run.level == "error"


def _job(
    trace: Trace,
    span: Span,
    position: int,
    groups: Mapping[str, str],
    runs: Sequence[Run],
    settings: Settings,
) -> Job:
    due = reading.number(span, semconv.SAQ_JOB_SCHEDULED)
    return Job(
        id=span.span_id,
        position=position,
        start=offset(trace, span),
        duration=seconds(span.duration_at(trace.now)),
        function=jobs.function(span),
        queue=jobs.queue(span),
        system=reading.text(span, semconv.MESSAGING_SYSTEM),
        operation=reading.text(span, semconv.SAQ_JOB_OPERATION) or "enqueue",
        batch=span.flag(semconv.SAQ_JOB_BATCH),
        job_id=reading.text(span, semconv.SAQ_JOB_ID, semconv.MESSAGING_MESSAGE_ID),
        key=reading.text(span, semconv.SAQ_JOB_KEY),
        status=reading.text(span, semconv.SAQ_JOB_STATUS),
        scheduled=float(due) if due is not None and due > 0 else None,
        timeout=reading.integer(span, semconv.SAQ_JOB_TIMEOUT),
        attempts=reading.integer(span, semconv.SAQ_JOB_RETRIES),
        ttl=reading.integer(span, semconv.SAQ_JOB_TTL),
        arguments=reading.text(span, semconv.SAQ_JOB_KWARGS),
        place=place(span, settings),
        stack=stack(span, settings),
        refused=jobs.is_refused(span),
        error=exception(span),
        running=span.running,
        detached=span.flag(semconv.DETACHED),
        n_plus_one=groups.get(span.span_id, ""),
        runs=tuple(runs),
    )


def _runs(trace: Trace) -> dict[str, list[Run]]:
    """Runs of the jobs that this trace sent, by the span that sent them."""
    found: dict[str, list[Run]] = {}
    for span in trace.followers:
        if jobs.is_run(span):
            for link in span.links:
                if link.trace_id == trace.trace_id:
                    found.setdefault(link.span_id, []).append(_run(trace, span))
    return found


def _own_run(trace: Trace) -> Run | None:
    main = trace.main
    return _run(trace, main) if main is not None and jobs.is_run(main) else None


def _run(trace: Trace, span: Span) -> Run:
    told = reading.text(span, semconv.SAQ_JOB_STATUS).lower()
    status = (
        "active" if span.running else told or ("failed" if reading.failed(span) else "complete")
    )
    link = span.links[0] if span.links else None
    return Run(
        trace_id=span.trace_id,
        span_id=span.span_id,
        sender=link.trace_id if link else "",
        sender_span=link.span_id if link else "",
        job_id=reading.text(span, semconv.SAQ_JOB_ID, semconv.MESSAGING_MESSAGE_ID),
        function=jobs.function(span),
        queue=jobs.queue(span),
        status=status,
        level=_level(span, status),
        attempt=reading.integer(span, semconv.SAQ_JOB_ATTEMPTS),
        attempts=reading.integer(span, semconv.SAQ_JOB_RETRIES),
        start=span.start / 1e9,
        waited=reading.number(span, semconv.SAQ_JOB_WAITED),
        duration=seconds(span.duration_at(trace.now)),
        timeout=reading.integer(span, semconv.SAQ_JOB_TIMEOUT),
        running=span.running,
        arguments=reading.text(span, semconv.SAQ_JOB_KWARGS),
        result=reading.text(span, semconv.SAQ_JOB_RESULT),
        error=exception(span) or reading.text(span, semconv.SAQ_JOB_ERROR),
    )


def _level(span: Span, status: str) -> Level:
    if status == "failed":
        return "error"
    if status in ("aborted", "aborting", "queued") or reading.failed(span):
        return "warn"
    return "info" if span.running else "ok"


def _waits(found: Iterable[Job]) -> list[float]:
    """Time until the first run, of those jobs that ran."""
    return [job.runs[0].waited for job in found if job.runs and job.runs[0].waited is not None]


def _grouped(found: Sequence[Job], by: str) -> tuple[Group, ...]:
    members = grouped(found, attrgetter(by))
    groups = [_group(name, like) for name, like in members.items()]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.name)))


def _group(name: str, like: Sequence[Job]) -> Group:
    waits = _waits(like)
    return Group(
        name=name,
        count=len(like),
        scheduled=sum(job.scheduled is not None for job in like),
        refused=sum(job.refused for job in like),
        errors=sum(bool(job.error) for job in like),
        duration=sum(job.duration for job in like),
        ran=sum(bool(job.runs) for job in like),
        failed=sum(bool(job.runs) and _failed(job.runs[-1]) for job in like),
        waited=sum(waits) / len(waits) if waits else None,
        jobs=tuple(job.position for job in like),
    )


def _n_plus_one(found: jobs.Repeated, by_span: Mapping[str, Job]) -> NPlusOne:
    like = [by_span[span.span_id] for span in found.spans]
    first = like[0]
    alike = len({job.arguments for job in like}) == 1 and bool(first.arguments)
    hint, code = _advice(first, alike=alike)
    return NPlusOne(
        id=found.group,
        count=len(like),
        duration=sum(job.duration for job in like),
        level="warn" if found.warning else "info",
        rule=found.rule,
        function=first.function,
        queue=first.queue,
        place=first.place,
        alike=alike,
        hint=hint,
        code=code,
        jobs=tuple(job.position for job in like),
    )


def _advice(job: Job, *, alike: bool) -> tuple[str, str]:
    """What to do: a sentence, and code for SAQ."""
    name = job.function
    if job.system != "saq":
        return (
            "Each is a round trip to the queue, and a run of its own. Send one job with a list.",
            "",
        )
    if alike:
        return (
            "All have the same arguments. With a `key` the queue takes one of them and refuses the others:",
            f'await queue.enqueue("{name}", key="{name}:...", ...)',
        )
    if job.operation == "apply":
        return (
            "Each is waited for before the next is sent. `queue.map` sends all and waits once:",
            f'results = await queue.map("{name}", [{{"id": id}} for id in ids])',
        )
    return (
        _ADVICE,
        f'await queue.enqueue("{name}", ids=ids)',
    )
