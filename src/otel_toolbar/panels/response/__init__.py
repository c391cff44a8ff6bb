"""What was answered: status, size, type, and how it was sent."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("response", "Response", view, badge, "otel_toolbar.panels.response/panel.html")
