"""SQL as a reader wants it: in lines, in colours, and with its parameters filled in.

One linear pass over the text; what cannot be understood stays as it is. Never a parser: it has to
take every dialect and every half statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<string>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*"|`[^`]*`|\[[A-Za-z_][^\]\n]*\])
    | (?P<parameter>\?|%s|%\(\w+\)s|\$\d+|(?<![:\w]):[A-Za-z_]\w*)
    | (?P<number>\b\d+(?:\.\d+)?\b)
    | (?P<word>[^\W\d]\w*)
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_KEYWORDS = frozenset(
    """all and any as asc begin between by case coalesce commit conflict count create cross current
    default delete desc distinct do drop else end except exists false fetch first for from full
    group having if in index inner insert intersect into is join last lateral left like limit not
    nothing null nulls offset on or order outer over partition primary recursive references release
    returning right rollback savepoint select set table then to true union unique update using
    values view when where window with""".split()  # noqa: SIM905 - a list of words reads better so
)

_CLAUSES = frozenset(
    """from where group order having limit offset returning union except intersect values set
    left right inner full cross join""".split()  # noqa: SIM905 - a list of words reads better so
)
_GOES_ON = frozenset({"left", "right", "inner", "full", "cross", "outer", "delete"})
"""After these a clause word goes on in the same line: `LEFT OUTER JOIN`, `DELETE FROM`."""

_SHORT = 60
"""A statement up to this length stays in one line."""


class Token(NamedTuple):
    """A piece of a statement. `kind` is the name of its group, or `keyword`."""

    kind: str
    text: str


def tokens(statement: str) -> Iterator[Token]:
    """All of the statement, piece by piece; the texts joined give it again."""
    for match in _TOKEN.finditer(statement):
        kind = match.lastgroup or "other"
        if kind == "word" and match[0].lower() in _KEYWORDS:
            kind = "keyword"
        yield Token(kind, match[0])


def lines(statement: str) -> Iterator[Token]:
    """The same with line breaks before its clauses, unless it is short or has some already."""
    if len(statement) <= _SHORT or "\n" in statement.strip():
        yield from tokens(statement.strip())
        return
    depth, last = 0, ""
    for token in tokens(statement.strip()):
        word = token.text.lower()
        depth += (token.text == "(") - (token.text == ")")
        if token.kind == "keyword" and word in _CLAUSES and not depth and last not in _GOES_ON:
            yield Token("space", "\n")
        yield token
        last = last if token.kind == "space" else word


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
    """The parameter that a placeholder stands for, and the position of the next `?`."""
    if placeholder in ("?", "%s"):
        return str(position), position + 1
    if placeholder.startswith("$"):
        return str(int(placeholder[1:10]) - 1), position
    return placeholder[1:] if placeholder[0] == ":" else placeholder[2:-2], position


def _literal(value: str) -> str:
    if re.fullmatch(r"-?\d{1,18}(\.\d{1,18})?", value):
        return value
    if value.lower() in ("null", "none"):
        return "NULL"
    if value.lower() in ("true", "false"):
        return value.upper()
    return "'" + value.replace("'", "''") + "'"
