"""The settings of the app, of the toolbar and of OpenTelemetry, masked."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("settings", "Settings", view, badge, "otel_toolbar.panels.settings/panel.html")
