"""What watches a library is imported and installed with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_toolbar.signals.core.imports import WithLibrary

FIRST, SECOND = "toolbar_test_first", "toolbar_test_second"


class Watcher:
    """Hooks that note what is asked of them."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def imported(self) -> Watcher:
        self.asked.append("import")
        return self

    def install(self, *settings: Any) -> None:
        self.asked.append(settings)

    def uninstall(self) -> None:
        self.asked.append("uninstall")


@pytest.fixture(autouse=True)
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two libraries that nobody has imported yet."""
    for name in (FIRST, SECOND):
        (tmp_path / f"{name}.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in (FIRST, SECOND):
        sys.modules.pop(name, None)


def test_it_begins_with_any_of_its_libraries() -> None:
    watcher = Watcher()
    hooks = WithLibrary(watcher.imported, FIRST, SECOND)
    hooks.install("options", 1)
    assert watcher.asked == []
    __import__(SECOND)
    assert watcher.asked == ["import", ("options", 1)]
    hooks.uninstall()
    assert watcher.asked[2:] == ["uninstall"]
    hooks.install("others", 2)
    assert watcher.asked[3:] == ["import", ("others", 2)]


def test_uninstalled_it_does_not() -> None:
    watcher = Watcher()
    hooks = WithLibrary(watcher.imported, FIRST)
    hooks.install()
    hooks.uninstall()
    __import__(FIRST)
    assert watcher.asked == []


def test_a_fault_of_ours_is_not_the_librarys(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Watcher:
        raise RuntimeError("a fault of ours")

    WithLibrary(broken, FIRST).install()
    __import__(FIRST)
    assert FIRST in sys.modules
    assert f"hooks of {FIRST} failed" in caplog.text
