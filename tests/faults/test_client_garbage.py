"""Bytes that are no message, in every reply that the client parses: an error in both modes, never a shorter result."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Corrupt

pytestmark = pytest.mark.anyio

STREAMS: dict[str, Any] = {
    "LookupStreams": lambda db, stream: db.streams_in_collection(stream.collection),
    "ListCollections": lambda db, stream: db.list_collections(stream.collection),
    "SQLQuery": lambda db, stream: db.query("SELECT 1 FROM generate_series(1, 70)"),
    "Changes": lambda db, stream: stream.changes(1),
    "ArrowRawValues": lambda db, stream: stream.values(0, 100),
}
UNARY: dict[str, Any] = {
    "Info": lambda db, stream: db.info(),
    "Create": lambda db, stream: db.create(uuid4(), stream.collection, {"name": "other"}),
    "StreamInfo": lambda db, stream: stream.version(),
    "GetMetadataUsage": lambda db, stream: db.collection_metadata(""),
    "Insert": lambda db, stream: stream.insert([(1, 1.0)], "replace"),
    "Nearest": lambda db, stream: stream.nearest(0),
    "SetStreamTags": lambda db, stream: stream.update({"unit": "V"}),
}


@pytest.mark.parametrize(
    ("method", "message"), [(method, at) for method in STREAMS for at in (1, 2)] + [(method, 1) for method in UNARY]
)
async def test_garbage_is_an_error_of_ours(
    connected: Any, done: Any, btrdb: RunningServer, collection: str, method: str, message: int
) -> None:
    db = await connected(btrdb.endpoint, arrow="on")
    results = await done(db.create_many({"collection": f"{collection}/{n}", "name": "x"} for n in range(6)))
    stream = (await done(db.streams(results[0].uuid)))[0]
    await done(stream.insert([(n * 1000 if n < 6 else n, 1.0) for n in range(40)]))
    stream._descriptor.collection = collection  # the prefix of all six
    btrdb.calls.clear()
    with btrdb.faults.inject(method, Corrupt("garbage", message)) as fault, pytest.raises(errors.ProtocolError):
        await done((STREAMS | UNARY)[method](db, stream))
    assert (fault.fired, btrdb.calls.count(method)) == (1, 1)
