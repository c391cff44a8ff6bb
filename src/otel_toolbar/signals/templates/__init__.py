"""Templates: Jinja2's renders with what they extend, include, import and call; Litestar's other engines.

Hooked in when the library is imported, never before. Nothing is looked at outside of a request or a
job: there a template's own function is handed out as it is.
"""

from __future__ import annotations

from otel_toolbar.settings import Settings

from . import described, jinja, litestar

__all__ = ["install", "uninstall"]


def install(options: Settings) -> None:
    """Watch all templates from now on, once their engines are imported."""
    described.configure(options)
    jinja.install()
    litestar.install()


def uninstall() -> None:
    """Watch none any more, and leave the engines as they were."""
    jinja.uninstall()
    litestar.uninstall()
