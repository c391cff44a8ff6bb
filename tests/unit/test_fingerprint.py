"""Statements are told alike or apart, what they do is known, and their secrets do not show."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_toolbar.insights import secrets, sql_lexer
from otel_toolbar.insights.fingerprint import MAX_LENGTH, Statements, analyze

ALIKE = [
    ("SELECT * FROM t WHERE id = 1", "select *\n from t where id = 2 -- why", "SELECT * FROM t WHERE id = ?"),
    ("SELECT 1 WHERE a = ?", "SELECT 1 WHERE a = %s", "SELECT 1 WHERE a = :a", "SELECT 1 WHERE a = $1",
     "SELECT 1 WHERE a = %(a)s", "SELECT 1 WHERE a = 'x'", "SELECT 1 WHERE a = -1.5e-3", "SELECT 2 WHERE a=@p",
     "SELECT 1 WHERE a = 'it''s'", "SELECT 1 WHERE a = E'it\\'s'", "SELECT 1 WHERE a = $x$ it's $x$",
     "SELECT 1 WHERE a = N'x'", "SELECT 1 WHERE a = 0x1F", "SELECT 1 WHERE a = ?1", "SELECT 1 WHERE a = .5",
     "SELECT /*+ hint */ 1 WHERE /* a /* nested */ one */ a = 1", "SELECT 1 WHERE a = # c\n 1"),
    ("SELECT a FROM t WHERE a IN (1)", "SELECT a FROM t WHERE a IN (1, 2, 3)",
     "SELECT a FROM t WHERE a IN (-1, 'x', NULL)", "SELECT a FROM t WHERE a IN ($1::INTEGER, $2::NUMERIC(10, 2))"),
    ("SELECT a FROM t WHERE (a, b) IN ((1, 2))", "SELECT a FROM t WHERE (a, b) IN ((?, ?), (?, ?))"),
    ("SELECT a FROM t WHERE a = ANY (ARRAY[1])", "SELECT a FROM t WHERE a = ANY (ARRAY[1, 2])"),
    ("INSERT INTO t (a, b) VALUES (1, 2)", "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)",
     "INSERT INTO t (a, b) VALUES (DEFAULT, NULL), (TRUE, 1), (2, 3)"),
    ("INSERT INTO t VALUES (1, now())", "INSERT INTO t VALUES (1, now()), (2, now() - 1)"),
    ("SELECT p::TEXT FROM (VALUES ($1, 0), ($2, 1)) AS v(p)", "SELECT p::TEXT FROM (VALUES ($1, 0)) AS v(p)"),
]  # fmt: skip

APART = [
    ('SELECT * FROM "users1"', 'SELECT * FROM "users2"'),
    ('SELECT * FROM "Users"', 'SELECT * FROM "users"'),
    ("SELECT * FROM users1", "SELECT * FROM users2"),
    ("SELECT a FROM t WHERE a IS NULL", "SELECT a FROM t WHERE a IS NOT NULL"),
    ("SELECT a - 1", "SELECT a"),
    ("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE b = 1"),
    ("SELECT f(1)", "SELECT f(1, 2)"),
    ("SELECT a FROM t WHERE a IN (1, 2)", "SELECT a FROM t WHERE a IN (b, 2)"),
    ("SELECT a FROM t WHERE (a, b) IN ((1, 2))", "SELECT a FROM t WHERE (a, b) IN ((1, c))"),
    ("SELECT a FROM t WHERE a IN (SELECT 1)", "SELECT a FROM t WHERE a IN (1)"),
    ("SELECT a FROM t WHERE a IN (f(1), 2)", "SELECT a FROM t WHERE a IN (1, 2)"),
    ("SELECT a FROM t WHERE a IN (1 + 2)", "SELECT a FROM t WHERE a IN (1)"),
    ("INSERT INTO t (a) VALUES (1)", "INSERT INTO t (a) VALUES (1) RETURNING (2)"),
    ("SELECT `a`", "SELECT `b`"),
    ("SELECT [a] FROM t", "SELECT [b] FROM t"),
]


@pytest.mark.parametrize("like", ALIKE, ids=lambda like: like[0])
def test_like_statements_share_a_fingerprint(like: tuple[str, ...]) -> None:
    assert {analyze(each).normalized for each in like} == {analyze(like[0]).normalized}
    assert {analyze(each).fingerprint for each in like} == {analyze(like[0]).fingerprint}


@pytest.mark.parametrize(("one", "other"), APART)
def test_other_statements_do_not(one: str, other: str) -> None:
    assert analyze(one).fingerprint != analyze(other).fingerprint


def test_a_fingerprint_is_16_hex_digits_and_stays() -> None:
    assert analyze("SELECT 1").fingerprint == analyze("select 2").fingerprint == "c148796e1220075a"


@pytest.mark.parametrize(
    ("sql", "longest"),
    [
        ("SELECT 1", 0),
        ("SELECT a FROM t WHERE a IN (1, 2, 3) AND b IN (1, 2)", 3),
        ("INSERT INTO t VALUES (1), (2)", 2),
        ("SELECT a FROM t WHERE a IN (SELECT 1, 2)", 0),
    ],
)
def test_the_longest_list_is_counted(sql: str, longest: int) -> None:
    assert analyze(sql).longest_list == longest


@pytest.mark.parametrize(
    ("sql", "summary", "reads_only"),
    [
        ("SELECT * FROM users u JOIN b ON true", "SELECT users", True),
        ("select * from public.users", "SELECT public.users", True),
        ('SELECT * FROM "Us""ers"', 'SELECT Us"ers', True),
        ("SELECT * FROM [dbo].[users]", "SELECT dbo.users", True),
        ("SELECT * FROM `users`", "SELECT users", True),
        ("SELECT a FROM t FOR UPDATE", "SELECT t", True),
        ("SELECT a FROM t FOR NO KEY UPDATE SKIP LOCKED", "SELECT t", True),
        ("(SELECT a FROM t) UNION (SELECT a FROM b)", "SELECT t", True),
        ("SELECT (SELECT count(*) FROM b) FROM a", "SELECT a", True),
        ("SELECT * FROM (SELECT * FROM c) z", "SELECT c", True),
        ("SELECT extract(year FROM x), trim(BOTH FROM y) FROM t", "SELECT t", True),
        ("SELECT a IS DISTINCT FROM b FROM t", "SELECT t", True),
        ("SELECT replace(a, 'b', 'c'), (replace(a, 1, 2)) FROM t", "SELECT t", True),
        ("SELECT * FROM LATERAL (SELECT 1) x", "SELECT", True),
        ("SELECT 1", "SELECT", True),
        ("VALUES (1)", "VALUES", True),
        ("SHOW TABLES", "SHOW", True),
        ("WITH x AS (SELECT 1 FROM a) SELECT * FROM x", "SELECT x", True),
        ("WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x", "SELECT x", False),
        ("WITH x AS (SELECT 1) INSERT INTO y SELECT * FROM x", "INSERT y", False),
        ("WITH x AS (SELECT (insert(a, 1, 2, 'b'))) SELECT * FROM x", "SELECT x", True),
        ("SELECT a INTO b FROM c", "SELECT c", False),
        ("SELECT 1; DELETE FROM x", "SELECT", False),
        ("SELECT 1; SELECT 2", "SELECT", True),
        ("INSERT OR REPLACE INTO main.t VALUES (1)", "INSERT main.t", False),
        ("REPLACE INTO t VALUES (1)", "REPLACE t", False),
        ("UPDATE ONLY t SET a = 1", "UPDATE t", False),
        ("DELETE FROM t", "DELETE t", False),
        ("MERGE INTO t USING s ON 1 = 1", "MERGE t", False),
        ("TRUNCATE TABLE t", "TRUNCATE t", False),
        ("CREATE TABLE IF NOT EXISTS t (a int)", "CREATE t", False),
        ("CREATE INDEX i ON t (a)", "CREATE t", False),
        ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN", False),
        ("BEGIN", "BEGIN", False),
        ("PRAGMA foreign_keys = ON", "PRAGMA", False),
        ("SAVEPOINT a", "SAVEPOINT", False),
        ("call me", "CALL", False),
        ("", "", False),
        ("))) 1", "", False),
        ("UPDATE (SELECT 1) SET a", "UPDATE", False),
    ],
)
def test_what_a_statement_does(sql: str, summary: str, reads_only: bool) -> None:
    statement = analyze(sql)
    assert statement.summary == summary
    assert statement.reads_only is reads_only


SECRETS: list[tuple[str, set[int | str]]] = [
    ("INSERT INTO users (email, password) VALUES (?, ?)", {1}),
    ("INSERT INTO users (email, password) VALUES (?, ?), (?, lower(?))", {1, 3}),
    ("INSERT INTO users (password, email) VALUES (%s, %s)", {0}),
    ("INSERT INTO users (email, password) SELECT ?, ? FROM x WHERE a = ?", {1}),
    ("INSERT INTO users (email, password) SELECT p0::TEXT, p1::TEXT FROM (VALUES ($1, $2, 0)) v(p0, p1)", {1}),
    ("INSERT INTO users (a, password) VALUES (:a, :b) ON CONFLICT (a) DO UPDATE SET b = :c", {"b"}),
    ("REPLACE INTO users (a, secret) VALUES (?, ?)", {1}),
    ("INSERT INTO tokens (id, user_id) VALUES (?, ?)", set()),
    ("INSERT INTO users SET password = ?, a = ?", {0}),
    ("UPDATE u SET secret=?, a=? WHERE id=?", {0}),
    ("UPDATE u SET (a, secret) = (?, ?), b = ?", {0, 1}),
    ("UPDATE u SET secret = CASE WHEN a = ? AND b = ? THEN ? ELSE ? END, c = ?", {0, 1, 2, 3}),
    ("SELECT CASE WHEN a THEN ? END AS token, ?", set()),
    ("SELECT * FROM t WHERE password = ?", {0}),
    ('SELECT * FROM t WHERE a = ? AND t."Password" <> ? OR b = ?', {1}),
    ("SELECT * FROM t WHERE ? = password AND ? = a", {0}),
    ("SELECT * FROM t WHERE token IN (?, ?) AND a IN (?)", {0, 1}),
    ("SELECT * FROM t WHERE token BETWEEN ? AND ? AND a = ?", {0, 1}),
    ("SELECT * FROM t WHERE token NOT LIKE ? || ? LIMIT ?", {0, 1}),
    ("SELECT * FROM t WHERE lower(password) = ?", {0}),
    ("SELECT * FROM t WHERE pw = crypt(?, pw) AND a = ?", {0}),
    ("SELECT * FROM t WHERE data->>'token' = ? AND data->>'name' = ?", {0}),
    ("SELECT * FROM t WHERE password = $2 AND a = $1", {1}),
    ("SELECT * FROM t WHERE password = :1", {0}),
    ("SELECT * FROM t WHERE a = :password AND b = %(api_key)s AND c = @secret", {"password", "api_key", "secret"}),
    ("SELECT data ? 'a' FROM t WHERE password = %s AND a = %s", {0}),
    ("SELECT token = (SELECT a FROM b WHERE c = ?) , ?", {0}),
    ("SELECT password(a, ?), ?", {0}),
    ("SELECT password, ? FROM t; SELECT ?", set()),
    ("SELECT token FROM t LIMIT ? OFFSET ?", set()),
    ("SELECT * FROM tokens WHERE id = ? ORDER BY token LIMIT ?", set()),
    ("SELECT * FROM tokens WHERE user_id = ? FOR UPDATE", set()),
    ("SET PASSWORD FOR 'x' = ?", {0}),
    ("ALTER ROLE x WITH PASSWORD ?", {0}),
    ("CREATE USER x IDENTIFIED BY ?", {0}),
    ("SELECT * FROM t WHERE author = ? AND token_count > ?", set()),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "sensitive"), SECRETS)
def test_secret_placeholders(sql: str, sensitive: set[int | str]) -> None:
    assert analyze(sql).sensitive == sensitive
    assert analyze(sql).text == sql


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("INSERT INTO u (a, password) VALUES ('x', 'y'), (1, 2)", "INSERT INTO u (a, password) VALUES ('x', '***'), (1, ***)"),
        ("SELECT 1 WHERE password = 'it''s' AND a = 'b'", "SELECT 1 WHERE password = '***' AND a = 'b'"),
        ("SELECT 1 WHERE 'x' = token", "SELECT 1 WHERE '***' = token"),
        ("SELECT 1 WHERE password = 'never closed", "SELECT 1 WHERE password = '***'"),
        ("SELECT 1 WHERE password = $$x$$", "SELECT 1 WHERE password = '***'"),
        ('SELECT 1 WHERE password = "x"', 'SELECT 1 WHERE password = "***"'),
        ('SELECT 1 WHERE a.token = "b"."token"', 'SELECT 1 WHERE a.token = "b"."token"'),
        ("SELECT 1 -- password = 'x'\n", "SELECT 1 /* *** */\n"),
        ("SELECT 1 /* route='x' */", "SELECT 1 /* route='x' */"),
        ("CREATE USER a IDENTIFIED BY 'x'; SELECT 'y'", "CREATE USER a IDENTIFIED BY '***'; SELECT 'y'"),
    ],
)  # fmt: skip
def test_secret_literals_do_not_show(sql: str, text: str) -> None:
    assert analyze(sql).text == text


def test_what_is_secret_can_be_told() -> None:
    statements = Statements(lambda name: name == "shoe_size")
    assert statements.analyze("UPDATE u SET shoe_size = 44, password = 'x'").text == (
        "UPDATE u SET shoe_size = ***, password = 'x'"
    )


def test_mysql_quotes_in_its_own_way() -> None:
    sql = (
        'SELECT \'it\\\'s\', "x" # don\'t\n FROM `t` WHERE password="a\\"b" /* a /* b */ AND c = 1'
    )
    statement = analyze(sql, mysql=True)
    assert statement.normalized == "SELECT ?, ? FROM `t` WHERE password = ? AND c = ?"
    assert statement.text.endswith("password='***' /* a /* b */ AND c = 1")
    assert analyze('INSERT INTO "t" (password) VALUES (1)', mysql=True).target == "t"


def test_a_backslash_is_a_character_elsewhere() -> None:
    assert analyze("SELECT 'C:\\' FROM t WHERE password = 'x'").text.endswith("'***'")


def test_comments_that_do_not_nest() -> None:
    assert analyze("SELECT /* a /* b */ 1 /* c */").normalized == "SELECT ?"


def test_long_texts_are_cut() -> None:
    statement = analyze("SELECT " + "a, " * 10**6)
    assert len(statement.text) == MAX_LENGTH + 1
    assert statement.text.endswith("…")


def test_the_cache_is_bounded() -> None:
    statements = Statements(secrets.is_secret)
    for number in range(2000):
        statements.analyze(f"SELECT {number}")
    assert len(statements._young) + len(statements._old) <= 1024
    for number in range(100):
        statements.analyze(f"SELECT {number} {'x' * 100_000}")
    assert len(statements._young) + len(statements._old) <= 1024
    assert sum(len(text) for text, _ in [*statements._young, *statements._old]) <= 2 * 2**20
    huge = "SELECT " + "x" * 2**20
    assert statements.analyze(huge) is not statements.analyze(huge)


def test_statements_are_read_once() -> None:
    statements = Statements(secrets.is_secret)
    first = statements.analyze("SELECT 1")
    assert statements.analyze("SELECT 1") is first
    for number in range(600):
        statements.analyze(f"SELECT a{number}")
    assert statements.analyze("SELECT 1") is first


PIECES = st.sampled_from(
    [
        *"' '' \" ` [ ] ( ) , ; . :: : := ? %s %( )s $1 $$ $a$ /* */ -- # \\ E' - -> ->> = @ 1 \0 é".split(),  # noqa: SIM905
        *sql_lexer.KEYWORDS,
        *(
            "password",
            "a",
            " ",
            "\n",
            "\ud800",
            "$a$",
            "/*",
            "*/",
            "--",
            "E'",
            "%s",
            "->>",
            "::",
            "''",
        ),
    ]
)


@given(
    st.one_of(
        st.text(), st.lists(PIECES, max_size=40).map(" ".join), st.lists(PIECES).map("".join)
    ),
    st.booleans(),
)
def test_garbage_is_read(sql: str, mysql: bool) -> None:
    assert "".join(token.text for token in sql_lexer.tokens(sql, mysql)) == sql
    statement = Statements(secrets.is_secret).analyze(sql, mysql)
    assert len(statement.fingerprint) == 16
    assert analyze(statement.normalized) is not None


@given(
    st.text(alphabet=st.characters(exclude_characters="'\\", exclude_categories=["Cs"]), min_size=3)
)
def test_a_literal_beside_a_secret_column_never_shows(secret: str) -> None:
    literal = "§" + secret
    for sql in (
        f"SELECT a FROM t WHERE password = '{literal}' AND b = 'c'",
        f"INSERT INTO t (a, token) VALUES (1, '{literal}')",
        f"UPDATE t SET a = 1, secret = lower('{literal}')",
    ):
        assert literal not in analyze(sql).text


LONG = [
    "'", '"', "/*", "/* /* */", "$a$", "$", "(", "(?,", "[a", "E'\\", "1e", "password = ", "`", "a.", "IN (",
    "VALUES (1),", "--", "%(", ":", "# ", "?,", ")", "'\\", "CASE password ", "(SELECT ",
]  # fmt: skip


@pytest.mark.parametrize("piece", LONG)
def test_no_statement_takes_long(piece: str) -> None:
    statements = Statements(secrets.is_secret)
    started = time.process_time()
    statements.analyze(piece * (10**6 // len(piece)))
    statements.analyze(piece * (10**6 // len(piece)), mysql=True)
    # Quadratic work would take minutes; the bound only has to tell that apart.
    assert time.process_time() - started < 3
