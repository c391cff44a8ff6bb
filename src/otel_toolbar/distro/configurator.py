"""The configurator: the SDK's own, with our facts on the resource."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from opentelemetry.environment_variables import OTEL_LOGS_EXPORTER, OTEL_METRICS_EXPORTER
from opentelemetry.sdk import _configuration as sdk_configuration
from opentelemetry.sdk.environment_variables import OTEL_CONFIG_FILE

from . import exporters
from .runtime import install

_OPTIONAL = {OTEL_METRICS_EXPORTER: "_init_metrics", OTEL_LOGS_EXPORTER: "_init_logging"}


# The SDK names its base class for distros with an underscore, and annotates no keyword arguments.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false


class ToolbarConfigurator(sdk_configuration._OTelSDKConfigurator):  # noqa: SLF001
    """Makes the providers; `distro.providers` then finds them as it finds everybody's."""

    def _configure(self, **kwargs: Any) -> None:
        runtime = install()
        if os.environ.get(OTEL_CONFIG_FILE):
            # The file says all: the SDK would ignore keyword arguments, with a warning.
            super()._configure()
            return
        if not runtime.enabled:
            super()._configure(**kwargs)
            return
        kwargs["resource_attributes"] = {
            **runtime.identity(),
            **(kwargs.get("resource_attributes") or {}),
        }
        kwargs.setdefault("export_log_record_processor", exporters.log_processor)
        with _only_providers_with_exporters():
            super()._configure(**kwargs)


@contextmanager
def _only_providers_with_exporters() -> Generator[None]:
    """Leave out the SDK's meter and logger providers that nobody reads.

    The SDK makes all three in any case, and frameworks then measure and log each request for nothing:
    a third of what FastAPI's own telemetry costs a JSON request (measured).
    """
    unused = [
        function
        for variable, function in _OPTIONAL.items()
        if os.environ.get(variable, "none").strip().lower() in ("", "none")
        and hasattr(sdk_configuration, function)
    ]
    kept = {function: getattr(sdk_configuration, function) for function in unused}
    for function in unused:
        setattr(sdk_configuration, function, _make_nothing)
    try:
        yield
    finally:
        for function, real in kept.items():
            setattr(sdk_configuration, function, real)


def _make_nothing(*_: Any, **__: Any) -> None:
    """Stands in for the maker of a provider."""
