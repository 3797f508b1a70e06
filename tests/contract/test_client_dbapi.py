"""PEP 249 over the client, against a real server."""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from airflow_provider_btrdb.client import BTrDB, ConnectionConfig, connect, dbapi, errors
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.testing import RunningServer, devserver
from airflow_provider_btrdb.testing.faults import Answer, Corrupt, CutAfter, Refuse
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

MANY = "SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 100000) AS n"
"""More than fits into the buffers on the way."""


@pytest.fixture(scope="module")
def db(target: Any) -> Iterator[BTrDB]:
    with connect(target.endpoint, target.api_key) as connection:
        yield connection


@pytest.fixture
def connection(db: BTrDB) -> Iterator[dbapi.Connection]:
    with dbapi.connect(db) as opened:
        yield opened


@pytest.fixture
def cursor(connection: dbapi.Connection) -> dbapi.Cursor:
    return connection.cursor()


@pytest.fixture(scope="module")
def streams(db: BTrDB) -> tuple[str, list[UUID]]:
    """A collection of three streams, and their uuids by name."""
    collection = f"contract-test/{uuid4()}"
    uuids = [uuid4() for _ in range(3)]
    for number, uuid in enumerate(uuids):
        db.create(uuid, collection, {"name": f"s{number}", "unit": "100%s"}, {"number": str(number), "none": None})
    return collection, uuids


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server in this process, which can go wrong on purpose and counts its calls; it runs one query at a time."""
    with devserver(limits=Limits(sql_concurrency=1)) as running:
        yield running


@pytest.fixture(scope="module")
def faulty_db(server: RunningServer) -> Iterator[BTrDB]:
    with connect(server.endpoint, retry_total=0) as connection:
        yield connection


@pytest.fixture
def faulty(server: RunningServer, faulty_db: BTrDB) -> Iterator[dbapi.Connection]:
    with dbapi.connect(faulty_db) as opened:
        server.calls.clear()
        yield opened


def names(cursor: dbapi.Cursor) -> list[str]:
    assert cursor.description is not None
    assert all(len(column) == 7 and column[1:] == (None,) * 6 for column in cursor.description)
    return [column[0] for column in cursor.description]


# ---------------------------------------------------------------- the module


def test_the_module_says_what_it_is() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "pyformat")
    assert "psycopg" not in dbapi.Cursor.__module__


def test_the_tree_of_errors_is_that_of_pep_249() -> None:
    tree = {
        "Warning": Exception,
        "Error": Exception,
        "InterfaceError": dbapi.Error,
        "DatabaseError": dbapi.Error,
        "DataError": dbapi.DatabaseError,
        "OperationalError": dbapi.DatabaseError,
        "IntegrityError": dbapi.DatabaseError,
        "InternalError": dbapi.DatabaseError,
        "ProgrammingError": dbapi.DatabaseError,
        "NotSupportedError": dbapi.DatabaseError,
    }
    for name, parent in tree.items():
        assert getattr(dbapi, name).__bases__ == (parent,)
        assert getattr(dbapi.Connection, name) is getattr(dbapi, name)


CLIENT_ERRORS = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.BTrDBError)]


@pytest.mark.parametrize("cls", CLIENT_ERRORS)
def test_every_error_of_the_client_becomes_one_that_travels(cls: Any) -> None:
    wanted = [name for name, fact in inspect.signature(cls).parameters.items() if fact.kind is fact.KEYWORD_ONLY]
    own = dict.fromkeys(set(wanted) - {"method", "endpoint", "uuid", "server_code"}, 1)
    original = cls("it went wrong", method="SQLQuery", endpoint="here:1", **own)
    error = dbapi.as_pep249(original)
    assert isinstance(error, dbapi.Error)
    if cls.retryable:
        assert type(error) is dbapi.OperationalError
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error) == str(original)
    assert type(copy.__cause__) is cls
    assert copy.__cause__.endpoint == "here:1"


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (errors.BadSqlError, dbapi.ProgrammingError),
        (errors.InputError, dbapi.ProgrammingError),
        (errors.MetadataNotLoadedError, dbapi.ProgrammingError),
        (errors.ClientUnusableError, dbapi.InterfaceError),
        (errors.ServerUnavailableError, dbapi.OperationalError),
        (errors.DeadlineExceededError, dbapi.OperationalError),
        (errors.StreamInterruptedError, dbapi.OperationalError),
        (errors.SqlConnectionError, dbapi.OperationalError),
        (errors.ResourceDepletedError, dbapi.OperationalError),
        (errors.AuthenticationError, dbapi.OperationalError),
        (errors.PermissionDeniedError, dbapi.OperationalError),
        (errors.MessageTooLargeError, dbapi.OperationalError),
        (errors.NotSupportedError, dbapi.NotSupportedError),
        (errors.ProtocolError, dbapi.InternalError),
        (errors.ServerError, dbapi.InternalError),
        (errors.StreamExistsError, dbapi.DatabaseError),
    ],
)
def test_which_error_becomes_which(cls: Any, expected: Any) -> None:
    assert type(dbapi.as_pep249(cls("x"))) is expected


def test_an_error_keeps_notes_when_it_travels() -> None:
    error = dbapi.DataError("x", 2)
    error.add_note("seen")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.args, copy.__notes__, copy.__cause__) == (("x", 2), ["seen"], None)


# ---------------------------------------------------------------- rows


def test_rows_are_tuples_in_the_order_of_the_select(cursor: dbapi.Cursor, streams: Any) -> None:
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
def test_statements(cursor: dbapi.Cursor, sql: str, columns: list[str], rows: list[Any]) -> None:
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
def test_no_rows_have_columns_too(cursor: dbapi.Cursor, select: str, columns: list[str]) -> None:
    parameters = ["p"] if "%s" in select else []
    cursor.execute(f"SELECT {select} FROM streams WHERE false", parameters)
    assert cursor.rowcount == 0
    assert names(cursor) == columns
    assert cursor.fetchall() == []
    assert names(cursor) == columns


def test_names_of_no_rows_cost_one_query_and_only_when_asked(server: RunningServer, faulty: dbapi.Connection) -> None:
    cursor = faulty.cursor().execute("SELECT 1 AS x WHERE false")
    assert cursor.fetchall() == []
    assert server.calls.count("SQLQuery") == 1
    assert names(cursor) == names(cursor) == ["x"]
    assert server.calls.count("SQLQuery") == 2
    assert names(faulty.cursor().execute("SELECT 1 AS y")) == ["y"]
    assert server.calls.count("SQLQuery") == 3


def test_names_of_no_rows_do_not_run_the_statement_again(db: BTrDB, cursor: dbapi.Cursor) -> None:
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


def test_a_statement_follows_another(cursor: dbapi.Cursor) -> None:
    cursor.execute(MANY)
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


# ---------------------------------------------------------------- around


def test_before_and_after(cursor: dbapi.Cursor) -> None:
    assert (cursor.description, cursor.rowcount, cursor.arraysize, cursor.query_id) == (None, -1, 1, None)
    for fetch in (cursor.fetchone, cursor.fetchmany, cursor.fetchall, lambda: next(cursor)):
        with pytest.raises(dbapi.ProgrammingError, match="there are no rows"):
            fetch()
    assert cursor.setinputsizes([1]) is None
    assert cursor.setoutputsize(1) is None
    assert cursor.setoutputsize(1, 0) is None
    cursor.execute("SELECT 1")
    with pytest.raises(dbapi.ProgrammingError, match="0 rows or more, not -1"):
        cursor.fetchmany(-1)
    assert cursor.fetchall() == [(1,)]


def test_a_closed_cursor_is_of_no_use(cursor: dbapi.Cursor) -> None:
    with cursor as entered:
        assert entered is cursor
        cursor.execute("SELECT 1")
    cursor.close()
    assert cursor.description is None
    uses = [
        cursor.fetchone,
        cursor.fetchmany,
        cursor.fetchall,
        lambda: next(cursor),
        lambda: cursor.execute("SELECT 1"),
    ]
    for use in uses:
        with pytest.raises(dbapi.InterfaceError, match="this cursor is closed"):
            use()


def test_a_closed_connection_is_of_no_use_and_leaves_the_client_open(db: BTrDB) -> None:
    with dbapi.connect(db) as connection:
        connection.commit()
        connection.rollback()
        open_, done = connection.cursor().execute(MANY), connection.cursor()
        done.close()
    connection.close()
    uses = [
        connection.cursor,
        connection.commit,
        connection.rollback,
        open_.fetchone,
        lambda: open_.execute("SELECT 1"),
    ]
    for use in uses:
        with pytest.raises(dbapi.InterfaceError, match="this connection is closed"):
            use()
    assert db.query("SELECT 1 AS x") == [{"x": 1}]


def test_a_closed_client_is_an_interface_error(target: Any) -> None:
    with connect(target.endpoint, target.api_key) as db:
        cursor = dbapi.connect(db).cursor()
    with pytest.raises(dbapi.InterfaceError, match="closed") as caught:
        cursor.execute("SELECT 1")
    assert isinstance(caught.value.__cause__, errors.ClientUnusableError)


@pytest.mark.parametrize("many", [[["x"], ["y"]], []])
def test_executemany_is_not_for_reading(cursor: dbapi.Cursor, many: Any) -> None:
    with pytest.raises(dbapi.NotSupportedError, match="BTrDB's SQL only reads"):
        cursor.executemany("SELECT %s", many)


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("sql", "parameters", "sentence"),
    [
        ("SELECT nonsense FROM streams", None, 'column "nonsense" does not exist'),
        ("SELECT 1; SELECT 2", None, 'syntax error at or near ";"'),
        ("SELECT 'open", None, "unterminated quoted string"),
        ("SELECT 1 /* open", None, "unterminated /\\* comment"),
        ("SELECT %s", None, "the statement has placeholders, and no parameters were given"),
        ("SELECT %(x)s", {}, "the statement has placeholders, and no parameters were given"),
        ("SELECT $1", [], "the statement has placeholders, and no parameters were given"),
        ("SELECT %s", ["\0"], "NUL"),
        ("SELECT %s", ["\ud800"], "is no text that UTF-8 can carry"),
        ("SELECT '\ud800'", None, "is no text that UTF-8 can carry"),
        ("SELECT %s", ["1", "2"], "1 %s and 2 parameters came"),
        (" ; ", None, "the SQL statement is empty"),
        (b"SELECT 1", None, "the SQL statement is a bytes, not text"),
        (None, None, "the SQL statement is a NoneType, not text"),
    ],
)
def test_bad_statements(cursor: dbapi.Cursor, sql: Any, parameters: Any, sentence: str) -> None:
    with pytest.raises(dbapi.ProgrammingError, match=sentence) as caught:
        cursor.execute(sql, parameters)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert "row_to_json" not in str(caught.value)


def test_a_bad_statement_names_its_cause_alone(cursor: dbapi.Cursor) -> None:
    with pytest.raises(dbapi.ProgrammingError) as caught:
        cursor.execute("SELECT 'no number'::int, %s::text", ["x"])
    cause = caught.value.__cause__
    assert isinstance(cause, errors.BadSqlError)
    assert cause.__context__ is None
    assert "placeholders" not in str(caught.value)


def test_a_statement_that_leaves_its_parentheses_gives_no_rows(cursor: dbapi.Cursor) -> None:
    with pytest.raises(dbapi.DatabaseError):
        cursor.execute("SELECT 1) AS q UNION SELECT 'x' FROM (SELECT 1")


def test_an_error_after_the_first_rows(cursor: dbapi.Cursor) -> None:
    cursor.execute("SELECT 1 / (3000 - n) AS x FROM generate_series(1, 5000) AS n")
    assert cursor.fetchone() == (0,)
    with pytest.raises(dbapi.ProgrammingError, match="division by zero"):
        cursor.fetchall()
    with pytest.raises(dbapi.OperationalError, match="broke off in an earlier call"):
        cursor.fetchone()
    assert cursor.rowcount == -1


def test_rows_that_break_off(server: RunningServer, faulty: dbapi.Connection) -> None:
    cursor = faulty.cursor()
    with server.faults.inject("SQLQuery", CutAfter(1)):
        cursor.execute(MANY)
        assert cursor.fetchone()[0] == 1  # type: ignore[index]
        with pytest.raises(dbapi.OperationalError, match="broke off after rows had been handed out") as caught:
            cursor.fetchall()
    assert isinstance(caught.value.__cause__, errors.StreamInterruptedError)
    for fetch in (cursor.fetchone, cursor.fetchall, lambda: list(cursor)):
        with pytest.raises(dbapi.OperationalError, match="broke off in an earlier call: execute the statement again"):
            fetch()
    assert cursor.rowcount == -1
    assert cursor.execute("SELECT 1").fetchall() == [(1,)]


def test_rows_that_a_signal_breaks_off(db: BTrDB, connection: dbapi.Connection, monkeypatch: Any) -> None:
    """Airflow's timeouts are raised in the middle of whatever runs, and are no Exception."""
    query_pages = db.query_pages

    def interrupted(*given: Any) -> Any:
        yield next(query_pages(*given))
        raise KeyboardInterrupt

    monkeypatch.setattr(db, "query_pages", interrupted)
    cursor = connection.cursor().execute(MANY)
    with pytest.raises(KeyboardInterrupt):
        cursor.fetchall()
    with pytest.raises(dbapi.OperationalError, match="broke off in an earlier call"):
        cursor.fetchall()


