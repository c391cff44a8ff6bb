"""How heavy the front end is, as it goes over the wire."""

from __future__ import annotations

import gzip

import pytest

from otel_toolbar.web.render import STATIC

FULL_PAGE = (
    "ui.css",
    "common.js",
    "stream.js",
    "history.js",
    "trace.js",
    "treegrid.js",
    "waterfall.js",
    "timescale.js",
    "tree.js",
    "overview.js",
    "inspector.js",
    "queries.js",
    "explain.js",
)
TASKS = ("tasks.js", "lanes.js", "load.js")
"""Loaded when that panel is opened."""

WEBSOCKETS = ("websockets.js", "messages.js", "payload.js")
"""Loaded where the panel is open."""


JOBS = ("jobs.js",)
"""Likewise."""


def compressed(name: str) -> int:
    return len(gzip.compress((STATIC / name).read_bytes(), 9))


@pytest.mark.parametrize(
    ("names", "most"),
    [
        (("toolbar.js",), 8 * 1024),
        (FULL_PAGE, 40 * 1024),
        (TASKS, 30 * 1024),
        (WEBSOCKETS, 30 * 1024),
        (JOBS, 2 * 1024),
    ],
    ids=["toolbar", "page", "tasks", "websockets", "jobs"],
)
def test_size(names: tuple[str, ...], most: int) -> None:
    assert sum(compressed(name) for name in names) <= most


def test_no_file_is_forgotten() -> None:
    known = {*FULL_PAGE, *TASKS, *WEBSOCKETS, *JOBS, "toolbar.js", "icon.svg"}
    assert {path.name for path in STATIC.iterdir() if path.is_file()} == known
