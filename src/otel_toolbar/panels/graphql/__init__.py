"""GraphQL: the operations of a request, their resolvers, variables, errors and complexity."""

from __future__ import annotations

from otel_toolbar.panels.contract import Panel

from .view import badge, view

PANEL = Panel("graphql", "GraphQL", view, badge, "otel_toolbar.panels.graphql/panel.html")
