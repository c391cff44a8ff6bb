"""The toolbar of this process: its settings, store and processor, put together once.

There is one `Runtime` a process, because the SDK's providers, the patched servers and the store are
the process's too. `install` makes it and is idempotent: the distro, the instrumentor (when another
distro runs), `wrap` and `ToolbarMiddleware` all call it, whoever comes first.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import OTEL_CONFIG_FILE, OTEL_SDK_DISABLED

from otel_toolbar import guard, semconv, settings
from otel_toolbar.intake.exporter import StoreExporter
from otel_toolbar.settings import Settings
from otel_toolbar.signals import process
from otel_toolbar.signals.core import exceptions, masking, places
from otel_toolbar.signals.core import logs as log_records
from otel_toolbar.signals.core.processor import ToolbarProcessor
from otel_toolbar.signals.websockets.connections import Connections
from otel_toolbar.store.base import Batch
from otel_toolbar.store.memory import MemoryStore
from otel_toolbar.wire import packed

SIGNALS = (
    "queries",
    "tasks",
    "websockets",
    "templates",
    "logs",
    "cache",
    "http",
    "jobs",
    "graphql",
    "dependencies",
    "events",
    "process",
    "loads",
)
"""What the setting `SIGNALS` chooses from."""

OFF = ("loads",)
"""Those of them that are off unless named."""

PRODUCTION = frozenset({"prod", "production", "live", "staging"})
"""Values of `deployment.environment.name` under which `ENABLED=auto` is off."""

_WARNED = "_OTEL_TOOLBAR_WARNED"
"""Environment variable by which a process tells those it starts what it has said already."""

_log = logging.getLogger("otel_toolbar")


class Runtime:
    """The parts of one process. `enabled` False means that everything of ours stands aside."""

    def __init__(self, options: Settings) -> None:
        self.options = options
        self.enabled = is_enabled(options, _environment_attributes())
        self.signals = settings.selected(options.signals, SIGNALS, off=OFF)
        """What is captured while `enabled`."""
        self.process_id = uuid.uuid4().hex
        self.store = MemoryStore(options, self._live)
        self.processor = ToolbarProcessor(StoreExporter(self.store).export)
        self.connections = Connections(options) if "websockets" in self.signals else None
        """Counts websocket connections; None when they are not watched."""
        self.facts = self._reporter()
        """Tells the facts of the process; None where the setting `SIGNALS` leaves them out."""
        self.sdk_disabled = sdk_disabled()
        """As it is now, and as the SDK's provider found it or will find it: not asked for each request."""
        self.closing = False
        """True when the server shuts down: streams of the UI end at once then."""

    def see_resource(self, attributes: Mapping[str, Any]) -> None:
        """Switch off when a provider's resource says that this is production."""
        if self.enabled and not is_enabled(self.options, attributes):
            self.enabled = False
            _hook_out()

    def identity(self) -> dict[str, Any]:
        """What tells this process from others on the resource of its spans."""
        return {semconv.PROCESS_PID: os.getpid(), semconv.PROCESS_ID: self.process_id}

    def start_afresh(self) -> None:
        """Be the runtime of a forked process: an id and locks of its own, none of the parent's traces.

        A lock that another thread of the parent held in the moment of the fork is held for ever here.
        """
        self.process_id = uuid.uuid4().hex
        self.store.start_afresh()
        self.processor.start_afresh()
        if self.facts is not None:
            self.facts.start_afresh()

    def _reporter(self) -> process.Reporter | None:
        if not self.enabled or "process" not in self.signals:
            return None

        def instrumentations() -> Mapping[str, Any]:
            from . import facts  # not while the app starts

            return facts.instrumentations(self, SIGNALS, OFF)

        shown = {
            settings.PREFIX + name.upper(): value for name, value in asdict(self.options).items()
        }
        return process.Reporter(self.identity, instrumentations, shown)

    def why_empty(self) -> str | None:
        """Why no trace can come in this process; None when nothing stands against it."""
        if self.sdk_disabled:
            return (
                f"{OTEL_SDK_DISABLED} is set, so OpenTelemetry records nothing."
                " Unset it to see requests here."
            )
        if os.environ.get(OTEL_CONFIG_FILE) and isinstance(
            trace.get_tracer_provider(), trace.ProxyTracerProvider
        ):
            return (
                f"The file that {OTEL_CONFIG_FILE} names sets up no tracing: it says `disabled: true`,"
                " has no tracer_provider, or could not be read (the log says so then)."
            )
        return None

    def _live(self) -> Mapping[str, Batch]:
        return packed.by_trace(*self.processor.live())


