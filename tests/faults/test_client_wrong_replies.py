"""Single replies that lack what was asked for are errors, not zeros."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Corrupt
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("Nearest", lambda stream: stream.nearest(0)),
        ("Nearest", lambda stream: stream.earliest()),
        ("StreamInfo", lambda stream: stream.version()),
        ("StreamInfo", lambda stream: stream.refresh()),
        ("StreamInfo", lambda stream: stream.exists()),
        ("Insert", lambda stream: stream.insert([(1, 1.0)])),
        ("Delete", lambda stream: stream.delete(0, 1)),
        ("Flush", lambda stream: stream.flush()),
        ("Changes", lambda stream: stream.changes(10)),
        ("RawValues", lambda stream: stream.values(0, 10)),
        ("Windows", lambda stream: stream.windows(0, 10, 10)),
        ("Windows", lambda stream: stream.count()),
        ("AlignedWindows", lambda stream: stream.aligned_windows(0, 16, 2)),
    ],
)
async def test_a_reply_with_nothing_in_it_is_an_error(
    connected: Any, done: Any, btrdb: RunningServer, stream: Any, method: str, call: Any
) -> None:
    await done(stream.insert([(5, 5.0)]))
    stream = await done((await connected(btrdb.endpoint, arrow="off")).stream_from_uuid(stream.uuid))
    with btrdb.faults.inject(method, Corrupt("nothing")) as fault, pytest.raises(errors.ProtocolError):
        await done(call(stream))
    assert fault.fired == 1


@pytest.mark.parametrize("method", ["RawValues", "ArrowRawValues"])
async def test_a_first_page_that_went_missing_is_noticed(
    connected: Any, done: Any, btrdb: RunningServer, stream: Any, method: str
) -> None:
    await done(stream.insert([(time, 1.0) for time in range(35)]))
    db = await connected(btrdb.endpoint, arrow="off" if method == "RawValues" else "on")
    stream = await done(db.stream_from_uuid(stream.uuid))
    with btrdb.faults.inject(method, Corrupt("nothing")) as fault, pytest.raises(errors.ProtocolError):
        await done(stream.values(0, 100))
    assert fault.fired == 1


async def test_a_descriptor_of_another_stream_is_an_error(done: Any, btrdb: RunningServer, stream: Any) -> None:
    with btrdb.faults.inject("StreamInfo", Corrupt("uuid")) as fault, pytest.raises(errors.ProtocolError):
        await done(stream.refresh())
    assert fault.fired == 1


@pytest.mark.parametrize(("asked", "backward", "given"), [(100, False, 99), (100, True, 100), (100, True, 101)])
async def test_a_nearest_point_in_the_wrong_direction_is_an_error(
    connected: Any, done: Any, script: Any, asked: int, backward: bool, given: int
) -> None:
    from uuid import uuid4

    stream = await done((await connected(script.endpoint)).stream_from_uuid(uuid4()))
    script.on["Nearest"] = lambda request, number: pb.NearestResponse(
        version_major=11, value=pb.RawPoint(time=given, value=1.0)
    )
    with pytest.raises(errors.ProtocolError):
        await done(stream.nearest(asked, backward=backward))
