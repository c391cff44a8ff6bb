"""Instrumentations that import their library begin when the app imports it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from otel_toolbar.distro import distro
from otel_toolbar.distro.distro import ToolbarDistro

LIBRARY = "toolbar_test_library"
THEIRS = "toolbar_test_instrumentation"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A library that nobody has imported yet."""
    (tmp_path / f"{LIBRARY}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(distro.LIBRARIES, "test", LIBRARY)
    yield LIBRARY
    sys.modules.pop(LIBRARY, None)
    sys.modules.pop(THEIRS, None)


def entry_point(begun: list[Any], error: Exception | None = None) -> Any:
    class Instrumentor:
        def instrument(self, **kwargs: Any) -> None:
            begun.append(kwargs)
            if error is not None:
                raise error

    return SimpleNamespace(
        name="test", module=THEIRS, attr="Instrumentor", load=lambda: Instrumentor
    )


def running(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> ToolbarDistro:
    runtime = SimpleNamespace(**({"enabled": True, "signals": ("cache", "http")} | facts))
    monkeypatch.setattr(distro, "install", lambda: runtime)
    return ToolbarDistro()


@pytest.mark.parametrize("error", [None, RuntimeError("theirs")])
def test_it_begins_with_the_import(
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception | None,
) -> None:
    begun: list[Any] = []
    running(monkeypatch).load_instrumentor(entry_point(begun, error), skip_dep_check=True)
    assert begun == []
    assert __import__(library).value == 1
    assert begun == [{"skip_dep_check": True}]
    assert ("instrumentation test failed" in caplog.text) is (error is not None)


def test_the_app_may_import_the_instrumentation_itself(
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / f"{THEIRS}.py").write_text(f"import {library}\nclass Instrumentor: ...\n")
    begun: list[Any] = []
    running(monkeypatch).load_instrumentor(entry_point(begun))
    __import__(THEIRS)
    assert (begun, caplog.text) == ([{}], "")


def test_an_instrumentation_of_two_libraries_waits_for_its_own(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{THEIRS}.py").write_text("class Instrumentor: ...\n")
    begun: list[Any] = []
    running(monkeypatch).load_instrumentor(entry_point(begun))
    __import__(THEIRS)
    assert begun == []
    __import__(library)
    assert begun == [{}]


@pytest.mark.parametrize("signals", [("cache",), ("http",)])
def test_without_its_signal_it_does_not(
    library: str, monkeypatch: pytest.MonkeyPatch, signals: tuple[str, ...]
) -> None:
    begun: list[Any] = []
    monkeypatch.setitem(distro.SIGNAL_OF, "test", "cache")
    running(monkeypatch, signals=signals).load_instrumentor(entry_point(begun))
    __import__(library)
    assert bool(begun) is ("cache" in signals)


def test_off_it_begins_at_once(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    running(monkeypatch, enabled=False).load_instrumentor(entry_point(begun))
    assert begun == [{}]
