"""Nothing is lost at the end: spans are sent on before the process goes, within a bound."""

from __future__ import annotations

import threading

from otel_toolbar import guard

from . import providers

TIMEOUT = 3.0
"""Seconds at most that a shutdown waits for exporters; a hanging collector must not hold it up."""


def flush(timeout: float = TIMEOUT) -> None:
    """Send what is queued in every provider, all at once, and wait at most `timeout` seconds.

    uvicorn raises SIGTERM again after its shutdown, so that neither `atexit` nor anything else runs:
    this is the last occasion.
    """
    threads = [
        threading.Thread(target=_flush_one, args=(provider, timeout), daemon=True)
        for provider in providers.known()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)


def _flush_one(provider: providers.TracerProvider, timeout: float) -> None:
    try:
        provider.force_flush(int(timeout * 1000))
    except Exception:
        guard.failed("flush at shutdown")
