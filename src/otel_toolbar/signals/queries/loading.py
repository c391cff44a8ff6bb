"""Why the ORM makes a query: a relationship was read or is loaded ahead, or columns of an object are."""

from __future__ import annotations

from typing import Any

from otel_toolbar import semconv

_LOADER = "_otel_toolbar_loader"
"""Attribute of a compiled statement, which is kept and used again: what its loader is about."""


def describe(attributes: dict[str, Any], context: Any) -> Any:
    """Write down what the statement of an execution context loads.

    Returns SQLAlchemy's state of the object whose relationship is being loaded, else None.
    """
    compiled = context.compiled
    if compiled is None:
        return None
    lazy, other = _facts(compiled)
    options = context.execution_options.get("_sa_orm_load_options")
    state = getattr(options, "_lazy_loaded_from", None)
    if state is not None:
        attributes.update(lazy)
        return state
    refreshed = getattr(options, "_refresh_state", None)
    if refreshed is None:
        attributes.update(other)
    else:
        asked = getattr(options, "_is_user_refresh", False)
        attributes.update(_refresh(refreshed.mapper, _wanted(compiled), asked))
    return None


Facts = tuple[dict[str, Any], dict[str, Any]]
"""Attributes when it is a lazy load, and when it is not."""


def _facts(compiled: Any) -> Facts:
    known: Facts | None = getattr(compiled, _LOADER, None)
    if known is None:
        known = _read(getattr(compiled, "compile_state", None))
        setattr(compiled, _LOADER, known)
    return known


def _read(compile_state: Any) -> Facts:
    element = _relationship(compile_state)
    if element is None:
        return {}, _entity(compile_state)
    name = f"{element.parent.class_.__name__}.{element.key}"
    lazy = {
        semconv.QUERY_LAZY_LOADED_FROM: name,
        semconv.QUERY_RELATIONSHIP_DIRECTION: _direction(element),
    }
    return lazy, {semconv.QUERY_EAGER_LOADED: name}


def _relationship(compile_state: Any) -> Any:
    """The relationship of the path that a relationship's loader works on, else None."""
    path = getattr(compile_state, "current_path", None)
    for element in reversed(getattr(path, "path", ())):
        parent = getattr(getattr(element, "parent", None), "class_", None)
        if parent is not None and hasattr(element, "direction"):
            return element
    return None


def _direction(relationship: Any) -> str:
    name = str(relationship.direction.name)
    if name == "ONETOMANY":
        return "one_to_many" if relationship.uselist else "one_to_one"
    return {"MANYTOONE": "many_to_one", "MANYTOMANY": "many_to_many"}.get(name, name.lower())


def _entity(compile_state: Any) -> dict[str, Any]:
    """The mapped class that a statement selects, when it is one."""
    entities = getattr(compile_state, "_entities", ())
    mapper = getattr(entities[0], "mapper", None) if len(entities) == 1 else None
    return {} if mapper is None else {semconv.QUERY_ENTITY: mapper.class_.__name__}


def _wanted(compiled: Any) -> frozenset[str]:
    """Names of the attributes that a refresh loads; empty for all."""
    options = getattr(getattr(compiled, "compile_state", None), "compile_options", None)
    return getattr(options, "_only_load_props", None) or frozenset()


def _refresh(mapper: Any, wanted: frozenset[str], asked: bool) -> dict[str, Any]:
    """Which columns of an object are loaded again or late, and why."""
    name, reason = mapper.class_.__name__, "expired"
    columns = [each for each in mapper.column_attrs if each.key in wanted]
    if asked:
        reason = "asked"
    elif columns and all(each.deferred for each in columns):
        name, reason = f"{name}.{columns[0].key}", "deferred"
    elif columns and mapper.inherits is not None and all(_is_own(mapper, each) for each in columns):
        reason = "subclass"
    return {semconv.QUERY_REFRESHED: name, semconv.QUERY_REFRESH_REASON: reason}


def _is_own(mapper: Any, attribute: Any) -> bool:
    """True for a column of the subclass's own table that is no part of its key."""
    column = attribute.columns[0]
    return column.table is mapper.local_table and not column.primary_key
