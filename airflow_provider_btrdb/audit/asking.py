"""SQL on a connection: is it served, and the rows of a statement page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.audit.pushed import Statement
from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.errors import BadSqlError, NotSupportedError, PermissionDeniedError
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

REFUSED = (BadSqlError, NotSupportedError, PermissionDeniedError)
"""The server does not answer this statement; others, and calls without SQL, may go on."""


async def serves_sql(calls: AsyncCalls) -> bool:
    """Does the server answer SQL to this key?"""
    try:
        await rows_of(calls, Statement("SELECT 1 AS one", []))
    except REFUSED:
        return False
    return True


async def rows_of(calls: AsyncCalls, statement: Statement) -> list[dict[str, Any]]:
    """All rows."""
    return await calls.listing(rpcs.SQL_QUERY, _request(statement), lambda page: codec.from_sql_rows(page.rows))


async def pages_of(calls: AsyncCalls, statement: Statement) -> AsyncGenerator[list[dict[str, Any]], None]:
    """The rows page by page."""
    async with aclosing(calls.pages(rpcs.SQL_QUERY, _request(statement))) as pages:
        async for page in pages:
            yield codec.from_sql_rows(page.rows)


def _request(statement: Statement) -> pb.SQLQueryParams:
    return codec.request(pb.SQLQueryParams, query=statement.text, params=statement.params)


async def uuids_of(calls: AsyncCalls, query: str) -> frozenset[bytes]:
    """The streams that a user's query names in its column `uuid`, 16 bytes each."""
    text = f"SELECT named.uuid::text AS uuid FROM (\n{query}\n) AS named WHERE named.uuid IS NOT NULL"  # noqa: S608 - the user's own SQL
    return frozenset(UUID(row["uuid"]).bytes for row in await rows_of(calls, Statement(text, [])))
