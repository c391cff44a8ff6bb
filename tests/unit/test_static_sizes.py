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
    "waterfall.js",
    "tree.js",
    "minimap.js",
    "inspector.js",
    "explain.js",
)


def compressed(name: str) -> int:
    return len(gzip.compress((STATIC / name).read_bytes(), 9))


@pytest.mark.parametrize(
    ("names", "most"),
    [(("toolbar.js",), 8 * 1024), (FULL_PAGE, 40 * 1024)],
    ids=["toolbar", "page"],
)
def test_size(names: tuple[str, ...], most: int) -> None:
    assert sum(compressed(name) for name in names) <= most


def test_no_file_is_forgotten() -> None:
    known = {*FULL_PAGE, "toolbar.js", "icon.svg"}
    assert {path.name for path in STATIC.iterdir() if path.is_file()} == known
