"""Subscriptions, in both modes: what ends them, and that the server hears of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import grpc
import pytest

from airflow_provider_btrdb.client import connect_async, errors
from airflow_provider_btrdb.testing import RunningServer
from airflow_provider_btrdb.testing.faults import Answer, Corrupt, Refuse
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDeniedError),
        (grpc.StatusCode.UNAUTHENTICATED, errors.AuthenticationError),
        (grpc.StatusCode.UNIMPLEMENTED, errors.NotSupportedError),
        (404, errors.StreamNotFoundError),
    ],
)
async def test_what_will_not_pass_is_an_error_at_once(
    mode: str, script: Any, failure: grpc.StatusCode | int, error: type[Exception], new_follower: Any
) -> None:
    """A server that has read what it was asked for, so that gRPC shows what it said."""
    script.on["StreamInfo"] = lambda request, number: pb.StreamInfoResponse(version_major=10)
    refusal = pb.SubscriptionResp(stat=pb.Status(code=failure, msg="no")) if isinstance(failure, int) else failure
    script.on["Subscribe"] = lambda request, number: iter([refusal]) if isinstance(failure, int) else refusal
    assert type(new_follower(mode, script.endpoint, [uuid4()]).ended()) is error
    assert len(script.requests["Subscribe"]) == 1


async def test_ends_that_tell_nothing_are_not_met_for_ever(
    btrdb: RunningServer, mode: str, writer: Any, new_follower: Any
) -> None:
    """gRPC with coroutines may show INTERNAL for any end that comes at once, so a few are given another chance."""
    with btrdb.faults.inject("Subscribe", Refuse(grpc.StatusCode.INTERNAL), last=99) as fault:
        assert type(new_follower(mode, btrdb.endpoint, [writer.uuid]).ended()) is errors.ServerError
    assert (fault.fired, btrdb.calls.count("Subscribe")) == (10, 10)


async def test_a_refusal_that_was_hidden_is_found(
    btrdb: RunningServer, mode: str, writer: Any, until: Any, new_follower: Any
) -> None:
    """INTERNAL plays the hidden ones, and gRPC may make one of the last; points are for test_subscription_calls.py."""
    with (
        btrdb.faults.inject("Subscribe", Refuse(grpc.StatusCode.INTERNAL), last=8) as hidden,
        btrdb.faults.inject("Subscribe", Answer(405), first=9, last=9) as shown,
    ):
        follower = new_follower(mode, btrdb.endpoint, [writer.uuid])
        until(lambda: btrdb.calls.count("Subscribe") == 10, "the tenth call is made")
        follower.wait_until_it_listens(writer)
        follower.stop(lambda: writer.insert([(2 * 10**15, 0.0)], "replace"))
    assert (hidden.fired, shown.fired) == (8, 1)


@pytest.mark.parametrize("what", ["garbage", "uuid", "nothing"])
async def test_a_message_that_does_not_belong_there_is_an_error(
    btrdb: RunningServer, mode: str, writer: Any, seams: Any, what: Any, new_follower: Any
) -> None:
    with btrdb.faults.inject("Subscribe", Corrupt(what)) as fault:
        follower = new_follower(mode, btrdb.endpoint, [writer.uuid])
        seams.wait(1)
        writer.insert([(1, 1.0)])
        assert isinstance(follower.ended(), errors.ProtocolError)
    assert (fault.fired, btrdb.calls.count("Subscribe")) == (1, 1)
    assert follower.came(writer.uuid) == Counter()


async def test_an_obliterated_stream_is_an_error(
    btrdb: RunningServer, mode: str, writer: Any, seams: Any, new_follower: Any
) -> None:
    follower = new_follower(mode, btrdb.endpoint, [writer.uuid])
    seams.wait(1)
    writer.obliterate()
    assert isinstance(follower.ended(), errors.StreamNotFoundError)


# ---------------------------------------------------------------- the end


async def test_an_abandoned_subscription_ends_at_the_server(
    db: Any, done: Any, next_of: Any, writer: Any, seams: Any, eventually: Any
) -> None:
    followed = (await done(db.stream_from_uuid(writer.uuid))).subscribe()
    first = asyncio.ensure_future(asyncio.to_thread(next, followed) if hasattr(followed, "close") else anext(followed))
    await eventually(lambda: seams.listening)
    await asyncio.to_thread(writer.insert, [(1, 1.0)])
    assert list(await first) == [(1, 1.0)]
    if hasattr(followed, "aclose"):
        await followed.aclose()
    else:
        followed.close()
    await eventually(seams.outcomes)
    assert seams.outcomes() == ["CANCELLED"]


async def test_a_cancelled_task_ends_its_subscription_at_the_server(
    one_loop: None, btrdb: RunningServer, writer: Any, seams: Any, eventually: Any
) -> None:
    async with await connect_async(btrdb.endpoint) as db:
        waiting = asyncio.ensure_future(anext(db.subscribe(writer.uuid)))
        await eventually(lambda: seams.listening)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await eventually(seams.outcomes)
        assert seams.outcomes() == ["CANCELLED"]


def test_a_closed_connection_ends_its_subscription(
    btrdb: RunningServer, writer: Any, seams: Any, until: Any, new_follower: Any
) -> None:
    follower = new_follower("sync", btrdb.endpoint, [writer.uuid])
    seams.wait(1)
    follower.db.close()
    assert isinstance(follower.ended(), errors.ClientUnusableError)
    until(lambda: seams.outcomes() == ["CANCELLED"], "the server was told")


async def test_unknown_streams_and_empty_subscriptions_are_errors(db: Any, done: Any, next_of: Any) -> None:
    with pytest.raises(errors.StreamNotFoundError):
        await next_of(db.subscribe(uuid4()))
    with pytest.raises(errors.InputError, match="nothing to subscribe to"):
        await next_of(db.subscribe())
