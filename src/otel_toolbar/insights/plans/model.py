"""What a plan is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "info", "warn"]

Kind = Literal["scan", "search", "join", "sort", "temporary", "other"]
"""What a node does with a table: a scan reads all of it, if only in the order of
an index; a search goes to places in an index. A temporary
node builds a table, a hash or an index for this one query."""


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """EXPLAIN was not done. `code` is for programs, the message says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Node:
    """A step of a plan. Rows are for one execution of it; costs are in the database's own unit."""

    operation: str
    """As the database calls it: `Seq Scan`, `ALL`, `SCAN orders`."""
    kind: Kind = "other"
    table: str = ""
    schema: str = ""
    alias: str = ""
    """Name of the table within the statement."""
    index: str = ""
    rows: float | None = None
    """Estimated."""
    actual_rows: float | None = None
    """Only after ANALYZE."""
    loops: float | None = None
    """How often it ran; only after ANALYZE."""
    cost: float | None = None
    """Of it and all below it."""
    duration: float | None = None
    """Seconds, of it and all below it, all loops together; only after ANALYZE."""
    share: float | None = None
    """Its own part of the whole plan's cost, 0 to 1."""
    conditions: tuple[tuple[str, str], ...] = ()
    """What it filters, joins or sorts by: a label and the condition, values as `?`."""
    notes: tuple[str, ...] = ()
    """What else the database says of it: `using filesort`."""
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """It and all below it, from the top."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Index:
    """An index that exists. An expression in it stands as an empty column name."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    partial: bool = False
    """It holds only some of the rows."""


@dataclass(frozen=True)
class Table:
    """What the database's catalog says of a table."""

    name: str
    schema: str = ""
    rows: int | None = None
    """None when unknown."""
    rows_from: str = ""
    """Where the number comes from: `pg_class.reltuples`."""
    at_least: bool = False
    """There are more: counting stopped at `rows`."""
    indexes: tuple[Index, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """Where it is explained."""

    title: str
    url: str


@dataclass(frozen=True)
class Hint:
    """Something to know about a plan, with what it rests on. Code stands in backticks in `fix`."""

    rule: str
    """`full_scan`, `missing_index`, `small_table`, ..."""
    level: Level
    title: str
    table: str
    evidence: tuple[tuple[str, str], ...]
    """Figures: a name and a value."""
    fix: str
    code: tuple[tuple[str, str], ...] = ()
    """What to write: a language (SQL, SQLAlchemy) and the code."""
    link: Link | None = None


@dataclass(frozen=True)
class Plan:
    """The plan of one query. Nothing in it holds a value of the query: all are `?`."""

    system: str
    """`postgresql`, `mariadb`, `mysql` or `sqlite`."""
    version: str
    analyzed: bool
    """The query was run for it, and rows and times are measured."""
    may_analyze: bool
    """ANALYZE can be asked for here."""
    nodes: tuple[Node, ...]
    cost: float | None
    duration: float | None
    """Seconds; only after ANALYZE."""
    hints: tuple[Hint, ...] = ()
    tables: tuple[Table, ...] = ()
    raw: str = ""
    """The database's own answer."""

    def walk(self) -> Iterator[Node]:
        for node in self.nodes:
            yield from node.walk()
