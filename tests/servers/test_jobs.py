"""A job followed from the page that sends it to the worker that runs it: real Redis, real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.databases import Database
from tests.redis_server import Redis

from .receiver import receiving
from .serving import BIN, EXAMPLES, NO_PROXY, Server, serving, wait_for

OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
APP = EXAMPLES / "jobs_app"


@pytest.fixture(params=["redis", "postgresql"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """Of an empty queue, on each of SAQ's two."""
    if request.param == "redis":
        redis: Redis = request.getfixturevalue("redis")
        return redis.url()
    database: Database = request.getfixturevalue("postgresql")
    return f"postgresql://toolbar@{database.host}:{database.port}/{database.name}"


def jobs_of(running: Server, trace: str) -> dict[str, Any]:
    return running.api(f"traces/{trace}/panels/jobs")


def ran(running: Server, trace: str, count: int, status: str = "complete") -> dict[str, Any]:
    """The panel once so many jobs of the trace have come to that."""

    def look() -> dict[str, Any] | None:
        view = jobs_of(running, trace)
        ended = [job for job in view["jobs"] if job["runs"] and job["runs"][-1]["status"] == status]
        return view if len(ended) >= count else None

    return wait_for(look, 20, lambda: running.log)


def headers_of(running: Server) -> dict[str, str]:
    found = re.search(r'data-csrf="([^"]+)"', running.get("/_toolbar/").text)
    assert found is not None
    return {"Origin": running.url, "X-Toolbar-CSRF": found[1]}


def refresh(running: Server, job: str, **headers: str) -> httpx.Response:
    url = f"{running.url}/_toolbar/api/jobs/{job}/refresh"
    return httpx.post(url, headers=headers or headers_of(running), **NO_PROXY)


def test_from_the_page_to_the_worker_in_one_process(queue_url: str, tmp_path: Path) -> None:
    with serving(APP, tmp_path, environment=OURS | {"JOBS_URL": queue_url}) as running:
        answer = running.get("/send")
        trace = running.trace_of(answer)
        view = ran(running, trace, 1)
        job = view["jobs"][0]
        assert (job["function"], job["operation"], job["queue"]) == (
            "send_letter",
            "enqueue",
            "default",
        )
        assert job["arguments"] == "{'to': 'ada.akers@example.com', 'token': ***}"
        assert job["place"]["path"].endswith("jobs_app/app.py")
        (run,) = job["runs"]
        assert run["result"] == "sent to ada.akers@example.com"
        assert (run["attempt"], run["attempts"], run["sender"]) == (1, 1, trace)
        assert view["waited"] == run["waited"] >= 0
        own = jobs_of(running, run["trace_id"])["run"]
        assert own["sender"] == trace
        assert own["sender_span"] == job["id"]

        timing = answer.headers.get_list("server-timing", split_commas=True)
        assert any(re.fullmatch(r'saq;dur=\d+\.\d{3};desc="1 job"', each) for each in timing)

        state = refresh(running, job["job_id"])
        assert state.status_code == 200, state.text
        assert (state.json()["status"], state.json()["attempts"]) == ("complete", 1)
        assert "s3cr3t" not in running.get(f"/_toolbar/t/{trace}?panel=jobs").text


def test_n_plus_one_of_jobs_and_of_queries_within_one(queue_url: str, tmp_path: Path) -> None:
    with serving(APP, tmp_path, environment=OURS | {"JOBS_URL": queue_url}) as running:
        loop = running.trace_of(running.get("/loop"))
        view = ran(running, loop, 12)
        (group,) = view["n_plus_one"]
        assert (group["count"], group["level"], group["function"]) == (
            12,
            "warn",
            "send_newsletter",
        )
        assert "queue.map" in group["hint"]
        assert view["functions"][0]["ran"] == 12

        together = running.trace_of(running.get("/batched"))
        view = ran(running, together, 1)
        assert view["n_plus_one"] == []
        run = view["jobs"][0]["runs"][0]["trace_id"]
        inside = running.api(f"traces/{run}")
        assert inside["kind"] == "job"
        # On PostgreSQL SAQ's own, which its driver's instrumentation tells, are among them.
        assert 12 <= inside["counts"]["queries"] <= 14
        assert inside["counts"]["n_plus_one"] == 1
        assert inside["counts"]["logs"] == 1

        assert running.get("/sum").json() == [1, 3, 5, 7]


