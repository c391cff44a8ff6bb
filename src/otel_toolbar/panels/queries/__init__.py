"""The SQL of the request: repeated, grouped and in order."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, glance, view

PANEL = Panel("queries", "Queries", view, badge, "otel_toolbar.panels.queries/panel.html", glance)
