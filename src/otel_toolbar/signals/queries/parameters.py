"""The parameters of a statement as span attributes, and as a sign of what is the same query again."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.signals.core import masking

MAX_PARAMETERS = 32
"""Parameters written down; the rest is counted. The SDK drops the oldest beyond 128 attributes."""

_PLAIN = frozenset(
    {str, int, float, bool, bytes, type(None), Decimal, dt.date, dt.timedelta, uuid.UUID}
)
"""Types of plain values. The hash of a datetime asks its time zone, which is code of others."""


Bound = tuple[Sequence[str], tuple[Any, ...], bool]


def bound(parameters: Any, context: Any, executemany: bool) -> Bound:
    """Names and values of one set of parameters, and whether the values are plain: none can change,
    keeps anything alive, or has a hash that is code of others.

    They go by the names of binds where known, else by index. Of an `executemany` nothing is told.
    """
    if executemany:
        return (), (), False
    if not parameters:
        return (), (), True
    # An exact tuple first: to ask for Mapping takes as long as all the rest.
    if type(parameters) is not tuple and isinstance(parameters, Mapping):
        given = cast("Mapping[Any, Any]", parameters)
        names, values = tuple(map(str, given)), tuple(given.values())
    else:
        values = tuple(cast("Sequence[Any]", parameters))
        names = _bind_names(context)
        if len(names) != len(values):
            names = tuple(map(str, range(len(values))))
    return names, values, _are_plain(values)


def _are_plain(values: tuple[Any, ...]) -> bool:
    return _PLAIN.issuperset(map(type, values))


def described(
    names: Sequence[str], values: tuple[Any, ...], statement: Statement
) -> dict[str, Any]:
    """`db.query.parameter.<key>` of the first `MAX_PARAMETERS`, masked and cut; and how long a list is."""
    attributes: dict[str, Any] = {}
    if listed := longest_list(values):
        attributes[semconv.QUERY_LONGEST_LIST] = listed
    sensitive = statement.sensitive
    for place, (key, value) in enumerate(zip(names, values[:MAX_PARAMETERS], strict=False)):
        secret = value is not None and (place in sensitive or key in sensitive)
        shown = masking.MASK if secret else masking.value(key, value)
        attributes[semconv.DB_QUERY_PARAMETER + key] = shown
    if len(values) > MAX_PARAMETERS:
        attributes[semconv.QUERY_PARAMETERS_MORE] = len(values) - MAX_PARAMETERS
    return attributes


def longest_list(values: tuple[Any, ...]) -> int:
    """Items of the longest list that is bound to one parameter, as for `= ANY(...)`."""
    return max((len(each) for each in values if type(each) in _LISTS), default=0)


_LISTS: frozenset[type[Any]] = frozenset({list, tuple, set, frozenset})


def identity(text: str, values: tuple[Any, ...], loaded_for: Any) -> int:
    """Equal for the same statement with the same plain values.

    A hash, so that no value is kept. `loaded_for` is the state of the object whose relationship is
    being loaded: for another object it is another query, even when the foreign keys are equal.
    """
    if loaded_for is None:
        return hash((text, values))
    key: Any = getattr(loaded_for, "key", None)
    primary = key[1] if key else ()
    return hash((text, values, primary if primary and _are_plain(primary) else id(loaded_for)))


def anchor(
    statement: Statement, names: Sequence[str], values: tuple[Any, ...], loaded_for: Any
) -> int:
    """Equal for all pages of a list: what `identity` tells, without what says which page."""
    moves = statement.paging or frozenset()
    named = enumerate(zip(names, values, strict=True))
    stays = tuple(value for place, (key, value) in named if place not in moves and key not in moves)
    return identity("page", (*statement.fixed, *stays), loaded_for)


def batch_size(parameters: Any, context: Any) -> int:
    """Parameter sets of an `executemany`, or of one statement with many rows of VALUES."""
    if isinstance(parameters, list):
        return len(cast("list[Any]", parameters))
    whole = len(context.compiled_parameters)
    names = _bind_names(context) or getattr(context.compiled, "bind_names", ())
    return min(whole, max(1, len(parameters) // max(1, len(names))))


_NAMES = "_otel_toolbar_names"
"""Attribute of a compiled statement, which is kept and used again: names of its parameters."""


def _bind_names(context: Any) -> Sequence[str]:
    """Names of positional parameters; of an IN list each value has its own."""
    compiled = context.compiled
    names: Sequence[str] | None = getattr(compiled, _NAMES, None)
    if names is None:
        names = tuple(getattr(compiled, "positiontup", None) or ())
        if compiled is not None:
            setattr(compiled, _NAMES, names)
    # Private, and so only a help: without it the index is the name.
    expanded: Mapping[str, Sequence[str]] = getattr(context, "_expanded_parameters", None) or {}
    if not expanded:
        return names
    return [each for name in names for each in expanded.get(name, (name,))]
