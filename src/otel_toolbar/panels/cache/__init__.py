"""What the app asked of its caches: what was there, what was not, and what it asked for again."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("cache", "Cache", view, badge, "otel_toolbar.panels.cache/panel.html")
