"""When the facts of a process are gathered and told.

A moment after the app has started or served its first request; after that, only while somebody looks at
the toolbar. The OpenAPI document takes FastAPI long to make for a large app, so it waits for the first
look, unless the app has made it itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import logs
from otel_toolbar.version import VERSION

SCOPE = InstrumentationScope("otel_toolbar.signals.process", VERSION)

DELAY = 0.5
"""Seconds after the start before anything is gathered: the first requests go first."""

PAUSE = 2.0
"""Seconds between two looks for changes, at least."""

MAX_APPS = 10
"""Apps of one process that are told of."""

_INFO = 9


class Reporter:
    """Gathers and tells the facts of one process.

    `identity` gives the attributes that tell the process on its resource, `more` facts that only the
    distribution knows. `toolbar` are the toolbar's settings as names and values.
    """

    def __init__(
        self,
        identity: Callable[[], Mapping[str, Any]],
        more: Callable[[], Mapping[str, Any]],
        toolbar: Mapping[str, Any],
    ) -> None:
        self._identity = identity
        self._more = more
        self._toolbar = toolbar
        self.start_afresh()

    def start_afresh(self) -> None:
        """Know nothing yet. For a forked process, which tells its own facts when it serves."""
        self._lock = threading.Lock()
        self._apps: list[Any] = []
        self._loop = ""
        self._versions: dict[str, Any] | None = None
        self._told: dict[str, Any] | None = None
        self._documents: dict[str, Any] = {}
        self._documented: Any = None
        """The routes that the documents are of."""
        self._looked = False
        self._next = 0.0
        self._thread: threading.Thread | None = None

    def serves(self, app: Any, loop: str = "") -> None:
        """Note an app of this process, and tell its facts in a moment. `loop` names its event loop."""
        with self._lock:
            if any(known is app for known in self._apps) or len(self._apps) == MAX_APPS:
                return
            self._apps.append(app)
            self._loop = loop or self._loop
        self._start(DELAY)

    def look(self) -> None:
        """Somebody looks: tell what has changed, from now on with the OpenAPI document."""
        if not self._apps:
            return
        first, self._looked = not self._looked, True
        if first or time.monotonic() >= self._next:
            self._start(0)

    def wait(self, timeout: float = 10) -> None:
        """Until what is being gathered has been told."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _start(self, delay: float) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._next = time.monotonic() + delay + PAUSE
            self._thread = threading.Thread(
                target=self._run, args=(delay,), name="otel-toolbar-facts", daemon=True
            )
            self._thread.start()

    def _run(self, delay: float) -> None:
        try:
            time.sleep(delay)
            looked = self._looked
            self.tell()
            if self._looked and not looked:  # the first look came meanwhile
                self.tell()
        except Exception:
            guard.failed("facts of the process")

    def tell(self) -> None:
        """Gather all facts and hand them on, if they are not those that were told last."""
        facts = self._gathered()
        if facts == self._told:
            return
        self._told = facts
        log = logs.LightLog(_INFO, "INFO", facts, {}, SCOPE, event=semconv.PROCESS_EVENT)
        resource = getattr(trace.get_tracer_provider(), "resource", None) or Resource.get_empty()
        log.resource = resource.merge(Resource(dict(self._identity())))
        logs.emit_of_process(log)

    def _gathered(self) -> dict[str, Any]:
        # Not while the app starts: they are of no use before somebody may look.
        from . import configuration, hooks, routes, versions

        apps = list(self._apps)
        if self._versions is None:
            self._versions = _kept("versions", versions.facts)
        facts: dict[str, Any] = dict(self._versions)
        facts["event_loop"] = self._loop
        facts |= _kept("instrumentations", self._more)
        facts |= _kept("routes", lambda: routes.facts(apps))
        facts |= _kept("settings", lambda: configuration.facts(apps, self._toolbar))
        facts |= _kept("hooks", lambda: hooks.facts(apps))
        facts |= self._openapi(apps, facts.get("routes"))
        return facts

    def _openapi(self, apps: list[Any], routes: Any) -> dict[str, Any]:
        """The documents, made again only for other routes: 500 of them took 1.2 s (measured)."""
        if not self._documents or self._documented != routes:
            from . import openapi

            self._documents = _kept("OpenAPI", lambda: openapi.facts(apps, make=self._looked))
            self._documented = routes
        return self._documents


def _kept(place: str, gather: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What `gather` finds; nothing when it fails, which must not cost the other facts."""
    try:
        return dict(gather())
    except Exception:
        guard.failed(f"{place} of the process")
        return {}
