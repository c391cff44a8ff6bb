"""Methods of libraries that are wrapped, and how they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

Method = Callable[..., Any]

_originals: list[tuple[Any, str, Method]] = []


def wrap(owner: Any, name: str, wrapper: Callable[[Method], Method]) -> bool:
    """Put `wrapper(method)` in a method's place; False when `owner` itself does not define it."""
    if name not in vars(owner):
        return False
    real = cast("Method", vars(owner)[name])
    _originals.append((owner, name, real))
    setattr(owner, name, wrapper(real))
    return True


def undo() -> None:
    """Put all back that has been wrapped, the last first."""
    while _originals:
        owner, name, real = _originals.pop()
        setattr(owner, name, real)
