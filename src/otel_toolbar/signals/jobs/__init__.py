"""Jobs of SAQ: what is sent to a queue, and what a worker runs."""

from __future__ import annotations

from .hooks import install, uninstall
from .state import refresh

__all__ = ["install", "refresh", "uninstall"]
