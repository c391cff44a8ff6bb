"""Lifecycle hooks and exception handlers, each seen where Litestar takes it to call it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import wrapt

from otel_toolbar import guard
from otel_toolbar.signals.core import exceptions, imports, light

from . import span
from .span import Arguments, Keywords

_HANDLERS = "litestar.handlers.http_handlers.base"
_APP = "litestar.app"
_EXCEPTIONS = "litestar.middleware._internal.exceptions.middleware"

_RESPONSES = (
    "create_data_handler",
    "create_generic_asgi_response_handler",
    "create_response_handler",
)
"""What makes a handler's responses, and calls `after_request` with them."""

_LISTS = ("before_send", "after_exception")
"""Hooks that the app keeps in lists and calls from there."""


def install() -> None:
    resolved = "HTTPRouteHandler.resolve_"
    when_imported(_HANDLERS, f"{resolved}before_request", partial(_resolved, "before_request"))
    when_imported(_HANDLERS, f"{resolved}after_response", partial(_resolved, "after_response"))
    for function in _RESPONSES:
        when_imported(_HANDLERS, function, _response)
    when_imported(_APP, "Litestar._wrap_send", _request)
    when_imported(_APP, "Litestar._call_lifespan_hook", _lifespan)
    when_imported(_EXCEPTIONS, "get_exception_handler", _handler)


when_imported = partial(imports.wrap, lost="hooks and events are not seen whole")
"""Wraps a function of Litestar's when its module is imported."""


def _resolved(
    kind: str, real: Callable[..., Any], _: Any, args: Arguments, kwargs: Keywords
) -> Any:
    hook = real(*args, **kwargs)
    try:
        return span.asynchronous(kind, hook) if hook is not None and span.watching() else hook
    except Exception:
        guard.failed(f"a call of {kind}")
        return hook


def _response(real: Callable[..., Any], _: Any, args: Arguments, kwargs: Keywords) -> Any:
    """Called once for a route handler: what it makes is kept."""
    try:
        hook = kwargs.get("after_request")
        if hook is not None:
            kwargs = kwargs | {"after_request": span.asynchronous("after_request", hook)}
    except Exception:
        guard.failed("a call of after_request")
    return real(*args, **kwargs)


def _request(real: Callable[..., Any], app: Any, args: Arguments, kwargs: Keywords) -> Any:
    """Called once a request, before the lists of the app are read."""
    try:
        if span.watching():
            _watch_lists(app)
    except Exception:
        guard.failed("hooks of a Litestar app")
    return real(*args, **kwargs)


def _watch_lists(app: Any) -> None:
    for kind in _LISTS:
        hooks: list[Any] = getattr(app, kind)
        for place, hook in enumerate(hooks):
            if type(hook) is not wrapt.FunctionWrapper:  # which is equal to what it wraps
                wanted = _begins_or_ends if kind == "before_send" else _always
                hooks[place] = span.asynchronous(kind, hook, wanted)


def _begins_or_ends(args: Arguments) -> bool:
    """Not for each chunk of a stream, nor for each message of a websocket."""
    message = args[0]
    return message["type"] != "websocket.send" and not message.get("more_body")


def _always(_: Arguments) -> bool:
    return True


async def _lifespan(real: Callable[..., Any], app: Any, args: Arguments, kwargs: Keywords) -> Any:
    made = real(*args, **kwargs)
    try:
        if span.Switch.on:
            hook = args[0] if args else kwargs["hook"]
            kind = _when(app, hook)
            made = span.awaited(kind, kind, hook, made)
    except Exception:
        guard.failed("a hook of the app's lifespan")
    return await made


def _when(app: Any, hook: Any) -> str:
    starts = any(each is hook for each in app.on_startup)
    stops = any(each is hook for each in app.on_shutdown)
    # One that is for both: the app's start has a trace of its own.
    return "on_startup" if starts and (not stops or light.possible()) else "on_shutdown"


def _handler(real: Callable[..., Any], _: Any, args: Arguments, kwargs: Keywords) -> Any:
    handler = real(*args, **kwargs)
    try:
        if handler is None or not span.watching():
            return handler
        error = cast("BaseException", args[1] if len(args) > 1 else kwargs["exc"])
        return span.plain("exception_handler", exceptions.type_name(type(error)), handler)
    except Exception:
        guard.failed("an exception handler of Litestar")
        return handler
