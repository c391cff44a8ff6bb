"""A request's queries together: their number, their time, and which of them repeat another."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from otel_toolbar import semconv
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.insights.n_plus_one import Detector, is_bulk
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import record as records

SUBJECT = "queries"

_MAX_UNITS = 50
"""Jobs and received messages of one request whose queries are remembered: a websocket has many."""


class Queries:
    """The subject `queries` of a request's record."""

    def __init__(self, options: Settings) -> None:
        self.count = 0
        self.nanoseconds = 0
        self._options = options
        self._warnings = 0
        """Of detectors that have been let go."""
        self._detectors: dict[int, Detector] = {}
        """By the span id of the job or message, 0 for the request itself."""

    def summary(self) -> dict[str, int | float]:
        return {
            semconv.QUERIES_COUNT: self.count,
            semconv.QUERIES_DURATION: self.nanoseconds / 1e9,
            semconv.N_PLUS_ONE_COUNT: self._warnings
            + sum(detector.warnings for detector in self._detectors.values()),
        }

    @classmethod
    def of(cls, record: records.Record, options: Settings) -> Queries:
        """The request's, made with its first query."""
        found: Any = record.subjects.get(SUBJECT)
        if found is None:
            found = record.subjects[SUBJECT] = cls(options)
        return found

    def add(self, statement: Statement, nanoseconds: int) -> None:
        """Count a query that has ended."""
        if not statement.transaction:
            self.count += 1
            self.nanoseconds += nanoseconds

    def detector(self, unit: int) -> Detector:
        """What judges the queries of a job or message, by its span id; 0 for those of neither."""
        return self._detectors.get(unit) or self._detector(unit)

    def _detector(self, unit: int) -> Detector:
        if len(self._detectors) >= _MAX_UNITS:
            oldest = self._detectors.pop(next(iter(self._detectors)))
            self._warnings += oldest.warnings
        options = self._options
        made = Detector(options.n_plus_one, options.n_plus_one_duration * 1_000_000)
        self._detectors[unit] = made
        return made


def is_judged(statement: Statement, attributes: dict[str, Any]) -> bool:
    """True for a query that the N+1 rule is about. `attributes` are its span's."""
    return (
        statement.reads_only
        and not statement.volatile
        and not statement.transaction
        and not is_bulk(attributes, statement)
    )


def flag(
    attributes: dict[str, Any],
    detector: Detector,
    statement: Statement,
    place: str,
    identity: Hashable | None,
    anchor: Hashable | None,
    nanoseconds: int,
) -> None:
    """Judge a query that has ended, and write down what it repeats; arguments as for `Detector`."""
    known, repeat = detector.judge(statement.fingerprint, place, identity, nanoseconds, anchor)
    if known is not None:
        attributes[semconv.QUERY_DUPLICATE if known == "duplicate" else semconv.QUERY_PAGE] = True
    if repeat is not None:
        attributes[semconv.N_PLUS_ONE] = True
        attributes[semconv.N_PLUS_ONE_GROUP] = repeat.group
        attributes[semconv.N_PLUS_ONE_POSITION] = repeat.position
        attributes[semconv.N_PLUS_ONE_RULE] = repeat.rule
