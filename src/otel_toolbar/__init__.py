"""OpenTelemetry distribution for async Python with a debug toolbar in it.

    opentelemetry-instrument uvicorn app:app

changes no line of the app. By hand: `app = otel_toolbar.wrap(app)`, or `ToolbarMiddleware`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .distro.asgi import ToolbarMiddleware, wrap

from .version import VERSION

__version__ = VERSION

__all__ = ["ToolbarMiddleware", "__version__", "wrap"]


def __getattr__(name: str) -> Any:
    # PEP 562: importing the package must cost nothing, `opentelemetry-instrument` does it always.
    if name in ("ToolbarMiddleware", "wrap"):
        from .distro import asgi

        return getattr(asgi, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
