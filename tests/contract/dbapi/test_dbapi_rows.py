"""PEP 249 over the client: statements, parameters, rows and how they are fetched."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB, dbapi
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, Refuse

# ---------------------------------------------------------------- rows


def test_rows_are_tuples_in_the_order_of_the_select(cursor: dbapi.Cursor, streams: Any, names: Any) -> None:
    collection, uuids = streams
    sql = """
        SELECT unit, name AS zz, uuid, annotations AS aa, property_version, length(name) / 2.0 AS half,
               name = 's0' AS first, NULL AS nothing, ARRAY[name] AS many
        FROM streams WHERE collection = %s ORDER BY name DESC;  -- the last one first
    """
    assert cursor.execute(sql, [collection]) is cursor
    assert names(cursor) == ["unit", "zz", "uuid", "aa", "property_version", "half", "first", "nothing", "many"]
    rows = cursor.fetchall()
    assert rows == [
        ("100%s", f"s{n}", str(uuids[n]), {"number": str(n), "none": None}, 1, 1.0, n == 0, None, [f"s{n}"])
        for n in (2, 1, 0)
    ]
    assert [type(value) for value in rows[0]] == [str, str, str, dict, int, float, bool, type(None), list]
    assert all(type(row) is tuple for row in rows)


@pytest.mark.parametrize(
    ("sql", "columns", "rows"),
    [
        ("SELECT 1 AS b, 2 AS a, 3 AS b", ["b", "a", "b"], [(1, 2, 3)]),
        ("SELECT 1, 2", ["?column?", "?column?"], [(1, 2)]),
        ("SELECT 1 AS q", ["q"], [(1,)]),
        ("SELECT 1 AS one, 2 AS r", ["one", "r"], [(1, 2)]),
        ("SELECT q FROM (SELECT 1 AS x) AS q", ["q"], [({"x": 1},)]),
        ("VALUES (2, 'x'), (1, 'y')", ["column1", "column2"], [(2, "x"), (1, "y")]),
        ("WITH z AS (SELECT 1 AS x) SELECT * FROM z", ["x"], [(1,)]),
        ("(SELECT 2 AS x) UNION ALL (SELECT 1) ORDER BY 1", ["x"], [(1,), (2,)]),
        ("SELECT NULL AS x", ["x"], [(None,)]),
        ("SELECT", [], [()]),
        ("SELECT 9223372036854775807 AS big, 1e300::float8 AS wide", ["big", "wide"], [(9223372036854775807, 1e300)]),
        ("SELECT 1 AS x -- ;", ["x"], [(1,)]),
        ("SELECT ';' AS \"a;\" ; /* ; */ ;", ["a;"], [(";",)]),
        ("SELECT '%s' AS x, 5 % 3 AS y, '%%' AS z", ["x", "y", "z"], [("%s", 2, "%%")]),
    ],
)
def test_statements(cursor: dbapi.Cursor, sql: str, columns: list[str], rows: list[Any], names: Any) -> None:
    cursor.execute(sql)
    assert names(cursor) == columns
    assert cursor.fetchall() == rows
    assert names(cursor) == columns


@pytest.mark.parametrize(
    ("condition", "more"),
    [
        ("collection = %s AND name = %s", ["s1"]),
        ("name = $2 AND collection = $1", ["s1"]),
        ("collection = %(c)s AND name = %(name)s AND %(name)s < 's2'", {"name": "s1", "unused": object()}),
        ("collection = %s AND uuid <> %s AND name < 's2' AND name > 's0'", [UUID(int=0)]),
        ("collection = %s AND name LIKE '%%1' AND unit = '100%s' LIMIT%s", [5]),
        ("collection = %s AND name = 's1' AND coalesce(annotations -> 'none', %s) IS NULL", [None]),
        ("collection = %s AND name = 's1' AND property_version = %s::bigint AND %s AND 0.25 < %s", [1, True, 0.5]),
    ],
)
def test_parameters(cursor: dbapi.Cursor, streams: Any, condition: str, more: Any) -> None:
    collection, _ = streams
    given = {"c": collection, **more} if isinstance(more, dict) else (collection, *more)
    assert cursor.execute(f"SELECT name FROM streams WHERE {condition}", given).fetchall() == [("s1",)]


@pytest.mark.parametrize(
    ("select", "columns"),
    [
        ("name AS zz, uuid AS q, annotations AS aa, collection AS zz", ["zz", "q", "aa", "zz"]),
        ("*", ["uuid", "collection", "name", "unit", "ingress", "distiller", "property_version", "annotations"]),
        ("", []),
        ("%s::text AS x, 1 AS one", ["x", "one"]),
    ],
)
def test_no_rows_have_columns_too(cursor: dbapi.Cursor, select: str, columns: list[str], names: Any) -> None:
    parameters = ["p"] if "%s" in select else []
    cursor.execute(f"SELECT {select} FROM streams WHERE false", parameters)
    assert cursor.rowcount == 0
    assert names(cursor) == columns
    assert cursor.fetchall() == []
    assert names(cursor) == columns


def test_names_of_no_rows_cost_one_query_and_only_when_asked(
    server: RunningServer, faulty: dbapi.Connection, names: Any
) -> None:
    cursor = faulty.cursor().execute("SELECT 1 AS x WHERE false")
    assert cursor.fetchall() == []
    assert server.calls.count("SQLQuery") == 1
    assert names(cursor) == names(cursor) == ["x"]
    assert server.calls.count("SQLQuery") == 2
    assert names(faulty.cursor().execute("SELECT 1 AS y")) == ["y"]
    assert server.calls.count("SQLQuery") == 3


def test_names_of_no_rows_do_not_run_the_statement_again(db: BTrDB, cursor: dbapi.Cursor, names: Any) -> None:
    """A stream is made in between: run again, the statement would divide by zero."""
    collection = f"contract-test/{uuid4()}"
    cursor.execute("SELECT 1 / (property_version - 1) AS x FROM streams WHERE collection = %s", [collection])
    db.create(uuid4(), collection, {"name": "x"})
    assert names(cursor) == ["x"]


def test_names_of_no_rows_may_fail(server: RunningServer, faulty: dbapi.Connection) -> None:
    cursor = faulty.cursor().execute("SELECT 1 AS x WHERE false")
    with server.faults.inject("SQLQuery", Refuse()), pytest.raises(dbapi.OperationalError):
        cursor.description  # noqa: B018 - it asks the server
    with server.faults.inject("SQLQuery", Answer(441)):
        assert cursor.description == ()


# ---------------------------------------------------------------- fetching


def test_fetching_piece_by_piece(cursor: dbapi.Cursor) -> None:
    cursor.execute("SELECT n FROM generate_series(1, 1200) AS n")
    assert cursor.rowcount == -1
    assert cursor.fetchone() == (1,)
    assert cursor.fetchmany() == [(2,)]
    assert cursor.fetchmany(0) == []
    assert cursor.fetchmany(1000) == [(n,) for n in range(3, 1003)]
    assert next(cursor) == (1003,)
    assert iter(cursor) is cursor
    cursor.arraysize = 7
    assert cursor.fetchmany() == [(n,) for n in range(1004, 1011)]
    assert cursor.rowcount == -1
    assert cursor.fetchall() == [(n,) for n in range(1011, 1201)]
    assert cursor.rowcount == 1200
    assert (cursor.fetchone(), cursor.fetchmany(5), cursor.fetchall(), list(cursor)) == (None, [], [], [])
    assert cursor.rowcount == 1200


def test_iterating(cursor: dbapi.Cursor) -> None:
    assert [n for (n,) in cursor.execute("SELECT n FROM generate_series(1, 700) AS n")] == list(range(1, 701))
    assert cursor.rowcount == 700


def test_rows_are_read_as_they_are_fetched(db: BTrDB, connection: dbapi.Connection, monkeypatch: Any) -> None:
    pages = []
    query_pages = db.query_pages

    def counted(*given: Any) -> Any:
        for page in query_pages(*given):
            pages.append(len(page))
            yield page

    monkeypatch.setattr(db, "query_pages", counted)
    cursor = connection.cursor().execute("SELECT n FROM generate_series(1, 5000) AS n")
    assert len(pages) == 1
    cursor.fetchmany(pages[0])
    assert len(pages) == 1
    cursor.fetchone()
    assert len(pages) == 2
    assert len(cursor.fetchall()) == 5000 - pages[0] - 1


def test_a_statement_follows_another(cursor: dbapi.Cursor, names: Any, many: str) -> None:
    cursor.execute(many)
    cursor.fetchone()
    assert names(cursor.execute("SELECT 1 AS b")) == ["b"]
    assert cursor.fetchall() == [(1,)]
    assert cursor.rowcount == 1
    with pytest.raises(dbapi.ProgrammingError):
        cursor.execute("SELECT nonsense")
    assert (cursor.description, cursor.rowcount) == (None, -1)
    with pytest.raises(dbapi.ProgrammingError, match="there are no rows: execute a statement first"):
        cursor.fetchall()


def test_two_cursors_of_a_connection(connection: dbapi.Connection) -> None:
    one = connection.cursor().execute("SELECT n FROM generate_series(1, 2000) AS n")
    two = connection.cursor().execute("SELECT -n FROM generate_series(1, 2000) AS n")
    pairs = list(zip(one, two, strict=True))
    assert pairs == [((n,), (-n,)) for n in range(1, 2001)]


def test_threads_share_a_connection(connection: dbapi.Connection) -> None:
    sums: dict[int, int] = {}

    def work(number: int) -> None:
        cursor = connection.cursor()
        cursor.execute("SELECT n FROM generate_series(1, %s::int) AS n", [number])
        sums[number] = sum(n for (n,) in cursor)
        cursor.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 1002, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == {number: number * (number + 1) // 2 for number in range(1, 1002, 100)}
