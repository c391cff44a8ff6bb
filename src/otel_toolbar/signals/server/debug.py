"""Whether the framework's debug mode is on: it shows source code to whoever sees an error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from otel_toolbar import guard

_APPS = {"starlette": "app", "fastapi": "app", "litestar": "litestar_app"}
"""Where the framework puts its app in the scope."""


def is_on(scope: Mapping[str, Any], framework: str) -> bool:
    """True when it is known to be. Quart's app is not to be found from a request."""
    try:
        if framework == "django":
            configured = sys.modules.get("django.conf")
            return configured is not None and configured.settings.DEBUG is True
        key = _APPS.get(framework)
        return key is not None and getattr(scope.get(key), "debug", None) is True
    except Exception:
        guard.failed("looking for debug mode")
        return False
