"""Where a task that waits stands: the app's own line, and what is awaited there."""

from __future__ import annotations

import gc
from itertools import repeat
from types import CodeType, CoroutineType, FrameType
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

from . import callsite, steps
from .callsite import APP, MAX_DEPTH, Place, kind_of, place_of

DATABASE = "database"
CLIENT = "client"

_TARGETS = {
    **dict.fromkeys(
        [
            "sqlalchemy",
            "aiosqlite",
            "asyncpg",
            "psycopg",
            "psycopg_pool",
            "asyncmy",
            "aiomysql",
            "motor",
            "pymongo",
        ],
        DATABASE,
    ),
    **dict.fromkeys(["httpx", "httpcore", "aiohttp", "urllib3"], "http"),
    **dict.fromkeys(["redis", "aiocache"], "cache"),
    **dict.fromkeys(["uvicorn", "hypercorn", "granian", "daphne"], CLIENT),
}
"""What waiting in an installed package is called: a developer thinks of the thing, not the method."""

_HOLDERS = frozenset(
    {
        "coroutine",
        "generator",
        "async_generator",
        "coroutine_wrapper",
        "async_generator_asend",
        "async_generator_athrow",
    }
)


_PLAIN: Any = CoroutineType


class Waiting(NamedTuple):
    """A suspended task."""

    place: Place | None
    """The innermost line of the app's own; None where none of it waits."""
    target: str
    """What is awaited."""
    own: ReferenceType[Any] | None
    """The coroutine of that line, for the task's next wait."""


def point(task: Any, before: ReferenceType[Any] | None = None) -> Waiting:
    """Where a task stands that is suspended; not for one that has ended.

    `before` is the coroutine of the app's in which it stood last time. While that is suspended the task is
    still in it, so that the dozen around it need not be gone through.
    """
    start = None if before is None else before()
    if start is None or start.cr_await is None:
        start = task.get_coro()
    own, below = _innermost(start)
    place = None if own is None else place_of(_frame(own))
    target = _named(below) or _future(getattr(task, "_fut_waiter", None))
    return Waiting(place, target, ref(own) if type(own) is _PLAIN else None)


def _innermost(awaited: Any) -> tuple[Any, list[Any]]:
    """Of what a coroutine awaits, from it on: the app's last, None without any, and what comes after it.

    Most of the two dozen are a framework's and tell nothing, so their frames, which would have to be made,
    are not asked for.
    """
    own: Any = None
    below: list[Any] = []
    kinds = callsite.kinds
    for _ in repeat(None, MAX_DEPTH):
        if type(awaited) is _PLAIN:
            code, inner = awaited.cr_code, awaited.cr_await
        else:
            code, inner = _opened(awaited)
        if code is not None:
            filename = code.co_filename
            kind = kinds.get(filename)
            if kind is None:
                kind = kind_of(filename)
            if kind == APP:
                own, below = awaited, []
            else:
                below.append(awaited)
        if inner is None:
            break
        awaited = inner
    return own, below


def _opened(awaited: Any) -> tuple[CodeType | None, Any]:
    """The code of what is awaited, None where it has none, and what that awaits in turn."""
    kind = type(awaited).__name__
    names = _HAVE_CODE.get(kind)
    if names is not None:
        frame = getattr(awaited, names.frame)
        return None if frame is None else frame.f_code, getattr(awaited, names.awaits)
    if kind in _HOLDERS or kind == "anext_awaitable":
        # Opaque in Python; the collector knows what they hold.
        referents = gc.get_referents(awaited)
        return None, next((held for held in referents if type(held).__name__ in _HOLDERS), None)
    return None, None


class _Names(NamedTuple):
    frame: str
    awaits: str


_HAVE_CODE = {
    "coroutine": _Names("cr_frame", "cr_await"),  # those of compiled modules have the name only
    "generator": _Names("gi_frame", "gi_yieldfrom"),
    "async_generator": _Names("ag_frame", "ag_await"),
}


def _frame(awaited: Any) -> FrameType:
    frame: FrameType = getattr(awaited, _HAVE_CODE[type(awaited).__name__].frame)
    return frame


def _named(below: list[Any]) -> str | None:
    """What library code below the app's line waits for: the outermost that says something."""
    for awaited in below:
        package = _package(_frame(awaited))
        if package in _TARGETS:
            return _TARGETS[package]
    for awaited in reversed(below):
        frame = _frame(awaited)
        package = _package(frame)
        name = _qualified(frame)
        owner, _, method = name.rpartition(".")
        if owner and method.startswith("__"):
            return owner  # `async with`, `async for`
        if not name.rpartition(".")[2].startswith("_"):
            return name if "." in name or not package else f"{package}.{name}"
    return None


def _package(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]


def _qualified(frame: FrameType) -> str:
    """`Class.method` of a frame; of 3.10, which has no qualified names, by its `self`."""
    name: str = getattr(frame.f_code, "co_qualname", "")
    if name:
        return name.replace(".<locals>", "").rpartition("<")[0] or name
    first = frame.f_code.co_varnames[:1]
    if first == ("self",) and "self" in frame.f_locals:
        return f"{type(frame.f_locals['self']).__name__}.{frame.f_code.co_name}"
    return frame.f_code.co_name


def _future(future: Any) -> str:
    """What a bare future stands for."""
    if future is None:
        return "asyncio.sleep(0)"
    if hasattr(future, "get_coro"):
        work = steps.work_of(future)
        return f"task {(work and work.label) or future.get_name()}"
    if type(future).__name__ == "_GatheringFuture":
        return "asyncio.gather"
    return type(future).__name__
