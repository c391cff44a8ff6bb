"""Source lines: of files that this process has loaded, for spans that it made, and of nothing else."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from otel_toolbar.panels.shared import Place
from otel_toolbar.web.source import Sources, loaded_files

TEXT = """def total(orders):
    result = 0

    for order in orders:
        result += order.total  # the call
    return result
"""
HERE = "p-1"


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    """A module of the app, loaded from a file."""
    path = tmp_path / "shop_orders.py"
    path.write_text(TEXT, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("shop_orders", path)
    assert spec is not None
    sys.modules["shop_orders"] = importlib.util.module_from_spec(spec)
    yield path
    del sys.modules["shop_orders"]


def place(path: object, line: int | None = 5) -> Place:
    return Place(str(path), line, "total", "")


def test_a_line_with_those_around_it(module: Path) -> None:
    found = Sources(HERE)(place(module), HERE, 2)
    assert found is not None
    assert [(each.number, each.text, each.here) for each in found.lines] == [
        (3, "", False),
        (4, "for order in orders:", False),
        (5, "    result += order.total  # the call", True),
        (6, "return result", False),
    ]
    assert (found.line, found.changed) == ("result += order.total  # the call", False)


def test_one_line_and_the_last_one(module: Path) -> None:
    found = Sources(HERE)(place(module, 6), HERE, 3)
    assert found is not None
    assert [each.number for each in found.lines] == [3, 4, 5, 6]
    alone = Sources(HERE)(place(module, 6), HERE)
    assert alone is not None
    assert [each.text for each in alone.lines] == ["return result"]


@pytest.mark.parametrize("line", [None, 0, 7, 10**9])
def test_a_line_that_is_not_there(module: Path, line: int | None) -> None:
    assert Sources(HERE)(place(module, line), HERE) is None


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "", "/proc/self/environ", "orders.py", "\0", "/dev/zero"]
)
def test_no_file_that_is_no_loaded_module_is_read(path: str) -> None:
    assert Sources(HERE)(place(path, 1), HERE) is None


def test_a_way_around_a_loaded_module_is_not_taken(module: Path, tmp_path: Path) -> None:
    secret = tmp_path / "settings.py"
    secret.write_text("PASSWORD = 'x'", encoding="utf-8")
    for path in (secret, f"{module}/../settings.py", f"{tmp_path}/./shop_orders.py"):
        assert Sources(HERE)(place(path, 1), HERE) is None


@pytest.mark.parametrize(("ours", "theirs"), [(HERE, "p-2"), (HERE, ""), ("", "")])
def test_spans_of_other_processes_are_shown_no_lines(module: Path, ours: str, theirs: str) -> None:
    assert Sources(ours)(place(module), theirs) is None


def test_no_place_no_lines() -> None:
    assert Sources(HERE)(None, HERE) is None


def test_a_changed_file_is_read_again_and_said_to_be_changed(module: Path) -> None:
    sources = Sources(HERE)
    assert sources(place(module, 1), HERE) is not None
    module.write_text("first = 1\n" + TEXT, encoding="utf-8")
    later = sources.started + 60
    os.utime(module, (later, later))
    found = sources(place(module, 1), HERE)
    assert found is not None
    assert (found.line, found.changed) == ("first = 1", True)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"# coding: nonsense\nx = 1\n"])
def test_a_file_that_cannot_be_read(module: Path, content: bytes) -> None:
    module.write_bytes(content)
    assert Sources(HERE)(place(module, 1), HERE) is None


def test_a_file_that_went_away_or_is_no_file(
    module: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module.unlink()
    assert Sources(HERE)(place(module, 1), HERE) is None
    os.mkfifo(module)  # opening it would wait for ever
    assert Sources(HERE)(place(module, 1), HERE) is None
    assert caplog.text == ""


def test_a_lazy_module_is_not_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"asked for {name}")

    class Slotted:
        __slots__ = ()

    monkeypatch.setitem(sys.modules, "lazy_module", Lazy("lazy_module"))
    monkeypatch.setitem(sys.modules, "no_module", Slotted())  # type: ignore[arg-type]
    assert __file__ in loaded_files()


def test_compiled_modules_are_not_source() -> None:
    assert all(file.endswith(".py") for file in loaded_files())
