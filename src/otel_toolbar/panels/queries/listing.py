"""The part of the list that a reader asks for: filtered, sorted, a page of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from .transactions import Boundary

if TYPE_CHECKING:
    from .view import Query

PAGE = 100
"""Rows of one page."""

ONLY = {
    "slow": "slow",
    "n+1": "N+1",
    "duplicates": "duplicates",
    "errors": "failed",
}
"""What the list can be narrowed to, with the words for it."""

Entry = Union["Query", Boundary]


@dataclass(frozen=True)
class Listing:
    """What to show of the list, and how it came to that."""

    text: str
    only: str
    sort: str
    """order or time."""
    group: str
    """Id of a group of like statements, or of an N+1 group."""
    opened: int
    """Position of the query that is shown whole, 0 for none."""
    entries: tuple[Entry, ...]
    """Queries, with the boundaries of transactions between them when they are all there in order."""
    first: int
    """Of the queries that were found, from 1."""
    last: int
    found: int
    """Queries that were found."""

    @property
    def narrowed(self) -> bool:
        return bool(self.text or self.only or self.group)

    @property
    def parameters(self) -> dict[str, str]:
        """What leads to the same list, for links."""
        sort = self.sort if self.sort != "order" else ""
        return {"q": self.text, "only": self.only, "sort": sort, "group": self.group}


def select(
    queries: Sequence[Query], boundaries: Sequence[Boundary], asked: Mapping[str, str]
) -> Listing:
    """Read a page's parameters `q`, `only`, `sort`, `group`, `from` and `show`; bad ones are ignored."""
    text = asked.get("q", "").strip()
    only = asked.get("only", "") if asked.get("only") in ONLY else ""
    by_time = asked.get("sort") == "time"
    group = asked.get("group", "")
    found = [q for q in queries if _matches(q, text.lower(), only, group)]
    if by_time:
        found.sort(key=lambda query: -query.duration)
    opened = _number(asked.get("show", ""))
    place = next((at for at, q in enumerate(found, 1) if q.position == opened), 0)
    of_its_page = (place - 1) // PAGE * PAGE + 1 if place else 1
    first = min(_number(asked.get("from", "")) or of_its_page, max(1, len(found)))
    page = found[first - 1 : first - 1 + PAGE]
    whole = not (text or only or group or by_time)
    return Listing(
        text=text,
        only=only,
        sort="time" if by_time else "order",
        group=group,
        opened=opened,
        entries=_merged(page, boundaries, first, len(found)) if whole else tuple(page),
        first=first,
        last=first + len(page) - 1,
        found=len(found),
    )


def _matches(query: Query, text: str, only: str, group: str) -> bool:
    if group and group not in (query.statement_group, query.n_plus_one):
        return False
    if only and not _is(query, only):
        return False
    return not text or text in query.searched


def _is(query: Query, only: str) -> bool:
    if only == "slow":
        return query.slow
    if only == "n+1":
        return bool(query.n_plus_one)
    return query.duplicate if only == "duplicates" else bool(query.error)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 9 else 0


def _merged(
    page: Sequence[Query], boundaries: Sequence[Boundary], first: int, found: int
) -> tuple[Entry, ...]:
    """The boundaries that fall between the queries of a page, and at the ends of the list."""
    if not page:
        return tuple(boundaries)
    begin = 0.0 if first == 1 else page[0].start
    end = float("inf") if first + len(page) > found else page[-1].start
    within = [each for each in boundaries if begin <= each.start <= end]
    both: list[Entry] = [*page, *within]
    both.sort(
        key=lambda each: (
            each.start,
            not getattr(each, "action", "").startswith(("BEGIN", "START")),
        )
    )
    return tuple(both)
