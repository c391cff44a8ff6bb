"""SQL as a reader wants it: in lines, and with its parameters filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .sql_lexer import Token, tokens

_CLAUSES = frozenset(
    """FROM WHERE GROUP ORDER HAVING LIMIT OFFSET RETURNING UNION EXCEPT INTERSECT VALUES SET
    LEFT RIGHT INNER FULL CROSS JOIN""".split()  # noqa: SIM905 - a list of words reads better so
)
_GOES_ON = frozenset({"LEFT", "RIGHT", "INNER", "FULL", "CROSS", "OUTER", "DELETE"})
"""After these a clause word goes on in the same line: `LEFT OUTER JOIN`, `DELETE FROM`."""

_SHORT = 60
"""A statement up to this length stays in one line."""

_BREAK = Token("space", "\n", "\n")


def lines(statement: str) -> Iterator[Token]:
    """The statement's tokens, with line breaks before clauses unless it is short or has some."""
    if len(statement) <= _SHORT or "\n" in statement.strip():
        yield from tokens(statement.strip())
        return
    depth, last = 0, ""
    for token in tokens(statement.strip()):
        depth += (token.text == "(") - (token.text == ")")
        clause = token.kind == "keyword" and token.upper in _CLAUSES
        if clause and not depth and last not in _GOES_ON:
            yield _BREAK
        yield token
        last = last if token.kind == "space" else token.upper


def filled_in(statement: str, parameters: Mapping[str, str]) -> str:
    """The statement with its parameters as literals, to paste into a database shell.

    Positional placeholders take the parameters named 0, 1, 2, ...; one whose value was not kept
    stays a placeholder. Values were captured as text: what looks like a number is taken for one.
    """
    if not parameters:
        return statement
    position = 0
    parts: list[str] = []
    for token in tokens(statement):
        text = token.text
        if token.kind == "parameter":
            key, position = _key(text, position)
            text = _literal(parameters[key]) if key in parameters else text
        parts.append(text)
    return "".join(parts)


def _key(placeholder: str, position: int) -> tuple[str, int]:
    """The parameter that a placeholder stands for, and the position of the next one without name."""
    if placeholder in ("?", "%s"):
        return str(position), position + 1
    if placeholder[0] in "$?":
        return str(int(placeholder[1:10]) - 1), position
    return placeholder.lstrip("%(:@").removesuffix(")s"), position


def _literal(value: str) -> str:
    if re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", value):
        return value
    if value.lower() in ("null", "none"):
        return "NULL"
    if value.lower() in ("true", "false"):
        return value.upper()
    return "'" + value.replace("'", "''") + "'"
