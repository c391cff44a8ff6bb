"""The settings that the process told. They were masked before they left it."""

from __future__ import annotations

from dataclasses import dataclass

from otel_toolbar.insights import process
from otel_toolbar.model import Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import Field
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class GroupView:
    """Settings that belong together."""

    title: str
    values: tuple[Field, ...]


@dataclass(frozen=True)
class SettingsView:
    """The panel."""

    known: bool
    """False where the process has told no facts."""
    groups: tuple[GroupView, ...]
    """The app's first, then the toolbar's and OpenTelemetry's."""


def view(trace: Trace, _: Settings) -> SettingsView:
    """The settings of the process that served the trace."""
    groups = tuple(
        GroupView(group.title, tuple(Field(name, value) for name, value in group.values))
        for group in process.settings(trace)
    )
    return SettingsView(trace.process is not None, groups)


def badge(_: SettingsView) -> Badge:
    """Nothing: settings ask for no attention."""
    return Badge()
