"""The ASGI servers' hooks: the loaded app is wrapped once, outermost; the end is flushed.

At the server every framework is caught, also one that nobody has instrumented. The hooks are put in
when the server's module is imported, so that nothing is imported that the app does not use.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import wrapt

from otel_toolbar import guard

from .flush import flush

Wrapped = Callable[..., Any]
Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def hook() -> None:
    """Register the hooks of all servers known."""
    for module, hooks in {
        "uvicorn.config": _hook_uvicorn_config,
        "uvicorn.server": _hook_uvicorn_server,
        "hypercorn.utils": _hook_hypercorn,
        "hypercorn.asyncio.lifespan": _hook_lifespan("Lifespan.wait_for_shutdown"),
        "hypercorn.trio.lifespan": _hook_lifespan("Lifespan.wait_for_shutdown"),
        "granian.asgi": _hook_granian,
        "granian._signals": _hook_granian_signals,
    }.items():
        wrapt.register_post_import_hook(_guarded(hooks), module)


def _guarded(hooks: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(hooks)
    def run(module: Any) -> None:
        try:
            hooks(module)
        except Exception as error:  # an old or a future server
            guard.say_once(
                f"{module.__name__} is not a version that the toolbar knows ({error}); requests are"
                " not seen. Wrap the app by hand: app = otel_toolbar.wrap(app)"
            )

    return run


def wrap_app(app: Any) -> Any:
    """`app` with the toolbar around it; `app` itself when that fails."""
    try:
        from .asgi import wrapped

        return wrapped(app)
    except Exception:
        guard.failed("wrapping the app")
        return app


def _hook_uvicorn_config(module: Any) -> None:
    def load(real: Wrapped, config: Any, args: Arguments, kwargs: Keywords) -> None:
        real(*args, **kwargs)
        config.loaded_app = wrap_app(config.loaded_app)

    wrapt.wrap_function_wrapper(module, "Config.load", load)


def _hook_uvicorn_server(module: Any) -> None:
    wrapt.wrap_function_wrapper(module, "Server.shutdown", _shutdown)


def _hook_hypercorn(module: Any) -> None:
    def wrap(real: Wrapped, _: Any, args: Arguments, kwargs: Keywords) -> Any:
        if "app" in kwargs:
            kwargs = kwargs | {"app": _if_asgi(module, kwargs["app"])}
        else:
            args = (_if_asgi(module, args[0]), *args[1:])
        return real(*args, **kwargs)

    wrapt.wrap_function_wrapper(module, "wrap_app", wrap)


def _if_asgi(module: Any, app: Any) -> Any:
    return wrap_app(app) if module.is_asgi(app) else app


def _hook_granian(module: Any) -> None:
    def wrap(real: Wrapped, _: Any, args: Arguments, kwargs: Keywords) -> Any:
        return real(wrap_app(args[0]), *args[1:], **kwargs)

    wrapt.wrap_function_wrapper(module, "_callback_wrapper", wrap)
    _hook_lifespan("LifespanProtocol.shutdown")(module)


def _hook_granian_signals(module: Any) -> None:
    """granian waits for open responses before its shutdown: our streams must end at the signal."""

    def set_loop_signals(real: Wrapped, _: Any, args: Arguments, kwargs: Keywords) -> Any:
        return real(_ClosingLoop(args[0]), *args[1:], **kwargs) if args else real(**kwargs)

    wrapt.wrap_function_wrapper(module, "set_loop_signals", set_loop_signals)


class _ClosingLoop:
    """A loop whose signal handlers end our streams first."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_signal_handler(self, number: int, handler: Wrapped, *args: Any) -> None:
        def handle(*given: Any) -> None:
            _close_streams()
            handler(*given)

        self._loop.add_signal_handler(number, handle, *args)


def _hook_lifespan(method: str) -> Callable[[Any], None]:
    def hooks(module: Any) -> None:
        wrapt.wrap_function_wrapper(module, method, _shutdown)

    return hooks


async def _shutdown(real: Wrapped, _: Any, args: Arguments, kwargs: Keywords) -> Any:
    """Let the server shut down as it does, then flush."""
    _close_streams()
    try:
        return await real(*args, **kwargs)
    finally:
        await flush_in_thread()


def _close_streams() -> None:
    from .runtime import install

    install().closing = True


async def flush_in_thread() -> None:
    """Flush without holding up the loop; a failure is reported, not raised."""
    try:
        import anyio.to_thread  # not while the app starts

        await anyio.to_thread.run_sync(flush)
    except Exception:
        guard.failed("flush at shutdown")
