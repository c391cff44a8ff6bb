"""Folds a statement to what like statements share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from .secrets import words
from .sql_lexer import VALUES, Token

_LITERALS = frozenset({"NULL", "TRUE", "FALSE", "DEFAULT"})
"""Keywords that are values within a list; elsewhere they are part of the logic (IS NULL)."""

_BEFORE_SIGN = words(
    "( [ , = < > <= >= <> != || := * / AND OR NOT THEN ELSE WHEN SELECT BETWEEN LIMIT OFFSET IN "
    "VALUES RETURNING LIKE"
)
"""After these a `-` is a number's sign and not a subtraction."""


@dataclass
class _Group:
    """An open parenthesis. `role` says what it may fold to."""

    role: str
    """list: of IN or ARRAY. item: a tuple in such a list. row: of VALUES. type: of a cast.
    other: anything else."""
    start: int
    plain: bool = True
    """Only values so far."""
    items: int = 0
    cast: bool = False
    """Within a type, after `::`."""


class Folder:
    """Takes the tokens of a statement, white space and comments left out."""

    def __init__(self) -> None:
        self.longest_list = 0
        self.placeholders = 0
        self._out: list[str] = []
        self._groups: list[_Group] = []
        self._row_depth = -1
        """Depth at which rows of VALUES stand, -1 outside of VALUES."""
        self._rows = 0

    def text(self) -> str:
        """The folded statement: one space between tokens."""
        return " ".join(self._out)

    def readable(self) -> str:
        """The same, spaced as people do."""
        return re.sub(r" (?=[,)\]])|(?<=[(\[]) | ?(\.|::) ?", r"\1", self.text())

    def take(self, token: Token) -> None:
        self.placeholders += token.kind == "parameter"
        if token.kind in VALUES or (self._in_list() and token.upper in _LITERALS):
            self._value()
        elif token.kind == "symbol":
            self._handlers.get(token.text, Folder._symbol)(self, token.text)
        else:
            self._word(token)

    def _in_list(self) -> bool:
        return bool(self._groups) and self._groups[-1].role in ("list", "item", "row")

    def _value(self) -> None:
        signed = self._out[-1:] in (["-"], ["+"]) and self._before_sign(2)
        if signed:
            self._out.pop()
        self._out.append("?")

    def _before_sign(self, back: int) -> bool:
        return len(self._out) < back or self._out[-back] in _BEFORE_SIGN

    def _word(self, token: Token) -> None:
        group = self._groups[-1] if self._groups else None
        if token.kind == "keyword" and len(self._groups) <= self._row_depth:
            self._row_depth = -1
        if group is not None and not group.cast:
            group.plain = False
        self._out.append(token.upper if token.kind == "keyword" else token.text)
        if token.upper == "VALUES":
            self._row_depth, self._rows = len(self._groups), 0

    def _symbol(self, text: str) -> None:
        if self._groups:
            group = self._groups[-1]
            group.cast = group.cast or text == "::"
            sign = text in "+-" and self._before_sign(1)
            group.plain = group.plain and (group.cast or sign)
        self._out.append(text)

    def _comma(self, text: str) -> None:
        if self._groups:
            self._groups[-1].items += 1
            self._groups[-1].cast = False
        self._out.append(text)

    def _open(self, text: str) -> None:
        self._groups.append(_Group(self._role(text), len(self._out)))
        self._out.append(text)

    def _role(self, text: str) -> str:
        last = self._out[-1] if self._out else ""
        parent = self._groups[-1] if self._groups else None
        if parent is not None and parent.cast:
            return "type"
        if last == ("ARRAY" if text == "[" else "IN"):
            return "list"
        if parent is not None and parent.role in ("list", "item") and last in ("(", ",", "["):
            return "item"
        follows = last == "VALUES" or (last == "," and self._rows > 0)
        return "row" if follows and self._row_depth == len(self._groups) else "other"

    def _close(self, text: str) -> None:
        self._out.append(text)
        if not self._groups:
            return
        group = self._groups.pop()
        self._closers[group.role](self, group)

    def _close_list(self, group: _Group) -> None:
        if group.plain:
            self._out[group.start + 1 : -1] = ["?"]
            self.longest_list = max(self.longest_list, group.items + 1)
        self._close_other(group)

    def _close_item(self, group: _Group) -> None:
        if group.plain:
            self._out[group.start :] = ["?"]
        else:
            self._close_other(group)

    def _close_row(self, group: _Group) -> None:
        self._rows += 1
        self.longest_list = max(self.longest_list, self._rows)
        if self._rows > 1:
            del self._out[group.start - 1 :]
        elif group.plain:
            self._out[group.start + 1 : -1] = ["?"]

    def _close_other(self, group: _Group) -> None:
        if self._groups and group.role != "type":
            self._groups[-1].plain = False

    def _close_type(self, group: _Group) -> None:
        """`::NUMERIC(10, 2)` is still one value."""

    def _end(self, text: str) -> None:
        self._out.append(text)
        self._row_depth = -1

    _handlers: ClassVar[dict[str, Callable[[Folder, str], None]]] = {
        "(": _open,
        "[": _open,
        ")": _close,
        "]": _close,
        ",": _comma,
        ";": _end,
    }
    _closers: ClassVar[dict[str, Callable[[Folder, _Group], None]]] = {
        "list": _close_list,
        "item": _close_item,
        "row": _close_row,
        "type": _close_type,
        "other": _close_other,
    }
