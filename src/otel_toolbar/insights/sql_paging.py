"""Finds what in a statement says which page of a list is wanted, and whether its answer is ever the same.

Pages are told by LIMIT (or FETCH) with an OFFSET, or by where the last page ended: `id > ?`.
"""

from __future__ import annotations

from .secrets import words
from .sql_lexer import VALUES, Token

_VOLATILE = words(
    """NEXTVAL CURRVAL LASTVAL SETVAL LAST_INSERT_ID LAST_INSERT_ROWID ROW_COUNT FOUND_ROWS CHANGES
    TOTAL_CHANGES RANDOM RAND RANDOMBLOB GEN_RANDOM_UUID UUID UUID_SHORT UUID_GENERATE_V4 SLEEP PG_SLEEP
    GET_LOCK RELEASE_LOCK PG_ADVISORY_LOCK PG_ADVISORY_XACT_LOCK PG_TRY_ADVISORY_LOCK
    PG_TRY_ADVISORY_XACT_LOCK PG_ADVISORY_UNLOCK PG_NOTIFY SET_CONFIG"""
)
_PAGE = frozenset({"LIMIT", "OFFSET", "FETCH"})
_GOES_ON = _PAGE | {"FIRST", "NEXT", "ROW", "ROWS", "ONLY"}
_BOUNDS = frozenset({">", "<", ">=", "<="})
_COUNTED = ("?", "%s")


class Pages:
    """Takes the tokens of a statement, white space and comments left out."""

    def __init__(self) -> None:
        self.limited = False
        """It asks for a part of the rows only."""
        self.volatile = False
        self.placeholders: frozenset[int | str] = frozenset()
        """Those that differ from page to page."""
        self.fixed: tuple[str, ...] = ()
        """Literals that do not."""
        self._depth = 0
        self._in_page = False
        self._bound = -1
        """Depth of the comparison whose right side is being read, else -1."""
        self._counted = 0
        self._last = ""
        self._name = ""

    def take(self, token: Token) -> None:
        upper = token.upper
        if token.kind in VALUES:
            self._value(token)
        elif token.kind == "keyword":
            self._keyword(upper)
        elif token.kind == "symbol":
            self._symbol(upper)
        self._name = upper if token.kind == "word" else ""
        self._last = upper

    def _value(self, token: Token) -> None:
        moves = self._in_page or self._bound >= 0
        if token.kind == "parameter":
            key = self._key(token.text)
            if moves:
                self.placeholders |= {key}
        elif not moves:
            self.fixed += (token.text,)
        if self._bound == self._depth:
            self._bound = -1

    def _key(self, text: str) -> int | str:
        if text in _COUNTED:
            self._counted += 1
            return self._counted - 1
        name = text[2:-2] if text[0] == "%" else text[1:]
        return int(name[:9]) - 1 if name.isdecimal() else name

    def _keyword(self, upper: str) -> None:
        self.volatile |= upper == "LOCKED" and self._last == "SKIP"
        if self._depth == 0:
            self.limited |= upper in _PAGE
            self._in_page = upper in _PAGE or (self._in_page and upper in _GOES_ON)
        self._bound = -1

    def _symbol(self, text: str) -> None:
        if text == "(":
            self.volatile |= self._name in _VOLATILE
            self._depth += 1
        elif text == ")":
            self._depth -= 1
            if self._bound >= self._depth:
                self._bound = -1
        elif text in _BOUNDS:
            self._bound = self._depth
