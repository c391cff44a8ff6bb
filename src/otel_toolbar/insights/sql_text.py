"""SQL as a reader wants it: laid out in lines, and with its parameters filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from .secrets import MASK
from .sql_lexer import VALUES, Token, tokens

_CLAUSES = frozenset(
    """SELECT FROM WHERE GROUP ORDER HAVING LIMIT OFFSET RETURNING UNION EXCEPT INTERSECT VALUES SET
    LEFT RIGHT INNER FULL CROSS NATURAL JOIN WINDOW""".split()  # noqa: SIM905 - a list of words reads better so
)
_GOES_ON = frozenset(
    "LEFT RIGHT INNER FULL CROSS NATURAL OUTER DELETE DISTINCT WITHIN CHARACTER DEFAULT".split()  # noqa: SIM905
)
"""After these a clause word goes on in the same line: `LEFT OUTER JOIN`, `DELETE FROM`."""
_QUERIES = frozenset({"SELECT", "WITH", "VALUES"})
"""With these a parenthesis holds a query of its own."""

_SHORT = 60
"""A statement up to this length stays in one line."""
_WIDE = 76
"""Columns from which a list goes on in the next line."""
_SHOWN = 12
"""Values of a list that are shown; nobody reads the ids of an IN list to the end."""

_LINE, _READ = 240, 4_000
"""Characters of a line of a table, and of the statement that it is made from."""
_COLUMNS = 32
"""Characters of a list of columns that are shown in it."""
_SPACE = Token("space", " ", " ")

MYSQL: Final = ("mysql", "mariadb")


def lines(statement: str, mysql: bool = False) -> Iterator[Token]:
    """The statement's tokens, a clause a line unless it is short, long lists of values cut."""
    text = statement.strip()
    found = _folded(tokens(text, mysql))
    if len(text) <= _SHORT and "\n" not in text:
        return found
    return _Layout().lay_out(list(found))


def one_line(statement: str, mysql: bool = False) -> Iterator[Token]:
    """The statement's beginning, for a line of a table: what tells it from others.

    A long list of columns is left out: `SELECT … FROM orders WHERE orders.id = ?`.
    """
    left = _LINE
    for token in _without_columns(_folded(tokens(statement[:_READ].strip(), mysql))):
        yield _SPACE if token.kind == "space" else token
        left -= len(token.text)
        if left < 0:
            return


def _without_columns(found: Iterator[Token]) -> Iterator[Token]:
    first = next(found, None)
    if first is None:
        return
    yield first
    if first.upper != "SELECT":
        yield from found
        return
    depth, columns = 0, list[Token]()
    for token in found:
        depth += (token.text == "(") - (token.text == ")")
        if not depth and token.upper == "FROM":
            if sum(len(each.text) for each in columns) > _COLUMNS:
                yield from (_SPACE, Token("comment", "…", "…"), _SPACE)
            else:
                yield from columns
            yield token
            yield from found
            return
        columns.append(token)
    yield from columns


def _folded(found: Iterable[Token]) -> Iterator[Token]:
    """Without the rest of lists of values, which is counted: `IN (1, 2, …, and 488 more)`."""
    values, held = 0, list[Token]()
    for token in found:
        if token.kind in VALUES:
            values += 1
            if values <= _SHOWN:
                yield token
            else:
                held.append(token)
        elif values >= _SHOWN and (token.kind == "space" or token.text == ","):
            held.append(token)
        else:
            yield from _rest(held, values)
            if token.kind != "space" and token.text != ",":
                values = 0
            held = []
            yield token
    yield from _rest(held, values)


def _rest(held: list[Token], values: int) -> Iterator[Token]:
    if values > _SHOWN + 1:
        yield Token("comment", f", … {values - _SHOWN:,} more", "…")
    else:
        yield from held


