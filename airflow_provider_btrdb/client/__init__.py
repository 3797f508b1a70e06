"""BTrDB in plain Python: a connection in two modes, one behaviour.

with connect("localhost:4410") as db:
    stream, = db.streams("grid/substation1/frequency")
    points = stream.values(start="2024-01-01T00:00:00Z", end="2024-01-02T00:00:00Z")
"""

from __future__ import annotations

from typing import Any

from airflow_provider_btrdb.client._aio.database import AsyncBTrDB
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client._aio.streamset import AsyncStreamSet
from airflow_provider_btrdb.client._sync.database import BTrDB
from airflow_provider_btrdb.client._sync.stream import Stream
from airflow_provider_btrdb.client._sync.streamset import StreamSet
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig
from airflow_provider_btrdb.client.errors import BTrDBError
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.client.models import CreateResult, MergePolicy, Points, StreamSpec

__all__ = [
    "AsyncBTrDB",
    "AsyncStream",
    "AsyncStreamSet",
    "BTrDB",
    "BTrDBError",
    "ConnectionConfig",
    "CreateResult",
    "MergePolicy",
    "Points",
    "Stream",
    "StreamSet",
    "StreamSpec",
    "TlsConfig",
    "connect",
    "connect_async",
    "derived_uuid",
]


def connect(endpoint: str, api_key: str | None = None, tls: TlsConfig | bool | None = None, **options: Any) -> BTrDB:
    """A connection to `host:port`, checked by asking the server for its version.

    `tls=True` trusts gRPC's own roots, a TlsConfig says more, None or False means plain text. `options` are the other
    fields of ConnectionConfig. Raises InputError for arguments that make no sense, and otherwise the error that says
    why the server cannot be used.
    """
    db = BTrDB(_config(endpoint, api_key, tls, options))
    try:
        db.check()
    except BaseException:
        db.close()
        raise
    return db


async def connect_async(
    endpoint: str, api_key: str | None = None, tls: TlsConfig | bool | None = None, **options: Any
) -> AsyncBTrDB:
    """`connect` for asyncio; the connection belongs to the running loop."""
    db = AsyncBTrDB(_config(endpoint, api_key, tls, options))
    try:
        await db.check()
    except BaseException:
        await db.close()
        raise
    return db


def _config(
    endpoint: str, api_key: str | None, tls: TlsConfig | bool | None, options: dict[str, Any]
) -> ConnectionConfig:
    trust = TlsConfig() if tls is True else (tls or None)
    return ConnectionConfig(endpoint=endpoint, api_key=api_key, tls=trust, **options)
