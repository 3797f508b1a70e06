"""PEP 249 over a BTrDB connection: SQL on the metadata, for pandas, polars, Airflow's SQL operators and people::

    connection = dbapi.connect(db)
    for collection, name in connection.cursor().execute("SELECT collection, name FROM streams WHERE unit = %s", ["V"]):
        ...

Parameters stand as `%(name)s` with a mapping, as `%s` or BTrDB's own `$1` with a sequence; `sqltext` has the rules.
They travel as text: cast where PostgreSQL cannot tell the type (`%s::bigint`). Rows are tuples in the order of the
SELECT, read page by page as they are fetched. Values are those of JSON: an hstore is a dictionary, a uuid and a
timestamp are text, numbers are int or float.

BTrDB's SQL only reads, so that there is nothing to commit and no `executemany`. JSON carries no SQL types:
`type_code` in a description is None, and the module has no type objects.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, NoReturn

from airflow_provider_btrdb.client import errors, sqltext
from airflow_provider_btrdb.client._sync.database import BTrDB
from airflow_provider_btrdb.client.sqltext import Row

apilevel = "2.0"
threadsafety = 2
"""Threads may share the module and connections; a cursor belongs to one thread at a time."""
paramstyle = "pyformat"
"""`%(name)s`; `%s` and `$1` work as well."""

Description = tuple[tuple[str, None, None, None, None, None, None], ...]


# ---------------------------------------------------------------- errors


class Warning(Exception):
    """PEP 249 asks for it; never raised."""


class Error(Exception):
    """Root of the errors of this module; `__cause__` is the BTrDBError, if one was behind it, also after pickling."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__cause__), self.__dict__ or None


class InterfaceError(Error):
    """A connection or cursor was used after it had been closed."""


class DatabaseError(Error):
    """BTrDB refused or failed, in a way that none of the following says better."""


class DataError(DatabaseError):
    """PEP 249 asks for it; BTrDB's errors about values do not come from SQL."""


class OperationalError(DatabaseError):
    """Not the statement's fault: the way to the server, its load, its keys, rows that broke off."""


class IntegrityError(DatabaseError):
    """PEP 249 asks for it; never raised, as SQL only reads."""


class InternalError(DatabaseError):
    """The server failed in itself, or sent what is no row."""


class ProgrammingError(DatabaseError):
    """The statement, its parameters, or the order of calls is wrong."""


class NotSupportedError(DatabaseError):
    """BTrDB, or this server, does not offer it."""


def _rebuild(cls: type[Error], args: tuple[Any, ...], cause: BaseException | None) -> Error:
    error = cls(*args)
    error.__cause__ = cause
    return error


_BY_CLASS: dict[type[errors.BTrDBError], type[Error]] = {
    errors.InputError: ProgrammingError,
    errors.BadSqlError: ProgrammingError,
    errors.ClientUnusableError: InterfaceError,
    errors.AuthenticationError: OperationalError,
    errors.PermissionDeniedError: OperationalError,
    errors.MessageTooLargeError: OperationalError,
    errors.NotSupportedError: NotSupportedError,
    errors.ProtocolError: InternalError,
    errors.ServerError: InternalError,
}


def as_pep249(error: errors.BTrDBError, hint: str = "") -> Error:
    """The error of this module for one of the client's: the same words, the original as its cause."""
    known = next((_BY_CLASS[base] for base in type(error).__mro__ if base in _BY_CLASS), DatabaseError)
    result = (OperationalError if error.retryable else known)(f"{error}{hint}")
    result.__cause__ = error
    return result


# ---------------------------------------------------------------- rows


