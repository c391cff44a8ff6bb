"""What went wrong: exceptions with their frames, and what the request had done by then."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("errors", "Errors", view, badge, "otel_toolbar.panels.errors/panel.html")
