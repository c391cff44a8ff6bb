"""Versions of Python, of the packages that are installed, and of the server that runs."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

MAX_PACKAGES = 2000

SERVERS = ("uvicorn", "hypercorn", "granian", "daphne", "gunicorn")
"""The first of them that is running serves; gunicorn starts the workers of others."""


def facts() -> dict[str, Any]:
    """`python`, `packages` by name, and `server`."""
    packages = _packages()
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": platform.platform(),
        },
        "packages": [[name, version] for name, version in sorted(packages.items())][:MAX_PACKAGES],
        "server": _server(packages),
    }


def _packages() -> dict[str, str]:
    """Versions by normalized name. Of two of one name the first on the path is what is imported."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        try:
            name = str(distribution.metadata["Name"] or "").lower().replace("_", "-")
            if name:
                found.setdefault(name, str(distribution.version))
        except Exception:  # noqa: S112 - a broken installation is no reason to show no other
            continue
    return found


def _server(packages: dict[str, str]) -> str:
    running = [name for name in SERVERS if _runs(name)]
    return " under ".join(f"{name} {packages.get(name, '')}".strip() for name in running)


def _runs(server: str) -> bool:
    """True when the part of a server that serves has been imported: `import uvicorn` alone is none."""
    modules = {
        "uvicorn": "uvicorn.server",
        "hypercorn": "hypercorn.run",
        "granian": "granian.asgi",
        "daphne": "daphne.server",
        "gunicorn": "gunicorn.arbiter",
    }
    return modules[server] in sys.modules
