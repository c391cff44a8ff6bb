"""Puts our processor and sampler on every TracerProvider of the process.

Hooked at `TracerProvider.__init__`, so that it holds whoever makes the provider: our configurator,
another distro's, `OTEL_CONFIG_FILE`, logfire, or the app itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import wrapt
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.trace import TracerProvider

from otel_toolbar import guard
from otel_toolbar.signals.core.processor import RecordEverything

from .runtime import Runtime

_providers: weakref.WeakSet[TracerProvider] = weakref.WeakSet()


def watch(runtime: Runtime) -> None:
    """Attach to the provider there is and to every one to come."""

    def made(
        wrapped: Callable[..., None], provider: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        wrapped(*args, **kwargs)
        _attach(provider, runtime)

    wrapt.wrap_function_wrapper(sdk_trace, "TracerProvider.__init__", made)
    existing = trace.get_tracer_provider()
    if isinstance(existing, TracerProvider):
        _attach(existing, runtime)


def known() -> list[TracerProvider]:
    """The providers that were attached to and still live."""
    return list(_providers)


def _attach(provider: TracerProvider, runtime: Runtime) -> None:
    try:
        runtime.see_resource(provider.resource.attributes)
        if provider in _providers or not runtime.enabled:
            return
        _providers.add(provider)
        _stand_first(provider, runtime.processor)
        _record_everything(provider)
    except Exception:
        guard.failed("attaching to a TracerProvider")


def _stand_first(provider: Any, processor: Any) -> None:
    """First, so that light spans are emitted before their SERVER span reaches the others."""
    chain = provider._active_span_processor  # noqa: SLF001
    provider.add_span_processor(processor)
    others = tuple(each for each in chain._span_processors if each is not processor)  # noqa: SLF001
    chain._span_processors = (processor, *others)  # noqa: SLF001


def _record_everything(provider: Any) -> None:
    sampler = RecordEverything(provider.sampler)
    provider.sampler = sampler
    for tracer in provider._tracers.values():  # noqa: SLF001 - those made before hold the old one
        tracer.sampler = sampler
