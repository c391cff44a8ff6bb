"""Cuts SQL of any dialect into tokens: linear, and never wrong enough to raise.

What is not closed runs to the end of the text, so that no position is looked at twice. Where dialects
contradict each other the caller may say that the text is MySQL's: there a backslash escapes, double
quotes make strings and `#` begins a comment anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .secrets import words

KEYWORDS = words(
    """ALL ALTER ANALYZE AND ANY ARRAY AS ASC BEGIN BETWEEN BY CALL CASE CAST COLLATE COMMIT CONFLICT
    CREATE CROSS CURRENT DEFAULT DELETE DESC DESCRIBE DISTINCT DO DROP DUPLICATE ELSE END ESCAPE
    EXCEPT EXISTS EXPLAIN FALSE FETCH FIRST FOLLOWING FOR FROM FULL GLOB GRANT GROUP HAVING
    IDENTIFIED IF IGNORE ILIKE IN INDEX INNER INSERT INTERSECT INTO IS ISNULL JOIN KEY LAST LATERAL
    LEFT LIKE LIMIT LOCK LOCKED MATCHED MATERIALIZED MERGE NATURAL NEXT NOT NOTHING NOTNULL NOWAIT
    NULL NULLS OF OFFSET ON ONLY OR ORDER OUTER OVER PARTITION PRAGMA PRECEDING RANGE RECURSIVE
    REGEXP RELEASE REPLACE RETURNING RIGHT RLIKE ROLLBACK ROW ROWS SAVEPOINT SELECT SET SHARE SHOW
    SIMILAR SKIP SOME TABLE TEMP TEMPORARY THEN TO TRANSACTION TRUE TRUNCATE UNBOUNDED UNION UNIQUE
    UPDATE USING VALUES VIEW WHEN WHERE WINDOW WITH"""
)

VALUES = frozenset({"string", "number", "parameter"})
"""Kinds of token that stand for one value."""


class Token(NamedTuple):
    """A piece of the text.

    `kind` is space, comment, string, number, parameter, name (a quoted identifier), word, keyword or
    symbol. `upper` is the text in upper case of words and keywords, else the text itself.
    """

    kind: str
    text: str
    upper: str


_PATTERN = r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*{hash})
    | (?P<block>/\*)
    | (?P<escaped>[eE]'(?:[^'\\]+|\\.|'')*'?)
    | (?P<string>(?:[bBnNxX]|[uU]&)?{quoted}{double_string})
    | (?P<name>{double_name}`(?:[^`]+|``)*`?|(?<![\w\])"`])\[[^\W\d][^\]\[,'"\n]{{0,127}}\])
    | (?P<word>[^\W\d][\w$]*|@@[\w.]+)
    | (?P<number>(?:\d[\w.]*|\.\d\w*)(?:(?<=[eE])[+-]\d+)?)
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<cast>::|:=)
    | (?P<parameter>\?\d*|%s(?!\w)|%\([^)\n]{{1,128}}\)s|\$\d+|:\w+|@[^\W\d]\w*)
    | (?P<symbol><=>|<=|>=|<>|!=|=>|\|\||->>?|\#>>?|.)
"""
_STANDARD = re.compile(
    _PATTERN.format(
        hash=r"|\#(?=\s)[^\n]*|(?:(?<=\n)|(?<!.))\#[^\n]*",
        quoted="'(?:[^']+|'')*'?",
        double_string="",
        double_name='"(?:[^"]+|"")*"?|',
    ),
    re.VERBOSE | re.DOTALL,
)
_MYSQL = re.compile(
    _PATTERN.format(
        hash=r"|\#[^\n]*",
        quoted=r"'(?:[^'\\]+|\\.|'')*'?",
        double_string=r'|"(?:[^"\\]+|\\.|"")*"?',
        double_name="",
    ),
    re.VERBOSE | re.DOTALL,
)
_KINDS = {"block": "comment", "escaped": "string", "dollar": "string", "cast": "symbol"}
_BLOCK_EDGE = re.compile(r"/\*|\*/")


def tokens(sql: str, mysql: bool = False) -> Iterator[Token]:
    """All of the text in tokens; their texts joined give it again."""
    match = (_MYSQL if mysql else _STANDARD).match
    nested = not mysql
    position, length = 0, len(sql)
    while position < length:
        found = match(sql, position)
        assert found is not None  # a symbol is any character
        kind, end = found.lastgroup or "symbol", found.end()
        if kind == "block":
            end, nested = _block_end(sql, end, nested)
        elif kind == "dollar":
            end = _end_after(sql, found[0], end)
        yield _token(_KINDS.get(kind, kind), sql[position:end])
        position = end


def _token(kind: str, text: str) -> Token:
    if kind != "word":
        return Token(kind, text, text)
    upper = text.upper()
    return Token("keyword" if upper in KEYWORDS else "word", text, upper)


def _end_after(sql: str, closing: str, start: int) -> int:
    end = sql.find(closing, start)
    return len(sql) if end < 0 else end + len(closing)


def _block_end(sql: str, start: int, nested: bool) -> tuple[int, bool]:
    """Where a block comment ends, and whether comments may nest in the rest of the text.

    They nest in PostgreSQL and SQL Server. A text in which that does not come out even is taken for
    one of the others, from there on: asking again each time would be quadratic.
    """
    if nested:
        depth = 1
        for edge in _BLOCK_EDGE.finditer(sql, start):
            depth += 1 if edge[0] == "/*" else -1
            if depth == 0:
                return edge.end(), True
    return _end_after(sql, "*/", start), False


def unquoted(token: Token) -> str:
    """The identifier that a word or a quoted name stands for."""
    if token.kind != "name":
        return token.text
    quote = token.text[0]
    inner = token.text[1:].removesuffix("]" if quote == "[" else quote)
    return inner.replace(quote * 2, quote)
