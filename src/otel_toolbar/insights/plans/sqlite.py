"""Reads SQLite's `EXPLAIN QUERY PLAN`: rows of id, parent, an unused number and a text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .model import Kind, Node

_STEP = re.compile(r"(SCAN|SEARCH) (?:TABLE )?(?!CONSTANT ROW|SUBQUERY )(\S+)(?: AS (\S+))?")
_INDEX = re.compile(r"USING (?:COVERING )?INDEX (\S+)")
_BY = re.compile(r"\(([^()]*)\)(?: LEFT-JOIN)?$")
_AUTOMATIC = re.compile(r"USING AUTOMATIC ")

AUTOMATIC = "builds an index for this one query"
"""Note of a node that has no index to use, and makes one."""


def read(rows: Iterable[tuple[int, int, int, str]]) -> tuple[Node, ...]:
    """The tree of an answer. SQLite tells neither rows nor costs."""
    below: dict[int, list[tuple[int, str]]] = {}
    for number, parent, _, text in rows:
        below.setdefault(parent, []).append((number, text))
    return _children(below, 0)


def _children(below: dict[int, list[tuple[int, str]]], parent: int) -> tuple[Node, ...]:
    return tuple(_node(text, _children(below, number)) for number, text in below.pop(parent, []))


def _node(text: str, children: tuple[Node, ...]) -> Node:
    step = _STEP.match(text)
    if step is None:
        return Node(operation=text, kind=_other(text), children=children)
    named, by = _INDEX.search(text), _BY.search(text)
    primary = "INTEGER PRIMARY KEY" if "USING INTEGER PRIMARY KEY" in text else ""
    index = named[1] if named else primary
    return Node(
        operation=text,
        kind="search" if step[1] == "SEARCH" else "scan",
        alias=step[3] or step[2],
        index=index,
        conditions=(("by", by[1]),) if by else (),
        notes=(AUTOMATIC,) if _AUTOMATIC.search(text) else (),
        children=children,
    )


def _other(text: str) -> Kind:
    if text.startswith("USE TEMP B-TREE"):
        return "sort" if "ORDER BY" in text else "temporary"
    return "temporary" if text.startswith("MATERIALIZE") else "other"
