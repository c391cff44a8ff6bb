"""What may be explained: told from the parse tree, and refused wherever that is not certain."""

from __future__ import annotations

import pytest

from otel_toolbar.insights.plans import Refused
from otel_toolbar.insights.plans.admission import admit

ALL = ("postgresql", "mariadb", "mysql", "sqlite")
STYLE = {"postgresql": "pyformat", "mariadb": "format", "mysql": "format", "sqlite": "qmark"}

READS = [
    "SELECT 1",
    "select a from t where b = 2;",
    "  -- first\n/* sqlcommenter='x' */ SELECT a FROM t",
    "(SELECT a FROM t) UNION ALL (SELECT b FROM u) ORDER BY 1 LIMIT 3",
    "WITH x AS (SELECT a FROM t) SELECT * FROM x JOIN t ON t.a = x.a",
    "SELECT count(*), lower(a), coalesce(b, 1) FROM t GROUP BY a HAVING count(*) > 1",
    "SELECT 'delete from t', \"update\" FROM t WHERE a LIKE 'insert into%'",
    "SELECT CASE WHEN a THEN 1 ELSE 2 END FROM t WHERE a IN (SELECT b FROM u) AND EXISTS (SELECT 1)",
]


@pytest.mark.parametrize("system", ALL)
@pytest.mark.parametrize("text", READS)
def test_what_reads_is_let_in(system: str, text: str) -> None:
    escaped = text.replace("%", "%%") if STYLE[system] != "qmark" else text
    assert admit(escaped, system, STYLE[system]) is not None
    assert admit(text, system, "") is not None


@pytest.mark.parametrize(
    ("system", "style", "text"),
    [
        ("postgresql", "numeric_dollar", "SELECT a FROM t WHERE b = $1::INTEGER AND c = ANY($2::VARCHAR[])"),
        ("postgresql", "pyformat", "SELECT a FROM t WHERE b = %(b_1)s::INTEGER LIMIT %(param_1)s::INTEGER"),
        ("postgresql", "pyformat", "SELECT a FROM t WHERE b IN (%(b_1_1)s, %(b_1_2)s) OFFSET %(o)s"),
        ("mariadb", "format", "SELECT a FROM t WHERE b = %s AND c LIKE '%%x' LIMIT %s, %s"),
        ("mysql", "pyformat", "SELECT `a` FROM `t` WHERE b = %(b)s AND json_length(a) > 1"),
        ("sqlite", "qmark", "SELECT a FROM t WHERE b = ? LIMIT ? OFFSET ?"),
        ("sqlite", "named", "SELECT a FROM t WHERE b = :b AND [c d] = 1"),
        ("postgresql", "pyformat", "VALUES (1), (2)"),
        ("postgresql", "", "SELECT a FROM t WHERE b ~ '\\d+' AND jsonb_typeof(c) = 'x'"),
    ],
)  # fmt: skip
def test_placeholders_of_the_drivers(system: str, style: str, text: str) -> None:
    assert admit(text, system, style) is not None


