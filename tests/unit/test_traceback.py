"""Tracebacks, as Python really prints them, read from their text."""

from __future__ import annotations

import sys
import traceback as printed
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar.insights import traceback
from otel_toolbar.insights.traceback import Frame


def text_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return "".join(printed.format_exception(error))
    raise AssertionError("nothing was raised")


def inner() -> None:
    raise ValueError("first line\nsecond line")


def chained() -> None:
    try:
        inner()
    except ValueError as error:
        raise KeyError("missing") from error


def in_a_handler() -> None:
    try:
        inner()
    except ValueError:
        raise TypeError  # noqa: B904 - the implicit chain


def test_one_exception() -> None:
    (raised,) = traceback.read(text_of(inner))
    assert (raised.type, raised.message) == ("ValueError", "first line\nsecond line")
    assert [frame.function for frame in raised.frames] == ["text_of", "inner"]
    last = raised.frames[-1]
    assert (last.path, last.own) == (__file__, True)
    assert last.code == 'raise ValueError("first line\\nsecond line")'


@pytest.mark.parametrize(
    ("call", "kinds", "relation"),
    [(chained, ["KeyError", "ValueError"], "cause"), (in_a_handler, ["TypeError", "ValueError"], "context")],
)  # fmt: skip
def test_chains_last_raised_first(call: Any, kinds: list[str], relation: str) -> None:
    chain = traceback.read(text_of(call))
    assert [raised.type for raised in chain] == kinds
    assert [raised.relation for raised in chain] == ["", relation]


if sys.version_info >= (3, 11):

    def test_a_group() -> None:
        def group() -> None:
            errors: list[Exception] = []
            try:
                inner()
            except ValueError as error:
                errors.append(error)
            raise ExceptionGroup("several", errors)  # noqa: F821

        (raised,) = traceback.read(text_of(group))
        assert raised.type == "ExceptionGroup"
        assert {"group", "inner"} <= {frame.function for frame in raised.frames}


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/home/me/shop/orders.py", True),
        ("/home/me/.venv/lib/python3.12/site-packages/starlette/routing.py", False),
        ("/usr/lib/python3.12/asyncio/runners.py", False),
        ("C:\\Python312\\Lib\\asyncio\\runners.py", False),
        ("/app/node_modules/express/index.js", False),
        ("<string>", False),
        ("<template>", True),
        ("templates/orders.html", True),
    ],
)
def test_whose_code_it_is(path: str, own: bool) -> None:
    assert Frame(path, 1, "f", "").own is own


@given(st.text() | st.lists(st.sampled_from(
    ['  File "a.py", line 1, in f', "    code", "    ^^^^", "ValueError: x", traceback._CAUSE, "", "  + x"]
)).map("\n".join))  # fmt: skip
def test_any_text(text: str) -> None:
    for raised in traceback.read(text):
        assert raised.frames
