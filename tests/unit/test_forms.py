"""The fields of forms, as real frameworks parse them, and nothing of what the app does not read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Form
from litestar import Litestar, post
from litestar import Request as LitestarRequest
from quart import Quart
from quart import request as quart_request
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from otel_toolbar.signals.frameworks import forms
from tests.telemetry import (
    ROOT,
    Exchanged,
    Telemetry,
    exchange,
    hook_frameworks,
    http_scope,
    made_global,
    telemetry,
    watched,
)

BODY = b"name=ann&amount=5&password=hunter2-Zk3&csrf_token=abc"
FIELDS = {"name": "ann", "amount": "5", "password": "***", "csrf_token": "***"}


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    hook_frameworks()
    made = telemetry()
    with made_global(made.provider):
        yield made


async def starlettes(request: Request) -> PlainTextResponse:
    form = await request.form()
    return PlainTextResponse(str(form["name"]))


async def ignores(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ann")


def starlette_app() -> Any:
    return Starlette(
        routes=[
            Route("/", starlettes, methods=["POST"]),
            Route("/ignores", ignores, methods=["POST"]),
        ]
    )


def fastapi_app() -> Any:
    app = FastAPI()

    @app.post("/")
    async def root(name: str = Form()) -> str:
        return name

    return app


@post("/", media_type="text/plain")
async def litestars(request: LitestarRequest[Any, Any, Any]) -> str:
    return str((await request.form())["name"])


def litestar_app() -> Any:
    return Litestar([litestars], openapi_config=None, logging_config=None)


def quart_app() -> Any:
    app = Quart("forms")

    @app.post("/")
    async def root() -> str:
        return (await quart_request.form)["name"]

    return app


APPS = {
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "litestar": litestar_app,
    "quart": quart_app,
}


async def send(app: Any, path: str = "/", body: bytes = BODY) -> Exchanged:
    headers = [
        (b"host", b"localhost"),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(len(body)).encode()),
    ]
    return await exchange(app, http_scope(path, method="POST", headers=headers), (body,))


def fields(signals: Telemetry) -> dict[str, Any]:
    (server,) = [each for each in signals.snapshot() if each["kind"] == "SERVER"]
    prefix = "toolbar.request.form."
    return {
        key[len(prefix) :]: value
        for key, value in server["attributes"].items()
        if key.startswith(prefix)
    }


@pytest.mark.parametrize("name", APPS)
async def test_fields(name: str, signals: Telemetry) -> None:
    done = await send(watched(APPS[name]()))
    assert done.body.strip(b'"') == b"ann"
    assert fields(signals) == FIELDS


async def test_a_form_that_is_not_read_is_not_told(signals: Telemetry) -> None:
    assert (await send(watched(starlette_app()), "/ignores")).status == 200
    assert fields(signals) == {}


async def test_a_token_is_told_whatever_its_place(signals: Telemetry) -> None:
    many = "&".join(f"f{n}={n}" for n in range(forms.MAX_FIELDS)).encode() + b"&name=ann&_csrf=x"
    await send(watched(starlette_app()), body=many)
    found = fields(signals)
    assert len(found) == forms.MAX_FIELDS
    assert found["_csrf"] == "***"


@pytest.mark.parametrize("name", APPS)
async def test_a_fault_of_ours(
    name: str, signals: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(forms, "described", lambda _: 1 / 0)
    done = await send(watched(APPS[name]()))
    assert done.body.strip(b'"') == b"ann"
    assert "fields of a form failed; the app is not affected" in caplog.text


DJANGO = """
import asyncio
from tests.telemetry import exchange, hook_frameworks, http_scope, made_global, telemetry, watched
hook_frameworks()
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
def root(request):
    return HttpResponse(request.POST["name"])
urlpatterns = [path("", root)]
settings.configure(ROOT_URLCONF="__main__", SECRET_KEY="x", ALLOWED_HOSTS=["*"])
django.setup()
from django.core.asgi import get_asgi_application
told = telemetry()
headers = [(b"host", b"localhost"), (b"content-type", b"application/x-www-form-urlencoded"),
           (b"content-length", b"27")]
with made_global(told.provider):
    scope = http_scope("/", method="POST", headers=headers)
    done = asyncio.run(exchange(watched(get_asgi_application()), scope, (b"name=ann&password=hunter2-Z",)))
assert done.body == b"ann", done
(span,) = [each for each in told.snapshot() if each["kind"] == "SERVER"]
print({key: value for key, value in span["attributes"].items() if ".form." in key})
"""


def test_djangos_fields() -> None:
    """In a process of its own: Django has one configuration a process."""
    command = [sys.executable, "-c", DJANGO]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    told = "{'toolbar.request.form.name': 'ann', 'toolbar.request.form.password': '***'}"
    assert done.stdout.strip() == told


def test_another_version(caplog: pytest.LogCaptureFixture) -> None:
    forms._see("colorsys", "Request.none", forms._calling(forms._result))
    import colorsys  # noqa: F401

    assert "colorsys is not of a version that the toolbar knows" in caplog.text