def test_later_refused_and_failed(queue_url: str, tmp_path: Path) -> None:
    with serving(APP, tmp_path, environment=OURS | {"JOBS_URL": queue_url}) as running:
        view = jobs_of(running, running.trace_of(running.get("/later")))
        assert (view["count"], view["scheduled"], view["immediate"]) == (1, 1, 0)

        answer = running.get("/again")
        assert answer.json() == [True, False]
        view = jobs_of(running, running.trace_of(answer))
        assert (view["count"], view["refused"]) == (1, 1)
        assert [job["refused"] for job in view["jobs"]] == [False, True]

        view = ran(running, running.trace_of(running.get("/fails")), 1, "failed")
        first, second = view["jobs"][0]["runs"]
        assert (first["status"], first["attempt"]) == ("queued", 1)
        assert (second["status"], second["attempt"]) == ("failed", 2)
        assert second["error"] == "RuntimeError: this job always fails"


def test_a_job_is_refreshed_for_who_may_and_where_it_is_known(redis: Redis, tmp_path: Path) -> None:
    with serving(APP, tmp_path, environment=OURS | {"JOBS_URL": redis.url()}) as running:
        job = jobs_of(running, running.trace_of(running.get("/later")))["jobs"][0]["job_id"]
        assert refresh(running, job).json()["status"] == "queued"
        unknown = refresh(running, "saq:job:default:nowhere")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (409, "not_here")
        mine = headers_of(running)
        assert (
            refresh(
                running, job, Origin="https://evil.example", **_without(mine, "Origin")
            ).status_code
            != 200
        )
        assert refresh(running, job, Origin=running.url).status_code == 403
        assert running.get(f"/_toolbar/api/jobs/{job}/refresh").status_code == 405
        redis.flush()
        gone = refresh(running, job)
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "gone")


def _without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


@contextmanager
def worker(
    tmp_path: Path, url: str, endpoint: str, *flags: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own."""
    log = tmp_path / "worker.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        **OURS,
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "JOBS_URL": url,
        "OTEL_SERVICE_NAME": "worker",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
    }
    command = [BIN / "opentelemetry-instrument", "saq", "worker.settings", *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=APP, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(20)


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["one", "two"])
def test_a_worker_of_its_own_exports_runs_that_link_to_the_page(
    redis: Redis, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    app = OURS | {"JOBS_URL": redis.url(), "JOBS_WORKER": "none"}
    with receiving() as receiver, serving(APP, tmp_path, environment=app) as running:
        trace = running.trace_of(running.get("/loop"))
        view = jobs_of(running, trace)
        assert [job["runs"] for job in view["jobs"]] == [[]] * 12
        with worker(tmp_path, redis.url(), receiver.url, *flags) as process:
            log = (tmp_path / "worker.log").read_text
            wait_for(lambda: has_ended(running, view), 60, log)
            # At once: what was not yet sent has to be at the end.
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
        wait_for(lambda: len(receiver.named("process send_newsletter")) >= 12, 10, log)
        runs = receiver.named("process send_newsletter")
        linked = {link for span in runs for link in span["links"]}
        assert linked == {(trace, job["id"]) for job in view["jobs"]}
        assert {span["kind"] for span in runs} == {"consumer"}
        assert not any(span["parent_id"] for span in runs)


def has_ended(running: Server, view: dict[str, Any]) -> bool:
    return all(
        refresh(running, job["job_id"]).json()["status"] in ("complete", "aborted")
        for job in view["jobs"]
    )
