"""Generated programs of tasks behave the same with us and without us, step for step."""

from __future__ import annotations

import asyncio
import os
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from .watching import LOOPS, observed, run, serve

EXAMPLES = int(os.environ.get("TOOLBAR_TEST_EXAMPLES", "500"))

OPERATIONS = st.recursive(
    st.sampled_from(
        [("yield",), ("raise",), ("set",), ("look",), ("cancel self",), ("callback",), ("future",)]
    ),
    lambda inner: st.tuples(
        st.sampled_from(
            ["await", "gather", "spawn", "cancel", "shield", "wait_for", "wait", "finally", "twice"]
        ),
        st.lists(inner, max_size=4),
    ),
    max_leaves=14,
)  # fmt: skip
PROGRAMS = st.lists(OPERATIONS, max_size=6)

number: ContextVar[int] = ContextVar("number", default=0)


class Program:
    """Runs a program; `log` tells what happened in which order."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.left: list[asyncio.Task[Any]] = []
        self.made = 0

    async def run(self, operations: list[Any]) -> int:
        for operation in operations:
            await self.step(*operation)
        return len(operations)

    async def step(self, kind: str, inner: Any = ()) -> None:
        self.log.append((self.name(), kind))
        try:
            await getattr(self, kind.replace(" ", "_") + "_")(inner)
        except asyncio.CancelledError as error:
            self.log.append((self.name(), "cancelled", error.args))
            raise
        except Exception as error:
            self.log.append((self.name(), type(error).__name__, str(error)))

    def name(self) -> str:
        task = asyncio.current_task()
        assert task is not None
        return self.name_of(task)

    @staticmethod
    def name_of(task: asyncio.Task[Any]) -> str:
        name = task.get_name()
        return "unnamed" if name.startswith("Task-") else name  # else counted on

    def task(self, inner: Any) -> asyncio.Task[Any]:
        self.made += 1
        coroutine = self.run(inner)
        task = asyncio.get_running_loop().create_task(coroutine, name=f"task {self.made}")
        assert task.get_coro() is coroutine
        task.add_done_callback(
            lambda done: self.log.append((self.name_of(done), "is done", number.get()))
        )
        return task

    async def yield_(self, _: Any) -> None:
        await asyncio.sleep(0)

    async def raise_(self, _: Any) -> None:
        raise ValueError(self.name())

    async def set_(self, _: Any) -> None:
        number.set(number.get() + 1)

    async def look_(self, _: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        # A running task's stack goes on below the coroutine, to the loop: one frame there is ours.
        frames = [f.f_code.co_name for f in task.get_stack() if f.f_code.co_filename == __file__]
        self.log.append((number.get(), frames, len(asyncio.all_tasks()), task.done()))

    async def cancel_self_(self, _: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def callback_(self, _: Any) -> None:
        loop = asyncio.get_running_loop()
        handle = loop.call_soon(self.log.append, "cancelled callback")
        handle.cancel()
        handle = loop.call_soon(self.log.append, "callback")
        self.log.append((type(handle).__name__, handle.cancelled()))

    async def future_(self, _: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: future.done() or future.set_result(7))
        self.log.append(await future)

    async def await_(self, inner: Any) -> None:
        self.log.append(await self.task(inner))

    async def gather_(self, inner: Any) -> None:
        each = [self.run([operation]) for operation in inner]
        self.log.append([repr(e) for e in await asyncio.gather(*each, return_exceptions=True)])

    async def spawn_(self, inner: Any) -> None:
        self.left.append(self.task(inner))

    async def cancel_(self, inner: Any) -> None:
        task = self.task(inner)
        await asyncio.sleep(0)
        self.log.append(task.cancel("enough"))
        await asyncio.gather(task, return_exceptions=True)

    async def shield_(self, inner: Any) -> None:
        self.log.append(await asyncio.shield(self.task(inner)))

    async def wait_for_(self, inner: Any) -> None:
        self.log.append(await asyncio.wait_for(self.task(inner), 60))

    async def wait_(self, inner: Any) -> None:
        done, pending = await asyncio.wait([self.task([operation]) for operation in inner])
        self.log.append((len(done), len(pending)))

    async def finally_(self, inner: Any) -> None:
        try:
            await self.run(inner)
        finally:
            await asyncio.sleep(0)
            self.log.append("finally")

    async def twice_(self, inner: Any) -> None:
        await self.run(inner)
        await self.run(inner)


async def performed(operations: list[Any]) -> list[Any]:
    """The log of a program that runs as a request's handler, until none of its tasks is left."""
    program = Program()

    async def handler() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("handler")
        await asyncio.gather(program.task(operations), return_exceptions=True)
        await asyncio.gather(*program.left, return_exceptions=True)

    done = await serve(handler)
    # Those too that nobody waits for any more: a shield and a wait leave theirs behind when cancelled.
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(left)
    program.log.append((done.status, repr(done.error), number.get()))
    return program.log


@pytest.mark.parametrize("loop", LOOPS)
@settings(max_examples=EXAMPLES)
@given(operations=PROGRAMS)
@example(
    operations=[("cancel self",), ("shield", [("yield",)] + [("await", [("await", [])])] * 30)]
)
def test_a_program_of_tasks(loop: str, operations: list[Any]) -> None:
    async def main() -> list[Any]:
        return await performed(operations)

    plain = run(main, loop)
    with observed():
        watched = run(main, loop)
    assert watched == plain
