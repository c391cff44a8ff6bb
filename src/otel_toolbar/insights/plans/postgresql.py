"""Reads PostgreSQL's `EXPLAIN (FORMAT JSON, VERBOSE)`."""

from __future__ import annotations

from typing import Any, cast

from . import redact
from .model import Kind, Node

_CONDITIONS = (
    "Index Cond", "Recheck Cond", "TID Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter",
    "One-Time Filter", "Order By", "Sort Key", "Presorted Key", "Group Key", "Function Call",
    "Cache Key",
)  # fmt: skip
_KINDS: dict[str, Kind] = {
    "Seq Scan": "scan",
    "Index Scan": "search",
    "Index Only Scan": "search",
    "Bitmap Heap Scan": "search",
    "Bitmap Index Scan": "search",
    "Tid Scan": "search",
    "Nested Loop": "join",
    "Hash Join": "join",
    "Merge Join": "join",
    "Sort": "sort",
    "Incremental Sort": "sort",
    "Materialize": "temporary",
    "Hash": "temporary",
    "Memoize": "temporary",
}


def read(answer: Any) -> tuple[tuple[Node, ...], float | None]:
    """The tree of an answer as decoded JSON, and the execution's seconds, if it ran."""
    top = answer[0]
    total = float(top["Plan"].get("Total Cost") or 0.0)
    spent = top.get("Execution Time")
    return (_node(top["Plan"], total),), None if spent is None else spent / 1000


def _node(plan: dict[str, Any], total: float) -> Node:
    below = plan.get("Plans", [])
    name, cost = plan["Node Type"], plan.get("Total Cost")
    # A LIMIT stops what is below it: what it will not read is not its cost.
    own = max(0.0, (cost or 0.0) - sum(part.get("Total Cost", 0.0) for part in below))
    return Node(
        operation=_operation(plan),
        kind=_kind(plan, name),
        table=plan.get("Relation Name", ""),
        schema=plan.get("Schema", ""),
        alias=plan.get("Alias", ""),
        index=plan.get("Index Name", ""),
        rows=plan.get("Plan Rows"),
        actual_rows=plan.get("Actual Rows"),
        loops=plan.get("Actual Loops"),
        cost=cost,
        duration=_duration(plan),
        share=min(1.0, own / total) if total else None,
        conditions=tuple((label, _text(plan[label])) for label in _CONDITIONS if label in plan),
        notes=tuple(_notes(plan)),
        children=tuple(_node(part, total) for part in below),
    )


def _operation(plan: dict[str, Any]) -> str:
    name: str = plan["Node Type"]
    kind = plan.get("Join Type", "Inner")
    if kind != "Inner":
        name = f"{name} ({kind})"
    return f"Parallel {name}" if plan.get("Parallel Aware") else name


def _kind(plan: dict[str, Any], name: str) -> Kind:
    found = _KINDS.get(name, "other")
    # An index that is read from end to end, without a condition, leads to no place in it.
    reads_all = name in ("Index Scan", "Index Only Scan") and "Index Cond" not in plan
    return "scan" if reads_all else found


def _duration(plan: dict[str, Any]) -> float | None:
    spent = plan.get("Actual Total Time")
    return None if spent is None else spent * plan.get("Actual Loops", 1) / 1000


def _text(value: Any) -> str:
    parts = cast("list[Any]", value) if isinstance(value, list) else [value]
    return redact.condition(", ".join(map(str, parts)))


def _notes(plan: dict[str, Any]) -> list[str]:
    notes = [str(plan["Subplan Name"])] if "Subplan Name" in plan else []
    if plan.get("Sort Space Type") == "Disk":
        notes.append(f"sorted on disk, {plan.get('Sort Space Used')} kB")
    if plan.get("Hash Batches", 1) > 1:
        notes.append(f"hash in {plan['Hash Batches']} batches, on disk")
    if "Rows Removed by Filter" in plan:
        notes.append(f"{plan['Rows Removed by Filter']} rows read in vain")
    if "Workers Planned" in plan:
        notes.append(f"{plan['Workers Planned']} workers")
    return notes
