"""N+1: one statement that runs again and again from one place, because it runs for each item of a list.

One rule for the request that runs and for the trace that is read later.

* Statements are alike when their fingerprint and the app's call path are the same: the line that asks,
  and the lines that led there, as far as they are known. One helper called from two lines is two places,
  as the statement written out twice would be; a recursion of any depth is one. The parent span plays no
  part: tasks, includes and spans of the app within the loop change nothing.
* Only statements that read, one at a time: a batch is the cure and not the disease, and so is what is
  fetched in chunks: by a list of `BULK` values, by an eager loader, or page by page, where nothing but
  LIMIT, OFFSET or the key of the last row differs. What answers anew each time (`nextval`, a lock) is
  not asked twice either.
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

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from otel_toolbar import semconv
from otel_toolbar.model import Span, Trace, Value

from . import reading
from .call_path import call_path
from .fingerprint import Statement, analyze, digest
from .n_plus_one_fix import Fix, fix_of
from .secrets import MASK

BULK: Final = 20
"""Values of a list from which a statement fetches many at once."""

_MAX_GROUPS, _MAX_SEEN = 2000, 1000
"""Groups of a scope, and parameter sets of a group, that are remembered: a websocket may stay for days."""

_WARNINGS = ("count", "duration")


Known = Literal["duplicate", "page"]
"""How a query repeats one before it: it asks the very same, or for another page of the same."""


class Repeat(NamedTuple):
    """What is known of a repeated query when it ends."""

    group: str
    """16 hex digits over fingerprint and call path."""
    position: int
    """Among all executions of the group, from 2."""
    rule: str
    """`repeat`, or the threshold that the group has reached by now: `count` or `duration`."""


_A_PAGE: Final = "page"
"""Anchor of a query that is known to read another page."""


class _Group:
    __slots__ = ("anchors", "count", "distinct", "duration", "id", "rule", "seen")

    def __init__(self, group: str) -> None:
        self.id = group
        self.count = self.distinct = self.duration = 0
        self.seen: set[Hashable] = set()
        self.anchors: set[Hashable] = set()
        """Of statements with pages."""
        self.rule = ""

    def knows(self, identity: Hashable | None, anchor: Hashable | None) -> Known | None:
        if identity is None:
            return None
        if identity in self.seen:
            return "duplicate"
        paged = anchor != identity and (anchor == _A_PAGE or anchor in self.anchors)
        return "page" if paged else None

    def add(
        self, identity: Hashable | None, anchor: Hashable | None, duration: int
    ) -> Known | None:
        known = self.knows(identity, anchor)
        self.count += 1
        self.duration += duration
        if known is None:
            self.distinct += 1
        if identity is not None and known != "duplicate" and len(self.seen) < _MAX_SEEN:
            self.seen.add(identity)
            if anchor != identity:
                self.anchors.add(anchor)
        return known


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

    def known(
        self,
        fingerprint: str,
        call_path: str,
        identity: Hashable | None,
        anchor: Hashable | None,
    ) -> Known | None:
        """How a query repeats one that has ended, from the same place; arguments as for `observe`."""
        group = self._groups.get((fingerprint, call_path))
        return None if group is None else group.knows(identity, anchor)

    def observe(
        self,
        fingerprint: str,
        call_path: str,
        identity: Hashable | None,
        duration: int,
        anchor: Hashable | None = None,
    ) -> Repeat | None:
        """Take a query that has ended. Returns what to flag it with when it is part of an N+1."""
        return self.judge(fingerprint, call_path, identity, duration, anchor)[1]

    def judge(
        self,
        fingerprint: str,
        call_path: str,
        identity: Hashable | None,
        duration: int,
        anchor: Hashable | None = None,
    ) -> tuple[Known | None, Repeat | None]:
        """Take a query that has ended. Returns how it repeats one before it, and as `observe` does.

        `identity` is equal for the same statement and parameters, None where that is not known:
        then it is taken for different. `anchor` is equal for all pages of the same list, None where
        there are no pages. `duration` is in ns.
        """
        group = self._groups.get((fingerprint, call_path)) or self._group(fingerprint, call_path)
        known = group.add(identity, identity if anchor is None else anchor, duration)
        if group.distinct < 2:
            return known, None
        rule = self._rule(group)
        if rule in _WARNINGS and group.rule not in _WARNINGS:
            self.warnings += 1
        group.rule = rule
        return known, Repeat(group.id, group.count, rule)

    def _group(self, fingerprint: str, call_path: str) -> _Group:
        group = _Group(group_id(fingerprint, call_path))
        if len(self._groups) < _MAX_GROUPS:
            self._groups[fingerprint, call_path] = group
        return group

    def _rule(self, group: _Group) -> str:
        if group.count >= self._count:
            return "count"
        return "duration" if group.duration >= self._duration else "repeat"


def group_id(fingerprint: str, call_path: str) -> str:
    """The id that the queries of a group share."""
    return digest(f"{fingerprint}\n{call_path}")


# The trace that is read later.


@dataclass(frozen=True)
class Finding:
    """Queries of one scope that are alike."""

    group: str
    """16 hex digits over fingerprint and call path."""
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
    fix: Fix

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
        # Of several requests or messages that were not kept, each had its own.
        key = owner.span_id if owner is not None else span.parent_id or ""
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
        if statement.volatile or span.name.startswith(FETCHES):
            continue
        if statement.reads_only and not is_bulk(span.attributes, statement):
            yield span, statement


def read_statement(trace: Trace, span: Span) -> Statement:
    """The statement of a query, read once for the trace: with literals in it no two are the same."""
    text, mysql = reading.statement(span), reading.database_system(span) in _MYSQL
    key = (read_statement, text, mysql)
    if key not in trace.memo:
        trace.memo[key] = analyze(text, mysql)
    return trace.memo[key]


_MYSQL = ("mysql", "mariadb")
FETCHES = "CURSOR: "
"""What opentelemetry-instrumentation-asyncpg calls a fetch from the cursor of a query."""


def is_bulk(attributes: Mapping[str, Value], statement: Statement) -> bool:
    """True for a statement that fetches for many items at once. `attributes` are its span's."""
    if (
        statement.longest_list >= BULK
        or semconv.DB_OPERATION_BATCH_SIZE in attributes
        or semconv.QUERY_EAGER_LOADED in attributes
        or semconv.QUERY_FETCH in attributes
    ):
        return True
    listed = attributes.get(semconv.QUERY_LONGEST_LIST)
    return isinstance(listed, int) and listed >= BULK


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
        path = _call_path(span)
        identity, anchor = _identity(span, statement)
        known = self._detector.known(fingerprint, path, identity, anchor)
        if known == "duplicate" and _was_judged(span) and not span.flag(semconv.QUERY_DUPLICATE):
            # Whoever recorded it saw values that are masked here, or two objects' lazy loads.
            known = identity = anchor = None
        repeat = self._detector.observe(
            fingerprint, path, identity, span.duration_at(span.end or span.start), anchor
        )
        members = self._groups.setdefault(group_id(fingerprint, path), _Members(_call_site(span)))
        members.spans.append(span)
        members.repeat = repeat or members.repeat
        members.distinct += known is None
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
                    fix_of(members.spans),
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


