"""What the ORM loads and the request never reads: the signal `loads`, off unless asked for.

While it is on, every read of a mapped attribute passes through here. What is kept is one entry for
each attribute that a request has read, not for each object: an attribute counts as read as soon as it
is read on any object of its class. That misses something and claims nothing that is not so.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import wrapt
from opentelemetry.trace import Span

from otel_toolbar import guard, semconv
from otel_toolbar.signals.core import light
from otel_toolbar.signals.core import record as records

MODULE = "sqlalchemy.orm.attributes"
SUBJECT = "loads"
_MAX_QUERIES = 1000
"""Queries of one request whose loads are compared with what it read."""
_MAX_NAMES = 200
"""Attributes of one query that are written down."""


class Key(NamedTuple):
    """An attribute, the same for all classes of a hierarchy."""

    base: Any
    """The hierarchy's mapper."""
    name: str


class Loaded(NamedTuple):
    """What a query loads, by name as shown."""

    columns: dict[str, Key]
    relationships: dict[str, Key]


_NOTHING = Loaded({}, {})


class Loads:
    """A request's loads: the subject `loads` of its record."""

    def __init__(self) -> None:
        self.read: dict[int, Any] = {}
        """Attributes that were read, by id: their `==` makes SQL."""
        self.queries: list[tuple[Span, Loaded]] = []

    def summary(self) -> dict[str, Any]:
        """Nothing of its own: it is the queries' spans that are written to, now that all is read."""
        read = {_key(each.parent, each.key) for each in list(self.read.values())}
        seen = {key.base for key in read}
        for span, loaded in self.queries:
            unread = [
                name
                for name, key in (loaded.columns | loaded.relationships).items()
                if key not in read and key.base in seen
            ]
            light.late(span, semconv.QUERY_UNREAD, unread[:_MAX_NAMES])
        self.queries.clear()
        return {}


_real: Any = None
"""`InstrumentedAttribute.__get__` as it was; None while nothing is watched."""

_known: WeakKeyDictionary[Any, Loaded] = WeakKeyDictionary()
"""What compiled statements load: SQLAlchemy keeps and reuses them."""


_wanted = _registered = False


def install() -> None:
    """Watch reads of mapped attributes, from the import of SQLAlchemy's ORM on."""
    global _wanted, _registered
    _wanted, first, _registered = True, not _registered, True
    if first:
        wrapt.register_post_import_hook(_hook, MODULE)
    elif MODULE in sys.modules:
        _hook(sys.modules[MODULE])


def uninstall() -> None:
    """Leave SQLAlchemy as it was."""
    global _wanted, _real
    _wanted = False
    if _real is not None:
        sys.modules[MODULE].InstrumentedAttribute.__get__ = _real
        _real = None
        _known.clear()


def _hook(module: Any) -> None:
    global _real
    if not _wanted or _real is not None:
        return
    try:
        real = module.InstrumentedAttribute.__get__
        module.InstrumentedAttribute.__get__ = _watching(real)
        _real = real
    except Exception:
        guard.failed("watching what the ORM loads")


def _watching(real: Any) -> Any:
    current = records.current

    # It runs for every attribute that the app reads: as little as can be, and nothing that can block.
    @functools.wraps(real)
    def get(self: Any, instance: Any, owner: Any) -> Any:
        if instance is not None:
            try:
                record = current()
                if record is not None:
                    loads: Loads | None = record.subjects.get(SUBJECT)  # pyright: ignore[reportAssignmentType]
                    if loads is not None:
                        loads.read[id(self)] = self
            except Exception:
                guard.failed("watching a mapped attribute")
        return real(self, instance, owner)

    return get


def started(span: Span, context: Any) -> None:
    """A query is about to be executed: note what it loads, when that is watched."""
    if _real is None:
        return
    try:
        record = records.current()
        if record is not None and not record.closed:
            _note(record, span, context.compiled)
    except Exception:
        guard.failed("loads of a query")


def _note(record: records.Record, span: Span, compiled: Any) -> None:
    if compiled is None:
        return
    loaded = _known.get(compiled)
    if loaded is None:
        loaded = _known[compiled] = _of(getattr(compiled, "compile_state", None))
    if loaded is _NOTHING:
        return
    span.set_attribute(semconv.QUERY_LOADED, list(loaded.columns)[:_MAX_NAMES])
    loads: Any = record.subjects.setdefault(SUBJECT, Loads())
    if len(loads.queries) < _MAX_QUERIES:
        loads.queries.append((span, loaded))


# From here on SQLAlchemy's own notes about a statement are read, which are private: where another
# version keeps them differently there is nothing to see, and nothing is said.


def _of(compile_state: Any) -> Loaded:
    noted: dict[Any, Any] = getattr(compile_state, "attributes", None) or {}
    columns: dict[str, Key] = {}
    relationships = dict(_eager(compile_state, noted))
    for (what, path), value in [each for each in noted.items() if _is_noted(each[0])]:
        if what == "memoized_setups":
            columns.update(_columns(path[-1], value))
    return Loaded(columns, relationships) if columns or relationships else _NOTHING


def _is_noted(key: Any) -> bool:
    return isinstance(key, tuple) and len(cast("tuple[Any, ...]", key)) == 2


def _eager(compile_state: Any, noted: dict[Any, Any]) -> Iterator[tuple[str, Key]]:
    """Relationships that the statement loads along with others, or was made to load."""
    path = getattr(getattr(compile_state, "current_path", None), "path", None) or ()
    paths = [key[1] for key in noted if _is_noted(key) and key[0] == "eager_row_processor"]
    for prop in [last for last in (_last_relationship(path),) if last is not None] + [
        each[-1] for each in paths
    ]:
        if hasattr(prop, "direction") and _is_watched(prop.parent):
            yield _name(prop), _key(prop.parent, prop.key)


def _last_relationship(path: Any) -> Any:
    return next((each for each in reversed(path) if hasattr(each, "direction")), None)


def _columns(mapper: Any, setups: Any) -> Iterator[tuple[str, Key]]:
    if not getattr(mapper, "is_mapper", False) or not _is_watched(mapper):
        return
    needed = _needed(mapper)
    for prop, column in dict(setups).items():
        # A deferred one has a symbol in place of its column.
        if hasattr(prop, "columns") and hasattr(column, "compile") and prop.key not in needed:
            yield _name(prop), _key(mapper, prop.key)


def _needed(mapper: Any) -> set[str]:
    """Columns that the mapping itself reads: keys, versions, discriminators, parts of composites."""
    own = (mapper.version_id_col, mapper.polymorphic_on)
    parts = {prop.key for composite in mapper.composites for prop in composite.props}
    return parts | {
        prop.key
        for prop in mapper.column_attrs
        if any(_is_key(column) or any(column is each for each in own) for column in prop.columns)
    }


def _is_key(column: Any) -> bool:
    return bool(getattr(column, "primary_key", False) or getattr(column, "foreign_keys", None))


def _is_watched(mapper: Any) -> bool:
    """Pydantic's models (SQLModel) are written out from their `__dict__`, which nobody sees read."""
    return not hasattr(mapper.class_, "__pydantic_validator__")


def _name(prop: Any) -> str:
    return f"{prop.parent.class_.__name__}.{prop.key}"


def _key(mapper: Any, name: str) -> Key:
    return Key(mapper.base_mapper, name)
