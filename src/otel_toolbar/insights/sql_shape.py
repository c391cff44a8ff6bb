"""Finds what a statement does and to which table."""

from __future__ import annotations

from .secrets import words
from .sql_lexer import Token, unquoted

_READS = frozenset({"SELECT", "VALUES", "SHOW", "TABLE", "DESCRIBE", "DESC"})
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_MAIN = _READS | _WRITES | {"REPLACE"}
_NAMED_AT_ONCE = _WRITES | {"REPLACE", "TRUNCATE"}
"""Verbs that their table follows, after some of `_SKIPPED`."""

_SKIPPED = words(
    """INTO FROM ONLY OR REPLACE IGNORE ROLLBACK ABORT FAIL LOW_PRIORITY HIGH_PRIORITY DELAYED QUICK
    TABLE IF NOT EXISTS LATERAL"""
)
_DEFINE = frozenset({"CREATE", "ALTER", "DROP"})


class Shape:
    """Takes the tokens of a statement, white space and comments left out."""

    def __init__(self) -> None:
        self.operation = ""
        self._target: list[str] = []
        self._inner: list[str] = []
        """The table of the first subquery, for want of a better one."""
        self._name: list[str] | None = None
        """What the identifier that is awaited or goes on belongs to."""
        self._part_follows = False
        self._selects: list[bool] = []
        """For each open parenthesis, whether a SELECT begins in it."""
        self._verb_depth = 0
        self._last = ""
        self._may_write = False
        self._writes = False
        self._over = False
        """The first of several statements has ended."""

    @property
    def target(self) -> str:
        return ".".join(self._target or self._inner)

    @property
    def reads_only(self) -> bool:
        return self.operation in _READS and not self._writes

    def take(self, token: Token) -> None:
        upper = token.upper if token.kind in ("keyword", "word", "symbol") else ""
        if self._name is not None and self._names(token, upper):
            self._last = upper
            return
        if self._may_write:
            # INSERT( and REPLACE( are functions of MySQL.
            self._writes |= upper != "("
            self._may_write = False
        if token.kind in ("keyword", "word"):
            self._word(token, upper)
        elif token.kind == "symbol":
            self._symbol(upper)
        self._last = upper

    def _names(self, token: Token, upper: str) -> bool:
        """Take the token into the awaited identifier; False when it is no part of one."""
        name = self._name
        assert name is not None
        if self._part_follows:
            if upper in _SKIPPED and not name:
                return True
            self._part_follows = False
            if token.kind in ("word", "name") or (token.kind == "keyword" and name):
                name.append(unquoted(token))
                return True
            if token.kind == "string" and not name:  # of MySQL with ANSI_QUOTES
                name.append(token.text[1:-1])
                return True
        elif upper == ".":
            self._part_follows = True
            return True
        self._name = None
        return False

    def _await(self, name: list[str]) -> None:
        if not name and not self._over:
            self._name, self._part_follows = name, True

    def _word(self, token: Token, upper: str) -> None:
        depth = len(self._selects)
        if not self.operation or (self.operation == "WITH" and depth == 0 and upper in _MAIN):
            self._begin(upper)
        elif self._last == ";":
            self._writes |= upper not in _READS
        elif token.kind == "keyword":
            self._clause(upper, depth)

    def _begin(self, upper: str) -> None:
        self.operation = upper
        self._verb_depth = len(self._selects)
        if self._selects:
            self._selects[-1] = True
        if upper in _NAMED_AT_ONCE:
            self._await(self._target)

    def _clause(self, upper: str, depth: int) -> None:
        if self._last == "(" and upper in _WRITES:
            self._may_write = True
        elif self._last == "(" and upper == "SELECT":
            self._selects[-1] = True
        elif upper == "FROM" and self._last != "DISTINCT":
            self._from(depth)
        elif upper == "INTO" and self.operation == "SELECT":
            self._writes |= depth == self._verb_depth
        elif self.operation in _DEFINE and upper in ("TABLE", "ON"):
            self._await(self._target)

    def _from(self, depth: int) -> None:
        if depth == self._verb_depth and self.operation in ("SELECT", "DELETE", "SHOW"):
            self._await(self._target)
        elif depth and self._selects[-1]:
            self._await(self._inner)

    def _symbol(self, text: str) -> None:
        if text == "(":
            self._selects.append(False)
        elif text == ")" and self._selects:
            self._selects.pop()
        elif text == ";":
            self._over = True