REFUSED = [
    ("not_a_select", "INSERT INTO t VALUES (1)"),
    ("not_a_select", "UPDATE t SET a = 1"),
    ("not_a_select", "DELETE FROM t"),
    ("not_a_select", "MERGE INTO t USING u ON 1=1 WHEN MATCHED THEN DELETE"),
    ("not_a_select", "REPLACE INTO t VALUES (1)"),
    ("not_a_select", "DROP TABLE t"),
    ("not_a_select", "CREATE TABLE x AS SELECT 1"),
    ("not_a_select", "TRUNCATE t"),
    ("not_a_select", "CALL f()"),
    ("not_a_select", "EXPLAIN ANALYZE DELETE FROM t"),
    ("not_a_select", "ANALYZE SELECT 1"),
    ("not_a_select", "COPY t TO '/tmp/x'"),
    ("not_a_select", "PRAGMA writable_schema = 1"),
    ("not_a_select", "ATTACH DATABASE 'x' AS y"),
    ("not_a_select", "DO 1"),
    ("not_a_select", "SET a = 1"),
    ("not_a_select", "BEGIN"),
    ("not_a_select", ""),
    ("not_a_select", "/* SELECT */ DELETE FROM t"),
    ("not_a_select", "-- SELECT 1\nDELETE FROM t"),
    ("not_a_select", "(DELETE FROM t)"),
    ("not_a_select", "WITH x AS (SELECT 1) DELETE FROM t"),
    ("not_a_select", "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x"),
    ("several_statements", "SELECT 1; DELETE FROM t"),
    ("several_statements", "SELECT 1;;"),
    ("several_statements", "SELECT 1; -- and\n SELECT 2"),
    ("several_statements", "SELECT ';' FROM t"),
    ("locks", "SELECT * FROM t FOR UPDATE"),
    ("comment", "SELECT 1 /* a /* b */ DELETE FROM t */"),
    ("comment", "SELECT 1 /* a /* b */"),
    ("comment", "SELECT 1 /* never ends"),
    ("comment", "SELECT 1 */ + 2"),
    ("comment", "SELECT 1 /*! ; DELETE FROM t */".replace(";", "")),
    ("comment", "SELECT /*!50000 SLEEP(5) */ 1"),
    ("comment", "SELECT /*M!100000 1 */ 1"),
    ("comment", "SELECT 1 -- x\rDELETE FROM t"),
    ("comment", "SELECT 1 -- x\u2028DELETE FROM t"),
    ("comment", "SELECT '\\' FROM t -- '"),
    ("unparsable", "SELECT FROM WHERE"),
    ("unparsable", "SELECT 1 SELECT 2"),
    ("unparsable", "SELECT 'never ends"),
    ("unparsable", "SELECT 1\0"),
    ("function", "SELECT nextval('s')"),
    ("function", "SELECT * FROM t WHERE a = (SELECT SETVAL('s', 1))"),
    ("function", "SELECT pg_sleep(10)"),
    ("function", "SELECT * FROM pg_read_file('/etc/passwd')"),
    ("function", "SELECT lo_unlink(1)"),
    ("function", "SELECT * FROM dblink('x', 'y')"),
    ("function", "SELECT load_extension('x')"),
    ("function", "SELECT set_config('a', 'b', false)"),
]


@pytest.mark.parametrize("system", ALL)
@pytest.mark.parametrize(("code", "text"), REFUSED)
def test_what_else_is_refused(system: str, code: str, text: str) -> None:
    with pytest.raises(Refused) as raised:
        admit(text, system, "")
    assert raised.value.code == code, raised.value.message
    assert raised.value.message


@pytest.mark.parametrize(
    ("system", "code", "text"),
    [
        ("postgresql", "writes", "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x"),
        ("postgresql", "writes", "WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x"),
        (
            "postgresql",
            "writes",
            "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x",
        ),
        (
            "postgresql",
            "writes",
            "SELECT * FROM (WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x) y",
        ),
        ("postgresql", "writes", "SELECT * INTO y FROM t"),
        ("postgresql", "locks", "SELECT * FROM (SELECT * FROM t FOR SHARE) x"),
        ("postgresql", "unparsable", "SELECT $$ a $$"),
        ("postgresql", "function", "SELECT pg_catalog.pg_sleep(1)"),
        ("postgresql", "function", 'SELECT "pg_sleep"(1)'),
        ("mariadb", "locks", "SELECT * FROM t LOCK IN SHARE MODE"),
        ("mariadb", "writes", "SELECT a INTO @x FROM t"),
        ("mariadb", "writes", "SELECT @a := 1"),
        ("mariadb", "unparsable", "SELECT a FROM t INTO OUTFILE '/tmp/x'"),
        ("mariadb", "unparsable", "SELECT NEXT VALUE FOR s"),
        ("mariadb", "comment", "SELECT 1 --1 FROM t"),
        ("mariadb", "comment", "SELECT /*+ MAX_EXECUTION_TIME(0) */ 1"),
        ("mariadb", "function", "SELECT * FROM (SELECT SLEEP(5)) x"),
        ("mariadb", "function", "SELECT GET_LOCK('a', 1)"),
        ("mariadb", "function", "SELECT LOAD_FILE('/etc/passwd')"),
        ("mariadb", "function", "SELECT my_stored_function(1)"),
        ("mariadb", "function", "SELECT shop.format(1, 2)"),
        ("mysql", "function", "SELECT sys_exec('x')"),
        ("oracle", "unsupported_database", "SELECT 1"),
        ("", "unsupported_database", "SELECT 1"),
    ],
)
def test_what_is_refused_of_one_database(system: str, code: str, text: str) -> None:
    with pytest.raises(Refused) as raised:
        admit(text, system, "")
    assert raised.value.code == code, raised.value.message


def test_a_deep_statement_is_refused_and_not_an_error() -> None:
    with pytest.raises(Refused):
        admit("SELECT " + "(" * 5000 + "1" + ")" * 5000, "sqlite", "qmark")
