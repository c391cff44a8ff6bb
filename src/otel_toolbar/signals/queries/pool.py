"""Connections: a span for each that is made, and for each wait for one of an exhausted pool."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import Span, SpanKind

from otel_toolbar import guard, semconv
from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import light

from . import database, errors, patches, place
from .scope import SCOPE, has_parent

_CONNECT = "_ConnectionRecord__connect"
_POOL = "_ConnectionRecord__pool"


def hook(options: Settings, see: Callable[[type[Any]], None]) -> None:
    """Wrap what makes connections and hands them out; `patches.undo` takes it out.

    `see` is told the class of an engine's dialect.
    """
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import base, impl

    patches.wrap(Engine, "raw_connection", functools.partial(_learning, see=see))
    patches.wrap(
        base._ConnectionRecord,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        _CONNECT,
        functools.partial(_connecting, options=options),
    )
    patches.wrap(impl.QueuePool, "_do_get", functools.partial(_waiting, options=options))


def _learning(real: Callable[..., Any], see: Callable[[type[Any]], None]) -> Callable[..., Any]:
    """A pool does not know its engine: remember it, before the pool makes a connection."""

    @functools.wraps(real)
    def raw_connection(self: Any) -> Any:
        try:
            database.of(self)
            see(self.dialect.__class__)
        except Exception:
            guard.failed("database of an engine")
        return real(self)

    return raw_connection


def _connecting(real: Callable[..., Any], options: Settings) -> Callable[..., Any]:
    @functools.wraps(real)
    def connect(self: Any) -> Any:
        span = _start("connect", SpanKind.CLIENT, getattr(self, _POOL, None), options)
        if span is None:
            return real(self)
        try:
            result = real(self)
        except BaseException as error:
            _end(span, error)
            raise
        _end(span, None, getattr(self, _POOL, None))
        return result

    return connect


def _waiting(real: Callable[..., Any], options: Settings) -> Callable[..., Any]:
    @functools.wraps(real)
    def do_get(self: Any) -> Any:
        if not _is_exhausted(self):
            return real(self)
        span = _start("wait for a connection", SpanKind.INTERNAL, self, options)
        if span is None:
            return real(self)
        began = time.perf_counter_ns()
        try:
            result = real(self)
        except BaseException as error:
            _end(span, error, waits_since=began)
            raise
        _end(span, None, waits_since=began)
        return result

    return do_get


def _is_exhausted(pool: Any) -> bool:
    """True when whoever asks now has to wait until somebody gives a connection back."""
    try:
        most: int = pool._max_overflow  # noqa: SLF001
        full = most > -1 and pool._overflow >= most  # noqa: SLF001
        return full and pool.checkedin() == 0
    except Exception:
        guard.failed("state of a pool")
        return False


def _start(name: str, kind: SpanKind, pool: Any, options: Settings) -> Span | None:
    try:
        if pool is None or not has_parent():
            return None
        known = database.of_pool(pool)
        attributes: dict[str, Any] = {} if known is None else known.read_attributes()
        attributes[semconv.POOL_NAME] = _name(pool, attributes)
        place.put(attributes, options)
        return light.start(name, kind, attributes, SCOPE)
    except Exception:
        guard.failed(f"start of a {name}")
        return None


def _end(
    span: Span, error: BaseException | None, connected: Any = None, waits_since: int | None = None
) -> None:
    try:
        known = None if connected is None else database.of_pool(connected)
        if known is not None:  # the server has told by now whether it is MariaDB
            system = known.read_attributes().get(semconv.DB_SYSTEM_NAME, "")
            span.set_attribute(semconv.DB_SYSTEM_NAME, system)
        if waits_since is not None:
            waited = (time.perf_counter_ns() - waits_since) / 1e9
            span.set_attribute(semconv.POOL_WAIT_DURATION, waited)
        if error is not None:
            errors.put(span, error)
        span.end()
    except Exception:
        guard.failed("end of a connect")


def _name(pool: Any, attributes: dict[str, Any]) -> str:
    """The name that was given, else server and database as the conventions put them together."""
    given = getattr(pool, "_orig_logging_name", None)
    if given:
        return str(given)
    address = attributes.get(semconv.SERVER_ADDRESS, "")
    port = attributes.get(semconv.SERVER_PORT)
    server = f"{address}:{port}" if port else address
    namespace = attributes.get(semconv.DB_NAMESPACE) or ""
    return f"{server}/{namespace}" if server else namespace or type(pool).__name__
