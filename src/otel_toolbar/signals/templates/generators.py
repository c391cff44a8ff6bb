"""A template's code is a generator: stands between it and who reads it, and changes nothing of it.

Where Jinja2 reads a template at once, to the end, one `yield from` is enough. A stream (`generate`,
`stream`) is read piece by piece, and between two pieces its reader does other things, perhaps in
another thread: there the template's span is current only while it works, and its time runs only then.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from types import AsyncGeneratorType, CodeType, GeneratorType
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_toolbar import guard

from . import work as works
from .work import Clock, Work


def watched(work: Work, made: Any, *, at_once: bool) -> Any:
    """`made`, the generator of a template, as a piece of work; what is no generator stays as it is."""
    if type(made) is GeneratorType:
        return _whole(work, made) if at_once else Stream(work, made)  # pyright: ignore[reportUnknownArgumentType]
    if type(made) is AsyncGeneratorType:
        return _whole_async(work, made) if at_once else AsyncStream(work, made)  # pyright: ignore[reportUnknownArgumentType]
    return made


def _whole(work: Work, made: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    work.begin()
    try:
        return (yield from made)
    except BaseException as error:
        work.fail(error)
        raise
    finally:
        work.end()


async def _whole_async(work: Work, made: AsyncGenerator[Any, Any]) -> AsyncIterator[Any]:
    work.begin()
    try:
        async for piece in made:
            yield piece
    except BaseException as error:
        work.fail(error)
        raise
    finally:
        try:
            await made.aclose()
        finally:
            work.end()


class _Pieces:
    """What the two kinds of streams share: being at work, and pausing."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._begun = False
        self._clock = Clock()
        self._left = 0
        self._inside: Context | None = None
        """What was current in the template when it paused: perhaps the span of an include."""
        self._outside: Context | None = None
        self._other: Clock | None = None
        """That of a stream around this one."""

    def _resume(self) -> None:
        try:
            self._outside = otel_context.get_current()
            self._other = works.stream.get()
            works.stream.set(self._clock)
            if not self._begun:
                self._begun = True
                self._work.begin()
            elif self._inside is not None:
                self._clock.paused += time.perf_counter_ns() - self._left
                otel_context.attach(self._inside)
        except Exception:
            guard.failed("reading a stream of a template")

    def _pause(self) -> None:
        try:
            if self._outside is not None:
                self._inside = otel_context.get_current()
                otel_context.attach(self._outside)
                works.stream.set(self._other)
                self._left = time.perf_counter_ns()
        except Exception:
            guard.failed("pause of a stream of a template")

    def __del__(self) -> None:
        self._work.end()


class Stream(_Pieces):
    """A generator whose reader takes its time."""

    def __init__(self, work: Work, made: Generator[Any, Any, Any]) -> None:
        super().__init__(work)
        self._made = made

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._step(self._made.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._made.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._made.throw, *error)

    def close(self) -> None:
        if not self._begun:
            return self._made.close()
        try:
            return self._step(self._made.close)
        finally:
            self._work.end()

    def _step(self, step: Callable[..., Any], *given: Any) -> Any:
        self._resume()
        try:
            return step(*given)
        except BaseException as error:
            if not isinstance(error, StopIteration):
                self._work.fail(error)
            self._work.end()
            raise
        finally:
            self._pause()


class AsyncStream(_Pieces):
    """The same of an asynchronous generator."""

    def __init__(self, work: Work, made: AsyncGenerator[Any, Any]) -> None:
        super().__init__(work)
        self._made = made

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._step(self._made.__anext__)

    async def asend(self, value: Any) -> Any:
        return await self._step(self._made.asend, value)

    async def athrow(self, *error: Any) -> Any:
        return await self._step(self._made.athrow, *error)

    async def aclose(self) -> None:
        if not self._begun:
            return await self._made.aclose()
        try:
            return await self._step(self._made.aclose)
        finally:
            self._work.end()

    async def _step(self, step: Callable[..., Any], *given: Any) -> Any:
        self._resume()
        try:
            return await step(*given)
        except BaseException as error:
            if not isinstance(error, StopAsyncIteration):
                self._work.fail(error)
            self._work.end()
            raise
        finally:
            self._pause()


CODES: frozenset[CodeType] = frozenset(
    each.__code__
    for each in (
        _whole,
        _whole_async,
        *(getattr(Stream, name) for name in ("__next__", "send", "throw", "close", "_step")),
        *(
            getattr(AsyncStream, name)
            for name in ("__anext__", "asend", "athrow", "aclose", "_step")
        ),
    )
)
"""Our code that stands in the traceback of a template's error."""
