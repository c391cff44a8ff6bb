"""The alerts of a trace, the worst first, with what shows each and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otel_toolbar.insights import alerts
from otel_toolbar.insights.hint import Figure, Hint
from otel_toolbar.model import Trace
from otel_toolbar.panels import BUILTIN, shared
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings, selected

_MOST_SPANS = 50
"""Spans of one alert that are named."""


@dataclass(frozen=True)
class Evidence:
    """A span that an alert is about."""

    span_id: str
    name: str
    start: float
    """After the start of the trace, in s."""
    duration: float
    """In s; of a running span, until now."""


@dataclass(frozen=True)
class Alert:
    """One alert."""

    rule: str
    title: str
    severity: str
    """`error`, `warn` or `info`; the last is not counted."""
    evidence: str
    figures: tuple[Figure, ...]
    fix: str
    link: str
    """A page that explains it."""
    panel: str
    """Id of the panel that shows more; empty when it is not shown."""
    place: shared.Place | None
    """The line of the app that it is about."""
    span_count: int
    spans: tuple[Evidence, ...]
    """The first of them."""
    silence: str
    """The environment variable with the value that silences it, on top of what is silenced already."""


@dataclass(frozen=True)
class Looked:
    """A rule that was asked."""

    rule: str
    title: str
    when: str


@dataclass(frozen=True)
class AlertsView:
    """The panel."""

    count: int
    """Errors and warnings: the number on the badge and in the history."""
    errors: int
    warnings: int
    infos: int
    alerts: tuple[Alert, ...]
    """The worst first."""
    looked_for: tuple[Looked, ...]
    silenced: tuple[str, ...]
    """Names that the setting leaves out."""
    running: bool


def view(trace: Trace, settings: Settings) -> AlertsView:
    """The alerts of a trace."""
    found = alerts.find(trace, settings)
    by_severity = [alert.severity for alert in found]
    known = alerts.names()
    wanted = selected(settings.alerts, known)
    return AlertsView(
        count=len(alerts.counted(trace, settings)),
        errors=by_severity.count("error"),
        warnings=by_severity.count("warn"),
        infos=by_severity.count("info"),
        alerts=tuple(_alert(trace, alert, settings) for alert in found),
        looked_for=tuple(
            Looked(rule.id, rule.title, rule.when) for rule in alerts.RULES if rule.id in wanted
        ),
        silenced=tuple(name for name in known if name not in wanted),
        running=trace.running,
    )


def badge(view: AlertsView) -> Badge:
    """How many are counted; what is only worth knowing shows no number."""
    return _badge(view.errors, view.warnings)


def glance(trace: Trace, settings: Settings) -> Badge:
    found = [alert.severity for alert in alerts.counted(trace, settings)]
    return _badge(found.count("error"), found.count("warn"))


def _badge(errors: int, warnings: int) -> Badge:
    if not errors + warnings:
        return Badge()
    return Badge(str(errors + warnings), "error" if errors else "warn")


def _alert(trace: Trace, alert: Hint, settings: Settings) -> Alert:
    return Alert(
        rule=alert.rule,
        title=alert.title,
        severity=alert.severity,
        evidence=alert.evidence,
        figures=alert.figures,
        fix=alert.fix,
        link=alert.link,
        panel=_panel(alert, settings),
        place=_place(alert, settings),
        span_count=len(alert.spans),
        spans=tuple(_evidence(trace, alert.spans[:_MOST_SPANS])),
        silence=f"{alerts.SETTING}={','.join((*settings.alerts, f'-{alert.rule}'))}",
    )


def _panel(alert: Hint, settings: Settings) -> str:
    name = alerts.panel(alert)
    return name if name in selected(settings.panels, BUILTIN) else ""


def _place(alert: Hint, settings: Settings) -> shared.Place | None:
    place = alert.place
    if place is None:
        return None
    link = shared.editor_link(place.file, place.line, settings.editor)
    return shared.Place(place.file, place.line, place.function, link)


def _evidence(trace: Trace, span_ids: Sequence[str]) -> list[Evidence]:
    return [
        Evidence(
            span.span_id,
            shared.title(span),
            shared.offset(trace, span),
            shared.seconds(span.duration_at(trace.now)),
        )
        for span in map(trace.by_id.__getitem__, span_ids)
    ]
