"""Puts our processor and sampler on every TracerProvider of the process, and bounds every provider's end.

Hooked at `__init__`, so that it holds whoever makes the provider: our configurator, another distro's,
`OTEL_CONFIG_FILE`, logfire, or the app itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import wrapt
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core.processor import RecordEverything

from . import flush
from .runtime import Runtime

_providers: weakref.WeakSet[TracerProvider] = weakref.WeakSet()


def watch(runtime: Runtime) -> None:
    """Attach to the provider there is and to every one to come."""

    _after(sdk_trace, "TracerProvider.__init__", lambda provider: _attach(provider, runtime))
    attach_to_the_global_one(runtime)
    # Hooked when somebody imports them: most apps never do.
    _when_imported("opentelemetry.sdk._logs._internal", "LoggerProvider.__init__", _see_logs)
    _when_imported("opentelemetry.sdk.metrics._internal", "MeterProvider.__init__", flush.keep)


def attach_to_the_global_one(runtime: Runtime) -> None:
    """Attach to the provider that the app has set, which may have been made before we came."""
    provider = trace.get_tracer_provider()
    # logfire puts one of its own around the SDK's.
    inner = getattr(provider, "provider", provider)
    if isinstance(inner, TracerProvider):
        _attach(inner, runtime)


def _after(module: Any, method: str, then: Callable[[Any], None]) -> None:
    def made(
        wrapped: Callable[..., None], provider: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        wrapped(*args, **kwargs)
        then(provider)

    wrapt.wrap_function_wrapper(module, method, made)


def _when_imported(module: str, method: str, then: Callable[[Any], None]) -> None:
    def guarded(provider: Any) -> None:
        try:
            then(provider)
        except Exception:
            guard.failed(f"attaching to a provider of {module}")

    def hook(found: Any) -> None:
        try:
            _after(found, method, guarded)
        except Exception:  # the SDK has moved it: its end is the SDK's own then
            guard.failed(f"hook of {module}")

    wrapt.register_post_import_hook(hook, module)


def _see_logs(provider: Any) -> None:
    from otel_toolbar.signals.core import log_processor

    flush.keep(provider)
    log_processor.stand_first(provider)


def identify(runtime: Runtime) -> None:
    """Put the process's identity on the providers that a fork has brought along."""
    for provider in list(_providers):
        try:
            _update(provider, runtime.identity())
        except Exception:
            guard.failed("identity after a fork")


def _identify(provider: TracerProvider, runtime: Runtime) -> None:
    """Name the process on the resource of a provider that others made: its facts are found by it."""
    try:
        if semconv.PROCESS_ID not in provider.resource.attributes:
            _update(provider, {semconv.PROCESS_ID: runtime.process_id})
    except Exception:
        guard.failed("identity of a TracerProvider")


def _update(provider: Any, attributes: dict[str, Any]) -> None:
    provider._update_resource(Resource(attributes))  # noqa: SLF001


def _attach(provider: TracerProvider, runtime: Runtime) -> None:
    try:
        runtime.see_resource(provider.resource.attributes)
        if provider in _providers or not runtime.enabled:
            return
        _providers.add(provider)
        _identify(provider, runtime)
        flush.keep(provider)
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
