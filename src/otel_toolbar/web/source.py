"""Lines of the app's source beside the places that a trace names, read when somebody looks.

A trace is not to be believed: it may be a file that somebody sent, or come from another service. So
only lines of files that *this process has loaded as Python modules* are read, for spans that say that
this process made them, and nothing else is ever opened.
"""

from __future__ import annotations

import stat
import sys
import time
import tokenize
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from otel_toolbar import guard
from otel_toolbar.panels.shared import Place

_LARGEST = 4 * 2**20
"""Bytes of a source file that is read."""
_WIDEST = 200
"""Characters of a line that are shown."""


@dataclass(frozen=True)
class Line:
    number: int
    text: str
    here: bool
    """It is the line that the place names."""


@dataclass(frozen=True)
class Source:
    """A few lines around a place."""

    lines: tuple[Line, ...]
    changed: bool
    """The file has been written since this process started: the lines may have moved."""

    @property
    def line(self) -> str:
        """The named line alone."""
        return next((each.text.strip() for each in self.lines if each.here), "")


@dataclass
class Sources:
    """Reads for one page. `process_id` is this process's, as its spans say it; empty shows nothing."""

    process_id: str = ""
    started: float = field(default_factory=time.time)
    """When the process began, in unix seconds."""

    def __call__(self, place: Place | None, process: str, around: int = 0) -> Source | None:
        """The line of a place and `around` lines before and after; None where it may not be shown.

        `process` is the id of the process that made the span.
        """
        if place is None or not place.line or not self.process_id or process != self.process_id:
            return None
        try:
            return self._read(place.path, place.line, around)
        except OSError:  # the file has gone
            return None
        except Exception:
            guard.failed("reading source lines")
            return None

    @cached_property
    def _loaded(self) -> frozenset[str]:
        return loaded_files()

    def _read(self, path: str, number: int, around: int) -> Source | None:
        if path not in self._loaded:
            return None
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            return None
        text = _lines(path, found.st_mtime_ns)
        if number > len(text):
            return None
        first, last = max(1, number - around), min(len(text), number + around)
        shown = tuple(Line(n, text[n - 1][:_WIDEST], n == number) for n in range(first, last + 1))
        return Source(_dedented(shown), found.st_mtime > self.started)


def loaded_files() -> frozenset[str]:
    """Paths of the Python files that this process has loaded, as their modules name them."""
    files: set[str] = set()
    for module in list(sys.modules.values()):
        try:
            # Past the module's own code: a lazy one would be loaded by being asked.
            file = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:  # anything may stand in sys.modules
            continue
        if type(file) is str and file.endswith(".py") and Path(file).is_absolute():
            files.add(file)
    return frozenset(files)


@lru_cache(maxsize=64)
def _lines(path: str, _changed: int) -> list[str]:
    """All lines of a file in its own encoding; read again when it has changed."""
    try:
        with tokenize.open(path) as file:
            return file.read().expandtabs(4).splitlines()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return []


def _dedented(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    indents = [len(each.text) - len(each.text.lstrip()) for each in lines if each.text.strip()]
    cut = min(indents, default=0)
    return tuple(Line(each.number, each.text[cut:].rstrip(), each.here) for each in lines)
