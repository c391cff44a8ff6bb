"""N+1: one statement that runs again and again from one place, because it runs for each item of a list.

One rule for the request that runs and for the trace that is read later.

* Statements are alike when their fingerprint and the app's call site are the same. The parent span
  plays no part: tasks, includes and spans of the app within the loop change nothing.
* Only statements that read, one at a time: a batch is the cure and not the disease, and so is what an
  eager loader fetches in chunks (a list of `BULK` values, or marked as an eager load).
* An exact repeat, statement and parameters the same, is a *duplicate*. A group of nothing but
  duplicates is no N+1, however many: the same user is looked up again and again, and the cure is to
  keep the answer. As soon as a second set of parameters appears it is one, and then every execution
  counts, duplicates too: twenty orders with four products between them, looked up one by one, are
  twenty queries that should have been one. Who made the statement decides what "the same" is: lazy
  loads for different objects are different, even where the foreign keys are equal.
* Two are worth knowing (`repeat`); as many as the threshold (`count`), or two that take long together
  (`duration`), are a warning.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from otel_toolbar import semconv
from otel_toolbar.model import Span, Trace

from . import reading
from .fingerprint import Statement, analyze, digest
from .secrets import MASK

BULK: Final = 100
"""Values of a list from which a statement fetches many at once."""

_MAX_GROUPS, _MAX_SEEN = 2000, 1000
"""Groups of a scope, and parameter sets of a group, that are remembered: a websocket may stay for days."""

_WARNINGS = ("count", "duration")


class Repeat(NamedTuple):
    """What is known of a repeated query when it ends."""

    group: str
    """16 hex digits over fingerprint and call site."""
    position: int
    """Among all executions of the group, from 2."""
    rule: str
    """`repeat`, or the threshold that the group has reached by now: `count` or `duration`."""


class _Group:
    __slots__ = ("count", "distinct", "duration", "id", "rule", "seen")

    def __init__(self, group: str) -> None:
        self.id = group
        self.count = self.distinct = self.duration = 0
        self.seen: set[Hashable] = set()
        self.rule = ""

    def add(self, identity: Hashable | None, duration: int) -> None:
        self.count += 1
        self.duration += duration
        if identity is None:
            self.distinct += 1
        elif identity not in self.seen:
            self.distinct += 1
            if len(self.seen) < _MAX_SEEN:
                self.seen.add(identity)


class Detector:
    """Applies the rule to the queries of one scope, told in the order in which they end.

    `count` executions, or two that take `duration` ns together, make a group a warning.
    """

    def __init__(self, count: int, duration: int) -> None:
        self.warnings = 0
        """Groups that have reached a warning."""
        self._count = count
        self._duration = duration
        self._groups: dict[tuple[str, str], _Group] = {}

    def is_duplicate(self, fingerprint: str, call_site: str, identity: Hashable | None) -> bool:
        """True when the same statement has ended with the same parameters, from the same place."""
        group = self._groups.get((fingerprint, call_site))
        return group is not None and identity is not None and identity in group.seen

    def observe(
        self, fingerprint: str, call_site: str, identity: Hashable | None, duration: int
    ) -> Repeat | None:
        """Take a query that has ended. Returns what to flag it with when it is part of an N+1.

        `identity` is equal for the same statement and parameters, None where that is not known:
        then it is taken for different. `duration` is in ns.
        """
        group = self._group(fingerprint, call_site)
        group.add(identity, duration)
        if group.distinct < 2:
            return None
        rule = self._rule(group)
        if rule in _WARNINGS and group.rule not in _WARNINGS:
            self.warnings += 1
        group.rule = rule
        return Repeat(group.id, group.count, rule)

    def _group(self, fingerprint: str, call_site: str) -> _Group:
        key = (fingerprint, call_site)
        group = self._groups.get(key)
        if group is None:
            group = _Group(group_id(fingerprint, call_site))
            if len(self._groups) < _MAX_GROUPS:
                self._groups[key] = group
        return group

    def _rule(self, group: _Group) -> str:
        if group.count >= self._count:
            return "count"
        return "duration" if group.duration >= self._duration else "repeat"


def group_id(fingerprint: str, call_site: str) -> str:
    """The id that the queries of a group share."""
    return digest(f"{fingerprint}\n{call_site}")


# The trace that is read later.


@dataclass(frozen=True)
class Finding:
    """Queries of one scope that are alike."""

    group: str
    """16 hex digits over fingerprint and call site."""
    scope: Span | None
    """The request, job or message that they belong to; None when no span says."""
    spans: tuple[Span, ...]
    """In the order in which they ended."""
    call_site: str
    """`file:line`, empty when it is not known."""
    duration: int
    """ns, together."""


@dataclass(frozen=True)
class NPlusOne(Finding):
    """A statement that ran for each item of a list."""

    rule: str
    """`repeat`, `count` or `duration`."""
    distinct: int
    """Sets of parameters, as far as they are known."""
    relationship: str
    """`Order.items` when it was lazy loading, else empty."""

    @property
    def warning(self) -> bool:
        """True when it is more than worth knowing."""
        return self.rule in _WARNINGS


@dataclass(frozen=True)
class Duplicates(Finding):
    """One statement that ran again with the same parameters; the first of them is the one needed."""


@dataclass(frozen=True)
class Findings:
    """All of a trace, those that took longest first."""

    n_plus_one: tuple[NPlusOne, ...]
    duplicates: tuple[Duplicates, ...]


def find(trace: Trace, count: int, duration: int) -> Findings:
    """Apply the rule to a trace. `count` and `duration` (ns) as for `Detector`.

    Kept with the trace: its summary and several panels ask for it.
    """
    key = (find, count, duration)
    if key not in trace.memo:
        trace.memo[key] = _find(trace, count, duration)
    return trace.memo[key]


def _find(trace: Trace, count: int, duration: int) -> Findings:
    scopes: dict[str, _Scope] = {}
    for span, statement in _candidates(trace):
        owner = trace.owners.get(span.span_id)
        key = owner.span_id if owner is not None else ""
        scope = scopes.setdefault(key, _Scope(owner, Detector(count, duration)))
        scope.take(span, statement)
    return Findings(
        tuple(sorted((f for s in scopes.values() for f in s.n_plus_one()), key=_longest)),
        tuple(sorted((f for s in scopes.values() for f in s.duplicates()), key=_longest)),
    )


def _longest(finding: Finding) -> int:
    return -finding.duration


def _candidates(trace: Trace) -> Iterator[tuple[Span, Statement]]:
    """The queries that the rule is about, in the order in which they ended."""
    for span in sorted(reading.queries(trace), key=trace.end_of):
        if span.running or span.flag(semconv.DETACHED):
            continue
        statement = read_statement(trace, span)
        if not is_bulk(span.attributes, statement) and statement.reads_only:
            yield span, statement


def read_statement(trace: Trace, span: Span) -> Statement:
    """The statement of a query, read once for the trace: with literals in it no two are the same."""
    text, mysql = reading.statement(span), reading.database_system(span) in _MYSQL
    key = (read_statement, text, mysql)
    if key not in trace.memo:
        trace.memo[key] = analyze(text, mysql)
    return trace.memo[key]


_MYSQL = ("mysql", "mariadb")
_BULK_MARKS = (semconv.DB_OPERATION_BATCH_SIZE, semconv.QUERY_EAGER_LOADED)


def is_bulk(attributes: Container[str], statement: Statement) -> bool:
    """True for a statement that fetches for many items at once. `attributes` are its span's."""
    marked = any(mark in attributes for mark in _BULK_MARKS)
    return marked or statement.longest_list >= BULK


