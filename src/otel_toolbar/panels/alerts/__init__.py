"""Everything worth a look, from all signals: the worst first, each with its fix."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, glance, view

PANEL = Panel("alerts", "Alerts", view, badge, "otel_toolbar.panels.alerts/panel.html", glance)
