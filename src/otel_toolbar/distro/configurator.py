"""The configurator: the SDK's own, with our facts on the resource."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.sdk._configuration import (  # pyright: ignore[reportPrivateUsage]
    _OTelSDKConfigurator,
)
from opentelemetry.sdk.environment_variables import OTEL_CONFIG_FILE

from otel_toolbar import semconv

from .runtime import install


class ToolbarConfigurator(_OTelSDKConfigurator):
    """Makes the providers; `distro.providers` then finds them as it finds everybody's."""

    def _configure(self, **kwargs: Any) -> None:
        runtime = install()
        if os.environ.get(OTEL_CONFIG_FILE):
            # The file says all: the SDK would ignore keyword arguments, with a warning.
            super()._configure()
            return
        if runtime.enabled:
            kwargs["resource_attributes"] = {
                semconv.PROCESS_PID: os.getpid(),
                semconv.PROCESS_ID: runtime.process_id,
                **(kwargs.get("resource_attributes") or {}),
            }
        super()._configure(**kwargs)
