"""The last queries as they were bound, for EXPLAIN: in this process only, few, small and not for long.

What is kept is in no view, no export and no log; a plan shows `?` for each value. On the request's path
nothing is converted: a reference to what is immutable, a copy of a small list.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Collection
from decimal import Decimal
from sys import getsizeof
from typing import Any, NamedTuple, cast

MAX_QUERIES = 500
MAX_SECONDS = 300
MAX_BYTES = 32 * 1024
"""Of one query, text and parameters: 16 MB at most in all."""

_SIMPLE = frozenset(
    {str, int, float, bool, bytes, type(None), Decimal, dt.date, dt.datetime, dt.time, dt.timedelta,
     uuid.UUID}
)  # fmt: skip
"""Types that keep nothing else alive. A class of the app's, or one that holds an object of the ORM, is
not among them."""

_LONG = 2**64

BATCH, LARGE, FOREIGN = "batch", "too_large", "parameters"
"""Why a query cannot be explained although it is here."""


class Kept(NamedTuple):
    """A query that has run. `why_not` is empty when it can be explained."""

    trace_id: int
    span_id: int
    at: float
    engine: Callable[[], Any]
    """Gives the engine, or None when the app has let it go."""
    loop: Callable[[], Any] | None
    """Likewise the event loop of an async engine's query."""
    text: str
    parameters: Any
    plain: bool
    """Sent without parameters at all, so that the driver left `%` alone."""
    why_not: str


_queries: deque[tuple[Any, ...]] = deque(maxlen=MAX_QUERIES)
"""The fields of `Kept`; they become one when it is asked for."""

_AT = Kept._fields.index("at")


def remember(
    trace_id: int,
    span_id: int,
    engine: Any,
    text: str,
    parameters: Any,
    context: Any,
    executemany: bool,
) -> None:
    """Keep a query that is about to run, as the driver gets it."""
    now = time.monotonic()
    why_not, taken = (BATCH, None) if executemany else _taken(text, parameters)
    # A weak reference without a callback is one and the same for an object: it costs nothing.
    loop = weakref.ref(asyncio.get_running_loop()) if engine.dialect.is_async else None
    plain = not parameters and bool(context.execution_options.get("no_parameters"))
    _queries.append(
        (
            trace_id, span_id, now, weakref.ref(engine), loop,
            "" if why_not else text, taken, plain, why_not,
        )
    )  # fmt: skip
    while now - _queries[0][_AT] > MAX_SECONDS:
        _queries.popleft()


def find(trace_id: int, span_id: int) -> Kept | None:
    """The query of a span, None when it is not or no longer here."""
    oldest = time.monotonic() - MAX_SECONDS
    for kept in map(Kept._make, reversed(_queries.copy())):
        if kept.at < oldest:
            return None
        if kept.span_id == span_id and kept.trace_id == trace_id:
            return kept
    return None


def forget() -> None:
    """Keep none any more: in a forked process, and when queries are no longer watched."""
    _queries.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def _taken(text: str, parameters: Any) -> tuple[str, Any]:
    """Why the parameters cannot be kept, else empty, and what is kept of them."""
    if not parameters:
        return (LARGE if len(text) > MAX_BYTES else ""), None
    # A cast is a call, too.
    kind: type[Any] = type(parameters)  # pyright: ignore[reportUnknownVariableType]
    if kind is tuple and _are_small(cast("tuple[Any, ...]", parameters), text):
        return "", parameters
    if kind is dict and _are_small(cast("dict[Any, Any]", parameters).values(), text):
        return "", cast("dict[Any, Any]", parameters).copy()
    if isinstance(parameters, dict):  # or SQLAlchemy's immutabledict
        given = cast("dict[Any, Any]", parameters)
        why_not, values = _values(given.values(), len(text))
        return why_not, None if why_not else dict(zip(given, values, strict=True))
    if isinstance(parameters, (tuple, list)):
        why_not, values = _values(cast("Collection[Any]", parameters), len(text))
        return why_not, None if why_not else tuple(values)
    return FOREIGN, None


def _are_small(given: Collection[Any], text: str) -> bool:
    """True for what most queries are bound to; False says nothing."""
    size = len(text) + 100 * len(given)
    if size > MAX_BYTES:
        return False
    for value in given:
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            size += 8 * len(value)  # 4 bytes a character, and a second time in UTF-8
        elif (kind is not int or not -_LONG < value < _LONG) and value is not None:
            return False
    return size <= MAX_BYTES


def _values(given: Collection[Any], size: int) -> tuple[str, Collection[Any]]:
    if size + 8 * len(given) > MAX_BYTES:
        return LARGE, ()
    if _SIMPLE.issuperset(map(type, given)):
        return (LARGE if size + sum(map(getsizeof, given)) > MAX_BYTES else ""), given
    copied = [_array(value) if type(value) in (list, tuple) else value for value in given]
    if not (_SIMPLE | {_Array}).issuperset(map(type, copied)):
        return FOREIGN, ()
    size += sum(map(getsizeof, copied)) + sum(map(_inner, copied))
    return (LARGE if size > MAX_BYTES else ""), copied


class _Array(list[Any]):
    """A copy of an array that was bound: the app may change its own."""


def _array(value: Any) -> Any:
    """The copy; None of these types when something else is in it, or it is too large to look at."""
    small = len(value) <= MAX_BYTES // 8 and _SIMPLE.issuperset(map(type, value))
    return _Array(value) if small else object()


def _inner(value: Any) -> int:
    return sum(map(getsizeof, cast("list[Any]", value))) if type(value) is _Array else 0
