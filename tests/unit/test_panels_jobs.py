"""The jobs panel and its rule on traces built by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from otel_toolbar import panels
from otel_toolbar.insights import jobs
from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Event, Kind, Link, Span, Status, Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.jobs.view import JobsView, badge, view
from otel_toolbar.settings import Settings
from otel_toolbar.store.base import Spans
from otel_toolbar.store.memory import MemoryStore
from otel_toolbar.web import following, render
from tests import recorded

TRACE, OTHER = "a" * 32, "b" * 32
MS = 1_000_000
BEGIN = 1_790_000_000_000_000_000


def span_id(number: int) -> str:
    return f"{number:016x}"


def request(**more: Any) -> Span:
    return Span(TRACE, span_id(1), None, "GET /", Kind.SERVER, BEGIN, BEGIN + 100 * MS, more)


def send(number: int, function: str = "mail", line: int = 7, **more: Any) -> Span:
    """A job that took 2 ms to send."""
    start = BEGIN + number * 3 * MS
    attributes = {
        "messaging.system": "saq",
        "messaging.destination.name": "default",
        "saq.job.function": function,
        "saq.job.operation": "enqueue",
        "saq.job.id": f"saq:job:default:{number}",
        "saq.job.key": str(number),
        "saq.job.kwargs": f"{{'to': {number}}}",
        "code.file.path": "/app/pages.py",
        "code.line.number": line,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    attributes = {key: value for key, value in attributes.items() if value is not None}
    return Span(
        TRACE, span_id(10 + number), span_id(1), f"send {function}", Kind.PRODUCER,
        start, start + 2 * MS, attributes,
    )  # fmt: skip


def run(number: int, status: str = "complete", attempt: int = 1, **more: Any) -> Span:
    """The run of the job of that number, 40 ms after it was sent."""
    start = BEGIN + (number * 3 + 40) * MS
    attributes = {
        "messaging.system": "saq",
        "saq.job.function": "mail",
        "saq.job.status": status,
        "saq.job.attempts": attempt,
        "saq.job.waited": 0.04,
        **more,
    }
    return Span(
        OTHER, span_id(100 + number + attempt), None, "process mail", Kind.CONSUMER,
        start, start + 5 * MS, attributes,
        links=(Link(TRACE, span_id(10 + number), {}),),
    )  # fmt: skip


def shown(*spans: Span, followers: tuple[Span, ...] = (), **more: Any) -> JobsView:
    trace = Trace.of(TRACE, [request(), *spans], BEGIN + 1000 * MS)
    return view(replace(trace, followers=followers), Settings(**more))


def test_figures() -> None:
    found = shown(
        send(1), send(2, "report", saq__job__scheduled=1_800_000_000),
        send(3, saq__job__refused=True), send(4, line=9, toolbar__detached=True),
    )  # fmt: skip
    assert (found.count, found.immediate, found.scheduled, found.refused) == (2, 1, 1, 1)
    assert found.afterwards == 1
    assert found.duration == pytest.approx(0.006)
    assert found.average == pytest.approx(0.002)
    assert found.waited is None
    assert [(group.name, group.count, group.refused) for group in found.functions] == [
        ("mail", 2, 1),
        ("report", 1, 0),
    ]
    assert [(group.name, group.count, group.scheduled) for group in found.queues] == [
        ("default", 3, 1)
    ]
    assert found.jobs[1].scheduled == 1_800_000_000
    assert badge(found) == Badge("2", "warn")


def test_runs_of_the_jobs() -> None:
    found = shown(send(1), send(2), followers=(run(1, "queued"), run(1, "failed", 2), run(2)))
    assert [[run.status for run in job.runs] for job in found.jobs] == [
        ["queued", "failed"],
        ["complete"],
    ]
    assert (found.ran, found.waited, found.waited_longest) == (2, 0.04, 0.04)
    assert found.functions[0].failed == 1
    assert badge(found) == Badge("2", "error")
    assert [run.level for run in found.jobs[0].runs] == ["warn", "error"]


def test_the_run_itself() -> None:
    own = replace(run(1, "aborted", **{"saq.job.error": "no longer wanted"}), trace_id=TRACE)
    found = view(Trace.of(TRACE, [own], BEGIN + 1000 * MS), Settings())
    assert found.found
    assert found.run is not None
    assert (found.run.status, found.run.level, found.run.sender) == ("aborted", "warn", TRACE)
    assert found.run.error == "no longer wanted"
    assert badge(found) == Badge(None, "ok")


def test_a_run_that_runs_and_one_of_another_system() -> None:
    open_ = replace(run(1, ""), trace_id=TRACE, end=None, links=())
    found = view(Trace.of(TRACE, [open_], BEGIN + 1000 * MS), Settings()).run
    assert found is not None
    assert (found.status, found.level, found.sender, found.running) == ("active", "info", "", True)
    ended = replace(open_, end=open_.start + MS, attributes={"messaging.system": "celery"})
    done = view(Trace.of(TRACE, [ended], BEGIN), Settings()).run
    assert done is not None
    assert (done.status, done.function) == ("complete", "process mail")
    failed = view(Trace.of(TRACE, [replace(ended, status=Status.ERROR)], BEGIN), Settings()).run
    assert failed is not None
    assert failed.status == "failed"


@pytest.mark.parametrize(("many", "level"), [(1, None), (2, "info"), (3, "warn"), (12, "warn")])
def test_n_plus_one(many: int, level: str | None) -> None:
    found = shown(*(send(number) for number in range(1, many + 1)))
    assert [group.level for group in found.n_plus_one] == ([level] if level else [])
    if level:
        assert found.n_plus_one[0].jobs == tuple(range(1, many + 1))
        assert found.n_plus_one[0].code == 'await queue.enqueue("mail", ids=ids)'
        assert badge(found).level == ("warn" if level == "warn" else "ok")


def test_its_threshold_is_a_setting() -> None:
    assert shown(send(1), send(2), jobs_n_plus_one=2).n_plus_one[0].level == "warn"


def test_what_is_no_n_plus_one() -> None:
    assert not shown(send(1), send(2, line=8), send(3, "report")).n_plus_one
    together = {"saq__job__operation": "map"}
    assert not shown(*(send(number, **together) for number in range(1, 9))).n_plus_one
    later = {"toolbar__detached": True}
    assert not shown(*(send(number, **later) for number in range(1, 9))).n_plus_one
    running = [replace(send(number), end=None) for number in range(1, 9)]
    assert not shown(*running).n_plus_one


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"saq__job__operation": "apply"}, "queue.map"),
        ({"saq__job__kwargs": "{}"}, "key"),
        ({"messaging__system": "celery"}, "one job with a list"),
    ],
)
def test_the_advice(more: dict[str, Any], word: str) -> None:
    (group,) = shown(*(send(number, **more) for number in range(1, 4))).n_plus_one
    assert word in group.hint


def test_without_a_place_the_function_alone_counts() -> None:
    nowhere = {"code__file__path": None, "code__line__number": None}
    (group,) = shown(*(send(number, **nowhere) for number in range(1, 4))).n_plus_one
    assert (group.count, group.place) == (3, None)


def test_jobs_that_were_not_kept_and_that_failed() -> None:
    failed = replace(
        send(1),
        status=Status.ERROR,
        events=(
            Event("exception", BEGIN, {"exception.type": "OSError", "exception.message": "x"}),
        ),
    )
    trace = Trace.of(TRACE, [request(**{"toolbar.jobs.count": 30}), failed], BEGIN + 1000 * MS)
    found = view(trace, Settings())
    assert (found.count, found.dropped, found.errors) == (30, 30, 1)
    assert found.jobs[0].error == "OSError: x"
    assert badge(found) == Badge("30", "error")


def test_nothing() -> None:
    found = shown()
    assert not found.found
    assert badge(found) == Badge()


def test_the_summary_counts_them_among_the_alerts() -> None:
    trace = Trace.of(TRACE, [request(), *(send(n) for n in range(1, 5))], BEGIN + 1000 * MS)
    assert summarize(trace, Settings()).counts.alerts == 1
    assert summarize(trace, Settings()).links == ()
    assert [group.group for group in jobs.repeated(trace, 3)] == [jobs.repeated(trace, 3)[0].group]


def page_of(trace: Trace) -> str:
    options = Settings()
    views = panels.views(panels.load(), trace, options)
    context = render.Context("/_toolbar", options)
    return render.trace_page(context, trace, summarize(trace, options), views, {"panel": "jobs"})


def test_the_page() -> None:
    trace = Trace.of(
        TRACE,
        [
            request(),
            *(send(number) for number in range(1, 108)),
            send(
                108, saq__job__refused=True, saq__job__scheduled=1_800_000_000, saq__job__batch=True
            ),
        ],
        BEGIN + 1000 * MS,
    )
    page = page_of(replace(trace, followers=(run(1, "queued"), run(1, "failed", 2))))
    for part in (
        "N+1",
        "default",
        "State now",
        "next 100",
        f"/t/{OTHER}",
        "attempt 2",
        "108 times",
    ):
        assert part in page
    assert "No run of it is kept here" in page


def test_the_page_of_a_run_and_without_jobs() -> None:
    own = replace(
        run(1, "failed", **{"saq.job.result": "<b>"}), trace_id=TRACE, status=Status.ERROR
    )
    page = page_of(Trace.of(TRACE, [own], BEGIN + 1000 * MS))
    assert "This is a run of" in page
    assert "&lt;b&gt;" in page
    page = page_of(Trace.of(TRACE, [request()], BEGIN + 1000 * MS))
    assert "otel-toolbar[saq]" in page


def test_runs_are_found_where_the_store_has_them() -> None:
    store = MemoryStore(Settings(), dict)
    store.add(TRACE, Spans((request(), send(1))))
    store.add(OTHER, Spans((run(1),)))
    later = replace(run(1, attempt=2), trace_id="c" * 32, links=())
    store.add("c" * 32, Spans((later,)))
    trace = store.get(TRACE)
    assert trace is not None
    assert [span.trace_id for span in following.found(store, trace).followers] == [OTHER]
    other = store.get(OTHER)
    assert other is not None
    assert following.found(store, other) is other
    store.clear()
    store.add(TRACE, Spans((request(), send(1))))
    alone = store.get(TRACE)
    assert alone is not None
    assert following.found(store, alone) is alone


def test_a_recorded_run() -> None:
    found = view(recorded.load("job"), Settings()).run
    assert found is not None
    assert (found.job_id, found.status) == ("j1", "complete")
