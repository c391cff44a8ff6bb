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
    options = context.execution_options.get("_sa_orm_load_options")
    if options is None:
        return None
    state = getattr(options, "_lazy_loaded_from", None)
    refreshed = getattr(options, "_refresh_state", None)
    if state is None and refreshed is not None:
        _refresh(attributes, refreshed, getattr(options, "_only_load_props", None))
        return None
    facts = _facts(context.compiled)
    if state is not None:
        attributes.update(facts[0])
    else:
        attributes.update(facts[1])
    return state


Facts = tuple[dict[str, Any], dict[str, Any]]
"""Attributes when it is a lazy load, and when it is not."""


def _facts(compiled: Any) -> Facts:
    known: Facts | None = getattr(compiled, _LOADER, None)
    if known is None:
        known = _read(getattr(compiled, "compile_state", None))
        if compiled is not None:
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


def _refresh(attributes: dict[str, Any], state: Any, only: Any) -> None:
    """Write down which columns of an object are loaded late, and why."""
    mapper = state.mapper
    name, reason = mapper.class_.__name__, "asked"
    wanted = sorted(only) if only else []
    columns = [mapper.attrs[key] for key in wanted if key in mapper.attrs]
    if columns and all(getattr(each, "deferred", False) for each in columns):
        reason = "deferred"
        name = f"{name}.{columns[0].key}"
    elif state.expired or (columns and state.expired_attributes):
        reason = "expired"
    elif columns and mapper.inherits is not None:
        reason = "subclass"
    attributes[semconv.QUERY_REFRESHED] = name
    attributes[semconv.QUERY_REFRESH_REASON] = reason
