"""Where a task that waits stands: the app's own line, and what is awaited there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import CoroutineType, FrameType
from typing import Any, NamedTuple

from . import steps
from .callsite import MAX_DEPTH, Place, innermost, place_of

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


def point(task: Any) -> Waiting:
    """Where a task stands that is suspended; not for one that has ended."""
    own, below = innermost(_frames(task.get_coro()))
    place = None if own is None else place_of(own)
    return Waiting(place, _named(below) or _future(getattr(task, "_fut_waiter", None)))


def _frames(awaited: Any) -> Iterator[FrameType]:
    """The frames of a suspended coroutine, outermost first."""
    for _ in range(MAX_DEPTH):
        # Most are plain ones, two dozen in a wait; those of compiled modules have the name only.
        kind = "coroutine" if type(awaited) is _PLAIN else type(awaited).__name__
        if kind == "coroutine":
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif kind == "generator":
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        elif kind == "async_generator":
            frame, awaited = awaited.ag_frame, awaited.ag_await
        elif kind in _HOLDERS or kind == "anext_awaitable":
            # Opaque in Python; the collector knows what they hold.
            referents = gc.get_referents(awaited)
            awaited = next((held for held in referents if type(held).__name__ in _HOLDERS), None)
            continue
        else:
            return
        if frame is not None:
            yield frame


def _named(frames: list[FrameType]) -> str | None:
    """What library frames below the app's line wait for: the outermost that says something."""
    for frame in frames:
        package = _package(frame)
        if package in _TARGETS:
            return _TARGETS[package]
    for frame in reversed(frames):
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
