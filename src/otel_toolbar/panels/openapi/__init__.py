"""The matched operation of the app's OpenAPI document, against what was sent and answered."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("openapi", "OpenAPI", view, badge, "otel_toolbar.panels.openapi/panel.html")
