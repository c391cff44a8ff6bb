"""The fields of a form, once the app has asked its framework for them. A body is never read for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, cast

from otel_toolbar import guard, semconv
from otel_toolbar.insights import security
from otel_toolbar.signals.core import imports, masking
from otel_toolbar.signals.core import record as records

MAX_FIELDS = 16

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]
Fields = Callable[[Any, Any], Any]
"""From the request object and what its method returned: the fields."""


def install() -> None:
    """Put the hooks in as soon as the framework's module is imported."""
    _see("starlette.requests", "Request._get_form", _awaiting(_result))
    _see("litestar.connection.request", "Request.form", _awaiting(_result))
    _see("quart.wrappers.request", "Request._load_form_data", _awaiting(_kept("_form")))
    _see("django.http.request", "HttpRequest._load_post_and_files", _calling(_kept("_post")))


def _result(_: Any, result: Any) -> Any:
    return result


def _kept(name: str) -> Fields:
    return lambda instance, _: getattr(instance, name)


_see = partial(imports.wrap, lost="fields of forms are not seen")


def _awaiting(fields: Fields) -> Callable[..., Any]:
    async def wrapper(
        real: Callable[..., Awaitable[Any]], instance: Any, args: Arguments, kwargs: Keywords
    ) -> Any:
        result = await real(*args, **kwargs)
        _note(fields, instance, result)
        return result

    return wrapper


def _calling(fields: Fields) -> Callable[..., Any]:
    def wrapper(real: Callable[..., Any], instance: Any, args: Arguments, kwargs: Keywords) -> Any:
        result = real(*args, **kwargs)
        _note(fields, instance, result)
        return result

    return wrapper


def _note(fields: Fields, instance: Any, result: Any) -> None:
    try:
        record = records.current()
        span = record.server if record is not None and not record.closed else None
        if span is not None and span.is_recording():
            span.set_attributes(described(fields(instance, result)))
    except Exception:
        guard.failed("fields of a form")


def described(given: Any) -> dict[str, str]:
    """Fields as attributes, masked and cut; of several values of one name the last."""
    values = cast("Mapping[Any, Any]", given or {})
    names = [name for name in values if isinstance(name, str)]
    # First those that an alert looks for: that a token is not told must mean that there is none.
    names.sort(key=security.is_csrf, reverse=True)
    return {
        semconv.REQUEST_FORM + name: masking.MASK
        if security.is_csrf(name)
        else masking.value(name, values[name])
        for name in names[:MAX_FIELDS]
    }
