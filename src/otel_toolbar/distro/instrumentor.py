"""The instrumentor: brings the toolbar along when another distro is the one that runs."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISTRO
from opentelemetry.instrumentation.instrumentor import (  # pyright: ignore[reportMissingTypeStubs]
    BaseInstrumentor,
)
from opentelemetry.util._importlib_metadata import (
    entry_points,  # pyright: ignore[reportUnknownVariableType]
)

from .distro import OURS, ToolbarDistro
from .runtime import install, warn_of


class ToolbarInstrumentor(BaseInstrumentor):
    """Everything that `ToolbarDistro` has not already done."""

    def instrumentation_dependencies(self) -> Collection[str]:
        return ()

    def _instrument(self, **kwargs: Any) -> None:  # noqa: ARG002
        if install().enabled and not os.environ.get(OTEL_PYTHON_DISTRO):
            _say_who_runs()

    def _uninstrument(self, **kwargs: Any) -> None:
        """Nothing is taken out of a running process: switch off with OTEL_TOOLBAR_ENABLED."""


def _say_who_runs() -> None:
    """Where two distros are installed and none is chosen, chance decides: say so, and what follows."""
    if ToolbarDistro.runs:
        return
    names = [entry_point.name for entry_point in entry_points(group="opentelemetry_distro")]
    other = next((name for name in names if name != OURS), "another")
    line = (
        f"the distro {other!r} runs, so its exporter defaults hold; {OTEL_PYTHON_DISTRO}={OURS}"
        f" chooses ours, {OTEL_PYTHON_DISTRO}={other} keeps it without this line"
    )
    warn_of([line])
