"""Where a function or class of the app stands. Nothing of the app's is called."""

# Objects of frameworks that need not be installed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import functools
import sys
from typing import Any

import wrapt

_MAX_WRAPPERS = 20
_LITESTARS = "litestar.utils.sync"
"""Module of the class that lets Litestar await a plain function."""


def of(target: Any) -> dict[str, Any]:
    """`function`, `file` and `line` of what is called; what is not known is left out."""
    inner = _unwrapped(target)
    code = getattr(inner, "__code__", None)
    named = inner if isinstance(inner, type) or code is not None else type(inner)
    # Past a metaclass, and past classes of C that describe the module of their instances.
    described: Any = type.__dict__["__module__"]
    module = described.__get__(named) if isinstance(named, type) else named.__module__
    name = getattr(named, "__qualname__", "")
    facts: dict[str, Any] = {"function": f"{module}.{name}" if module else name}
    if code is not None:
        return facts | {"file": code.co_filename, "line": code.co_firstlineno}
    file = getattr(sys.modules.get(str(module)), "__file__", None)
    return facts | ({"file": file} if isinstance(file, str) else {})


def listened(listener: Any) -> Any:
    """The app's function within a listener of Litestar, which wraps it so that its errors are logged."""
    code = getattr(listener.fn, "__code__", None)
    cells = getattr(listener.fn, "__closure__", None) or ()
    free = dict(zip(code.co_freevars, cells, strict=False)) if code is not None else {}
    return free["fn"].cell_contents if "fn" in free else listener.fn


def _unwrapped(target: Any) -> Any:
    """The function within partials, bound methods and decorators."""
    for _ in range(_MAX_WRAPPERS):
        if isinstance(target, functools.partial) or type(target).__module__ == _LITESTARS:
            target = target.func
            continue
        if isinstance(target, wrapt.FunctionWrapper):
            target = target.__wrapped__
            continue
        own: dict[str, Any] = getattr(target, "__dict__", None) or {}
        inner = own.get("__wrapped__") or (
            getattr(target, "__func__", None) if hasattr(target, "__self__") else None
        )
        if inner is None or isinstance(target, type):
            return target
        target = inner
    return target
