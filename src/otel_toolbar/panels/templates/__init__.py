"""What templates rendered, how long each took itself, and what they asked the database meanwhile."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("templates", "Templates", view, badge, "otel_toolbar.panels.templates/panel.html")
