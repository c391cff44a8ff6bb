"""The reading shore: a folder a panel, which shows a trace from nothing but the trace.

A panel is a pure function from a `Trace` to a frozen dataclass, its *view*. The HTML tab, the JSON and
all else follow from the view: field names are the JSON's names, durations are in seconds, sizes in
bytes, times in unix seconds. To add one: a folder with `__init__.py` (its `Panel`), `view.py` and
`panel.html`, and a line in `BUILTIN`. Panels of other packages come through the entry point group
`otel_toolbar.panels`, an entry loading to a `Panel`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from otel_toolbar import guard
from otel_toolbar.model import Trace
from otel_toolbar.settings import Settings, selected

from .contract import Badge, Level, Panel

__all__ = ["BUILTIN", "ENTRY_POINTS", "Badge", "Level", "Panel", "View", "load"]

T = TypeVar("T")

BUILTIN = (
    "trace",
    "request",
    "response",
    "headers",
    "timing",
    "queries",
    "tasks",
    "websockets",
    "templates",
    "logs",
    "errors",
    "cache",
    "jobs",
    "graphql",
    "http",
    "dependencies",
    "events",
    "openapi",
    "routes",
    "settings",
    "versions",
    "alerts",
)
"""The built-in panels in the order of their tabs; each is a folder of this package."""

ENTRY_POINTS = "otel_toolbar.panels"
"""Entry point group of other packages' panels."""


_FAILED = Badge("failed", "error")


class View:
    """A panel applied to a trace, as far as somebody asks for it."""

    def __init__(self, panel: Panel, trace: Trace, options: Settings) -> None:
        self.panel = panel
        self._trace = trace
        self._options = options

    @property
    def data(self) -> Any:
        """The panel's view, made once for the trace; None when it failed."""
        return self._once("data", lambda: self.panel.view(self._trace, self._options), None)

    @property
    def badge(self) -> Badge:
        """The text on the tab, by a glance where the panel has one."""
        if self._trace.memo.get(self._key("data"), self) is None:
            return _FAILED
        return self._once("badge", self._look, _FAILED)

    def _look(self) -> Badge:
        if self.panel.glance is not None:
            return self.panel.glance(self._trace, self._options)
        return _FAILED if self.data is None else self.panel.badge(self.data)

    def _once(self, part: str, make: Callable[[], T], otherwise: T) -> T:
        memo, key = self._trace.memo, self._key(part)
        if key not in memo:
            try:
                memo[key] = make()
            except Exception:  # a broken panel must not take the others with it
                guard.failed(f"panel {self.panel.id}")
                memo[key] = otherwise
        return memo[key]

    def _key(self, part: str) -> tuple[object, ...]:
        return View, part, self.panel.id, self._options


@lru_cache(maxsize=8)
def load(choice: tuple[str, ...] = ()) -> tuple[Panel, ...]:
    """The panels that the setting `PANELS` selects, built-in ones first.

    A panel that cannot be loaded is reported and left out: the others are worth more than none.
    """
    panels = [importlib.import_module(f"{__name__}.{name}").PANEL for name in BUILTIN]
    panels += _foreign(known={panel.id for panel in panels})
    wanted = selected(choice, tuple(panel.id for panel in panels))
    return tuple(panel for panel in panels if panel.id in wanted)


def views(panels: Sequence[Panel], trace: Trace, options: Settings) -> list[View]:
    """Every panel's view, none made yet; a panel that fails has an error badge and no data."""
    return [view(panel, trace, options) for panel in panels]


def view(panel: Panel, trace: Trace, options: Settings) -> View:
    """One panel's view of a trace."""
    return View(panel, trace, options)


def _foreign(known: set[str]) -> list[Panel]:
    found: list[Panel] = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            panel: Panel = entry.load()
            if panel.id not in known:
                known.add(panel.id)
                found.append(panel)
        except Exception:
            guard.failed(f"panel entry point {entry.name}")
    return found