def test_a_server_that_is_away(server: RunningServer, faulty: dbapi.Connection) -> None:
    with server.faults.inject("SQLQuery", Refuse()), pytest.raises(dbapi.OperationalError) as caught:
        faulty.cursor().execute("SELECT 1")
    assert isinstance(caught.value.__cause__, errors.ServerUnavailableError)
    assert server.calls.count("SQLQuery") == 1


def test_a_server_that_sends_nonsense(server: RunningServer, faulty: dbapi.Connection) -> None:
    with server.faults.inject("SQLQuery", Corrupt("garbage")), pytest.raises(dbapi.DatabaseError):
        faulty.cursor().execute("SELECT 1")


def test_a_wrong_key_is_an_operational_error(target: Any) -> None:
    config = ConnectionConfig(endpoint=target.endpoint, api_key="wrong")
    with BTrDB(config) as db, pytest.raises(dbapi.OperationalError, match="API key") as caught:
        dbapi.connect(db).cursor().execute("SELECT 1")
    assert isinstance(caught.value.__cause__, errors.AuthenticationError)


# ---------------------------------------------------------------- statements that cannot stand inside another


def test_what_is_refused_inside_another_runs_as_it_is_once(server: RunningServer, faulty: dbapi.Connection) -> None:
    cursor = faulty.cursor()
    with server.faults.inject("SQLQuery", Answer(441)):
        cursor.execute("SELECT n AS z, -n AS a, hstore('k', NULL) AS h FROM generate_series(1, 600) AS n; --", ())
        assert names(cursor) == ["z", "a", "h"]
        assert cursor.fetchall() == [(n, -n, {"k": None}) for n in range(1, 601)]
    assert server.calls.count("SQLQuery") == 2
    server.calls.clear()
    with server.faults.inject("SQLQuery", Answer(441)):
        cursor.execute("SELECT 1 AS x, 2 AS x WHERE false")
        assert (cursor.description, cursor.fetchall(), cursor.rowcount) == ((), [], 0)
    assert server.calls.count("SQLQuery") == 2


