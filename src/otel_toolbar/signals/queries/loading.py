"""Why the ORM makes a query: because a relationship was read, or because it loads one ahead."""

from __future__ import annotations

from typing import Any, NamedTuple


class Load(NamedTuple):
    """What the ORM loads. Both names are empty when it loads no relationship."""

    lazy: str = ""
    """`Order.items`, which was read before it was loaded."""
    eager: str = ""
    """`Order.items`, which a `selectinload` or `subqueryload` asks for."""
    state: Any = None
    """SQLAlchemy's state of the object that a lazy load is for."""


_NONE = Load()


def of(context: Any) -> Load:
    """What the statement of an execution context loads."""
    options = context.execution_options.get("_sa_orm_load_options")
    if options is None:
        return _NONE
    state = getattr(options, "_lazy_loaded_from", None)
    if state is None and getattr(options, "_refresh_state", None) is not None:
        return _NONE  # expired or deferred columns
    name = _relationship(getattr(context.compiled, "compile_state", None))
    if state is None:
        return Load(eager=name) if name else _NONE
    return Load(lazy=name, state=state)


def _relationship(compile_state: Any) -> str:
    """`Order.items` of the path that a relationship's loader works on, else empty."""
    path = getattr(compile_state, "current_path", None)
    for element in reversed(getattr(path, "path", ())):
        parent = getattr(getattr(element, "parent", None), "class_", None)
        if parent is not None and hasattr(element, "direction"):
            return f"{parent.__name__}.{element.key}"
    return ""
