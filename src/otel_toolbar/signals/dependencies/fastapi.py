"""FastAPI's dependencies, seen from between its own steps; none of them is wrapped or replaced.

`solve_dependencies` calls itself for each dependency, then makes its value, then writes that into the
cache of the resolution, and so on with the next. So a span begins where it calls itself and ends where
it writes. The cache is a dict of ours, which tells. An end that is not told (a value that is not cached)
is that of the next step.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import wrapt

from otel_toolbar import guard
from otel_toolbar.signals.core import light

from .span import Injected

MODULE = "fastapi.dependencies.utils"
_ROUTING = "fastapi.routing"

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def install() -> None:
    wrapt.register_post_import_hook(_hook, MODULE)
    wrapt.register_post_import_hook(_hook_routing, _ROUTING)


def _hook(module: Any) -> None:
    for function, wrapper in (("solve_dependencies", _solve), ("_solve_generator", _generator)):
        try:
            wrapt.wrap_function_wrapper(module, function, wrapper)
        except Exception as error:
            guard.say_once(
                f"{MODULE} is not of a version that the toolbar knows ({error}); dependencies are not seen"
            )


def _hook_routing(module: Any) -> None:
    """Where FastAPI was imported before us, its routes hold the function as it was."""
    seen = getattr(sys.modules.get(MODULE), "solve_dependencies", None)
    if seen is not None and hasattr(module, "solve_dependencies"):
        module.solve_dependencies = seen


class Resolution(dict[Any, Any]):
    """The cache of one resolution, which also holds the dependency that is being made, by depth."""

    def __init__(self) -> None:
        super().__init__()
        self.making: list[Injected | None] = []

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._ends(value)

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        try:
            making = self.making[-1] if self.making else None
            if making is not None:
                making.cached()
        except Exception:
            guard.failed("a cached dependency")
        self._ends(value)
        return value

    def _ends(self, value: Any) -> None:
        try:
            if self.making:
                making, self.making[-1] = self.making[-1], None
                if making is not None:
                    making.end(value)
        except Exception:
            guard.failed("value of a dependency")

    def begins(self, dependant: Any) -> None:
        """A dependency is next: the one before it at this depth has been made."""
        try:
            self.goes_on()
            call = dependant.call
            self.making[-1] = Injected(dependant.name or "", call, "fastapi")
        except Exception:
            guard.failed("start of a dependency")

    def goes_on(self, error: BaseException | None = None) -> None:
        """What was being made at this depth is over."""
        making, self.making[-1] = self.making[-1], None
        if making is not None:
            making.end(error=error)


def _solve(
    real: Callable[..., Awaitable[Any]], _: Any, args: Arguments, kwargs: Keywords
) -> Awaitable[Any]:
    cache = kwargs.get("dependency_cache")
    if args or "dependant" not in kwargs:
        return real(*args, **kwargs)
    if type(cache) is Resolution:
        return _nested(real, cache, kwargs)
    try:
        # Without any there is nothing to see, and most endpoints of an API have none.
        if cache is None and kwargs["dependant"].dependencies and light.possible():
            resolution = Resolution()
            return _level(real, resolution, kwargs | {"dependency_cache": resolution})
    except Exception:
        guard.failed("dependencies of a request")
    return real(**kwargs)


async def _nested(
    real: Callable[..., Awaitable[Any]], resolution: Resolution, kwargs: Keywords
) -> Any:
    resolution.begins(kwargs["dependant"])
    return await _level(real, resolution, kwargs)


async def _level(
    real: Callable[..., Awaitable[Any]], resolution: Resolution, kwargs: Keywords
) -> Any:
    """Resolve what one dependency, or the endpoint, needs."""
    resolution.making.append(None)
    error: BaseException | None = None
    try:
        return await real(**kwargs)
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            resolution.goes_on(error)
            resolution.making.pop()
        except Exception:
            guard.failed("end of a dependency")


async def _generator(
    real: Callable[..., Awaitable[Any]], _: Any, args: Arguments, kwargs: Keywords
) -> Any:
    """Note when a generator is torn down: between two callbacks that stand around it on its stack."""
    teardown = None
    try:
        stack, dependant = kwargs.get("stack"), kwargs.get("dependant")
        if stack is not None and dependant is not None and light.possible():
            teardown = Teardown(dependant.name or "", dependant.call)
            stack.callback(teardown.ends)
    except Exception:
        guard.failed("teardown of a dependency")
    value = await real(*args, **kwargs)
    try:
        if teardown is not None:
            kwargs["stack"].callback(teardown.begins)
    except Exception:
        guard.failed("teardown of a dependency")
    return value


class Teardown:
    """The time of what stands behind a generator's `yield`."""

    def __init__(self, name: str, call: Any) -> None:
        self._name, self._call = name, call
        self._span: Injected | None = None

    def begins(self) -> None:
        try:
            self._span = Injected(self._name, self._call, "fastapi", "teardown")
        except Exception:
            guard.failed("teardown of a dependency")

    def ends(self) -> None:
        try:
            if self._span is not None:
                self._span.end()
        except Exception:
            guard.failed("teardown of a dependency")
