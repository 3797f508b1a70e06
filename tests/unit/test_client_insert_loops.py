"""Inserting: batches, repeats, and what is said of an insert that stopped half way."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import grpc
import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, errors
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

GONE = (grpc.StatusCode.UNAVAILABLE, "gone")
UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")


# ---------------------------------------------------------------- inserting


def _stored(request: Any, context: grpc.ServicerContext, number: int) -> Any:
    return pb.InsertResponse(version_major=10 + number)


def test_an_insert_goes_in_batches(server: Any, client: Any) -> None:
    server.on["Insert"] = _stored
    points = Points(np.arange(1, 100_002, dtype=np.int64), np.ones(100_001))
    assert client.run(client.stream().insert(points)) == 13
    assert [len(request.values) for request in server.requests] == [50_000, 50_000, 1]
    assert server.requests[2].values[0].time == 100_001


def test_an_insert_of_nothing_tells_the_version(server: Any, client: Any) -> None:
    server.on["StreamInfo"] = lambda *_: pb.StreamInfoResponse(version_major=17)
    assert client.run(client.stream().insert([])) == 17
    assert server.calls["Insert"] == 0


@pytest.mark.parametrize(("merge", "calls"), [("never", 1), ("equal", 2), ("retain", 2), ("replace", 2)])
def test_only_inserts_that_keep_no_duplicates_are_repeated(server: Any, client: Any, merge: str, calls: int) -> None:
    def insert(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number == 1:
            context.abort(*GONE)
        return _stored(request, context, number)

    server.on["Insert"] = insert
    if merge == "never":
        with pytest.raises(errors.BTrDBError, match="gone") as caught:
            client.run(client.stream().insert([(1, 1.0)], merge))
        assert caught.value.reply_lost
    else:
        assert client.run(client.stream().insert([(1, 1.0)], merge)) == 12
    assert server.calls["Insert"] == calls


def _second_batch_fails(request: Any, context: grpc.ServicerContext, number: int) -> Any:
    if number > 1:
        context.abort(*GONE)
    return _stored(request, context, number)


@pytest.mark.usefixtures("slow_calls")
@pytest.mark.parametrize("merge", ["never", "replace"])
def test_an_insert_that_stops_half_way_says_how_far_it_came(server: Any, client: Any, merge: str) -> None:
    server.on["Insert"] = _second_batch_fails
    points = Points(np.arange(1, 60_001, dtype=np.int64), np.ones(60_000))
    stream = client.stream(client.connected(retry_total=250.0))
    with pytest.raises(errors.InsertInterruptedError, match="50000 of 60000 points are certainly stored") as caught:
        client.run(stream.insert(points, merge))
    error = caught.value
    assert (error.stored, error.total, error.reply_lost, error.uuid) == (50_000, 60_000, True, str(UUID_))
    assert isinstance(error.__cause__, errors.ServerUnavailableError)


@pytest.mark.usefixtures("slow_calls")
@pytest.mark.parametrize(
    ("merge", "count", "retryable"),
    [("never", 1, False), ("never", 60_000, False), ("replace", 60_000, True), ("replace", 1, True)],
)
def test_an_insert_invites_a_repeat_only_where_nothing_is_stored_twice(
    server: Any, client: Any, merge: str, count: int, retryable: bool
) -> None:
    """What is retryable is run again by Airflow, so a lost reply under "never" must not be."""
    server.on["Insert"] = (
        _second_batch_fails if count > 50_000 else lambda request, context, number: context.abort(*GONE)
    )
    points = Points(np.arange(1, count + 1, dtype=np.int64), np.ones(count))
    with pytest.raises(errors.BTrDBError) as caught:
        client.run(client.stream(client.connected(retry_total=250.0)).insert(points, merge))
    assert caught.value.retryable is retryable
    assert caught.value.reply_lost


def test_nothing_is_sent_when_one_point_is_bad(server: Any, client: Any) -> None:
    points = Points(np.arange(1, 60_001, dtype=np.int64), np.ones(60_000))
    points.values[-1] = np.nan
    with pytest.raises(errors.BadValueError, match="point 59999"):
        client.run(client.stream().insert(points))
    assert server.requests == []
