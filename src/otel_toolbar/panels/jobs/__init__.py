"""The jobs that were sent, what came of them, and of a job's run, where it comes from."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("jobs", "Jobs", view, badge, "otel_toolbar.panels.jobs/panel.html")
