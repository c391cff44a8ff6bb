"""CPython's own asyncio tests and anyio's, run without us and with every loop watched: what differs?

    python tests/tasks/cpython.py                  # the asyncio tests of this Python
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
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODULES = [
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_free_threading",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_pep492",
    "test_protocols",
    "test_queues",
    "test_runners",
    "test_selector_events",
    "test_sock_lowlevel",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_transports",
    "test_unix_events",
    "test_waitfor",
]

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
EXPECTED: dict[str, str] = {}
"""Tests whose outcome differs, by the end of their id, and why that is right."""

SECONDS = 1200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "modules", nargs="*", help="modules of test.test_asyncio; default: those that matter"
    )
    parser.add_argument("--anyio", type=Path, help="folder of anyio's source")
    parser.add_argument(
        "--run", choices=("plain", "watched"), help="only run, print outcomes as JSON"
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    modules = [name for name in given.modules or MODULES if _is_there(name)]
    if given.run:
        seen = watch_every_loop() if given.run == "watched" else lambda: 0
        outcomes = run_anyio(given.anyio) if given.anyio else run_asyncio(modules)
        given.out.write_text(json.dumps({"outcomes": outcomes, "tasks": seen()}))
        return 0
    plain, watched = both(given, modules)
    print(f"{watched['tasks']} tasks were watched")
    assert watched["tasks"], "nothing was watched, so this says nothing"
    return report(plain["outcomes"], watched["outcomes"])


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(f"test.test_asyncio.{name}") is not None


# Running them.


def both(given: argparse.Namespace, modules: list[str]) -> tuple[Any, Any]:
    """Outcomes without and with us, from two processes that run at the same time."""
    processes: list[tuple[subprocess.Popen[bytes], Path, Path]] = []
    for kind in ("plain", "watched"):
        out = Path(os.environ.get("TMPDIR", "/tmp")) / f"asyncio-tests-{kind}-{os.getpid()}.json"
        log = out.with_suffix(".log")
        command = [sys.executable, __file__, "--run", kind, "--out", str(out), *modules]
        if given.anyio:
            command += ["--anyio", str(given.anyio)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
        with log.open("wb") as to:
            process = subprocess.Popen(command, env=environment, stdout=to, stderr=to)
        processes.append((process, out, log))
    found: list[Any] = []
    for process, out, log in processes:
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            for each, _, _ in processes:
                each.kill()
            raise SystemExit(f"not done after {SECONDS} s:\n{log.read_text()[-3000:]}") from None
        if not out.exists():
            raise SystemExit(f"the tests did not come to their end:\n{log.read_text()[-3000:]}")
        found.append(json.loads(out.read_text()))
        out.unlink()
        log.unlink()
    return found[0], found[1]


def run_asyncio(modules: list[str]) -> dict[str, str]:
    """Outcome of every test by id."""
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromName(f"test.test_asyncio.{m}") for m in modules)
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


def run_anyio(folder: Path) -> dict[str, str]:
    """Outcome of every test of anyio's on asyncio and uvloop."""
    import pytest

    outcomes: dict[str, str] = {}

    class Plugin:
        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call" or report.outcome != "passed":
                outcomes[report.nodeid] = report.outcome

    os.chdir(folder)
    chosen = [str(path) for name in ANYIO for path in sorted(Path("tests").glob(name))]
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
        test: (plain.get(test, "absent"), watched.get(test, "absent"))
        for test in sorted(plain.keys() | watched.keys())
        if plain.get(test) != watched.get(test)
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
