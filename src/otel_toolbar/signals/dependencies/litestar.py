"""Litestar's dependencies. It resolves those that others need first, so none stands within another."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import wrapt

from otel_toolbar import guard
from otel_toolbar.signals.core import imports, light

from .span import Injected

MODULE = "litestar._kwargs.dependencies"
_MODEL = "litestar._kwargs.kwargs_model"
_CLEANUP = "litestar._kwargs.cleanup"

_Proxy: Any = wrapt.ObjectProxy  # generic for type checkers only, in wrapt before 2
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def install() -> None:
    _when_imported(MODULE, "resolve_dependency", _resolve)
    _when_imported(_CLEANUP, "DependencyCleanupGroup._wrap_next", _teardown)
    wrapt.register_post_import_hook(_hook_throw, _CLEANUP)
    wrapt.register_post_import_hook(_hook_model, _MODEL)


_when_imported = partial(imports.wrap, lost="dependencies are not seen whole")


def _hook_model(module: Any) -> None:
    """Where Litestar was imported before us, it holds the function as it was."""
    seen = getattr(sys.modules.get(MODULE), "resolve_dependency", None)
    if seen is not None and hasattr(module, "resolve_dependency"):
        module.resolve_dependency = seen


def _hook_throw(module: Any) -> None:
    """What tears down after a failure has another name in older versions."""
    group: Any = getattr(module, "DependencyCleanupGroup", None)
    for name in ("_throw", "throw"):
        if hasattr(group, name):
            wrapt.wrap_function_wrapper(group, name, _thrown)


def _resolve(
    real: Callable[..., Awaitable[Any]], _: Any, args: Arguments, kwargs: Keywords
) -> Awaitable[Any]:
    return _resolved(real, args, kwargs) if light.possible() else real(*args, **kwargs)


async def _resolved(real: Callable[..., Awaitable[Any]], args: Arguments, kwargs: Keywords) -> Any:
    injected = _begun(args, kwargs)
    try:
        result = await real(*args, **kwargs)
    except BaseException as error:
        _end(injected, args, kwargs, error)
        raise
    _end(injected, args, kwargs, None)
    return result


def _begun(args: Arguments, kwargs: Keywords) -> Injected | None:
    try:
        dependency = _argument(args, kwargs, 0, "dependency")
        call = dependency.provide.dependency
        # `ensure_async_callable` keeps the function that it runs in a thread under `func`.
        inner = getattr(call, "func", call)
        requires = sorted(each.key for each in dependency.dependencies)
        return Injected(dependency.key, inner, "litestar", requires=requires)
    except Exception:
        guard.failed("start of a dependency")
        return None


def _end(
    injected: Injected | None, args: Arguments, kwargs: Keywords, error: BaseException | None
) -> None:
    try:
        if injected is None:
            return
        if error is not None:
            injected.end(error=error)
            return
        values = _argument(args, kwargs, 2, "kwargs")
        injected.end(values[_argument(args, kwargs, 0, "dependency").key])
    except Exception:
        guard.failed("value of a dependency")


def _argument(args: Arguments, kwargs: Keywords, place: int, name: str) -> Any:
    return args[place] if len(args) > place else kwargs[name]


def _teardown(
    real: Callable[..., Callable[[], Awaitable[None]]], _: Any, args: Arguments, kwargs: Keywords
) -> Callable[[], Awaitable[None]]:
    torn_down = real(*args, **kwargs)
    try:
        if not light.possible():
            return torn_down
        return _timed(torn_down, args[0])
    except Exception:
        guard.failed("teardown of a dependency")
        return torn_down


def _thrown(real: Callable[..., Any], group: Any, args: Arguments, kwargs: Keywords) -> Any:
    """An exception goes into each generator in turn."""
    try:
        if light.possible():
            group._generators = [_Thrown(each) for each in group._generators]  # noqa: SLF001
    except Exception:
        guard.failed("teardown of a dependency")
    return real(*args, **kwargs)


class _Thrown(_Proxy):
    """A generator that is torn down by what is thrown into it."""

    def throw(self, error: BaseException) -> Any:
        injected = _torn_down(self.__wrapped__)
        try:
            result = self.__wrapped__.throw(error)
        except BaseException as raised:
            _close(injected, _of_its_own(raised, error))
            raise
        _close(injected, None)
        return result

    async def athrow(self, error: BaseException) -> Any:
        injected = _torn_down(self.__wrapped__)
        try:
            result = await self.__wrapped__.athrow(error)
        except BaseException as raised:
            _close(injected, _of_its_own(raised, error))
            raise
        _close(injected, None)
        return result


def _of_its_own(raised: BaseException, given: BaseException) -> BaseException | None:
    """What a teardown failed with: neither what it was given, nor the end of the generator."""
    passed_on = raised is given or isinstance(raised, (StopIteration, StopAsyncIteration))
    return None if passed_on else raised


def _torn_down(generator: Any) -> Injected | None:
    try:
        return Injected("", _Called(generator), "litestar", "teardown")
    except Exception:
        guard.failed("teardown of a dependency")
        return None


def _timed(
    torn_down: Callable[[], Awaitable[None]], generator: Any
) -> Callable[[], Awaitable[None]]:
    async def timed() -> None:
        injected = _torn_down(generator)
        try:
            await torn_down()
        except BaseException as error:
            _close(injected, error)
            raise
        _close(injected, None)

    return timed


def _close(injected: Injected | None, error: BaseException | None) -> None:
    try:
        if injected is not None:
            injected.end(error=error)
    except Exception:
        guard.failed("teardown of a dependency")


class _Called:
    """A generator's function as far as a generator tells."""

    def __init__(self, generator: Any) -> None:
        self.__name__ = generator.__name__
        self.__qualname__ = generator.__qualname__
        self.__module__ = ""
        self.__code__ = getattr(generator, "ag_code", None) or generator.gi_code
