"""What was logged during the request, each line with the span that it belongs to."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("logs", "Logs", view, badge, "otel_toolbar.panels.logs/panel.html")
