"""BTrDB in plain Python: a connection in two modes, one behaviour.

with connect("localhost:4410") as db:
    stream, = db.streams("grid/substation1/frequency")
    points = stream.values(start="2024-01-01T00:00:00Z", end="2024-01-02T00:00:00Z")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from airflow_provider_btrdb.client._aio.database import AsyncBTrDB
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client._aio.streamset import AsyncStreamSet
from airflow_provider_btrdb.client._sync.database import BTrDB
from airflow_provider_btrdb.client._sync.stream import Stream
from airflow_provider_btrdb.client._sync.streamset import StreamSet
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig
from airflow_provider_btrdb.client.environment import config_from_environment
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


def connect(
    endpoint: str | None = None,
    api_key: str | None = None,
    tls: TlsConfig | bool | None = None,
    *,
    new_api_key: Callable[[], str | None] | None = None,
    **options: Any,
) -> BTrDB:
    """A connection to `host:port` (or several, with commas between them), checked by asking the server for its version.

    `tls=True` trusts the system's certificates, a TlsConfig says more, None or False means plain text. `new_api_key` is
    asked once whenever the server refuses the key. `options` are the other fields of ConnectionConfig. Without an
    endpoint, environment variables and the credentials file say where to go: see `client.environment`. Raises
    InputError for arguments that make no sense, and otherwise the error that says why the server cannot be used.
    """
    db = BTrDB(_config(endpoint, api_key, tls, options), new_api_key=new_api_key)
    try:
        db.check()
    except BaseException:
        db.close()
        raise
    return db


async def connect_async(
    endpoint: str | None = None,
    api_key: str | None = None,
    tls: TlsConfig | bool | None = None,
    *,
    new_api_key: Callable[[], str | Awaitable[str | None] | None] | None = None,
    **options: Any,
) -> AsyncBTrDB:
    """`connect` for asyncio; the connection belongs to the running loop."""
    db = AsyncBTrDB(_config(endpoint, api_key, tls, options), new_api_key=new_api_key)
    try:
        await db.check()
    except BaseException:
        await db.close()
        raise
    return db


def _config(
    endpoint: str | None, api_key: str | None, tls: TlsConfig | bool | None, options: dict[str, Any]
) -> ConnectionConfig:
    trust = TlsConfig() if tls is True else (tls or None)
    if endpoint is not None:
        return ConnectionConfig(endpoint=endpoint, api_key=api_key, tls=trust, **options)
    given = {"api_key": api_key} if api_key is not None else {}
    return config_from_environment({**({} if tls is None else {"tls": trust}), **given, **options})
