"""CPython's own asyncio tests and anyio's, run without us and with every loop watched: what differs?

    python tests/tasks/cpython.py                  # this Python's tests of tasks and loops
    python tests/tasks/cpython.py --all            # those of sockets, transports and processes too
    python tests/tasks/cpython.py test_tasks       # one module of them
    python tests/tasks/cpython.py --anyio FOLDER   # the tests in an unpacked source of anyio

With the watch, all of a test runs within a request: every task gets its span, every callback its step.
It ends with 1 when an outcome differs that is not listed below with its reason. The standard library's
`test` package has to be there; some distributions leave it out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULES = [
    "test_base_events",
    "test_context",
    "test_eager_task_factory",
    "test_futures",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_waitfor",
]
"""Those about tasks and the loop."""

FURTHER = [
    "test_buffered_proto",
    "test_events",
    "test_free_threading",
    "test_futures2",
    "test_pep492",
    "test_protocols",
    "test_selector_events",
    "test_sock_lowlevel",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_transports",
    "test_unix_events",
]
"""Those about sockets, transports and processes: most of their time is waiting."""

ANYIO = [
    "test_taskgroups.py",
    "test_synchronization.py",
    "test_to_thread.py",
    "test_from_thread.py",
    "test_eventloop.py",
    "test_lowlevel.py",
    "test_futures.py",
    "test_debugging.py",
    "streams/test_memory.py",
]
_COUNTS_THREADS = (
    "it counts the process's threads, and from the first request on the watchdog is one"
)
EXPECTED: dict[str, str] = {
    f"TestBlockingPortalProvider::{name}[{backend}]": _COUNTS_THREADS
    for name in ("test_single_thread", "test_single_thread_overlapping")
    for backend in ("asyncio", "asyncio+uvloop")
}
"""Tests whose outcome differs, by the end of their id, and why that is right."""

KINDS = ("plain", "watched")
SECONDS = 1200
AGAIN = 3
"""How often a test has to differ to be called different, besides the first time."""
ABSENT = "absent"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "modules", nargs="*", help="modules of test.test_asyncio; default: those that matter"
    )
    parser.add_argument("--all", action="store_true", help="also the modules about sockets")
    parser.add_argument("--anyio", type=Path, help="folder of anyio's source")
    parser.add_argument("--run", choices=KINDS, help="only run, write outcomes as JSON")
    parser.add_argument("--only", type=Path, help="JSON list of the tests to run, by id")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.run:
        given.out.write_text(json.dumps(run(given)))
        return 0
    plain, watched = both(given)
    print(f"{watched['tasks']} tasks were watched")
    assert watched["tasks"], "nothing was watched, so this says nothing"
    return report(plain["outcomes"], judged(given, plain["outcomes"], watched["outcomes"]))


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Outcomes of the tests by id, and how many tasks were watched."""
    # Ignored in what a shell has put in the background; then some of the tests never end, and fill the memory.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    only = json.loads(given.only.read_text()) if given.only else None
    seen = watch_every_loop() if given.run == "watched" else lambda: 0
    chosen = given.modules or (MODULES + FURTHER if given.all else MODULES)
    modules = [name for name in chosen if _is_there(name)]
    outcomes = run_anyio(given.anyio, only) if given.anyio else run_asyncio(modules, only)
    return {"outcomes": outcomes, "tasks": seen()}


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(f"test.test_asyncio.{name}") is not None


# Running them.


def both(given: argparse.Namespace, only: list[str] | None = None) -> tuple[Any, Any]:
    """Outcomes without and with us, from two processes that run at the same time."""
    with tempfile.TemporaryDirectory() as name:
        started = [_start(given, kind, Path(name), only) for kind in KINDS]
        try:
            plain, watched = (_outcome(*each) for each in started)
        finally:
            for process, _ in started:
                process.kill()
                process.wait()
    return plain, watched


def _start(
    given: argparse.Namespace, kind: str, folder: Path, only: list[str] | None
) -> tuple[subprocess.Popen[bytes], Path]:
    out = folder / f"{kind}.json"
    command = [sys.executable, __file__, "--run", kind, "--out", str(out), *given.modules]
    if given.anyio:
        command += ["--anyio", str(given.anyio)]
    if given.all:
        command.append("--all")
    if only is not None:
        chosen = folder / "only.json"
        chosen.write_text(json.dumps(only))
        command += ["--only", str(chosen)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "default"}
    with out.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log), out


def _outcome(process: subprocess.Popen[bytes], out: Path) -> Any:
    log = out.with_suffix(".log")
    try:
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"not done after {SECONDS} s:\n{log.read_text()[-3000:]}") from None
    if not out.exists():
        raise SystemExit(f"the tests did not come to their end:\n{log.read_text()[-3000:]}")
    return json.loads(out.read_text())


