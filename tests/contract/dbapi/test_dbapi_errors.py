"""PEP 249 over the client: its errors, and what becomes of statements that go wrong."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import pytest

from airflow_provider_btrdb.client import BTrDB, ConnectionConfig, dbapi, errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, Corrupt, CutAfter, Refuse

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


def test_rows_that_break_off(server: RunningServer, faulty: dbapi.Connection, many: str) -> None:
    cursor = faulty.cursor()
    with server.faults.inject("SQLQuery", CutAfter(1)):
        cursor.execute(many)
        assert cursor.fetchone()[0] == 1  # type: ignore[index]
        with pytest.raises(dbapi.OperationalError, match="broke off after rows had been handed out") as caught:
            cursor.fetchall()
    assert isinstance(caught.value.__cause__, errors.StreamInterruptedError)
    for fetch in (cursor.fetchone, cursor.fetchall, lambda: list(cursor)):
        with pytest.raises(dbapi.OperationalError, match="broke off in an earlier call: execute the statement again"):
            fetch()
    assert cursor.rowcount == -1
    assert cursor.execute("SELECT 1").fetchall() == [(1,)]


def test_rows_that_a_signal_breaks_off(db: BTrDB, connection: dbapi.Connection, monkeypatch: Any, many: str) -> None:
    """Airflow's timeouts are raised in the middle of whatever runs, and are no Exception."""
    query_pages = db.query_pages

    def interrupted(*given: Any) -> Any:
        yield next(query_pages(*given))
        raise KeyboardInterrupt

    monkeypatch.setattr(db, "query_pages", interrupted)
    cursor = connection.cursor().execute(many)
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


def test_what_is_refused_inside_another_runs_as_it_is_once(
    server: RunningServer, faulty: dbapi.Connection, names: Any
) -> None:
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
