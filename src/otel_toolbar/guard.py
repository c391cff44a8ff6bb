"""Keeps an error of ours away from the app: it is logged, once for each place, and swallowed."""

from __future__ import annotations

import logging

_log = logging.getLogger("otel_toolbar")
_reported: set[str] = set()


def failed(place: str) -> None:
    """Report the exception being handled, the first time it happens at `place`.

    Call it from an `except Exception:` block around a hook. Once for each place, because a hook
    runs thousands of times a second and a log flood would hurt the app as much as the error.
    """
    if place in _reported:
        return
    _reported.add(place)
    _log.warning(
        "otel-toolbar: %s failed; the app is not affected, this fact is missing from its traces."
        " Reported once.",
        place,
        exc_info=True,
    )


def say_once(message: str) -> None:
    """Log a line for the developer at most once in this process."""
    if message not in _reported:
        _reported.add(message)
        _log.warning("otel-toolbar: %s", message)


def forget() -> None:
    """Report everything again. For tests."""
    _reported.clear()
