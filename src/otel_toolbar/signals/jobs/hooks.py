"""Where SAQ is listened to: methods of its queue, job and worker, replaced when they are imported.

They are SAQ's public methods, the same from 0.24 on; those of a queue are the base class's, so that
Redis, PostgreSQL and other queues are alike.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Final, cast

import wrapt

from otel_toolbar import guard
from otel_toolbar.settings import Settings

from . import carrier, running, sending, state

Method = Callable[..., Any]

_options: Settings | None = None
_registered = False
_flush: Callable[[], Any] | None = None
_wrapped: list[tuple[Any, str, Any]] = []
"""What was replaced: owner, name, and what stood there."""


def install(options: Settings, flush: Callable[[], Any] | None = None) -> None:
    """See all jobs from now on, once SAQ is imported. `flush` is awaited when a worker has stopped."""
    global _options, _registered, _flush
    _options, _flush = options, flush
    state.configure(options)
    for module in _HOOKS:
        if not _registered:
            wrapt.register_post_import_hook(_hook, module)
        elif module in sys.modules:
            _hook(sys.modules[module])
    _registered = True


def uninstall() -> None:
    """See none any more, and leave SAQ as it was."""
    global _options
    _options = None
    while _wrapped:
        owner, name, real = _wrapped.pop()
        setattr(owner, name, real)


def _hook(module: Any) -> None:
    if _options is None:
        return
    for place, make in _HOOKS[module.__name__].items():
        try:
            _replace(module, place, make)
        except Exception as error:
            guard.say_once(
                f"{module.__name__} is not a version that the toolbar knows ({error}); some facts about"
                " jobs are missing. SAQ has to be 0.24 or newer"
            )


def _replace(module: Any, place: str, make: Callable[[Method], Method]) -> None:
    path, _, name = place.rpartition(".")
    owner: Any = getattr(module, path) if path else module
    if place in _NEWER and name not in vars(owner):
        return
    real = cast("dict[str, Any]", vars(owner))[name]
    if any(each is owner and called == name for each, called, _ in _wrapped):
        return
    static = isinstance(real, staticmethod)
    method: Method = real.__func__ if static else real  # pyright: ignore[reportUnknownMemberType]
    made = functools.wraps(method)(make(method))
    setattr(owner, name, staticmethod(made) if static else made)
    _wrapped.append((owner, name, real))


# The queue.


def _enqueue(real: Method) -> Method:
    async def enqueue(*args: Any, **kwargs: Any) -> Any:
        queue, *rest = args
        given = rest[0] if rest else kwargs.get("job_or_func")
        send = None if _options is None else sending.Send.start(queue, given, _options)
        if send is None:
            return await real(*args, **kwargs)
        try:
            accepted = await real(*args, **kwargs)
        except BaseException as error:
            send.fail(error)
            raise
        send.end(accepted)
        return accepted

    return enqueue


def _on_behalf_of(name: str) -> Callable[[Method], Method]:
    """Jobs that are sent meanwhile are sent by `name`, but for what is within another of these."""

    def make(real: Method) -> Method:
        async def call(*args: Any, **kwargs: Any) -> Any:
            if sending.operation.get() != sending.ENQUEUE:
                return await real(*args, **kwargs)
            token = sending.operation.set(name)
            try:
                return await real(*args, **kwargs)
            finally:
                _reset(sending.operation, token)

        return call

    return make


def _reset(variable: ContextVar[str], token: Token[str]) -> None:
    try:
        variable.reset(token)
    except ValueError:  # driven from another context than it was begun in
        variable.set(sending.ENQUEUE)


def _serialize(real: Method) -> Method:
    # The job is the last argument, of the queue's method and of the static one of the HTTP proxy.
    def serialize(*args: Any) -> Any:
        return real(*args[:-1], _stored(args[-1]))

    return serialize


def _stored(job: Any) -> Any:
    try:
        if job is None:
            return None
        send = sending.current()
        if send is not None:
            send.takes(job)
        return carrier.stored(job)
    except Exception:
        guard.failed("sending the trace context with a job")
        return job


def _deserialize(real: Method) -> Method:
    def deserialize(*args: Any, **kwargs: Any) -> Any:
        job = real(*args, **kwargs)
        try:
            if job is not None:
                carrier.read(job)
        except Exception:
            guard.failed("reading the trace context of a job")
        return job

    return deserialize


def _copy(real: Method) -> Method:
    def copy(*args: Any, **kwargs: Any) -> Any:
        copied = real(*args, **kwargs)
        try:
            carrier.hand_on(args[1] if len(args) > 1 else kwargs["job"], copied)
        except Exception:
            guard.failed("copying the trace context of a job")
        return copied

    return copy


# The worker.


def _process(real: Method) -> Method:
    async def process(*args: Any, **kwargs: Any) -> Any:
        run = _new_run()
        if run is None:
            return await real(*args, **kwargs)
        try:
            return await real(*args, **kwargs)
        finally:
            run.ends()

    return process


def _new_run() -> running.Run | None:
    try:
        return None if _options is None else running.Run(_options)
    except Exception:
        guard.failed("start of a job")
        return None


def _update(real: Method) -> Method:
    # The first thing that a worker does with a job.
    async def update(*args: Any, **kwargs: Any) -> Any:
        run = running.current()
        if run is not None:
            run.begins(args[0])
        return await real(*args, **kwargs)

    return update


def _store_end(real: Method) -> Method:
    async def finish(*args: Any, **kwargs: Any) -> Any:
        run = running.current()
        if run is not None:
            run.finishes(args[0], kwargs.get("result"))
        return await real(*args, **kwargs)

    return finish


def _start(real: Method) -> Method:
    # A worker in a child process ends without what the interpreter does at its exit.
    async def start(*args: Any, **kwargs: Any) -> Any:
        try:
            return await real(*args, **kwargs)
        finally:
            await _flushed()

    return start


async def _flushed() -> None:
    try:
        if _flush is not None:
            await _flush()
    except Exception:
        guard.failed("flush at the end of a worker")


# litestar-saq, whose spans would say the same again.


def _create_process_span(real: Method) -> Method:
    def create_process_span(*args: Any, **kwargs: Any) -> Any:
        return None if running.current() is not None else real(*args, **kwargs)

    return create_process_span


_HOOKS: Final[dict[str, dict[str, Callable[[Method], Method]]]] = {
    "saq.queue.base": {
        "Queue.enqueue": _enqueue,
        "Queue.apply": _on_behalf_of("apply"),
        "Queue.map": _on_behalf_of("map"),
        "Queue.serialize": _serialize,
        "Queue.deserialize": _deserialize,
        "Queue.copy": _copy,
    },
    "saq.queue.postgres": {"PostgresQueue.serialize": _serialize},
    "saq.queue.http": {"HttpProxy.serialize": _serialize},
    "saq.job": {"Job.update": _update, "Job.finish": _store_end, "Job.retry": _store_end},
    "saq.worker": {
        "Worker.process": _process,
        "Worker.schedule": _on_behalf_of(sending.CRON),
        "Worker.start": _start,
    },
    "litestar_saq.instrumentation": {"create_process_span": _create_process_span},
}
"""What is replaced, by module."""

_NEWER: Final = frozenset({"Queue.copy"})
"""What SAQ 0.24 does not have, and does not need."""
