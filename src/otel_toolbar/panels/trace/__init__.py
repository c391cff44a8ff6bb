"""All spans of the trace on one time line."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, glance, view

PANEL = Panel("trace", "Trace", view, badge, "otel_toolbar.panels.trace/panel.html", glance)