def test_the_error_is_that_of_the_statement_as_it_is(server: RunningServer, faulty: dbapi.Connection) -> None:
    with server.faults.inject("SQLQuery", Answer(441, "inside")):
        with pytest.raises(dbapi.ProgrammingError, match='column "nonsense" does not exist') as caught:
            faulty.cursor().execute("SELECT nonsense")
        assert "inside" not in str(caught.value)
    server.calls.clear()
    with server.faults.inject("SQLQuery", Answer(440, "no database"), last=9):
        with pytest.raises(dbapi.OperationalError, match="no database"):
            faulty.cursor().execute("SELECT 1")
        assert server.calls.count("SQLQuery") == 1


# ---------------------------------------------------------------- ending early


@pytest.mark.parametrize("how", ["cursor", "connection", "execute", "garbage"])
def test_closing_half_way_ends_the_call_at_the_server(server: RunningServer, faulty_db: BTrDB, how: str) -> None:
    """The server runs one query at a time: the next one has its turn only when the first has ended."""
    connection = dbapi.connect(faulty_db)
    cursor: Any = connection.cursor().execute(MANY)
    assert cursor.fetchone()[0] == 1
    with connect(server.endpoint, retry_total=0, stream_timeout=0.5) as hasty:
        with pytest.raises(errors.DeadlineExceededError):
            hasty.query("SELECT 1")
        if how == "cursor":
            cursor.close()
        elif how == "connection":
            connection.close()
        elif how == "execute":
            with pytest.raises(dbapi.ProgrammingError):
                cursor.execute("")
        else:
            cursor = None
    assert faulty_db.query("SELECT 1 AS x") == [{"x": 1}]
    del cursor