class _Members:
    """The queries of one group so far."""

    def __init__(self, call_site: str) -> None:
        self.call_site = call_site
        self.spans: list[Span] = []
        self.same: dict[Hashable, list[Span]] = {}
        self.repeat: Repeat | None = None
        self.distinct = 0


class _Scope:
    """The queries of one request, job or message."""

    def __init__(self, owner: Span | None, detector: Detector) -> None:
        self._owner = owner
        self._detector = detector
        self._groups: dict[str, _Members] = {}

    def take(self, span: Span, statement: Statement) -> None:
        fingerprint = reading.text(span, semconv.QUERY_FINGERPRINT) or statement.fingerprint
        call_site = _call_site(span)
        identity = _identity(span, statement)
        again = self._detector.is_duplicate(fingerprint, call_site, identity)
        if again and _was_judged(span) and not span.flag(semconv.QUERY_DUPLICATE):
            # Whoever recorded it saw values that are masked here, or two objects' lazy loads.
            again, identity = False, None
        repeat = self._detector.observe(
            fingerprint, call_site, identity, span.duration_at(span.end or span.start)
        )
        members = self._groups.setdefault(group_id(fingerprint, call_site), _Members(call_site))
        members.spans.append(span)
        members.repeat = repeat or members.repeat
        members.distinct += not again
        members.same.setdefault(span.span_id if identity is None else identity, []).append(span)

    def n_plus_one(self) -> Iterator[NPlusOne]:
        for group, members in self._groups.items():
            if members.repeat is not None:
                yield NPlusOne(
                    group,
                    self._owner,
                    tuple(members.spans),
                    members.call_site,
                    _total(members.spans),
                    members.repeat.rule,
                    members.distinct,
                    _relationship(members.spans),
                )

    def duplicates(self) -> Iterator[Duplicates]:
        for group, members in self._groups.items():
            for same in members.same.values():
                if len(same) > 1:
                    yield Duplicates(
                        group, self._owner, tuple(same), members.call_site, _total(same)
                    )


def _was_judged(span: Span) -> bool:
    return semconv.QUERY_FINGERPRINT in span.attributes


def _total(spans: list[Span]) -> int:
    return sum(span.duration_at(span.end or span.start) for span in spans)


def _relationship(spans: list[Span]) -> str:
    told = (reading.text(span, semconv.QUERY_LAZY_LOADED_FROM) for span in spans)
    return next(filter(None, told), "")


def _call_site(span: Span) -> str:
    path = reading.text(span, semconv.CODE_FILE_PATH, semconv.OLD_CODE_FILE_PATH)
    line = reading.integer(span, semconv.CODE_LINE_NUMBER, semconv.OLD_CODE_LINE_NUMBER)
    return f"{path}:{line}" if path and line is not None else path


def _identity(span: Span, statement: Statement) -> Hashable | None:
    """Equal for the same statement and parameters; None when the parameters are not all known."""
    values = tuple(
        (key, reading.as_text(value))
        for key, value in sorted(span.below(semconv.DB_QUERY_PARAMETER).items())
    )
    if not _was_judged(span):
        more = semconv.QUERY_PARAMETERS_MORE in span.attributes
        if more or (statement.placeholders and not values) or any(map(_is_hidden, values)):
            return None
    return reading.statement(span), values


def _is_hidden(named: tuple[str, str]) -> bool:
    return named[1] == MASK or named[1].endswith("…")
