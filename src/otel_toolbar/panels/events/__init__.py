"""Litestar's lifecycle hooks, event listeners and exception handlers: what ran, and what is declared."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("events", "Events", view, badge, "otel_toolbar.panels.events/panel.html")
