"""asyncio tasks, awaits, blocking calls, work in threads and the loop's lag, of each request.

All of it comes from the watch over the steps of tasks (`signals.core.steps`).
"""

from __future__ import annotations

from .observer import install, uninstall

__all__ = ["install", "uninstall"]
