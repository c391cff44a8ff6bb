"""The extension that is put into every schema. It adds nothing to a result and changes no error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

from strawberry.extensions import SchemaExtension

from . import operation, resolver

_TELLS_RESULTS = hasattr(SchemaExtension, "on_stream_result")
"""This version tells of each result of a subscription."""

_given: ContextVar[Any] = ContextVar("otel_toolbar_graphql_context", default=None)


class ToolbarExtension(SchemaExtension):
    """What belongs to one operation stands in the context, not here: see `operation`."""

    def __init__(self) -> None:
        """Old versions want the operation here, and set it once more."""

    def on_operation(self) -> Generator[None, None, None]:
        watched = operation.begin(getattr(self, "execution_context", None))
        if watched is None:
            yield
            return
        try:
            yield
        except Exception as error:
            watched.fail(error)
            raise
        finally:
            watched.end()

    def on_parse(self) -> Generator[None, None, None]:
        watched = operation.current()
        begun = operation.clock()
        if watched is not None:
            watched.begun = True
        yield
        if watched is not None:
            watched.parsed(begun)

    def on_validate(self) -> Generator[None, None, None]:
        watched = operation.current()
        begun = operation.clock()
        yield
        if watched is not None:
            watched.validated(begun)

    def on_execute(self) -> Generator[None, None, None]:
        watched = operation.current()
        yield
        if watched is not None:
            watched.executed(tells_results=_TELLS_RESULTS)

    def on_stream_result(self, result: Any) -> Generator[None, None, None]:
        """A result of a subscription is about to be sent; whoever sends it is not within it."""
        watched = operation.current()
        if watched is None:
            yield
            return
        watched.pause(result)
        try:
            yield
        finally:
            watched.resume()

    def get_results(self) -> dict[str, Any]:
        """Nothing for the result. An operation that another extension has kept from beginning is over:
        Strawberry closes the hooks that were open by then not before they are collected."""
        watched = operation.current()
        if watched is not None and not watched.begun:
            watched.end()
        return {}

    def resolve(
        self, _next: Callable[..., Any], root: Any, info: Any, /, *args: Any, **kwargs: Any
    ) -> Any:
        # Names before the slash are taken from nobody: a field may have an argument `root`.
        call = None if getattr(_next, "_is_default", False) else resolver.call(info)
        if call is None:
            return _next(root, info, *args, **kwargs)
        code = getattr(_next, "__code__", None)
        if code is not None and code.co_flags & inspect.CO_COROUTINE:
            return resolver.run(call, _next, root, info, *args, **kwargs)
        return resolver.run_sync(call, _next, root, info, *args, **kwargs)


class SharedExtension(ToolbarExtension):
    """For versions that keep a schema's extensions and hand them to operations at the same time.

    These tell an extension its operation by an attribute: here it stands in the context.
    """

    @property
    def execution_context(self) -> Any:
        return _given.get()

    @execution_context.setter
    def execution_context(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, given: Any
    ) -> None:
        _given.set(given)
