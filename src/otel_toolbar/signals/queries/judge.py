"""A request's queries together: their number, their time, and which of them repeat another."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple, cast

from otel_toolbar import semconv
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.insights.n_plus_one import Detector, is_bulk
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import record as records

SUBJECT = "queries"

_MAX_UNITS = 50
"""Jobs and received messages of one request whose queries are remembered: a websocket has many."""


class Asked(NamedTuple):
    """What tells a query from others, and from itself."""

    statement: Statement
    place: str
    """The app's call path, empty when it is not known."""
    identity: Hashable | None
    """Equal for the same statement with the same parameters; None when that cannot be told."""
    anchor: Hashable | None
    """Equal for all pages of the same list; of a query without pages the same as `identity`."""


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
        found = record.subjects.get(SUBJECT)
        if found is None:
            found = record.subjects[SUBJECT] = cls(options)
        return cast(Queries, found)

    def take(
        self, attributes: dict[str, Any], asked: Asked, nanoseconds: int, unit: int
    ) -> dict[str, Any]:
        """Take a query that has ended. Returns the flags that its span gets.

        `attributes` are its span's; `unit` is the span id of its job or message, 0 when it has none.
        """
        statement = asked.statement
        if statement.transaction:
            return {}
        self.count += 1
        self.nanoseconds += nanoseconds
        if not statement.reads_only or statement.volatile or is_bulk(attributes, statement):
            return {}
        detector = self._detectors.get(unit) or self._detector(unit)
        return _flags(detector, asked, nanoseconds)

    def _detector(self, unit: int) -> Detector:
        if len(self._detectors) >= _MAX_UNITS:
            oldest = self._detectors.pop(next(iter(self._detectors)))
            self._warnings += oldest.warnings
        options = self._options
        made = Detector(options.n_plus_one, options.n_plus_one_duration * 1_000_000)
        self._detectors[unit] = made
        return made


def _flags(detector: Detector, asked: Asked, nanoseconds: int) -> dict[str, Any]:
    known, repeat = detector.judge(
        asked.statement.fingerprint, asked.place, asked.identity, nanoseconds, asked.anchor
    )
    flags: dict[str, Any] = {}
    if known is not None:
        flags[semconv.QUERY_DUPLICATE if known == "duplicate" else semconv.QUERY_PAGE] = True
    if repeat is not None:
        flags[semconv.N_PLUS_ONE] = True
        flags[semconv.N_PLUS_ONE_GROUP] = repeat.group
        flags[semconv.N_PLUS_ONE_POSITION] = repeat.position
        flags[semconv.N_PLUS_ONE_RULE] = repeat.rule
    return flags