@pytest.mark.parametrize("how", ["cursor", "connection", "execute"])
def test_closing_does_not_wait_for_the_garbage_collector(db: BTrDB, monkeypatch: Any, how: str) -> None:
    opened: list[Any] = []
    query_pages = db.query_pages
    monkeypatch.setattr(db, "query_pages", lambda *given: opened.append(query_pages(*given)) or opened[-1])
    connection = dbapi.connect(db)
    cursor = connection.cursor().execute(MANY)
    assert inspect.getgeneratorstate(opened[0]) == inspect.GEN_SUSPENDED
    if how == "cursor":
        cursor.close()
    elif how == "connection":
        connection.close()
    else:
        cursor.execute("SELECT 1")
    assert inspect.getgeneratorstate(opened[0]) == inspect.GEN_CLOSED


def test_a_connection_closed_while_a_cursor_waits(db: BTrDB, monkeypatch: Any) -> None:
    """As another thread would: while the generator of the pages runs, it cannot be closed."""
    ended = []
    moments: set[int] = set()
    query_pages = db.query_pages

    def pages(*given: Any) -> Any:
        try:
            for number, page in enumerate(query_pages(*given)):
                if number in moments:
                    connection.close()
                yield page
        finally:
            ended.append(given)

    monkeypatch.setattr(db, "query_pages", pages)
    for moment in (0, 1):
        moments.clear()
        moments.add(moment)
        ended.clear()
        connection = dbapi.connect(db)
        cursor = connection.cursor()
        with pytest.raises(dbapi.InterfaceError, match="this connection is closed"):
            cursor.execute(MANY).fetchmany(2000)
        assert len(ended) == 1


def test_pages_without_rows_are_passed_over(db: BTrDB, monkeypatch: Any) -> None:
    query_pages = db.query_pages

    def pages(*given: Any) -> Any:
        for page in query_pages(*given):
            yield pb.SQLQueryResponse().rows
            yield page
        yield []

    monkeypatch.setattr(db, "query_pages", pages)
    cursor = dbapi.connect(db).cursor().execute("SELECT n FROM generate_series(1, 1200) AS n")
    assert names(cursor) == ["n"]
    assert cursor.fetchall() == [(n,) for n in range(1, 1201)]
