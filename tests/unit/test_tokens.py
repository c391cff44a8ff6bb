"""The style sheet's colours: text 4.5:1 and bars 3:1 on every ground, in both themes (WCAG 2.2)."""

from __future__ import annotations

import re

import pytest

from otel_toolbar.insights.reading import Category
from otel_toolbar.web.render import STATIC

GROUNDS = ("page", "panel", "selected")
TEXTS = ("text", "muted", "ok", "warn", "bad", "link")
BARS = (*Category.__args__, "rest")
THEMES = ("light", "dark")


def tokens(text: str) -> dict[str, tuple[str, str]]:
    found = re.findall(r"--([a-z]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", text)
    return {name: (light, dark) for name, light, dark in found}


SHEET = tokens((STATIC / "ui.css").read_text(encoding="utf-8"))
BADGE = tokens((STATIC / "toolbar.js").read_text(encoding="utf-8"))


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize(("name", "least"), [(n, 4.5) for n in TEXTS] + [(n, 3.0) for n in BARS])
def test_colour_is_readable(name: str, least: float, ground: str, theme: str) -> None:
    at = THEMES.index(theme)
    assert contrast(SHEET[name][at], SHEET[ground][at]) >= least


@pytest.mark.parametrize("theme", THEMES)
def test_sql_colours_are_readable_on_the_panel(theme: str) -> None:
    at = THEMES.index(theme)
    for name in ("link", "ok", "db", "muted"):
        assert contrast(SHEET[name][at], SHEET["panel"][at]) >= 4.5


def test_badge_has_the_colours_of_the_pages() -> None:
    differing = {
        name
        for name, colours in BADGE.items()
        if colours != SHEET[name] and name not in ("page", "line")
    }
    assert differing == set()
    for name in TEXTS:
        for at in (0, 1):
            assert contrast(BADGE[name][at], BADGE["page"][at]) >= 4.5
