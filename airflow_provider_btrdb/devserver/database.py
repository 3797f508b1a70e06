"""The server's connections to PostgreSQL: a shared pool, and the lock that keeps a second server out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
import psycopg_pool

from airflow_provider_btrdb.devserver import schema
from airflow_provider_btrdb.devserver.errors import DevServerError

LOCK_WAIT_MS = 2_000

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Database:
    """Belongs to one event loop. A connection is borrowed for one step of a call, never while a client is slow."""

    def __init__(self, dsn: str, *, connections: int) -> None:
        self._dsn = dsn
        self._connections = connections
        self._pool: psycopg_pool.AsyncConnectionPool[Connection] | None = None
        self._lock: Connection | None = None

    async def open(self) -> None:
        """Take the lock, bring the schema up to date, open the pool."""
        await self._take_lock()
        try:
            await asyncio.to_thread(schema.prepare, self._dsn)
        except psycopg.Error as error:
            raise DevServerError(f"cannot prepare the database: {str(error).splitlines()[0]}") from None
        self._pool = psycopg_pool.AsyncConnectionPool(
            self._dsn, min_size=2, max_size=self._connections, open=False, kwargs={"autocommit": True}, timeout=30
        )
        await self._pool.open()

    async def _take_lock(self) -> None:
        try:
            self._lock = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            raise DevServerError(f"cannot connect to PostgreSQL: {str(error).splitlines()[0]}") from None
        # A server that has just ended may hold it for another moment.
        await self._lock.execute(f"SET lock_timeout = {LOCK_WAIT_MS}".encode())
        try:
            await self._lock.execute("SELECT pg_advisory_lock(%s)", [schema.ONE_SERVER])
        except psycopg.errors.LockNotAvailable:
            raise DevServerError("another btrdb-devserver serves this database") from None

    async def keep_lock(self) -> None:
        """Make sure that the lock is still ours, or take it again; DevServerError if that cannot be."""
        assert self._lock is not None
        try:
            await self._lock.execute("SELECT 1")
        except psycopg.OperationalError:
            await self._take_lock()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode."""
        assert self._pool is not None
        async with self._pool.connection() as connection:
            yield connection

    async def fetch(self, query: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement, in PostgreSQL's binary form."""
        async with self.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(query.encode(), params)
            return await cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        """Give everything back."""
        if self._pool is not None:
            await self._pool.close(timeout=1.0)
        if self._lock is not None:
            await self._lock.close()
