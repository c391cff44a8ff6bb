"""The HTTP calls that the app made: to whom, how long, and which of them again."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("http", "HTTP", view, badge, "otel_toolbar.panels.http/panel.html")
