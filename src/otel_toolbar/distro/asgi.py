"""The outermost ASGI layer: the toolbar's own pages, the watched exchange, the tag and headers."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

from otel_toolbar import guard
from otel_toolbar.signals import jobs, queries
from otel_toolbar.signals.server import (
    Exchange,
    Startup,
    WebsocketExchange,
    detect,
    is_watched,
    outside_of_requests,
)
from otel_toolbar.signals.server.exchange import App, Message, Receive, Scope, Send
from otel_toolbar.signals.websockets import Connection
from otel_toolbar.version import VERSION
from otel_toolbar.web.inject import Injector
from otel_toolbar.web.security import Access
from otel_toolbar.web.site import Site

from . import runtime as runtimes
from .servers import flush_in_thread


class ToolbarApp:
    """An ASGI app with the toolbar around it.

    Attributes that are not ours are those of the app, so that `app = wrap(app)` leaves `app.routes`
    and the like usable. `trust_peer` False demands the token even of loopback clients. `by_hand` sets
    up a provider before the first request, when nobody has until then.
    """

    def __init__(
        self,
        app: Any,
        runtime: runtimes.Runtime,
        *,
        trust_peer: bool = True,
        by_hand: bool = False,
    ) -> None:
        options = runtime.options
        self.app: App = app
        self._runtime = runtime
        self._by_hand = by_hand
        self._framework = detect(app)
        self._access = Access(options.token, options.allowed_hosts, trust_peer)
        self._excluded = re.compile("|".join(options.exclude)) if options.exclude else None
        self._site = Site(
            store=runtime.store,
            options=options,
            access=self._access,
            process_id=lambda: runtime.process_id,
            why_empty=runtime.why_empty,
            closing=lambda: runtime.closing,
            explain=queries.explain,
            refresh_job=jobs.refresh,
            look=self._looked_at,
        )
        self._told_to = ""
        """Process whose facts tell of this app: another one after a fork."""

    def __getattr__(self, name: str) -> Any:
        if name == "app":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope.get("type")
        if not self._runtime.enabled:
            await self.app(scope, receive, send)
        elif kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket" and self._runtime.connections is not None:
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._unwatched(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_watched(scope):
            await self.app(scope, receive, send)
            return
        if self._by_hand:
            self._set_up()
        if self._site.owns(scope) and await self._site.answers(scope, receive, send):
            return
        sees = self._access.may_see(scope)
        if self._is_excluded(scope):
            with outside_of_requests(excluded=True):
                await self.app(scope, receive, send)
            return
        exchange = self._exchange(scope)
        if exchange is None:
            await self._unwatched(scope, receive, send)
            return
        if self._told_to != self._runtime.process_id:
            self._tell_facts()
        injector = self._injector(scope, send, exchange) if sees else None
        if injector is None:
            await exchange.run(self.app, receive, send)
            return
        try:
            await exchange.run(self.app, receive, injector.send)
        finally:
            await injector.finish()

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_watched(scope):
            await self.app(scope, receive, send)
            return
        if self._by_hand:
            self._set_up()
        if self._is_excluded(scope):
            with outside_of_requests(excluded=True):
                await self.app(scope, receive, send)
            return
        exchange = self._websocket_exchange(scope)
        if exchange is None:
            await self._unwatched(scope, receive, send)
        else:
            await exchange.run(self.app, receive, send)

    async def _unwatched(self, scope: Scope, receive: Receive, send: Send) -> None:
        with outside_of_requests():
            await self.app(scope, receive, send)

    def _is_excluded(self, scope: Scope) -> bool:
        """True when the `EXCLUDE` setting, or who called us, wants it not watched."""
        path = str(scope.get("path", ""))
        return scope.get("otel_toolbar") is False or (
            self._excluded is not None and self._excluded.search(path) is not None
        )

    def _exchange(self, scope: Scope) -> Exchange | None:
        """The watcher of this request; None when there is nothing to watch with."""
        try:
            if self._runtime.sdk_disabled:
                return None
            return Exchange(scope, self._framework, self._runtime.options.max_spans)
        except Exception:
            guard.failed("start of a request")
            return None

    def _websocket_exchange(self, scope: Scope) -> WebsocketExchange | None:
        """The watcher of this connection; None when there is nothing to watch with."""
        connections = self._runtime.connections
        try:
            if connections is None or self._runtime.sdk_disabled:
                return None
            connection = Connection(scope, connections, self._runtime.options.max_spans)
            return WebsocketExchange(scope, self._framework, connection)
        except Exception:
            guard.failed("start of a websocket connection")
            return None

    def _injector(self, scope: Scope, send: Send, exchange: Exchange) -> Injector | None:
        try:
            return Injector(
                scope,
                send,
                base=self._runtime.options.path,
                version=VERSION,
                traceparent=exchange.traceparent,
                server_timing=exchange.server_timing,
            )
        except Exception:
            guard.failed("preparing the tag")
            return None

    def _tell_facts(self) -> None:
        """Have the facts of this process told, with this app's."""
        self._told_to = self._runtime.process_id
        try:
            if self._runtime.facts is not None:
                self._runtime.facts.serves(self.app, _loop_name())
        except Exception:
            guard.failed("facts of the process")

    def _looked_at(self) -> None:
        if self._runtime.facts is not None:
            self._runtime.facts.look()

    def _set_up(self) -> None:
        """Make a provider where nobody has.

        Not sooner than the app has started: OpenTelemetry takes the first provider only, and the app may
        set its own, in a module imported later or in its lifespan.
        """
        self._by_hand = False
        try:
            _provide(self._runtime)
        except Exception:
            guard.failed("set-up of OpenTelemetry")

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch the app's start-up, and flush before its shutdown is reported complete."""
        startup = Startup(self._runtime.options.max_spans)

        async def watched_receive() -> Message:
            message = await receive()
            startup.received(message)
            return message

        async def watched_send(message: Message) -> None:
            startup.sends(message)
            if message.get("type") == "lifespan.startup.complete":
                if self._by_hand:
                    self._set_up()
                self._tell_facts()
            if str(message.get("type", "")).startswith("lifespan.shutdown"):
                self._runtime.closing = True
                await flush_in_thread()
            await send(message)

        await self.app(scope, watched_receive, watched_send)


