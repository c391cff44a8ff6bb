"""The parameters of a statement as span attributes, and as a sign of what is the same query again."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.insights.fingerprint import Statement
from otel_toolbar.signals.core import masking

MAX_PARAMETERS = 32
"""Parameters written down; the rest is counted. The SDK drops the oldest beyond 128 attributes."""


def described(
    attributes: dict[str, Any], parameters: Any, context: Any, statement: Statement
) -> None:
    """Add `db.query.parameter.<key>`: by bind name where known, else by index; masked and cut."""
    if not parameters:
        return
    for place, (key, value) in enumerate(_named(parameters, context)):
        if place == MAX_PARAMETERS:
            attributes[semconv.QUERY_PARAMETERS_MORE] = len(parameters) - MAX_PARAMETERS
            return
        secret = place in statement.sensitive or key in statement.sensitive
        attributes[semconv.DB_QUERY_PARAMETER + key] = (
            masking.MASK if secret else masking.value(key, value)
        )


def identity(text: str, parameters: Any, loaded_for: int) -> Hashable | None:
    """Equal for the same statement with the same parameters; None when that cannot be told.

    Lazy loads for different objects (`loaded_for`) are different, even where foreign keys are equal.
    """
    try:
        values: Any = parameters.values() if hasattr(parameters, "values") else parameters
        return hash((text, tuple(values), loaded_for))
    except Exception:  # something that cannot be hashed or iterated, of any driver
        return None


def _named(parameters: Any, context: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(parameters, Mapping):
        for key, value in cast("Mapping[Any, Any]", parameters).items():
            yield str(key), value
        return
    names: Sequence[str] = getattr(context.compiled, "positiontup", None) or ()
    for place, value in enumerate(parameters):
        yield (names[place] if place < len(names) else str(place)), value
