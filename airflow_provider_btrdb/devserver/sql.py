"""SQLQuery: somebody else's SQL, read only, on a connection that never was anything but the role of SQLQuery.

The layers, each of which stands alone: a login role that may read one view; a READ ONLY transaction; functions with
effects or patience closed to it; one statement per call (extended protocol), wrapped as a subquery; PostgreSQL's
statement timeout, and a deadline of our own, because some work inside PostgreSQL does not look at its timeout; caps on
row and answer; and a connection is handed to the next caller only after DISCARD ALL went well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import psycopg

from airflow_provider_btrdb.devserver.errors import Refusal
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.protocol import Code

FIRST_FETCH, MAX_FETCH = 32, 512
CLEANUP_SECONDS = 2.0

T = TypeVar("T")
_Connection = psycopg.AsyncConnection[Any]


class _Lease:
    """A connection while one query has it."""

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection
        self.running: asyncio.Future[Any] | None = None
        """The exchange that was given up while PostgreSQL was still at it."""


class SqlRunner:
    """Runs queries under the role of `dsn`."""

    def __init__(self, dsn: str, limits: Limits) -> None:
        self._dsn = dsn
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.sql_concurrency)
        self._idle: list[_Connection] = []
        self._leaving: set[asyncio.Task[None]] = set()

    async def query(self, statement: str, params: Sequence[str]) -> AsyncIterator[list[bytes]]:
        """Pages of rows, each one JSON object in UTF-8; 441 for a bad query, 440 without a database."""
        if "\0" in statement or any("\0" in param for param in params):
            raise Refusal(Code.BAD_SQL, "PostgreSQL text cannot contain NUL")
        deadline = asyncio.get_running_loop().time() + self._limits.sql_total_seconds
        await self._slots.acquire()
        try:
            lease = _Lease(await self._take())
        except BaseException:
            self._slots.release()
            raise
        try:
            async for page in self._pages(lease, statement, params, deadline):
                yield page
        finally:
            task = asyncio.create_task(self._give_back(lease))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _pages(
        self, lease: _Lease, statement: str, params: Sequence[str], deadline: float
    ) -> AsyncIterator[list[bytes]]:
        limits, connection = self._limits, lease.connection
        body = statement.strip().rstrip(";")
        declare = (
            "DECLARE answer NO SCROLL CURSOR FOR "  # noqa: S608 - it is the caller's SQL that we are here to run
            f"SELECT left(row_to_json(q.*)::text, {limits.sql_row_bytes + 1}) FROM (\n{body}\n) q"
        )
        await self._step(lease, _begin(connection, limits.sql_statement_seconds), deadline)
        await self._step(lease, _declare(connection, declare, params), deadline)
        count, total = FIRST_FETCH, 0
        while True:
            rows = await self._step(lease, _fetch(connection, count), deadline)
            size = sum(map(len, rows))
            total += size
            if any(len(row) > limits.sql_row_bytes and len(row.decode()) > limits.sql_row_bytes for row in rows):
                raise Refusal(Code.BAD_SQL, f"a row is larger than {limits.sql_row_bytes} characters")
            if total > limits.sql_answer_bytes:
                raise Refusal(Code.BAD_SQL, f"the answer is larger than {limits.sql_answer_bytes} bytes")
            if rows:
                yield rows
            if len(rows) < count:
                return
            count = max(1, min(MAX_FETCH, limits.sql_page_bytes * len(rows) // max(size, 1)))

    async def _step(self, lease: _Lease, work: Coroutine[Any, Any, T], deadline: float) -> T:
        """One exchange with PostgreSQL, never longer than the statement timeout and a bit."""
        left = deadline - asyncio.get_running_loop().time()
        lease.running = task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({task}, timeout=min(left, self._limits.sql_statement_seconds + 1))
        if not done:
            raise Refusal(Code.BAD_SQL, "canceling statement due to statement timeout")
        lease.running = None
        try:
            return task.result()
        except psycopg.Error as error:
            raise _refusal(error) from None

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        try:
            return await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, prepare_threshold=None, connect_timeout=10
            )
        except psycopg.OperationalError:
            raise Refusal(Code.SQL_CONNECTION_ERROR, "no connection to the metadata database") from None

    async def _give_back(self, lease: _Lease) -> None:
        """Nothing of this caller may reach the next: settings, temporary objects, cursors."""
        connection = lease.connection
        try:
            if lease.running is not None:
                await _interrupt(connection, lease.running)
                return
            async with asyncio.timeout(CLEANUP_SECONDS):
                await connection.execute("ROLLBACK")
                await connection.execute("DISCARD ALL")
            self._idle.append(connection)
        except (psycopg.Error, TimeoutError):
            connection.pgconn.finish()
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close every connection."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2 * CLEANUP_SECONDS)
        for connection in self._idle:
            await connection.close()


async def _interrupt(connection: _Connection, running: asyncio.Future[Any]) -> None:
    """Ask PostgreSQL to stop, and close the connection whether it does or not."""
    with contextlib.suppress(Exception):
        await connection.cancel_safe(timeout=CLEANUP_SECONDS)
    await asyncio.wait({running}, timeout=CLEANUP_SECONDS)
    connection.pgconn.finish()
    running.cancel()
    await asyncio.wait({running}, timeout=CLEANUP_SECONDS)
    if running.done() and not running.cancelled():
        running.exception()


async def _begin(connection: _Connection, seconds: float) -> None:
    await connection.execute("BEGIN READ ONLY")
    await connection.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}".encode())


async def _declare(connection: _Connection, statement: str, params: Sequence[str]) -> None:
    # A raw cursor sends strings without a type, so that PostgreSQL infers it; `binary` forces the extended protocol,
    # which takes a single statement, also when there are no parameters.
    cursor = psycopg.AsyncRawCursor(connection)
    await cursor.execute(statement.encode(), list(params), binary=True)


async def _fetch(connection: _Connection, count: int) -> list[bytes]:
    cursor = await connection.execute(f"FETCH {count} FROM answer".encode())
    result = cursor.pgresult
    assert result is not None
    return [result.get_value(row, 0) or b"" for row in range(result.ntuples)]


def _refusal(error: psycopg.Error) -> Refusal:
    message = error.diag.message_primary
    if message is None or isinstance(error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown):
        return Refusal(Code.SQL_CONNECTION_ERROR, "the connection to the metadata database was lost")
    return Refusal(Code.BAD_SQL, message)
