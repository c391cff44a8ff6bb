"""Where the time of the request went."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, glance, view

PANEL = Panel("timing", "Timing", view, badge, "otel_toolbar.panels.timing/panel.html", glance)