def _call_path(span: Span) -> str:
    stack = reading.text(span, semconv.CODE_STACKTRACE)
    known = stack and _call_site(span)  # a stack without a place is not one that we have written
    return call_path(stack.splitlines()) if known else _call_site(span)


def _identity(span: Span, statement: Statement) -> tuple[Hashable | None, Hashable | None]:
    """Equal for the same statement and parameters, and for all pages of the same list.

    None when the parameters are not all known.
    """
    named = span.below(semconv.DB_QUERY_PARAMETER)
    values = tuple((key, reading.as_text(value)) for key, value in sorted(named.items()))
    judged = _was_judged(span)
    if not judged:
        more = semconv.QUERY_PARAMETERS_MORE in span.attributes
        if more or (statement.placeholders and not values) or any(map(_is_hidden, values)):
            return None, None
    identity = reading.statement(span), values
    if judged:
        return identity, _A_PAGE if span.flag(semconv.QUERY_PAGE) else identity
    return identity, _anchor(named, statement, identity)


def _anchor(named: Mapping[str, Value], statement: Statement, identity: Hashable) -> Hashable:
    if statement.paging is None:
        return identity
    stays = tuple(
        (key, reading.as_text(value))
        for key, value in sorted(named.items())
        if key not in statement.paging and not (key.isdecimal() and int(key) in statement.paging)
    )
    return "list", statement.fixed, stays


def _is_hidden(named: tuple[str, str]) -> bool:
    return named[1] == MASK or named[1].endswith("…")
