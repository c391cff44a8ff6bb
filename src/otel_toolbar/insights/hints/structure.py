"""The structure of a statement, for the rules that need more than its words.

Parsing is for who looks, and it is bounded: a statement's text is parsed once and kept, and of one
trace no more than `MAX_CHARACTERS` are. What cannot be parsed has no structure, and no hint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from otel_toolbar import semconv
from otel_toolbar.insights import reading
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.insights.sql_lexer import tokens
from otel_toolbar.model import Span, Trace

if TYPE_CHECKING:
    from sqlglot import exp

MAX_CHARACTERS: Final = 30_000
"""Characters of different statements that are parsed for one trace: about a second's work."""

_DIALECTS = {
    "postgresql": "postgres",
    "cockroachdb": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
    "microsoft.sql_server": "tsql",
    "oracle.db": "oracle",
}
_MYSQL = frozenset({"mysql", "mariadb"})
_PLACEHOLDER = "p_"
"""What every placeholder is called when parsed, its number behind it: dialects disagree on the rest."""


@dataclass(frozen=True)
class Parsed:
    """A statement as a tree."""

    tree: exp.Expr
    parameters: tuple[str, ...]
    """The placeholders as they stand in the text, in order."""

    def value(self, node: exp.Expr, span: Span) -> str | None:
        """What a literal or a placeholder stands for in one execution; None when it is not known."""
        from sqlglot import exp

        node = inner(node)
        if isinstance(node, exp.Literal):
            return node.name
        if isinstance(node, exp.Placeholder) and node.name.startswith(_PLACEHOLDER):
            return _bound(span, self.parameters, int(node.name[len(_PLACEHOLDER) :]))
        return None

    def whole_number(self, node: exp.Expr | None, span: Span) -> int | None:
        """The same as a number."""
        text = None if node is None else self.value(node, span)
        return int(text) if text and text.isdecimal() and len(text) < 19 else None


def inner(node: exp.Expr) -> exp.Expr:
    """Without the parentheses and casts around a value."""
    from sqlglot import exp

    while isinstance(node, (exp.Paren, exp.Cast)):
        node = node.this
    return node


def of(trace: Trace, span: Span) -> Parsed | None:
    """The structure of a query; None when it cannot be parsed, or when enough has been parsed."""
    text, system = reading.statement(span), reading.database_system(span)
    key = (of, text, system)
    if key not in trace.memo:
        spent = trace.memo.get(of, 0) + len(text)
        trace.memo[of] = spent
        trace.memo[key] = _parse(text, system) if spent <= MAX_CHARACTERS else None
    return trace.memo[key]


@lru_cache(maxsize=256)
def _parse(text: str, system: str) -> Parsed | None:
    import sqlglot
    from sqlglot.errors import SqlglotError

    # It tells of what it does not know in the app's log otherwise.
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    renamed, parameters = _renamed(text, system in _MYSQL)
    try:
        tree = sqlglot.parse_one(renamed, dialect=_DIALECTS.get(system))
    except (SqlglotError, RecursionError):
        return None
    return Parsed(tree, parameters)


def _renamed(text: str, mysql: bool) -> tuple[str, tuple[str, ...]]:
    parts: list[str] = []
    parameters: list[str] = []
    for token in tokens(text, mysql):
        is_parameter = token.kind == "parameter"
        parts.append(f":{_PLACEHOLDER}{len(parameters)} " if is_parameter else token.text)
        if is_parameter:
            parameters.append(token.text)
    return "".join(parts), tuple(parameters)


def _bound(span: Span, parameters: tuple[str, ...], position: int) -> str | None:
    values = span.below(semconv.DB_QUERY_PARAMETER)
    placeholder = parameters[position]
    if placeholder[0] in "$?" and placeholder[1:].isdecimal():
        position = int(placeholder[1:10]) - 1
    name = placeholder.lstrip("%(:@").removesuffix(")s")
    key = name if name in values else _key_at(tuple(values), position, placeholder)
    text = None if key is None else reading.as_text(values[key])
    return None if text is None or text == MASK or text.endswith("…") else text


def _key_at(keys: tuple[str, ...], position: int, placeholder: str) -> str | None:
    """The key of a parameter by its position: by number, or by a name in the order of the names."""
    if placeholder[0] not in "?$" and placeholder != "%s":
        return None
    if str(position) in keys:
        return str(position)
    return keys[position] if 0 <= position < len(keys) else None


def conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """What has to hold at once: `a AND (b AND c)` gives three."""
    from sqlglot import exp

    pending = [condition]
    while pending:
        node = pending.pop()
        if isinstance(node, exp.And):
            pending += [node.expression, node.this]
        elif isinstance(node, exp.Paren):
            pending.append(node.this)
        else:
            yield node


def own(node: exp.Expr, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The nodes of some kinds under a node, those of its subqueries left out."""
    from sqlglot import exp

    for found in node.walk(prune=lambda each: isinstance(each, exp.Query) and each is not node):
        if isinstance(found, kinds):
            yield found


def has_column(node: exp.Expr) -> bool:
    from sqlglot import exp

    return node.find(exp.Column) is not None
