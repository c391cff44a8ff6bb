"""What the app logs, as log records on the span that was current."""

from __future__ import annotations

from .standard import install, uninstall

__all__ = ["install", "uninstall"]
