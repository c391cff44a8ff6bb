"""The calls of caches in order, by key, and those that were made again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_toolbar import semconv
from otel_toolbar.insights import reading, repeats
from otel_toolbar.model import Span, Trace
from otel_toolbar.panels import shared
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class CallView:
    """One call."""

    id: str
    position: int
    start: float
    """After the start of the trace, in s."""
    duration: float
    system: str
    operation: str
    key: str
    """Empty where it is not known, or there is none."""
    keys: tuple[str, ...]
    """Of a command with several; 32 at most."""
    commands: tuple[str, ...]
    """Of a pipeline; 32 at most."""
    count: int | None
    """Keys or commands, when there are several."""
    hits: int | None
    """Values that were there; None for what reads none, or where it is not known."""
    misses: int | None
    size: int | None
    again: bool
    """The same key was read before, from the same place, and not written to since."""
    error: str
    detached: bool
    running: bool
    place: shared.Place | None
    stack: tuple[shared.Place, ...]
    around: tuple[shared.Around, ...]


@dataclass(frozen=True)
class KeyView:
    """All calls for one key."""

    system: str
    key: str
    count: int
    hits: int
    misses: int
    duration: float
    size: int | None
    """Of the largest value that was read or written."""
    calls: tuple[int, ...]
    """Positions."""


@dataclass(frozen=True)
class RepeatView:
    """Reads of one key from one place."""

    key: str
    operation: str
    count: int
    duration: float
    """Of all but the first: what it would save to ask once."""
    place: shared.Place | None
    calls: tuple[int, ...]


@dataclass(frozen=True)
class CacheView:
    """The panel."""

    count: int
    duration: float
    """Together; calls at the same time count each."""
    hits: int
    misses: int
    ratio: float | None
    """Hits of all values that were asked for; None when none was."""
    errors: int
    systems: tuple[str, ...]
    repeats: tuple[RepeatView, ...]
    """Longest together first."""
    keys: tuple[KeyView, ...]
    """Longest together first."""
    calls: tuple[CallView, ...]
    """In order of start."""
    running: bool


def view(trace: Trace, settings: Settings) -> CacheView:
    """The calls of caches of a trace."""
    found = repeats.read_again(trace)
    calls = [
        _call(trace, span, position, again, settings)
        for position, span, again in repeats.numbered(repeats.cached(trace), found)
    ]
    by_id = {call.id: call for call in calls}
    hits, misses = _total(call.hits for call in calls), _total(call.misses for call in calls)
    return CacheView(
        count=len(calls),
        duration=sum(call.duration for call in calls),
        hits=hits,
        misses=misses,
        ratio=hits / (hits + misses) if hits + misses else None,
        errors=sum(bool(call.error) for call in calls),
        systems=tuple(sorted({call.system for call in calls if call.system})),
        repeats=tuple(_repeat([by_id[span.span_id] for span in each.spans]) for each in found),
        keys=_keys(calls),
        calls=tuple(calls),
        running=trace.running,
    )


def badge(view: CacheView) -> Badge:
    """How many calls; a warning when a key was read again, an error when a call failed."""
    level = "error" if view.errors else "warn" if view.repeats else "ok"
    return Badge(str(view.count) if view.count else None, level)


def _total(numbers: Iterable[int | None]) -> int:
    return sum(number for number in numbers if number)


def _call(trace: Trace, span: Span, position: int, again: bool, settings: Settings) -> CallView:
    count = _natural(span, semconv.DB_OPERATION_BATCH_SIZE)
    hits, misses = _found(span)
    return CallView(
        id=span.span_id,
        position=position,
        start=shared.offset(trace, span),
        duration=shared.seconds(span.duration_at(trace.now)),
        system=repeats.system(span),
        operation=repeats.command(span),
        key=reading.text(span, semconv.CACHE_KEY),
        keys=reading.strings(span.attributes.get(semconv.CACHE_KEYS)),
        commands=reading.strings(span.attributes.get(semconv.CACHE_COMMANDS)),
        count=_natural(span, semconv.CACHE_KEY_COUNT) if count is None else count,
        hits=hits,
        misses=misses,
        size=_natural(span, semconv.CACHE_ITEM_SIZE),
        again=again,
        error=shared.exception(span),
        detached=span.flag(semconv.DETACHED),
        running=span.running,
        place=shared.place(span, settings),
        stack=shared.stack(span, settings),
        around=shared.around(trace, span),
    )


def _found(span: Span) -> tuple[int | None, int | None]:
    hit = span.attributes.get(semconv.CACHE_HIT)
    if isinstance(hit, bool):
        return int(hit), int(not hit)
    return _natural(span, semconv.CACHE_HITS), _natural(span, semconv.CACHE_MISSES)


def _natural(span: Span, key: str) -> int | None:
    number = reading.integer(span, key)
    return None if number is None or number < 0 else number


def _repeat(calls: Sequence[CallView]) -> RepeatView:
    first = calls[0]
    return RepeatView(
        key=first.key,
        operation=first.operation,
        count=len(calls),
        duration=sum(call.duration for call in calls[1:]),
        place=first.place,
        calls=tuple(call.position for call in calls),
    )


def _keys(calls: Iterable[CallView]) -> tuple[KeyView, ...]:
    keyed = (call for call in calls if call.key)
    groups = shared.grouped(keyed, lambda call: (call.system, call.key))
    views = [_key(*name, group) for name, group in groups.items()]
    return tuple(sorted(views, key=lambda each: -each.duration))


def _key(system: str, key: str, calls: Sequence[CallView]) -> KeyView:
    return KeyView(
        system=system,
        key=key,
        count=len(calls),
        hits=_total(call.hits for call in calls),
        misses=_total(call.misses for call in calls),
        duration=sum(call.duration for call in calls),
        size=max((call.size for call in calls if call.size is not None), default=None),
        calls=tuple(call.position for call in calls),
    )
