"""Reads `EXPLAIN FORMAT=JSON` of MariaDB and MySQL: related, and different in every detail.

Both nest a table within what is done with it (`filesort`, `temporary_table`, `read_sorted_file`).
MySQL tells costs, MariaDB of old tells none and newer ones one a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from . import redact
from .model import Kind, Node

_CONDITIONS = (
    "attached_condition", "index_condition", "pushed_index_condition", "having_condition",
    "const_condition", "sort_key",
)  # fmt: skip
_WRAPPERS = {
    "filesort": "filesort",
    "temporary_table": "temporary table",
    "ordering_operation": "ORDER BY",
    "grouping_operation": "GROUP BY",
    "duplicates_removal": "DISTINCT",
    "buffer_result": "buffer",
    "windowing": "window functions",
    "window_functions_computation": "window functions",
    "materialized": "materialized",
    "materialized_from_subquery": "materialized",
    "expression_cache": "subquery, cached",
    "union_result": "UNION",
    "intersect_result": "INTERSECT",
    "except_result": "EXCEPT",
    "block-nl-join": "join without an index",
}
_KINDS: dict[str, Kind] = {
    "filesort": "sort",
    "temporary_table": "temporary",
    "materialized": "temporary",
    "materialized_from_subquery": "temporary",
    "block-nl-join": "join",
}
_LISTS = (
    "nested_loop", "query_specifications", "subqueries", "attached_subqueries",
    "select_list_subqueries", "optimized_away_subqueries", "order_by_subqueries",
    "group_by_subqueries", "having_subqueries",
)  # fmt: skip
_SCANS = frozenset({"ALL", "index"})
_NOTES = {
    "using_filesort": "using filesort",
    "using_temporary_table": "using a temporary table",
    "using_index": "index only",
    "using_join_buffer": "join buffer",
    "dependent": "once for each row outside",
}


def read(answer: dict[str, Any]) -> tuple[tuple[Node, ...], None]:
    """The tree of an answer as decoded JSON. There is no time: nothing is run."""
    top = tuple(_nodes(answer))
    total = sum(own for node in top for own in _own(node))
    if not total:
        return top, None
    return tuple(_with_shares(node, total) for node in top), None


def _own(node: Node) -> Iterator[float]:
    for each in node.walk():
        yield each.share or 0.0


def _with_shares(node: Node, total: float) -> Node:
    """`share` held the cost of its own until the total was known."""
    children = tuple(_with_shares(child, total) for child in node.children)
    share = None if node.share is None else node.share / total
    return replace(node, share=share, children=children)


def _nodes(part: Any) -> Iterator[Node]:
    """The steps in a part of the answer, in their order."""
    for name, inner in cast("dict[str, Any]", part).items():
        if name in _LISTS:
            for item in cast("list[Any]", inner):
                yield from _nodes(item)
        elif name == "read_sorted_file":
            yield from _nodes(inner)
        elif name in _WRAPPERS:
            yield _wrapper(name, inner)
        elif name in ("table", "query_block"):
            yield _table(inner) if name == "table" else _block(inner)


def _block(part: dict[str, Any]) -> Node:
    costs: dict[str, Any] = part.get("cost_info") or {}
    cost = costs.get("query_cost", part.get("cost"))
    message = part.get("message")
    return Node(
        operation=f"SELECT {part.get('select_id', '')}".strip(),
        cost=None if cost is None else float(cost),
        conditions=_conditions(part),
        notes=((str(message),) if message else ()) + _notes(part),
        children=tuple(_nodes(part)),
    )


def _wrapper(name: str, part: dict[str, Any]) -> Node:
    kind: Kind = "sort" if part.get("using_filesort") else _KINDS.get(name, "other")
    return Node(
        operation=_WRAPPERS.get(name, name),
        kind=kind,
        conditions=_conditions(part),
        notes=_notes(part),
        children=tuple(_nodes(part)),
    )


def _table(part: dict[str, Any]) -> Node:
    costs: dict[str, Any] = part.get("cost_info") or {}
    own = sum(float(costs.get(name, 0)) for name in ("read_cost", "eval_cost")) or part.get("cost")
    rows = part.get("rows", part.get("rows_examined_per_scan"))
    access = str(part.get("access_type", ""))
    if "message" in part and not access:
        return Node(operation=str(part["message"]))
    total = costs.get("prefix_cost")
    return Node(
        operation=access,
        kind="scan" if access in _SCANS else "search",
        alias=str(part.get("table_name", "")),
        index=str(part.get("key", "")),
        rows=None if rows is None else float(rows),
        cost=None if total is None else float(total),
        share=None if own is None else float(own),
        conditions=_conditions(part),
        notes=_notes(part),
        children=tuple(_nodes(part)),
    )


def _conditions(part: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (label.replace("_", " "), redact.condition(str(part[label]), mysql=True))
        for label in _CONDITIONS
        if label in part
    )


def _notes(part: dict[str, Any]) -> tuple[str, ...]:
    notes = [text for key, text in _NOTES.items() if part.get(key)]
    if isinstance(part.get("filtered"), (int, float)) and part["filtered"] < 100:
        notes.append(f"{part['filtered']:.3g} % of the rows are expected to pass")
    return tuple(notes)
