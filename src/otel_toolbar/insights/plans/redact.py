"""Takes the values out of what a database says of a plan: they were bound, some are secrets."""

from __future__ import annotations

from typing import Any, cast

from otel_toolbar.insights.sql_lexer import VALUES, tokens

_NAMES = frozenset(
    """Alias|CTE Name|Function Name|Index Name|Join Type|Node Type|Operation|Parent Relationship
    |Partial Mode|Relation Name|Scan Direction|Schema|Sort Method|Sort Space Type|Strategy|Subplan Name
    |access_type|key|key_length|table_name|select_type|join_type|buffer_type
    |join_algorithm""".replace("\n    ", "").split("|")
)
"""Keys under which names of the schema or of the plan stand, as they are."""


def condition(text: str, mysql: bool = False) -> str:
    """A condition with `?` for each value."""
    return "".join("?" if token.kind in VALUES else token.text for token in tokens(text, mysql))


def whole(answer: Any, mysql: bool = False, key: str = "") -> Any:
    """A JSON answer with no value of the query in it."""
    if isinstance(answer, dict):
        parts = cast("dict[str, Any]", answer)
        return {name: whole(part, mysql, name) for name, part in parts.items()}
    if isinstance(answer, list):
        return [whole(part, mysql, key) for part in cast("list[Any]", answer)]
    if isinstance(answer, str) and key not in _NAMES:
        return condition(answer, mysql)
    return answer
