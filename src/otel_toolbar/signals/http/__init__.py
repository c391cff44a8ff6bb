"""What contrib's spans of outgoing HTTP calls do not have: sizes, headers, which URLs are the same.

The spans are those of `opentelemetry-instrumentation-httpx` and `-aiohttp-client`. Where in the app a call
comes from is added to every client span, by `signals.core.foreign`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from itertools import islice
from typing import Any

from otel_toolbar import semconv
from otel_toolbar.signals.core import contrib, masking

MAX_HEADERS = 32
"""Headers kept of one direction."""

_salt = os.urandom(16)


class _State:
    on = False
    installed = False


def install() -> None:
    """Put the hooks in, once a process; each takes effect when contrib's instrumentation is imported."""
    _State.on = True
    if _State.installed:
        return
    _State.installed = True
    httpx = {
        "request_hook": _httpx_sends,
        "response_hook": _httpx_received,
        "async_request_hook": _httpx_sends,
        "async_response_hook": _httpx_received,
    }
    contrib.when_instrumented(
        "opentelemetry.instrumentation.httpx", "HTTPXClientInstrumentor", httpx
    )
    contrib.when_instrumented(
        "opentelemetry.instrumentation.aiohttp_client",
        "AioHttpClientInstrumentor",
        {"request_hook": _aiohttp_sends, "response_hook": _aiohttp_received},
    )


def uninstall() -> None:
    """Add nothing any more: the hooks stay and only pass on."""
    _State.on = False


def _httpx_sends(span: Any, request: Any) -> None:
    if _State.on and span.is_recording():
        sent = _pairs(request.headers)
        span.set_attributes(
            {
                semconv.HTTP_URL_FINGERPRINT: _fingerprint(str(request.url)),
                **_headers(semconv.HTTP_REQUEST_HEADER, sent),
                **_size(semconv.HTTP_REQUEST_BODY_SIZE, request.headers),
            }
        )


def _httpx_received(span: Any, _request: Any, response: Any) -> None:
    if _State.on and span.is_recording():
        span.set_attributes(_of_response(response.headers))


def _aiohttp_sends(span: Any, params: Any) -> None:
    if _State.on and span.is_recording():
        span.set_attribute(semconv.HTTP_URL_FINGERPRINT, _fingerprint(str(params.url)))


def _aiohttp_received(span: Any, params: Any) -> None:
    response = getattr(params, "response", None)
    if response is None or not _State.on or not span.is_recording():
        return  # it is called for exceptions, too
    sent = response.request_info.headers  # as they went out, the length among them
    span.set_attributes(
        {
            **_headers(semconv.HTTP_REQUEST_HEADER, sent.items()),
            **_size(semconv.HTTP_REQUEST_BODY_SIZE, sent),
            **_of_response(response.headers),
        }
    )


def _of_response(headers: Any) -> dict[str, Any]:
    received = _pairs(headers)
    return {
        **_headers(semconv.HTTP_RESPONSE_HEADER, received),
        **_size(semconv.HTTP_RESPONSE_BODY_SIZE, headers),
    }


def _pairs(headers: Any) -> Iterable[tuple[str, str]]:
    if headers is None:
        return ()
    # A name that comes several times: httpx joins them in items().
    several = getattr(headers, "multi_items", headers.items)
    return several()


def _headers(prefix: str, pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for given, value in islice(pairs, MAX_HEADERS):
        name = given.lower()
        found.setdefault(prefix + name, []).append(masking.clean(masking.header(name, value)))
    return found


def _size(key: str, headers: Any) -> dict[str, int]:
    """The size that the sender has declared; a chunked body has none, and is not counted."""
    declared = "" if headers is None else headers.get("content-length", "")
    return {key: int(declared)} if declared.isdecimal() and len(declared) < 19 else {}


def _fingerprint(url: str) -> str:
    # The salt makes it useless for finding out a secret in the URL by trying.
    return hashlib.blake2b(url.encode("utf-8", "replace"), digest_size=8, key=_salt).hexdigest()
