"""What the framework injected: values, time, and what needed what."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel(
    "dependencies", "Dependencies", view, badge, "otel_toolbar.panels.dependencies/panel.html"
)
