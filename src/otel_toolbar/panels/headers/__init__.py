"""Headers of both directions, the trace context and the security headers judged."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("headers", "Headers", view, badge, "otel_toolbar.panels.headers/panel.html")
