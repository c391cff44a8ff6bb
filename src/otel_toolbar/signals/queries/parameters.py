"""The parameters of a statement as span attributes, and as a sign of what is the same query again."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.signals.core import masking

MAX_PARAMETERS = 32
"""Parameters written down; the rest is counted. The SDK drops the oldest beyond 128 attributes."""

_HASHABLE = frozenset(
    {str, int, float, bool, bytes, type(None), Decimal, dt.date, dt.timedelta, uuid.UUID}
)
"""Types whose hash is no code of others; a datetime asks its time zone."""


def described(
    attributes: dict[str, Any], parameters: Any, context: Any, statement: Statement
) -> None:
    """Add `db.query.parameter.<key>`: by bind name where known, else by index; masked and cut."""
    if not parameters:
        return
    listed = longest_list(parameters)
    if listed:
        attributes[semconv.QUERY_LONGEST_LIST] = listed
    sensitive = statement.sensitive
    prefix, value_of = semconv.DB_QUERY_PARAMETER, masking.value
    named = _named(parameters, context)
    if len(parameters) > MAX_PARAMETERS:
        named = islice(named, MAX_PARAMETERS)
    if not sensitive:
        for key, value in named:
            attributes[prefix + key] = value_of(key, value)
    else:
        for place, (key, value) in enumerate(named):
            secret = value is not None and (place in sensitive or key in sensitive)
            attributes[prefix + key] = masking.MASK if secret else value_of(key, value)
    if len(parameters) > MAX_PARAMETERS:
        attributes[semconv.QUERY_PARAMETERS_MORE] = len(parameters) - MAX_PARAMETERS


def anchor(statement: Statement, parameters: Any, context: Any, loaded_for: Any) -> int:
    """Equal for all pages of a list: what `identity` tells, without what says which page.

    The statement has pages, and `identity` could be told.
    """
    moves = statement.paging or frozenset()
    named = enumerate(_named(parameters, context)) if parameters else ()
    stays = tuple(value for place, (key, value) in named if place not in moves and key not in moves)
    return identity("page", (*statement.fixed, *stays), loaded_for) or 0


def longest_list(parameters: Any) -> int:
    """Items of the longest list that is bound to one parameter, as for `= ANY(...)`."""
    values = _values(parameters)
    if not values or _LISTS.isdisjoint(map(type, values)):
        return 0
    return max(len(each) for each in values if type(each) in _LISTS)


_LISTS: frozenset[type[Any]] = frozenset({list, tuple, set, frozenset})


def identity(text: str, parameters: Any, loaded_for: Any) -> int | None:
    """Equal for the same statement with the same parameters; None when that cannot be told.

    A hash, so that no value is kept. `loaded_for` is the state of the object whose relationship is
    being loaded: for another object it is another query, even when the foreign keys are equal.
    """
    values = _values(parameters)
    if values is None or not _HASHABLE.issuperset(map(type, values)):
        return None
    if loaded_for is None:
        return hash((text, values))
    key: Any = getattr(loaded_for, "key", None)
    primary = key[1] if key else ()
    known = bool(primary) and _HASHABLE.issuperset(map(type, primary))
    return hash((text, values, primary if known else id(loaded_for)))


def _values(parameters: Any) -> tuple[Any, ...] | None:
    if not parameters:
        return ()
    if type(parameters) is tuple:
        return cast("tuple[Any, ...]", parameters)
    if type(parameters) is dict:
        return tuple(cast("dict[Any, Any]", parameters).values())
    return tuple(cast("list[Any]", parameters)) if type(parameters) is list else None


def batch_size(parameters: Any, context: Any) -> int:
    """Parameter sets of an `executemany`, or of one statement with many rows of VALUES."""
    if isinstance(parameters, list):
        return len(cast("list[Any]", parameters))
    whole = len(context.compiled_parameters)
    names = _bind_names(context) or getattr(context.compiled, "bind_names", ())
    return min(whole, max(1, len(parameters) // max(1, len(names))))


def _named(parameters: Any, context: Any) -> Iterable[tuple[str, Any]]:
    # An exact tuple first: to ask for Mapping takes as long as all the rest.
    kind = cast("type[Any]", type(parameters))
    if kind is not tuple and isinstance(parameters, Mapping):
        given = cast("Mapping[Any, Any]", parameters)
        return ((str(key), value) for key, value in given.items())
    names = _bind_names(context)
    count = len(cast("Sequence[Any]", parameters))
    if len(names) != count:
        names = tuple(map(str, range(count)))
    return zip(names, cast("Sequence[Any]", parameters), strict=True)


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
