"""Calls with one reply: repeats, deadlines, the key, creating, and arguments that no message can hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

GONE = (grpc.StatusCode.UNAVAILABLE, "gone")
UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")

Handler = Callable[[Any, grpc.ServicerContext, int], Any]


# ---------------------------------------------------------------- calls with one reply


def test_a_passing_failure_is_repeated(server: Any, client: Any) -> None:
    def info(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number < 3:
            context.abort(*GONE)
        return pb.InfoResponse(major_version=5, minor_version=31, build="5.31.0")

    server.on["Info"] = info
    assert client.run(client.db.info()) == {"majorVersion": 5, "minorVersion": 31, "build": "5.31.0"}
    assert server.calls["Info"] == 3


def test_info_has_its_numbers_even_where_they_are_zero(server: Any, client: Any) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=6, build="6.0.0")
    assert client.run(client.db.info())["minorVersion"] == 0


@pytest.mark.parametrize("code", [404, 417, 500])
def test_a_lasting_failure_is_not_repeated(server: Any, client: Any, code: int) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(stat=pb.Status(code=code, msg="no"))
    with pytest.raises(errors.BTrDBError, match="no") as caught:
        client.run(client.db.info())
    assert (server.calls["Info"], caught.value.server_code) == (1, code)


def test_a_passing_failure_in_a_status_is_repeated(server: Any, client: Any) -> None:
    def info(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        return pb.InfoResponse(major_version=5, stat=pb.Status(code=419) if number == 1 else None)

    server.on["Info"] = info
    client.run(client.db.info())
    assert server.calls["Info"] == 2


def test_without_a_budget_nothing_is_repeated(server: Any, client: Any) -> None:
    server.on["Info"] = lambda request, context, number: context.abort(*GONE)
    with pytest.raises(errors.ServerUnavailableError):
        client.run(client.connected(retry_total=0.0).info())
    assert server.calls["Info"] == 1


@pytest.mark.usefixtures("slow_calls")
def test_a_budget_ends_with_the_last_error(server: Any, client: Any) -> None:
    server.on["Info"] = lambda request, context, number: context.abort(*GONE)
    with pytest.raises(errors.ServerUnavailableError) as caught:
        client.run(client.connected(retry_total=250.0).info())
    assert caught.value.reply_lost
    assert server.calls["Info"] == 3


def test_every_attempt_has_a_deadline(server: Any, client: Any) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=5)
    server.on["SQLQuery"] = lambda *_: iter(())
    db = client.connected(retry_total=5000.0, request_timeout=500.0, stream_timeout=900.0, connect_timeout=250.0)
    client.run(db.info())
    client.run(db.check())
    client.run(db.query("select 1"))
    limits = (500, 250, 900)
    assert [limit - 100 < left < limit + 1 for left, limit in zip(server.time_left, limits, strict=True)] == [True] * 3


def test_an_attempt_gets_no_more_than_the_budget_has_left(server: Any, client: Any) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=5)
    client.run(client.connected(retry_total=300.0, request_timeout=900.0).info())
    assert server.time_left[0] < 301
    client.run(client.connected(retry_total=0.0, request_timeout=900.0).info())
    assert server.time_left[1] > 301


def test_a_server_that_never_answers_is_given_up(server: Any, client: Any) -> None:
    over = threading.Event()
    server.on["Info"] = lambda *_: over.wait(30)
    try:
        with pytest.raises(errors.DeadlineExceededError) as caught:
            client.run(client.connected(retry_total=0.0, request_timeout=0.2).info())
    finally:
        over.set()
    assert caught.value.reply_lost


@pytest.mark.usefixtures("slow_calls")
def test_a_check_ends_within_its_own_time(server: Any, client: Any) -> None:
    """Somebody waits for `connect()`: its budget is connect_timeout, not that of a task, which would see the server
    come back.
    """

    def back_after_some_minutes(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number < 5:
            context.abort(*GONE)
        return pb.InfoResponse(major_version=5)

    server.on["Info"] = back_after_some_minutes
    with pytest.raises(errors.ServerUnavailableError):
        client.run(client.connected(retry_total=5000.0, connect_timeout=250.0).check())
    assert server.calls["Info"] == 3


def test_an_older_server_is_refused(server: Any, client: Any) -> None:
    server.on["Info"] = lambda *_: pb.InfoResponse(major_version=4, minor_version=15, build="4.15.0")
    with pytest.raises(errors.NotSupportedError, match=r"BTrDB 4\.15 \(4\.15\.0\); version 5 or newer"):
        client.run(client.db.check())


def test_the_key_travels_with_calls_of_every_kind(server: Any, client: Any) -> None:
    seen: list[Any] = []

    def keep(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        return pb.InfoResponse(major_version=5)

    def keep_pages(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        keep(request, context, number)
        return iter(())

    server.on.update(Info=keep, SQLQuery=keep_pages)
    db = client.connected(api_key="k3y")
    client.run(db.info())
    client.run(db.query("select 1"))
    client.run(client.db.info())
    assert seen == ["Bearer k3y", "Bearer k3y", None]


# ---------------------------------------------------------------- creating


def _lost_then(code: int) -> Handler:
    def create(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number == 1:
            context.abort(*GONE)
        return pb.CreateResponse(stat=pb.Status(code=code, msg="taken"))

    return create


def _holds(collection: str, name: str) -> Handler:
    tags = [pb.KeyOptValue(key=k, val=pb.OptValue(value=v)) for k, v in {"name": name, "unit": ""}.items()]
    descriptor = pb.StreamDescriptor(uuid=UUID_.bytes, collection=collection, tags=tags, property_version=1)
    return lambda *_: pb.StreamInfoResponse(descriptor=descriptor)


@pytest.mark.parametrize("code", [417, 418])
def test_a_create_whose_reply_was_lost_finds_its_own_work(server: Any, client: Any, code: int) -> None:
    server.on.update(Create=_lost_then(code), StreamInfo=_holds("a", "n"))
    stream = client.run(client.db.create(UUID_, "a", {"name": "n"}))
    assert (stream.uuid, stream.collection, stream.name, stream.property_version) == (UUID_, "a", "n", 1)
    assert server.calls["Create"] == 2


@pytest.mark.parametrize("other", [("b", "n"), ("a", "m")])
def test_a_create_whose_reply_was_lost_does_not_take_anothers_work(
    server: Any, client: Any, other: tuple[str, str]
) -> None:
    server.on.update(Create=_lost_then(417), StreamInfo=_holds(*other))
    with pytest.raises(errors.StreamExistsError, match="taken"):
        client.run(client.db.create(UUID_, "a", {"name": "n"}))


def test_a_stream_that_was_there_before_is_an_error_though_it_is_the_same(server: Any, client: Any) -> None:
    server.on["Create"] = lambda *_: pb.CreateResponse(stat=pb.Status(code=417, msg="taken"))
    server.on["StreamInfo"] = _holds("a", "n")
    with pytest.raises(errors.StreamExistsError):
        client.run(client.db.create(UUID_, "a", {"name": "n"}))
    assert server.calls["StreamInfo"] == 0


# ---------------------------------------------------------------- arguments that no message can hold


@pytest.mark.parametrize(
    "call",
    [
        lambda db, stream: db.create(uuid4(), "a", {"name": 5}),
        lambda db, stream: db.create(uuid4(), "a", {5: "x"}),
        lambda db, stream: db.create(uuid4(), 5),
        lambda db, stream: db.create(uuid4(), "\ud800"),
        lambda db, stream: db.create(uuid4(), "a", {"name": "\ud800"}),
        lambda db, stream: db.query(5),
        lambda db, stream: db.list_collections(5),
        lambda db, stream: db.collection_metadata(5),
        lambda db, stream: db.streams_in_collection("a", tags={"name": 5}),
        lambda db, stream: stream.values(version=-1),
        lambda db, stream: stream.values(end=2**63),
    ],
    ids=[
        "tag value",
        "tag key",
        "collection",
        "collection text",
        "tag text",
        "sql",
        "prefix",
        "metadata prefix",
        "filter",
        "version",
        "end",
    ],
)
def test_arguments_that_no_message_can_hold_are_refused_as_ours(
    server: Any, client: Any, call: Callable[[Any, Any], Any]
) -> None:
    with pytest.raises((errors.InputError, errors.InvalidTimeRangeError)):
        client.run(call(client.db, client.stream()))
    assert server.requests == []