_runtime: Runtime | None = None
_lock = threading.Lock()


def install(**overrides: Any) -> Runtime:
    """The process's runtime, made and hooked in on the first call.

    `overrides` are settings by name in lower case; after the first call they are ignored with a line.
    """
    global _runtime
    with _lock:
        if _runtime is None:
            options, complaints = settings.load(overrides=overrides)
            warn_of([*complaints, *_unknown_alerts(options)])
            _runtime = Runtime(options)
            if _runtime.enabled:
                _hook_in(_runtime)
        elif _runtime.enabled and overrides and _differ(overrides, _runtime.options):
            guard.say_once(
                "settings given to wrap() or ToolbarMiddleware are ignored: this process already has"
                " its settings, from the environment or from an earlier call"
            )
        return _runtime


def _unknown_alerts(options: Settings) -> list[str]:
    """A line for each name in `ALERTS` that there is none of."""
    if not options.alerts:
        return []
    from otel_toolbar.insights import alerts  # with all rules: only where somebody names one

    return alerts.unknown(options.alerts)


def _differ(overrides: Mapping[str, Any], options: Settings) -> bool:
    return settings.load(overrides=overrides)[0] != options


def warn_of(complaints: Sequence[str]) -> None:
    """Log each line; not again in processes that this one starts.

    A server with workers or a reloader starts three and more, all with the same environment.
    """
    said = os.environ.get(_WARNED, "").split()
    for complaint in complaints:
        fingerprint = hashlib.sha256(complaint.encode()).hexdigest()[:16]
        if fingerprint not in said:
            os.environ[_WARNED] = " ".join([*said, fingerprint])
            said.append(fingerprint)
            _log.warning("otel-toolbar: %s", complaint)


def _hook_in(runtime: Runtime) -> None:
    from otel_toolbar.signals import frameworks

    from . import exporters, providers, servers

    options = runtime.options
    exporters.quieten()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)
    masking.configure(options)
    exceptions.configure(options)
    places.configure(options)
    log_records.take_with(runtime.processor.take_logs)
    providers.watch(runtime)
    servers.hook()
    for name, install_subject in _subjects(runtime).items():
        if name in runtime.signals:
            install_subject()
    frameworks.install()


def _subjects(runtime: Runtime) -> dict[str, Callable[[], Any]]:
    """What each word of `SIGNALS` installs."""
    from otel_toolbar.signals import (
        cache,
        dependencies,
        events,
        graphql,
        http,
        jobs,
        logs,
        queries,
        tasks,
        templates,
    )

    from . import servers

    options = runtime.options

    def install_queries() -> None:
        queries.install(options)
        if "loads" in runtime.signals:
            queries.loads.install()

    return {
        "queries": install_queries,
        "tasks": partial(tasks.install, options),
        "templates": partial(templates.install, options),
        "logs": logs.install,
        "cache": cache.install,
        "http": http.install,
        "graphql": graphql.install,
        "dependencies": dependencies.install,
        "events": events.install,
        "jobs": partial(jobs.install, options, servers.flush_in_thread),
    }


def _hook_out() -> None:
    """Take out what would emit spans of its own. The other hooks look at `enabled`, or only pass on."""
    from otel_toolbar.signals import (
        cache,
        events,
        graphql,
        http,
        jobs,
        logs,
        queries,
        tasks,
        templates,
    )

    for subject in (
        cache,
        events,
        graphql,
        http,
        jobs,
        queries,
        queries.loads,
        logs,
        tasks,
        templates,
    ):
        subject.uninstall()


def _forked() -> None:
    from . import providers

    global _lock
    _lock = threading.Lock()
    if _runtime is not None:
        try:
            _runtime.start_afresh()
            providers.identify(_runtime)
        except Exception:
            guard.failed("start of a forked process")


def is_enabled(options: Settings, resource: Mapping[str, Any]) -> bool:
    """What `ENABLED` says; for `auto`, that the resource names no production environment."""
    if options.enabled != "auto":
        return options.enabled == "true"
    name = resource.get(semconv.DEPLOYMENT_ENVIRONMENT_NAME) or resource.get(
        semconv.DEPLOYMENT_ENVIRONMENT
    )
    return str(name or "").strip().lower() not in PRODUCTION


def sdk_disabled() -> bool:
    """True when `OTEL_SDK_DISABLED` makes every tracer a no-op."""
    return os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"


def _environment_attributes() -> dict[str, str]:
    """`OTEL_RESOURCE_ATTRIBUTES`, read as far as needed before there is a provider."""
    pairs = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    return {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in pairs)}
