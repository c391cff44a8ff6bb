"""What a SQL statement is, in one pass over its text: which ones are alike, what it does, what is secret.

Statements are read once and kept by their text: an app has few texts and runs each of them often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from . import secrets
from .sql_fold import Folder
from .sql_lexer import tokens
from .sql_paging import Pages
from .sql_secrets import Masker
from .sql_shape import Shape
from .transactions import is_control

MAX_LENGTH: Final = 16_384
"""Characters of a statement that are read and shown; the rest is cut off."""

_MAX_STATEMENTS, _MAX_CHARACTERS = 512, 2**20
"""Bounds of one generation of the cache; there are two."""


@dataclass(frozen=True)
class Statement:
    """A statement, understood."""

    text: str
    """As sent, with literals that belong to a secret masked; at most `MAX_LENGTH` characters."""
    normalized: str
    """What like statements share: without literals, comments and differences of white space; lists of
    values of any length as one."""
    fingerprint: str
    """16 hex digits over that."""
    operation: str
    """SELECT, INSERT, ... in upper case; of a WITH its main verb. Empty when there is none."""
    target: str
    """The table that it is about, empty when that cannot be told."""
    reads_only: bool
    """It changes nothing: a SELECT (with FOR UPDATE too), VALUES, SHOW, ... without any part that
    writes."""
    sensitive: frozenset[int | str]
    """Placeholders whose values are secret: positions from 0, and names."""
    placeholders: int
    """How many there are."""
    longest_list: int
    """Values of its longest IN list, or rows of its VALUES; 0 when it has none."""
    transaction: bool
    """It begins or ends a transaction or a savepoint."""
    volatile: bool
    """Asked again it may answer anew with nothing changed by anybody: `nextval`, `random`, a lock."""
    paging: frozenset[int | str] | None
    """Placeholders that say which page is wanted, as `sensitive` has them; None when it has no pages."""
    fixed: tuple[str, ...]
    """Of one with pages: the literals that stay from page to page."""

    @property
    def summary(self) -> str:
        """`SELECT users`."""
        return f"{self.operation} {self.target}".strip()


class Statements:
    """Reads statements and keeps what it read, at most about 4 MiB of it.

    `is_secret` says whether a column or a placeholder of a name holds a secret.
    """

    def __init__(self, is_secret: Callable[[str], bool]) -> None:
        self._is_secret = is_secret
        self._young: dict[tuple[str, bool], Statement] = {}
        self._old: dict[tuple[str, bool], Statement] = {}
        self._characters = 0

    def analyze(self, sql: str, mysql: bool = False) -> Statement:
        """The statement of a text. `mysql` for MySQL and MariaDB, which quote in their own way."""
        key = (sql, mysql)
        known = self._young.get(key)
        if known is None:
            known = self._old.get(key) or self._read(sql, mysql)
            self._keep(key, known)
        return known

    def _keep(self, key: tuple[str, bool], statement: Statement) -> None:
        """Two generations are an LRU that needs no lock and no work on a hit."""
        size = len(key[0])
        if size > _MAX_CHARACTERS // 8:
            return
        if len(self._young) >= _MAX_STATEMENTS or self._characters + size > _MAX_CHARACTERS:
            self._old, self._young, self._characters = self._young, {}, 0
        self._young[key] = statement
        self._characters += size

    def _read(self, sql: str, mysql: bool) -> Statement:
        cut = sql[:MAX_LENGTH]
        folder, shape, masker, pages = Folder(), Shape(), Masker(self._is_secret), Pages()
        for token in tokens(cut, mysql):
            masker.take(token)
            if token.kind not in ("space", "comment"):
                folder.take(token)
                shape.take(token)
                pages.take(token)
        folded = folder.text()
        return Statement(
            text=masker.text() + ("…" if len(sql) > MAX_LENGTH else ""),
            normalized=folder.readable(),
            fingerprint=digest(folded),
            operation=shape.operation,
            target=shape.target,
            reads_only=shape.reads_only,
            sensitive=masker.sensitive,
            placeholders=folder.placeholders,
            longest_list=folder.longest_list,
            transaction=is_control(cut),
            volatile=pages.volatile,
            paging=pages.placeholders if pages.limited else None,
            fixed=pages.fixed if pages.limited else (),
        )


def digest(text: str) -> str:
    """16 hex digits that stand for a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


analyze = Statements(secrets.is_secret).analyze
"""Reads statements with our own idea of what is secret."""
