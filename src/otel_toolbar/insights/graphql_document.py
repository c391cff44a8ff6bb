"""Reads a GraphQL document from its text alone: its operations, and how much each asks for.

Linear, and never raises: what is not GraphQL gives few fields or none. The grammar is that of
https://spec.graphql.org/October2021/#sec-Document-Syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

MAX_LENGTH: Final = 65_536
"""Characters of a document beyond which nothing is concluded from it."""

MANY: Final = 1_000_000
"""Stands for this many fields and more: fragments within fragments multiply."""

_TYPES = frozenset({"query", "mutation", "subscription"})
_MAX_CHAIN = 100
"""Fragments within each other that are followed."""
_MAX_ROOTS = 20

_TOKEN = re.compile(
    r'''
      (?P<space>[\s,\ufeff]+)
    | (?P<comment>\#[^\n\r]*)
    | (?P<string>"""(?:[^"\\]+|\\"""|\\|"(?!""))*(?:""")?|"(?:[^"\\\n\r]+|\\.)*"?)
    | (?P<number>-?\d[\w.+\-]*)
    | (?P<name>[^\W\d]\w*)
    | (?P<spread>\.\.\.)
    | (?P<symbol>.)
    ''',
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of a document. `kind`: space, comment, string, number, name, spread or symbol."""

    kind: str
    text: str


def tokens(document: str) -> Iterator[Token]:
    """All of a document in pieces; what is not closed runs to the end of the text or line."""
    for found in _TOKEN.finditer(document):
        yield Token(found.lastgroup or "", found[0])


@dataclass
class Definition:
    """An operation or a fragment, without what its fragments add."""

    type: str
    """query, mutation, subscription or fragment."""
    name: str
    fields: int = 0
    aliases: int = 0
    depth: int = 0
    roots: list[str] = field(default_factory=list[str])
    """The outermost fields, the first 20."""
    spreads: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Fragments that it takes in, with the fields that they stand within."""


class Complexity(NamedTuple):
    """How much an operation asks for."""

    depth: int
    """Fields within each other."""
    fields: int
    aliases: int


def read(document: str) -> tuple[Definition, ...]:
    """The definitions of a document in their order; none of one that is too long."""
    return _read(document) if len(document) <= MAX_LENGTH else ()


@lru_cache(maxsize=64)
def _read(document: str) -> tuple[Definition, ...]:
    return tuple(_Reader(document).definitions)


def operation(document: str, name: str = "") -> Definition | None:
    """The operation of that name; without a name the first."""
    found = [each for each in read(document) if each.type in _TYPES]
    return next((each for each in found if not name or each.name == name), None)


def complexity(document: str, name: str = "") -> Complexity | None:
    """Of the operation of that name, else the first. None where there is none."""
    asked = operation(document, name)
    if asked is None:
        return None
    fragments = {each.name: each for each in read(document) if each.type == "fragment"}
    return _measured(asked, fragments, {}, ())


def _measured(
    part: Definition,
    fragments: Mapping[str, Definition],
    known: dict[str, Complexity],
    within: Sequence[str],
) -> Complexity:
    depth, count, aliases = part.depth, part.fields, part.aliases
    for name, level in part.spreads:
        fragment = fragments.get(name)
        if fragment is None or name in within or len(within) >= _MAX_CHAIN:
            continue
        more = known.get(name)
        if more is None:
            more = known[name] = _measured(fragment, fragments, known, (*within, name))
        depth = max(depth, level + more.depth)
        count, aliases = min(MANY, count + more.fields), min(MANY, aliases + more.aliases)
    return Complexity(depth, count, aliases)


class _Reader:
    """Goes through a document once. What stands in parentheses is no field."""

    def __init__(self, document: str) -> None:
        self.definitions: list[Definition] = []
        self._rest = [each for each in tokens(document) if each.kind not in ("space", "comment")]
        self._at = 0
        self._current = Definition("query", "")
        self._levels: list[bool] = []
        """The open braces; True where one belongs to a field."""
        self._within = 0
        """How many of them do."""
        self._opens = False
        """The next brace belongs to a field."""
        while self._at < len(self._rest):
            self._take()

    def _take(self) -> None:
        kind, text = self._next()
        if kind == "name":
            self._word(text)
        elif text == "(":
            self._skip()
        elif text == "@":
            self._next()  # a directive's name
        elif text == "{":
            self._open()
        elif text == "}":
            self._close()
        elif text == "...":
            self._spread()

    def _word(self, text: str) -> None:
        if self._levels:
            self._field(text)
        else:
            self._head(text)

    def _next(self) -> Token:
        token = self._rest[self._at] if self._at < len(self._rest) else Token("", "")
        self._at += 1
        return token

    def _peek(self) -> Token:
        return self._rest[self._at] if self._at < len(self._rest) else Token("", "")

    def _skip(self) -> None:
        """Go behind the parenthesis that closes this one."""
        depth = 1
        while depth and self._at < len(self._rest):
            text = self._next().text
            depth += (text == "(") - (text == ")")

    def _open(self) -> None:
        if not self._levels:
            if not self.definitions or self.definitions[-1] is not self._current:
                self.definitions.append(self._current)
            self._opens = False
        self._levels.append(self._opens)
        self._within += self._opens
        self._opens = False

    def _close(self) -> None:
        self._opens = False
        if self._levels:
            self._within -= self._levels.pop()

    def _head(self, word: str) -> None:
        """What stands before a definition's brace."""
        if word in _TYPES or word == "fragment":
            name = self._next().text if self._peek().kind == "name" else ""
            self._current = Definition(word, name)
            self.definitions.append(self._current)

    def _spread(self) -> None:
        self._opens = False
        if self._peek().kind != "name":
            return
        name = self._next().text
        if name == "on":
            self._next()
        else:
            self._current.spreads.append((name, self._within))

    def _field(self, name: str) -> None:
        current = self._current
        if self._peek().text == ":":
            self._next()
            name = self._next().text
            current.aliases += 1
        current.fields += 1
        level = 1 + self._within
        current.depth = max(current.depth, level)
        if level == 1 and len(current.roots) < _MAX_ROOTS:
            current.roots.append(name)
        self._opens = True
