"""What holds for a whole process: routes, settings, versions, hooks, the OpenAPI document.

Told once, in a log record of its own that belongs to no trace, and again when it has changed. All of it
is gathered in a thread, never on a request's path.
"""

from __future__ import annotations

from .reporter import Reporter

__all__ = ["Reporter"]
