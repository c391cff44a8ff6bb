"""What the site's handlers share: JSON answers, errors, and work off the loop."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, cast

import anyio
import anyio.to_thread
from starlette.responses import Response

T = TypeVar("T")
_readers = anyio.CapacityLimiter(2)
"""Threads that read the store. Of our own: the app's must not wait for a look at the toolbar."""


class ApiError(Exception):
    """An answer other than 2xx: `{"error": {"code", "message"}}` with a fitting status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        return answer({"error": {"code": self.code, "message": self.message}}, self.status)


def answer(content: Any, status: int = 200) -> Response:
    """JSON of dataclasses, with NaN and infinities as null."""
    return Response(dumps(content), status, media_type="application/json")


def dumps(content: Any) -> bytes:
    """A view as JSON. Durations, sizes and times are already in the contract's units."""
    try:
        text = json.dumps(content, default=_shallow, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # a key that is no text, a number that is none
        text = json.dumps(_plain(content), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


async def in_thread(work: Callable[[], T]) -> T:
    """Read the store and make views off the loop: looking must not show up as the app's lag."""
    return await anyio.to_thread.run_sync(work, limiter=_readers)


def _shallow(content: Any) -> Any:
    """One level of what the encoder does not know; the rest it does itself, and quicker."""
    if dataclasses.is_dataclass(content):
        return {name: getattr(content, name) for name in _names(type(content))}
    return list(cast("Any", content)) if isinstance(content, (set, frozenset)) else _plain(content)


@lru_cache(maxsize=256)
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _plain(content: Any) -> Any:
    """JSON's types only."""
    if isinstance(content, Enum):
        return content.value
    if content is None or isinstance(content, (str, bool, int)):
        return content
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, bytes):
        return content.hex()
    if dataclasses.is_dataclass(content):
        return {f.name: _plain(getattr(content, f.name)) for f in dataclasses.fields(content)}
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(content, (list, tuple, set, frozenset)):
        return [_plain(item) for item in content]  # pyright: ignore[reportUnknownVariableType]
    return str(content)
