"""What the ORM loaded and the request never read. Only with the signal `loads`, which watches that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.hint import Figure, Hint, Rule
from otel_toolbar.model import Span, Trace

from . import sites
from .sites import Site

ENOUGH_ROWS: Final = 50
"""Rows from which columns that nobody reads are worth knowing of."""
WIDE: Final = 256
"""Bytes of a row, likewise."""
HEAVY: Final = 2**20
"""Bytes of a result that make it a warning."""
MANY_ROWS: Final = 100
"""Rows of an eager load that nobody reads that make it a warning."""
SLOW: Final = 0.05
"""Seconds, likewise."""


def _unread(span: Span) -> tuple[list[str], list[str]]:
    """Columns and relationships that were not read: a relationship is not in what was loaded."""
    loaded = set(reading.strings(span.attributes.get(semconv.QUERY_LOADED)))
    unread = reading.strings(span.attributes.get(semconv.QUERY_UNREAD))
    return [name for name in unread if name in loaded], [
        name for name in unread if name not in loaded
    ]


def _unused_eager_load(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        names = [_unread(span)[1] for span in site.spans]
        always = [name for name in names[0] if all(name in each for each in names)]
        if not always or not site.rows or _was_cut_short(trace, site) or _deletes(trace, site):
            continue
        own = reading.text(site.first, semconv.QUERY_EAGER_LOADED) in always
        cost = (
            f"its query took {site.seconds * 1000:.1f} ms"
            if own
            else "it was joined into this query"
        )
        heavy = site.rows >= MANY_ROWS or (own and site.seconds >= SLOW)
        yield UNUSED_EAGER_LOAD.hint(
            site.spans,
            f"{' and '.join(always)} was loaded ahead and not read in this request; {cost}, which"
            f" returned {site.rows:,} rows.",
            [Figure("rows", site.rows), Figure("time", site.seconds, "s")],
            severity="warn" if heavy else "info",
            fix=f"Leave the eager load of {' and '.join(always)} out here; where the mapping asks for it,"
            " `.options(lazyload(...))`.",
        )


def _was_cut_short(trace: Trace, site: Site) -> bool:
    """True when the request failed: it may have read more, had it gone on."""
    owner = trace.owners.get(site.first.span_id)
    return owner is None or owner.running or reading.failed(owner)


def _deletes(trace: Trace, site: Site) -> bool:
    """True when the request deletes: the ORM itself reads what goes along with that."""
    owner = trace.owners.get(site.first.span_id)
    return any(
        sites.statement(trace, span).operation == "DELETE"
        and trace.owners.get(span.span_id) is owner
        for span in sites.queries(trace)
    )


def _unused_columns(trace: Trace) -> Iterator[Hint]:
    for site in sites.of(trace):
        columns = _unread(site.largest)[0]
        rows = site.rows or 0
        width = site.largest.integer(semconv.QUERY_ROW_SIZE) or 0
        loaded = len(reading.strings(site.largest.attributes.get(semconv.QUERY_LOADED)))
        if rows < ENOUGH_ROWS or width < WIDE or len(columns) * 2 <= loaded:
            continue
        if _was_cut_short(trace, site):
            continue
        yield UNUSED_COLUMNS.hint(
            [site.largest],
            f"{len(columns)} of {loaded} columns were loaded and not read in this request"
            f" ({', '.join(columns[:5])}{', …' if len(columns) > 5 else ''}): {rows:,} rows of about"
            f" {width:,} bytes.",
            [
                Figure("unread columns", len(columns)),
                Figure("rows", rows),
                Figure("row", width, "By"),
            ],
            severity="warn" if width * rows >= HEAVY else "info",
        )


UNUSED_EAGER_LOAD: Final = Rule(
    id="unused-eager-load",
    title="Eager load that nobody read",
    when="With the signal `loads`: a selectin, subquery or joined load brought rows, and the"
    " relationship was read on no object before the request's end, while other attributes of its model"
    " were. Not: in a request that failed or deletes.",
    evidence="Relationship, rows, time.",
    fix="Leave that eager load out here.",
    link="https://docs.sqlalchemy.org/en/20/orm/queryguide/relationships.html",
    find=_unused_eager_load,
)
UNUSED_COLUMNS: Final = Rule(
    id="unused-columns",
    title="Wide rows, mostly unread",
    when=f"With the signal `loads`: {ENOUGH_ROWS} rows or more of {WIDE} bytes or more, and more than half of"
    " the columns that the ORM loaded were read on no object (a warning from 1 MiB together). Not counted:"
    " keys, columns that the mapping itself needs. Not: in a request that failed.",
    evidence="Columns, rows, bytes.",
    fix="Load what is read: `.options(load_only(...))`, or select the columns.",
    link="https://docs.sqlalchemy.org/en/20/orm/queryguide/columns.html",
    find=_unused_columns,
)

RULES: Final = (UNUSED_EAGER_LOAD, UNUSED_COLUMNS)
