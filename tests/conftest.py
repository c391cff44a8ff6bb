"""Shared by all tests: a skip is a failure where the machine is meant to have every part."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from otel_toolbar import guard

# A benchmark is a benchmark: no test here fails for being slow.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

NO_SKIPS = os.environ.get("TOOLBAR_TEST_NO_SKIPS") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and every part must be here: {report.longrepr[-1]}"
    return report


@pytest.fixture(autouse=True)
def fresh_guard() -> Iterator[None]:
    """What is reported once a process is reported once a test."""
    guard.forget()
    yield
    guard.forget()
