"""Where the event loop went: its tasks on a time line, what they waited for, what blocked it."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .timeline import timeline
from .view import badge, view

PANEL = Panel(
    "tasks",
    "Tasks",
    view,
    badge,
    "otel_toolbar.panels.tasks/panel.html",
    parts={"timeline": timeline},
)
