"""What the app asks of its caches: redis-py, Litestar's stores, aiocache."""

from __future__ import annotations

from . import redis, stores, switch


def install() -> None:
    """Put the hooks in, once a process; each takes effect when its library is imported."""
    switch.on = True
    if not _Installed.done:
        _Installed.done = True
        redis.install()
        stores.install()


def uninstall() -> None:
    """Add nothing any more: the hooks stay and only pass on."""
    switch.on = False


class _Installed:
    done = False
