"""The distro: what `opentelemetry-instrument` runs first."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

import wrapt
from opentelemetry.environment_variables import (
    OTEL_LOGS_EXPORTER,
    OTEL_METRICS_EXPORTER,
    OTEL_TRACES_EXPORTER,
)
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_CONFIGURATOR,
    OTEL_SEMCONV_STABILITY_OPT_IN,
)
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_LOGS_ENDPOINT,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
)

from otel_toolbar import guard

from .runtime import install

OURS = "otel_toolbar"
"""Name of our distro and of our configurator, as OTEL_PYTHON_DISTRO and the like have it."""

_LOADER = "opentelemetry.instrumentation.auto_instrumentation._load"

GRPC_PORT = 4317
"""By convention; an endpoint with it is spoken to in gRPC, any other in HTTP."""

REPLACED = frozenset(
    {"asgi", "fastapi", "starlette", "sqlalchemy", "jinja2", "asyncio", "click", "logging"}
)
"""Instrumentations of others that ours replace: both would make two spans for one thing.

click makes one endless trace of a whole server run (opentelemetry-python-contrib#3846).
"""


LIBRARIES = {
    "asyncpg": "asyncpg",
    "psycopg": "psycopg",
    "pymysql": "pymysql",
    "sqlite3": "sqlite3",
    "redis": "redis",
    "httpx": "httpx",
    "httpx2": "httpx2",
    "aiohttp-client": "aiohttp",
    "requests": "requests",
    "urllib3": "urllib3",
}
"""Instrumentations that import their library to begin, which may take longer than all else at the start:
they are loaded when the app imports it."""

SIGNAL_OF = {"redis": "cache", "httpx": "http", "httpx2": "http", "aiohttp-client": "http"}
"""The signal that an instrumentation feeds: with the one, the other is switched off."""


class ToolbarDistro(BaseDistro):
    """Defaults for a developer's machine, and no instrumentation twice."""

    runs = False
    """True once it is the distro of this process."""

    loaded: ClassVar[set[str]] = set()
    """Names of the instrumentations of others that are active."""

    def _configure(self, **kwargs: Any) -> None:  # noqa: ARG002 - the base class's signature
        ToolbarDistro.runs = True
        defaults(os.environ)
        _silence_other_configurators()
        install()

    def load_instrumentor(self, entry_point: Any, **kwargs: Any) -> None:
        """Load an instrumentation, unless ours stands in its place.

        With the toolbar off nothing of ours does, so then all are loaded as without us.
        """
        runtime = install()
        if not runtime.enabled:
            self._load(entry_point, **kwargs)
        elif entry_point.name in LIBRARIES:
            signal = SIGNAL_OF.get(entry_point.name)
            if signal is None or signal in runtime.signals:
                self._load_later(entry_point, **kwargs)
        elif entry_point.name not in REPLACED:
            self._load(entry_point, **kwargs)

    def _load(self, entry_point: Any, **kwargs: Any) -> None:
        super().load_instrumentor(entry_point, **kwargs)  # pyright: ignore[reportUnknownMemberType]
        ToolbarDistro.loaded.add(entry_point.name)

    def _load_later(self, entry_point: Any, **kwargs: Any) -> None:
        """Load it when its library is imported, or, when it is what imports the library, right after it."""
        library, begun = LIBRARIES[entry_point.name], False

        def imported(_: Any) -> None:
            nonlocal begun
            if begun or library not in sys.modules or _is_half_imported(entry_point):
                return
            begun = True
            try:
                self._load(entry_point, **kwargs)
            except Exception:  # the app only imports a library: nothing may come of it
                guard.failed(f"instrumentation {entry_point.name}")

        wrapt.register_post_import_hook(imported, library)
        wrapt.register_post_import_hook(imported, entry_point.module)


def _is_half_imported(entry_point: Any) -> bool:
    """True while the app imports the instrumentation itself, which has not come to its class yet."""
    module = sys.modules.get(entry_point.module)
    return module is not None and not hasattr(module, entry_point.attr)


def _silence_other_configurators() -> None:
    """Drop the line that another distro's configurator is not loaded: ours was chosen with our distro.

    It would stand in the log of every process, and nothing is to be done about it.
    """

    def tells_more(record: logging.LogRecord) -> bool:
        return not (
            isinstance(record.args, tuple) and record.args[1:] == (OURS, OTEL_PYTHON_CONFIGURATOR)
        )

    logging.getLogger(_LOADER).addFilter(tells_more)


def defaults(environ: MutableMapping[str, str]) -> None:
    """Set what the developer has not: exporters follow the endpoint, names are the stable ones."""
    environ.setdefault(OTEL_PYTHON_CONFIGURATOR, OURS)
    environ.setdefault(OTEL_SEMCONV_STABILITY_OPT_IN, "http,database")
    common = environ.get(OTEL_EXPORTER_OTLP_ENDPOINT)
    traces = environ.get(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) or common
    logs = environ.get(OTEL_EXPORTER_OTLP_LOGS_ENDPOINT) or common
    environ.setdefault(OTEL_TRACES_EXPORTER, "otlp" if traces else "none")
    environ.setdefault(OTEL_LOGS_EXPORTER, "otlp" if logs else "none")
    environ.setdefault(OTEL_METRICS_EXPORTER, "none")
    environ.setdefault(OTEL_EXPORTER_OTLP_PROTOCOL, _protocol(traces or logs or ""))


def _protocol(endpoint: str) -> str:
    try:
        port = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").port
    except ValueError:
        port = None
    return "grpc" if port == GRPC_PORT else "http/protobuf"
