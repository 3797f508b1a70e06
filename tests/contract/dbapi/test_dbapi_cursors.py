"""PEP 249 over the client: cursors and connections before, after, and ended early."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from airflow_provider_btrdb.client import BTrDB, connect, dbapi, errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

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


def test_a_closed_connection_is_of_no_use_and_leaves_the_client_open(db: BTrDB, many: str) -> None:
    with dbapi.connect(db) as connection:
        connection.commit()
        connection.rollback()
        open_, done = connection.cursor().execute(many), connection.cursor()
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


# ---------------------------------------------------------------- ending early


@pytest.mark.parametrize("how", ["cursor", "connection", "execute", "garbage"])
def test_closing_half_way_ends_the_call_at_the_server(
    server: RunningServer, faulty_db: BTrDB, how: str, many: str
) -> None:
    """The server runs one query at a time: the next one has its turn only when the first has ended."""
    connection = dbapi.connect(faulty_db)
    cursor: Any = connection.cursor().execute(many)
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
def test_closing_does_not_wait_for_the_garbage_collector(db: BTrDB, monkeypatch: Any, how: str, many: str) -> None:
    opened: list[Any] = []
    query_pages = db.query_pages
    monkeypatch.setattr(db, "query_pages", lambda *given: opened.append(query_pages(*given)) or opened[-1])
    connection = dbapi.connect(db)
    cursor = connection.cursor().execute(many)
    assert inspect.getgeneratorstate(opened[0]) == inspect.GEN_SUSPENDED
    if how == "cursor":
        cursor.close()
    elif how == "connection":
        connection.close()
    else:
        cursor.execute("SELECT 1")
    assert inspect.getgeneratorstate(opened[0]) == inspect.GEN_CLOSED


def test_a_connection_closed_while_a_cursor_waits(db: BTrDB, monkeypatch: Any, many: str) -> None:
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
            cursor.execute(many).fetchmany(2000)
        assert len(ended) == 1


def test_pages_without_rows_are_passed_over(db: BTrDB, monkeypatch: Any, names: Any) -> None:
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
