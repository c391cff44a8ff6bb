"""The instrumentor: brings the toolbar along when another distro is the one that runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # pyright: ignore[reportMissingTypeStubs]
    BaseInstrumentor,
)

from .runtime import install


class ToolbarInstrumentor(BaseInstrumentor):
    """Everything that `ToolbarDistro` has not already done."""

    def instrumentation_dependencies(self) -> Collection[str]:
        return ()

    def _instrument(self, **kwargs: Any) -> None:  # noqa: ARG002
        install()

    def _uninstrument(self, **kwargs: Any) -> None:
        """Nothing is taken out of a running process: switch off with OTEL_TOOLBAR_ENABLED."""
