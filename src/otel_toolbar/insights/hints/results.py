"""Results that are larger than a page needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Trace

from . import sites
from .sites import Site

MANY_ROWS: Final = 500
"""Rows of a result without LIMIT that are worth knowing of."""
TOO_MANY_ROWS: Final = 5_000
"""As many are a warning."""

_BOUNDED = re.compile(r"\b(LIMIT|FETCH|TOP)\b", re.IGNORECASE)


def _missing_limit(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        rows = site.rows or 0
        if rows >= MANY_ROWS and _could_be_limited(site):
            yield MISSING_LIMIT.hint(
                [site.largest],
                f"{rows:,} rows of {site.statement.target or 'the result'} were fetched, and nothing"
                " in the statement bounds them.",
                [Figure("rows", rows), Figure("time", site.seconds, "s")],
                severity="warn" if rows >= TOO_MANY_ROWS else "info",
            )


def _could_be_limited(site: Site) -> bool:
    selects = site.statement.operation == "SELECT" and not site.is_bulk
    return (
        selects and not site.loads_relationship and not _BOUNDED.search(site.statement.normalized)
    )


MISSING_LIMIT = Rule(
    id="missing-limit",
    title="Result without a bound",
    when=f"A SELECT without LIMIT returned {MANY_ROWS:,} rows or more (a warning from"
    f" {TOO_MANY_ROWS:,}). Not: eager and lazy loads, lists of given keys.",
    evidence="Rows fetched, time.",
    fix="Page it: `.limit(n)`, by a key that goes on where the last page ended; for an export,"
    " stream it with `yield_per`.",
    link="https://use-the-index-luke.com/sql/partial-results/top-n-queries",
    find=_missing_limit,
)

RULES: Final = (MISSING_LIMIT,)
