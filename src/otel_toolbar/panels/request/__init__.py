"""What was asked: route, endpoint, parameters, cookies, client."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("request", "Request", view, badge, "otel_toolbar.panels.request/panel.html")
