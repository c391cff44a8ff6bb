"""Finds the values of a statement that belong to a secret: literals and placeholders.

A value does when a column with a secret's name is compared with it or set to it, when it stands at
such a column's place in an INSERT, or when its placeholder has such a name. When in doubt it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from .secrets import MASK, words
from .sql_lexer import VALUES, Token, unquoted

_COMPARES = words(
    """= <> != < > <= >= <=> := => ~ @> <@ || LIKE ILIKE IN IS BETWEEN REGEXP RLIKE SIMILAR GLOB"""
)
_NEUTRAL = words(
    """NOT ANY ALL SOME TO ESCAPE AS COLLATE ARRAY CAST NULL TRUE FALSE DEFAULT DISTINCT ROW FOR CASE
    WHEN THEN ELSE END KEY"""
)
"""Keywords that an expression goes on after."""


class Masker:
    """Takes all tokens of a statement."""

    def __init__(self, is_secret: Callable[[str], bool]) -> None:
        self._is_secret = is_secret
        self._shown: list[str] = []
        self._groups: list[bool] = []
        """For each open parenthesis, whether a secret's name is in it."""
        self._previous = Token("symbol", "", "")
        self._named = False
        """The last name of this expression is a secret's."""
        self._region = -1
        """Depth of the expression all of whose values are secret, -1 when there is none."""
        self._cases = 0
        self._between = False
        self._value: tuple[int, Token, int | str] | None = None
        """The last value of this expression: where it is shown, and its key."""
        self._quoted = -1
        """Where a name in double quotes is shown that SQLite may take for a string."""
        self._into = False
        self._columns: set[int] = set()
        """Places of secret columns in an INSERT."""
        self._column_depth = self._item_depth = -1
        self._row_depth = -1
        self._place = 0
        self._counts = {"?": 0, "%s": 0}
        self._found: dict[str, set[int | str]] = {"?": set(), "%s": set(), "": set()}
        self._numbered = False

    def text(self) -> str:
        """The statement with its secret literals masked."""
        self._settle("")
        return "".join(self._shown)

    @property
    def sensitive(self) -> frozenset[int | str]:
        """Positions from 0 and names of secret placeholders.

        A statement has one style: `?` may be an operator where placeholders are `%s` or `$1`.
        """
        counted = "%s" if self._counts["%s"] else "" if self._numbered else "?"
        return frozenset(self._found[counted] | self._found[""])

    def take(self, token: Token) -> None:
        kind = token.kind
        self._shown.append(token.text)
        if kind == "space":
            return
        if kind == "comment":
            self._comment(token)
            return
        self._settle(token.text)
        if kind in VALUES:
            self._take_value(token)
        elif kind in ("word", "name"):
            self._take_name(token)
        elif kind == "keyword":
            self._take_keyword(token.upper)
        else:
            self._symbols.get(token.text, Masker._take_symbol)(self, token.text)
        self._previous = token

    def _comment(self, token: Token) -> None:
        words = "".join(char if char.isalnum() else "_" for char in token.text)
        if self._is_secret_text(words):
            self._shown[-1] = f"/* {MASK} */"

    def _is_secret_text(self, words: str) -> bool:
        return any(self._is_secret(word) for word in set(words.split("_")) if len(word) > 1)

    def _settle(self, following: str) -> None:
        """Decide about a name in double quotes: followed by a dot it is a table's."""
        if self._quoted >= 0 and following != ".":
            self._shown[self._quoted] = f'"{MASK}"'
        self._quoted = -1

    # Values.

    def _take_value(self, token: Token) -> None:
        key = self._key(token) if token.kind == "parameter" else ""
        secret = (
            self._region >= 0
            or (self._is_item() and self._place in self._columns)
            or (self._named and self._previous.kind in ("word", "name"))
            or (type(key) is str and bool(key) and self._is_secret(key))
        )
        self._value = (len(self._shown) - 1, token, key)
        if secret:
            self._mask(self._value)
        elif self._previous.text in ("->", "->>"):
            self._named = self._is_secret(token.text.strip("'"))

    def _key(self, token: Token) -> int | str:
        """The position or the name of a placeholder."""
        text = token.text
        if text in self._counts:
            self._counts[text] += 1
            return self._counts[text] - 1
        name = text[2:-2] if text[0] == "%" else text[1:]
        if name.isdecimal():
            self._numbered = True
            return int(name[:9]) - 1
        return name

    def _mask(self, value: tuple[int, Token, int | str]) -> None:
        where, token, key = value
        if token.kind == "parameter":
            self._found[token.text if token.text in self._counts else ""].add(key)
        else:
            self._shown[where] = f"'{MASK}'" if token.kind == "string" else MASK

    def _is_item(self) -> bool:
        return self._item_depth >= 0 and len(self._groups) >= self._item_depth

    # Names.

    def _take_name(self, token: Token) -> None:
        name = unquoted(token)
        if token.text[0] == '"' and self._region >= 0 and self._previous.text != ".":
            self._quoted = len(self._shown) - 1
        self._named = self._is_secret(name)
        if not self._named:
            return
        if self._groups:
            self._groups[-1] = True
        if self._value is not None and self._previous.upper in _COMPARES:
            self._mask(self._value)  # 'x' = password
        if len(self._groups) == self._column_depth:
            self._columns.add(self._place)

    def _take_keyword(self, upper: str) -> None:
        if upper in _COMPARES:
            self._take_symbol(upper)
            self._between = upper == "BETWEEN"
        elif upper in _NEUTRAL:
            self._count_cases(upper)
        elif upper == "IDENTIFIED":
            self._region = len(self._groups)
        elif upper == "AND" and self._between:
            self._between = False
        elif not (upper == "BY" and self._previous.upper == "IDENTIFIED"):
            self._take_clause(upper)

    def _count_cases(self, upper: str) -> None:
        """Within `password = CASE ... END` an AND ends nothing."""
        if self._region >= 0:
            self._cases += (upper == "CASE") - (upper == "END" and self._cases > 0)

    def _take_clause(self, upper: str) -> None:
        self._end_expression()
        depth = len(self._groups)
        if upper in ("INTO", "REPLACE", "INSERT"):
            self._into = True
        elif upper == "VALUES":
            self._into, self._row_depth = False, depth
        elif upper == "SELECT" and self._columns and self._row_depth < 0:
            self._into, self._item_depth, self._place = False, depth, 0
        elif depth <= self._item_depth:
            self._item_depth = -1
        if upper != "VALUES" and depth <= self._row_depth:
            self._row_depth = -1

    def _end_expression(self) -> None:
        if len(self._groups) <= self._region and not self._cases:
            self._region = -1
        self._named, self._value = False, None

    # Symbols.

    def _take_symbol(self, text: str) -> None:
        if text in _COMPARES and self._named and self._region < 0:
            self._region = len(self._groups)

    def _comma(self, _text: str) -> None:
        depth = len(self._groups)
        if depth <= self._region:
            self._region, self._cases = -1, 0
        self._named, self._value = False, None
        if depth in (self._column_depth, self._item_depth):
            self._place += 1

    def _open(self, _text: str) -> None:
        depth = len(self._groups)
        names = self._previous.kind in ("word", "name")
        if self._into and names:
            self._into, self._column_depth, self._place = False, depth + 1, 0
            self._columns = set()
        elif depth == self._row_depth and self._previous.upper in ("VALUES", ",", "ROW"):
            self._item_depth, self._place = depth + 1, 0
        elif names and self._named and self._region < 0:
            self._region = depth  # PASSWORD('x')
        self._groups.append(False)
        self._named, self._value = False, None

    def _close(self, _text: str) -> None:
        if not self._groups:
            return
        self._named = self._groups.pop()
        depth = len(self._groups)
        if depth < self._region:
            self._region, self._cases = -1, 0
        if depth < self._column_depth:
            self._column_depth = -1
        if depth < self._item_depth:
            self._item_depth = -1
        self._value = None

    def _end(self, _text: str) -> None:
        self._end_expression()
        self._region = self._row_depth = self._item_depth = self._column_depth = -1
        self._cases, self._into, self._columns = 0, False, set()

    _symbols: ClassVar[dict[str, Callable[[Masker, str], None]]] = {
        "(": _open,
        ")": _close,
        ",": _comma,
        ";": _end,
    }
