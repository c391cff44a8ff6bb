"""The toolbar's own site under `/_toolbar`: an ASGI app built when somebody first looks."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from otel_toolbar import guard
from otel_toolbar.settings import Settings
from otel_toolbar.store.base import Store

from .security import Access

if TYPE_CHECKING:
    from otel_toolbar.insights.job_state import JobState
    from otel_toolbar.insights.plans import Plan

Scope = MutableMapping[str, Any]
ASGI = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Site:
    """What the site shows and to whom. `why_empty` says why no trace can come, if so."""

    store: Store
    options: Settings
    access: Access
    process_id: Callable[[], str] = lambda: ""
    why_empty: Callable[[], str | None] = lambda: None
    closing: Callable[[], bool] = lambda: False
    refresh_job: Callable[[str], Awaitable[JobState]] | None = None
    """The action that asks a queue for a job by its id; it raises `job_state.Refused`."""
    started: float = field(default_factory=time.time)
    """When the process began, about, in unix seconds."""
    explain: Callable[[str, str, bool], Plan] | None = None
    """The action EXPLAIN: trace id, span id, whether to ANALYZE. It waits, and raises `Refused`."""
    look: Callable[[], None] = lambda: None
    """Called when somebody looks: the writing side then tells what it does not tell unasked."""
    _app: ASGI | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Of the process that answers: the site may have been made in the parent of a fork."""
        return os.getpid()

    def base(self, scope: Mapping[str, Any]) -> str:
        """URL path of the site as the browser has it: behind the server's root path, if any."""
        return str(scope.get("root_path", "")).rstrip("/") + self.options.path

    def owns(self, scope: Mapping[str, Any]) -> bool:
        """True for a request to the site."""
        return self._inside(scope) is not None

    async def answers(self, scope: Scope, receive: Any, send: Any) -> bool:
        """Answer a request to the site, or say no: then it is the app's.

        The app's own answer is what those get who may not see the toolbar.
        """
        login = self.access.token_login(scope)
        if login is not None:
            await send({"type": "http.response.start", "status": 303, "headers": login})
            await send({"type": "http.response.body", "body": b""})
            return True
        if not self.access.may_read(scope):
            return False
        await self._serve(scope, receive, send)
        return True

    async def _serve(self, scope: Scope, receive: Any, send: Any) -> None:
        self._note_look()
        if self._app is None:
            # Imports Starlette and Jinja2: not while the app starts, and not on its loop.
            import anyio.to_thread

            self._app = await anyio.to_thread.run_sync(self._build)
        inside = dict(scope)
        inside["path"] = self._inside(scope) or "/"
        inside["raw_path"] = inside["path"].encode()
        inside["root_path"] = ""
        inside["otel_toolbar.base"] = self.base(scope)
        await self._app(inside, receive, send)

    def _note_look(self) -> None:
        try:
            self.look()
        except Exception:
            guard.failed("a look at the toolbar")

    def _build(self) -> ASGI:
        from .app import build

        return build(self)

    def _inside(self, scope: Mapping[str, Any]) -> str | None:
        """The path within the site; None for a path outside of it."""
        path = str(scope.get("path", ""))
        if self.options.path not in path:  # as of nearly every request
            return None
        # Servers differ in whether `path` repeats the root path.
        for base in (self.base(scope), self.options.path):
            if path == base or path.startswith(base + "/"):
                return path[len(base) :] or "/"
        return None
