"""What a panel is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from otel_toolbar.model import Trace
from otel_toolbar.settings import Settings

Level = Literal["ok", "info", "warn", "error"]
"""How much a badge asks for attention."""


@dataclass(frozen=True)
class Badge:
    """The short text on a panel's tab; None shows no text."""

    text: str | None = None
    level: Level = "ok"


@dataclass(frozen=True)
class Panel:
    """The declaration of a panel."""

    id: str
    title: str
    view: Callable[[Trace, Settings], Any]
    """From a trace to the panel's view, a frozen dataclass. Pure: no I/O, no globals."""
    badge: Callable[[Any], Badge]
    """From that view to the badge."""
    template: str
    """Jinja2 template of the tab, as `package/file`: `otel_toolbar.panels.trace/panel.html`.

    It is rendered with `view`, the dataclass, `query`, the page's parameters, and with the filters
    of `web/render.py`.
    """
    glance: Callable[[Trace, Settings], Badge] | None = None
    """The same badge without the view, where the view is much work: every tab of a page has its
    badge, and one of them is looked at."""
    parts: Mapping[str, Callable[[Trace, Settings], Any]] = field(
        default_factory=dict[str, Callable[[Trace, Settings], Any]]
    )
    """Further JSON by name, under `panels/{id}/{name}`: what is too heavy for the view, or is
    wanted by itself. Each is as pure as the view."""
