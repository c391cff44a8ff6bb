"""Why the ORM makes a query by itself: a relationship that is loaded lazily, or eagerly by its own query."""

from __future__ import annotations

from typing import Any, NamedTuple

from otel_toolbar import semconv


class RelationshipLoad(NamedTuple):
    """`attribute` is the one to write `relationship` (`Order.items`) to."""

    attribute: str
    relationship: str
    loaded_for: int
    """Identity of the object whose relationship was read; 0 for an eager load."""


def relationship_load(context: Any) -> RelationshipLoad | None:
    """What an ExecutionContext loads; None for a query that the app asked for."""
    load_options = context.execution_options.get("_sa_orm_load_options")
    path = getattr(getattr(context.compiled, "compile_state", None), "current_path", None)
    if load_options is None or not path:
        return None
    prop = path[-1]
    model = getattr(getattr(prop, "parent", None), "class_", None)
    if model is None:
        return None
    relationship = f"{model.__name__}.{prop.key}"
    state = getattr(load_options, "_lazy_loaded_from", None)
    if state is None:
        return RelationshipLoad(semconv.QUERY_EAGER_LOADED, relationship, 0)
    return RelationshipLoad(semconv.QUERY_LAZY_LOADED_FROM, relationship, id(state))
