"""Whether a statement may be explained: exactly one, that only reads, told from its parse tree.

EXPLAIN without ANALYZE runs no statement, but planning one can run parts of it: PostgreSQL folds stable
functions, MariaDB fills derived tables. What cannot be told with certainty is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from otel_toolbar.insights.secrets import words

from .model import Refused

_DIALECTS = {"postgresql": "postgres", "mariadb": "mysql", "mysql": "mysql", "sqlite": "sqlite"}
SYSTEMS = frozenset(_DIALECTS)
"""Databases whose EXPLAIN is understood, by `db.system.name`."""

_FIRST = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*(\w*)")
_MARK = re.compile(r"%%|%s|%\(\w+\)s")
_EDGE = re.compile(r"/\*|\*/")
_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})

_BANNED_PREFIXES = ("pg_", "lo_", "dblink", "sqlite_", "wsrep_", "sys_")
_BANNED = words(
    """nextval setval set_config currval lastval txid_current query_to_xml query_to_xmlschema
    table_to_xml schema_to_xml database_to_xml cursor_to_xml xpath_table ts_stat sleep
    benchmark get_lock release_lock release_all_locks is_free_lock is_used_lock load_file
    master_pos_wait master_gtid_wait source_pos_wait wait_for_executed_gtid_set
    last_insert_id load_extension readfile writefile edit fts3_tokenizer"""
)
"""Functions that write, wait, lock, or reach outside of the database, or run SQL given as a text."""

_HARMLESS_ON_MYSQL = words(
    """acos addtime aes_decrypt aes_encrypt any_value asin atan2 bin bin_to_uuid bit_count
    bit_length char_length character_length charset coercibility collation column_get
    compress connection_id convert_tz cot crc32 current_role current_user database degrees
    elt export_set field find_in_set format format_bytes found_rows from_base64 grouping hex
    inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr interval is_uuid isnull
    json_array_append json_array_insert json_contains json_contains_path json_depth
    json_detailed json_exists json_insert json_keys json_length json_loose json_merge_patch
    json_merge_preserve json_overlaps json_pretty json_query json_quote json_remove
    json_replace json_schema_valid json_search json_set json_table json_type json_unquote
    json_valid json_value last_day locate lpad make_set makedate maketime mid
    natural_sort_key nullif oct octet_length ord password period_add period_diff pi position
    quote radians rand random_bytes regexp_instr regexp_like regexp_replace regexp_substr
    rpad schema sec_to_time session_user sha soundex space st_area st_asgeojson st_astext
    st_contains st_distance st_geomfromtext st_intersects st_within st_x st_y strcmp subtime
    system_user time_format time_to_sec timediff to_base64 to_seconds truncate uncompress
    user utc_date utc_time utc_timestamp uuid uuid_to_bin version weight_string yearweek"""
)
"""Known functions that the parser does not know. A stored function is code of somebody, and MariaDB may
call it while it plans; so what is in neither list is refused there."""


def admit(text: str, system: str, paramstyle: str) -> Any:
    """The parse tree (sqlglot's) of a statement that may be explained; `Refused` for all others.

    `paramstyle` is the driver's (PEP 249), or empty when the text was sent as it is.
    """
    if system not in SYSTEMS:
        raise Refused(
            "unsupported_database", f"EXPLAIN is not known for {system or 'this database'}."
        )
    text = text.strip().removesuffix(";").rstrip()
    _no_tricks(text, system)
    if paramstyle in ("format", "pyformat"):
        # As the driver does it, in texts and comments too. The values themselves are of no concern.
        text = _MARK.sub(lambda mark: "%" if mark[0] == "%%" else "0", text)
    tree = _parsed(text, system)
    _reads_only(tree)
    for name, known in called(tree):
        _may_be_called(name, known, system)
    return tree


def called(tree: Any) -> Iterator[tuple[str, bool]]:
    """The functions that a statement calls: name in lower case, and whether the parser knows it."""
    from sqlglot import exp

    for function in tree.find_all(exp.Func):
        known = not isinstance(function, exp.Anonymous)
        name = (function.sql_name() if known else function.name).lower()
        if isinstance(function.parent, exp.Dot) and function.parent.expression is function:
            # `shop.format()` is somebody's own, whatever it is called.
            qualifier = function.parent.this.name.lower()
            yield (name, known) if qualifier == "pg_catalog" else (f"{qualifier}.{name}", False)
        yield name, known


_TRICKS = (
    ("unparsable", r"\0", "The statement holds a NUL character."),
    (
        "several_statements",
        ";",
        "Only one statement can be explained, and here is a semicolon within the text.",
    ),
    ("comment", r"/\*M?!", "A comment `/*! ... */` is code for MySQL and MariaDB."),
    (
        "comment",
        r"--.*?(?:\r(?!\n)|[\v\f\x1c-\x1e\x85\u2028\u2029])",
        "After `--`, a line end that not all take for one.",
    ),
    ("comment", r"\\['\"`]", "A backslash before a quote, which depends on the server's settings."),
)
_TRICKS_OF_MYSQL = (
    (
        "comment",
        r"--(?!\s|$)",
        "`--` without a space after it is no comment for MySQL and MariaDB.",
    ),
    ("comment", r"/\*\+", "A hint `/*+ ... */` could lift the time limit."),
    ("writes", ":=", "`:=` sets a variable."),
)
_TRICKS_OF_POSTGRESQL = (
    ("unparsable", r"\$(?:[^\W\d]\w*)?\$", "A text in dollar quotes is not looked into."),
)
_TRICKS_OF = {
    "mysql": _TRICKS_OF_MYSQL,
    "mariadb": _TRICKS_OF_MYSQL,
    "postgresql": _TRICKS_OF_POSTGRESQL,
}


def _no_tricks(text: str, system: str) -> None:
    """Refuse what a parser and a database could read in different ways."""
    for code, pattern, why in _TRICKS + _TRICKS_OF.get(system, ()):
        if re.search(pattern, text):
            raise Refused(code, why)
    edges = [edge[0] for edge in _EDGE.finditer(text)]
    if edges != ["/*", "*/"] * (len(edges) // 2):
        raise Refused("comment", "A comment within a comment, or one that does not end.")
    first = _FIRST.match(text)
    operation = first[1].upper() if first else ""
    if operation not in _READS:
        raise Refused("not_a_select", f"Only a SELECT can be explained, not {operation or 'this'}.")


def _parsed(text: str, system: str) -> Any:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        trees = sqlglot.parse(text, dialect=_DIALECTS[system])
    except (SqlglotError, RecursionError, ValueError) as error:
        raise Refused(
            "unparsable",
            f"The statement cannot be parsed with certainty ({type(error).__name__}), so it is not run.",
        ) from None
    if len(trees) != 1 or trees[0] is None:
        raise Refused("several_statements", "Only exactly one statement can be explained.")
    return trees[0]


def _reads_only(tree: Any) -> None:
    from sqlglot import exp

    if not isinstance(tree, exp.Query | exp.Values):
        raise Refused("not_a_select", f"Only a SELECT can be explained, not {tree.key.upper()}.")
    for node in tree.walk():
        if isinstance(node, exp.Lock):
            raise Refused("locks", "SELECT ... FOR UPDATE or FOR SHARE locks rows.")
        if isinstance(node, exp.Into):
            raise Refused("writes", "SELECT ... INTO writes.")
        if isinstance(
            node, exp.DDL | exp.Update | exp.Delete | exp.Merge | exp.Command
        ) and not isinstance(node, exp.Query | exp.Values):
            raise Refused("writes", f"There is {_article(node.key.upper())} within the statement.")


def _article(word: str) -> str:
    return ("an " if word[0] in "AEIO" else "a ") + word


def _may_be_called(name: str, known: bool, system: str) -> None:
    if name in _BANNED or name.startswith(_BANNED_PREFIXES):
        raise Refused("function", f"`{name}()` may do more than read, even while it is planned.")
    if system in ("mysql", "mariadb") and not known and name not in _HARMLESS_ON_MYSQL:
        raise Refused(
            "function",
            f"`{name}()` is not known to only read, and planning may call it (a stored function?).",
        )
