"""The websocket connections of the trace, with their messages."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("websockets", "Websockets", view, badge, "otel_toolbar.panels.websockets/panel.html")