class _Layout:
    """Puts tokens in lines: clauses of a query under each other, those of a query within it deeper.

    One pass that looks at most one token ahead, so that any text is laid out in linear time.
    """

    def __init__(self) -> None:
        self._open: list[bool] = []
        """Of each open parenthesis whether it holds a query of its own."""
        self._indent = self._column = 0
        self._last = ""
        self._between = False

    def lay_out(self, found: list[Token]) -> Iterator[Token]:
        words = [token for token in found if token.kind != "space"]
        spaced = _after_space(found)
        for place, token in enumerate(words):
            following = words[place + 1].upper if place + 1 < len(words) else ""
            space = self._space(token, following, spaced[place])
            self._column = len(space) - 1 if "\n" in space else self._column + len(space)
            if space:
                yield Token("space", space, space)
            self._enter(token, following)
            yield token

    def _space(self, token: Token, following: str, spaced: bool) -> str:
        if not self._last:
            return ""
        if token.text == ")" and self._open and self._open[-1]:
            return self._line(self._indent - 2)
        if self._last.startswith(("--", "#")):
            return self._line(self._indent)
        if self._in_query() and self._begins(token, following):
            return self._line(self._indent)
        if self._in_query() and token.upper in ("AND", "OR") and not self._between:
            return self._line(self._indent + 2)
        if self._last == "," and self._column > _WIDE:
            return self._line(self._indent + 4)
        return " " if spaced else ""

    def _line(self, indent: int) -> str:
        # A line that is indented further than anybody reads only costs.
        return "\n" + " " * min(max(0, indent), 40)

    def _in_query(self) -> bool:
        return not self._open or self._open[-1]

    def _begins(self, token: Token, following: str) -> bool:
        """True for the first word of a clause; `LEFT(` is a function."""
        clause = token.kind == "keyword" and token.upper in _CLAUSES
        called = following == "(" and token.upper in ("LEFT", "RIGHT")
        return clause and not called and self._last not in _GOES_ON

    def _enter(self, token: Token, following: str) -> None:
        if token.text == "(":
            self._open.append(following in _QUERIES)
            self._indent += 2 * self._open[-1]
        elif token.text == ")" and self._open:
            self._indent -= 2 * self._open.pop()
        if token.upper == "BETWEEN":
            self._between = True
        elif token.upper == "AND":
            self._between = False
        self._column += len(token.text)
        self._last = token.upper


def _after_space(found: list[Token]) -> list[bool]:
    """Of each token that is no space whether one stands before it."""
    before = [Token("", "", ""), *found]
    return [
        earlier.kind == "space"
        for earlier, token in zip(before, found, strict=False)
        if token.kind != "space"
    ]


def filled_in(statement: str, parameters: Mapping[str, str], system: str = "") -> str:
    """The statement with its parameters as literals, to paste into a database shell.

    Positional placeholders take the parameters named 0, 1, 2, ..., or those with names in their order
    where there are as many. One whose value is masked, cut or was not kept stays a placeholder, with a
    comment that says so. Values were captured as text: what looks like a number is taken for one.
    """
    if not parameters:
        return statement
    found = list(tokens(statement, system in MYSQL))
    keys = _keys(token.text for token in found if token.kind == "parameter")
    if len(set(keys)) == len(parameters) and parameters.keys().isdisjoint(keys):
        parameters = {str(place): value for place, value in enumerate(parameters.values())}
    # In this style of placeholders a percent sign of the statement is written twice.
    doubled = any(token.kind == "parameter" and token.text[0] == "%" for token in found)
    left = iter(keys)
    parts: list[str] = []
    for token in found:
        if token.kind == "parameter":
            parts.append(_filled(token.text, parameters.get(next(left)), system))
        else:
            parts.append(token.text.replace("%%", "%") if doubled else token.text)
    return "".join(parts)


def _keys(placeholders: Iterable[str]) -> list[str]:
    """The parameters that placeholders stand for: their names, or their positions from 0."""
    keys: list[str] = []
    position = 0
    for placeholder in placeholders:
        if placeholder in ("?", "%s"):
            keys.append(str(position))
            position += 1
        elif placeholder[0] in "$?":
            keys.append(str(int(placeholder[1:10]) - 1))
        else:
            keys.append(placeholder.lstrip("%(:@").removesuffix(")s"))
    return keys


def _filled(placeholder: str, value: str | None, system: str) -> str:
    if value is None:
        return f"{placeholder} /* not kept */"
    if value == MASK:
        return f"{placeholder} /* masked */"
    if value.endswith("…"):
        return f"{placeholder} /* cut */"
    if re.fullmatch(r"<[^<>]+>", value):  # a value of which only the type was kept
        return f"{placeholder} /* not kept */"
    return _literal(value, system)


def _literal(value: str, system: str) -> str:
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.\d{1,18})?", value):
        return value
    if value.lower() in ("null", "none"):
        return "NULL"
    if value.lower() in ("true", "false"):
        return value.upper()
    if system in MYSQL:
        value = value.replace("\\", "\\\\")
    return "'" + value.replace("'", "''") + "'"
