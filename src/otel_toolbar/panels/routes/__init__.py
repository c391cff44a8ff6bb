"""All routes of the app that served the request, the matched one marked."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("routes", "Routes", view, badge, "otel_toolbar.panels.routes/panel.html")
