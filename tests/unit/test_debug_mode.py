"""Whether debug mode is seen, with the real frameworks."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from otel_toolbar import guard
from otel_toolbar.signals.server import debug
from tests.telemetry import exchange, http_scope


async def scope_of(app: Any) -> dict[str, Any]:
    """The scope as the framework leaves it."""
    scope = http_scope("/")
    await exchange(app, scope, [b""])
    return scope


def starlette(on: bool) -> Any:
    from starlette.applications import Starlette

    return Starlette(debug=on)


def fastapi(on: bool) -> Any:
    from fastapi import FastAPI

    return FastAPI(debug=on)


def litestar(on: bool) -> Any:
    from litestar import Litestar, get

    @get("/")
    async def home() -> str:
        return "hello"

    return Litestar([home], debug=on)


@pytest.mark.parametrize("make", [starlette, fastapi, litestar])
@pytest.mark.parametrize("on", [True, False])
async def test_seen_in_the_scope(make: Any, on: bool) -> None:
    scope = await scope_of(make(on))
    assert debug.is_on(scope, make.__name__) is on


DJANGO = """
from django.conf import settings
settings.configure(DEBUG={on})
from otel_toolbar.signals.server import debug
assert debug.is_on({{}}, "django") is {on}
"""


@pytest.mark.parametrize("on", [True, False])
def test_djangos_setting(on: bool) -> None:
    # In a process of its own: Django can be configured once.
    subprocess.run([sys.executable, "-c", DJANGO.format(on=on)], check=True, timeout=60)


def test_what_is_not_known_is_not_on() -> None:
    assert not debug.is_on({}, "starlette")
    assert not debug.is_on({"app": object()}, "starlette")
    assert not debug.is_on({"app": starlette(True)}, "asgi")


def test_an_app_that_raises_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @property
        def debug(self) -> bool:
            raise RuntimeError

    failed: list[str] = []
    monkeypatch.setattr(guard, "failed", failed.append)
    assert not debug.is_on({"app": Broken()}, "starlette")
    assert failed == ["looking for debug mode"]
