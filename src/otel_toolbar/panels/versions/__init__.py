"""Python, packages, server, and which instrumentations are active and why others are not."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("versions", "Versions", view, badge, "otel_toolbar.panels.versions/panel.html")