class _Rows:
    """The rows of one answer of the server, page by page; `wrapped` as in `sqltext.read_rows`."""

    def __init__(self, pages: Iterator[Sequence[bytes]], *, wrapped: bool) -> None:
        self._pages = pages
        self._wrapped = wrapped
        self._at_hand: Iterator[Row] = iter(())
        self._broken = False
        self.columns: tuple[str, ...] | None = None
        """Names in the order of the SELECT, once there was a row."""
        self.handed_out = 0
        self.complete = False
        """No row is left."""
        self._next_page()

    def take(self, count: int | None) -> list[Row]:
        """The next `count` rows, or as many as there are; None takes all."""
        taken: list[Row] = []
        while True:
            taken += islice(self._at_hand, None if count is None else count - len(taken))
            if len(taken) == count or not self._next_page():
                self.handed_out += len(taken)
                return taken

    def close(self) -> None:
        """End the call at the server."""
        # Another thread that is just reading a page makes this impossible; that thread then finds the cursor closed.
        with contextlib.suppress(ValueError):
            self._pages.close()  # type: ignore[attr-defined]  # an Iterator by type, a generator in fact

    def _next_page(self) -> bool:
        """Have the next row at hand; False if there is none."""
        if self._broken:
            raise OperationalError("the rows broke off in an earlier call: execute the statement again")
        if self.complete:
            return False
        try:
            rows = next((rows for page in self._pages if (rows := self._read(page))), [])
        except BaseException:
            # Also when a signal handler raised: the end of the pages would now look like the end of the rows.
            self._broken = True
            self.close()
            raise
        self._at_hand = iter(rows)
        self.complete = not rows
        return bool(rows)

    def _read(self, page: Sequence[bytes]) -> list[Row]:
        self.columns, rows = sqltext.read_rows(page, self.columns, wrapped=self._wrapped)
        return rows


# ---------------------------------------------------------------- connection and cursor


class Connection:
    """A PEP 249 connection over a BTrDB that belongs to somebody else: cheap to make, and closing it leaves that open.

    It holds the BTrDB from its making until `close()`. As a context manager it closes itself.
    """

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, db: BTrDB) -> None:
        self._db: BTrDB | None = db
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._guard = threading.Lock()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def db(self) -> BTrDB:
        """The BTrDB below. Raises InterfaceError after `close()`."""
        db = self._db
        if db is None:
            raise InterfaceError("this connection is closed")
        return db

    def cursor(self) -> Cursor:
        """A new cursor; any number may be open at the same time. Raises InterfaceError after `close()`."""
        with self._guard:
            self._check_open()
            cursor = self._new_cursor()
            self._cursors.add(cursor)
            return cursor

    def _new_cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        """Nothing to do: BTrDB's SQL only reads, each statement in a transaction of its own at the server."""
        self._check_open()

    def rollback(self) -> None:
        """Nothing to undo, for the same reason; callers such as pandas roll back after every error."""
        self._check_open()

    def close(self) -> None:
        """Close all cursors of this connection and let go of the BTrDB below, which stays open.

        Closing twice is harmless.
        """
        with self._guard:
            self._db = None
            cursors = list(self._cursors)
        for cursor in cursors:
            cursor.close()

    def _check_open(self) -> None:
        _ = self.db


def connect(db: BTrDB) -> Connection:
    """A PEP 249 connection over `db`, which stays open when the connection is closed."""
    return Connection(db)