def judged(
    given: argparse.Namespace, plain: dict[str, str], watched: dict[str, str]
) -> dict[str, str]:
    """The outcomes with us, where the same test differs each time and only because of us.

    What differs is run again without the others. Who passes with us or fails without us is unsteady:
    it says nothing of us.
    """
    watched = dict(watched)
    for _ in range(AGAIN):
        suspects = [
            test for test in plain.keys() | watched.keys() if _differs(test, plain, watched)
        ]
        if not suspects:
            break
        print(f"once more: {', '.join(sorted(suspects))}", flush=True)
        before, after = (found["outcomes"] for found in both(given, sorted(suspects)))
        for test in suspects:
            if not _differs(test, before, after) or _differs(test, plain, before):
                watched[test] = plain.get(test, ABSENT)
    return watched


def _differs(test: str, one: dict[str, str], other: dict[str, str]) -> bool:
    return one.get(test, ABSENT) != other.get(test, ABSENT)


def run_asyncio(modules: list[str], only: list[str] | None) -> dict[str, str]:
    """Outcome of every test by id."""
    names = [f"test.test_asyncio.{name}" for name in modules] if only is None else only
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    outcomes: dict[str, str] = {}

    class Result(unittest.TextTestResult):
        def addSuccess(self, test: Any) -> None:
            outcomes.setdefault(test.id(), "passed")

        def addError(self, test: Any, err: Any) -> None:
            super().addError(test, err)
            outcomes[test.id()] = "error"

        def addFailure(self, test: Any, err: Any) -> None:
            super().addFailure(test, err)
            outcomes[test.id()] = "failed"

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            super().addSubTest(test, subtest, err)
            if err is not None:
                outcomes[test.id()] = "failed"

        def addSkip(self, test: Any, reason: str) -> None:
            super().addSkip(test, reason)
            outcomes[test.id()] = "skipped"

    unittest.TextTestRunner(resultclass=Result, verbosity=2).run(suite)
    return outcomes


def run_anyio(folder: Path, only: list[str] | None) -> dict[str, str]:
    """Outcome of every test of anyio's on asyncio and uvloop."""
    import pytest

    outcomes: dict[str, str] = {}

    class Plugin:
        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call" or report.outcome != "passed":
                outcomes[report.nodeid] = report.outcome

    os.chdir(folder)
    chosen = only or [str(path) for name in ANYIO for path in sorted(Path("tests").glob(name))]
    pytest.main(
        [*chosen, "-q", "-p", "no:cacheprovider", "-k", "asyncio", "-m", "not network"],
        plugins=[Plugin()],
    )
    return outcomes


# Watching.


def watch_every_loop() -> Callable[[], int]:
    """Have every loop that is made watched, and everything in it belong to a request.

    Returns what tells how many tasks that request had.
    """
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanKind

    from otel_toolbar.settings import Settings
    from otel_toolbar.signals import tasks
    from otel_toolbar.signals.core import record as records
    from otel_toolbar.signals.core import steps
    from otel_toolbar.signals.tasks import observer as observers
    from otel_toolbar.signals.tasks.account import Account

    tasks.install(Settings(max_tasks=10**9, blocking_threshold=5))
    observer = observers._observer
    assert observer is not None
    record = records.Record(1000)
    span = TracerProvider().get_tracer("tests").start_span("GET /", kind=SpanKind.SERVER)
    record.server = span  # type: ignore[assignment]
    record.root = span.get_span_context()
    record.trace_id = span.get_span_context().trace_id

    def watch(loop: Any) -> None:
        seen = steps._watch(loop, observer)
        if record.account is None:
            record.account = Account(observer, seen, record, steps.Work(), 10**9)
            record.account.watch = None

    _after_init(asyncio.BaseEventLoop, watch)
    try:
        import uvloop
    except ImportError:
        pass
    else:
        _after_init(uvloop.Loop, watch)
    records.enter(record)
    return lambda: record.account.tasks if record.account else 0


def _after_init(kind: Any, then: Any) -> None:
    real = kind.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        then(self)

    kind.__init__ = init


# Comparing.


def report(plain: dict[str, str], watched: dict[str, str]) -> int:
    """Say what differs; 1 when something does that is not expected."""
    differences = {
        test: (plain.get(test, ABSENT), watched.get(test, ABSENT))
        for test in sorted(plain.keys() | watched.keys())
        if _differs(test, plain, watched)
    }
    unexpected = 0
    for test, (before, after) in differences.items():
        reason = next((why for end, why in EXPECTED.items() if test.endswith(end)), None)
        unexpected += reason is None
        print(f"{test}: {before} without us, {after} with us. {reason or 'Not expected!'}")
    counts = {kind: list(plain.values()).count(kind) for kind in sorted(set(plain.values()))}
    print(f"{sys.version.split()[0]}: {len(plain)} tests {counts}, {len(differences)} differ")
    return 1 if unexpected or not plain else 0


if __name__ == "__main__":
    raise SystemExit(main())