class ToolbarMiddleware(ToolbarApp):
    """The toolbar as a middleware, for `app.add_middleware(ToolbarMiddleware)` and the like.

    Keyword arguments are settings in lower case. Under `opentelemetry-instrument` the outer layer is
    already there and this one steps aside. Mounted by hand it may sit behind a middleware that
    rewrites the client's address, so it shows itself only to those who have the `token`.
    """

    def __init__(self, app: Any, **overrides: Any) -> None:
        super().__init__(app, runtimes.install(**overrides), trust_peer=False, by_hand=True)


def wrap(app: Any, **overrides: Any) -> Any:
    """Put the toolbar around an ASGI app by hand; keyword arguments are settings in lower case.

    For processes that do not run under `opentelemetry-instrument`. Wrap outermost, last of all.
    """
    return wrapped(app, runtimes.install(**overrides), by_hand=True)


def wrapped(app: Any, runtime: runtimes.Runtime | None = None, *, by_hand: bool = False) -> Any:
    """`app` with the toolbar around it, once; `app` itself when the toolbar is off."""
    runtime = runtime or runtimes.install()
    if type(app) is ToolbarApp or not runtime.enabled:
        return app
    return ToolbarApp(app, runtime, by_hand=by_hand)


def _loop_name() -> str:
    """The class of the event loop, with the package that it is of."""
    loop = type(asyncio.get_running_loop())
    return f"{loop.__module__.partition('.')[0]}.{loop.__qualname__}"


def _provide(runtime: runtimes.Runtime) -> None:
    """Set up OpenTelemetry as our distro does, when nobody has yet; else attach to what there is."""
    from opentelemetry import trace

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        from . import providers

        providers.attach_to_the_global_one(runtime)
        return
    from .configurator import ToolbarConfigurator
    from .distro import defaults

    defaults(os.environ)
    ToolbarConfigurator().configure()  # pyright: ignore[reportUnknownMemberType]