class Cursor:
    """A PEP 249 cursor. `Connection.cursor()` makes one; iterating gives the rows that have not been fetched."""

    query_id: str | None = None
    """BTrDB gives its queries no names; Airflow's lineage asks for one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        """How many rows `fetchmany()` takes when not told."""
        self._closed = False
        self._rows: _Rows | None = None
        self._sent: tuple[str, list[str]] = ("", [])
        self._asks_for_names = False
        self._description: Description | None = None

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    # ------------------------------------------------------------ execute

    def execute(self, operation: str, parameters: sqltext.Parameters | None = None) -> Cursor:
        """Run one SELECT and return this cursor; rows of an earlier one are dropped, and its call is ended.

        The first rows have arrived when this returns. `%%` stands for `%` where parameters are given with `%s` or
        `%(name)s`, and only there. Raises ProgrammingError for a bad statement or parameters, OperationalError and
        others.
        """
        self._check_open()
        self._drop()
        if not isinstance(operation, str):
            raise ProgrammingError(f"the SQL statement is a {type(operation).__name__}, not text")
        try:
            statement, texts = sqltext.translate(sqltext.bare(operation), parameters)
            rows = self._run(statement, texts)
        except errors.BTrDBError as error:
            hint = ""
            if isinstance(error, errors.BadSqlError) and not parameters and sqltext.has_placeholders(operation):
                hint = "; the statement has placeholders, and no parameters were given"
            raise as_pep249(error, hint) from error
        except UnicodeError:
            raise ProgrammingError("the statement or a parameter is no text that UTF-8 can carry") from None
        self._rows = rows
        self._stop_if_closed(rows)
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[sqltext.Parameters]) -> NoReturn:
        """Always NotSupportedError: PEP 249 has it for statements without rows, and BTrDB's SQL has rows only."""
        raise NotSupportedError(
            "BTrDB's SQL only reads, and executemany is for statements that write: call execute for each query, and "
            "BTrDB's own calls to create streams or to insert points"
        )

    def _run(self, statement: str, texts: list[str]) -> _Rows:
        try:
            rows = _Rows(self.connection.db.query_pages(sqltext.one_text_a_row(statement), texts), wrapped=True)
        except errors.BadSqlError:
            # A bad statement, or one that cannot stand inside another, such as SHOW: as it is, it tells which.
            pass
        else:
            self._sent, self._asks_for_names = (statement, texts), True
            return rows
        self._asks_for_names = False
        return _Rows(self.connection.db.query_pages(statement, texts), wrapped=False)

    # ------------------------------------------------------------ about the result

    @property
    def description(self) -> Description | None:
        """One 7-tuple (name, None...) for each column in the order of the SELECT; None while there is no result.

        An answer without rows carries no names: PostgreSQL is then asked for them, once, without running the
        statement again. A statement that the server takes only as it is, and answers without rows, has the
        description ().
        """
        rows = self._rows
        if rows is not None and self._description is None:
            names = rows.columns
            if names is None:
                names = self._names_of_no_rows() if self._asks_for_names else ()
            self._description = tuple((name, None, None, None, None, None, None) for name in names)
        return self._description

    @property
    def rowcount(self) -> int:
        """How many rows the statement had, once all were fetched; -1 until then."""
        rows = self._rows
        return rows.handed_out if rows is not None and rows.complete else -1

    def _names_of_no_rows(self) -> tuple[str, ...]:
        statement, texts = self._sent
        pages = self.connection.db.query_pages(sqltext.one_text_a_row(sqltext.one_empty_row(statement)), texts)
        try:
            return _Rows(pages, wrapped=True).columns or ()
        except errors.BadSqlError:
            return ()
        except errors.BTrDBError as error:
            raise as_pep249(error) from error
        finally:
            pages.close()

    # ------------------------------------------------------------ fetch

    def fetchone(self) -> Row | None:
        """The next row, or None at the end."""
        rows = self._take(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[Row]:
        """The next `size` rows (default `arraysize`), fewer at the end; reads no further than it must."""
        count = self.arraysize if size is None else size
        if count < 0:
            raise ProgrammingError(f"fetchmany takes 0 rows or more, not {count}")
        return self._take(count)

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return self._take(None)

    def _take(self, count: int | None) -> list[Row]:
        self._check_open()
        rows = self._rows
        if rows is None:
            raise ProgrammingError("there are no rows: execute a statement first")
        try:
            taken = rows.take(count)
        except errors.BTrDBError as error:
            raise as_pep249(error) from error
        self._stop_if_closed(rows)
        return taken

    def _stop_if_closed(self, rows: _Rows) -> None:
        """Another thread may have closed the connection while this one waited for the server."""
        if self._closed:
            rows.close()
            self._check_open()

    def close(self) -> None:
        """End the call at the server if rows are left. Closing twice is harmless."""
        self._closed = True
        self._drop()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Nothing to prepare: parameters travel as text."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Nothing to prepare: rows come as large as they are."""

    def _check_open(self) -> None:
        self.connection._check_open()
        if self._closed:
            raise InterfaceError("this cursor is closed")

    def _drop(self) -> None:
        rows, self._rows, self._description = self._rows, None, None
        if rows is not None:
            rows.close()
