"""Calls with pages: listings that start again or break off, reads that go on where they broke."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import grpc
import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

GONE = (grpc.StatusCode.UNAVAILABLE, "gone")
UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")


def _pages(*rows: list[bytes]) -> list[pb.SQLQueryResponse]:
    return [pb.SQLQueryResponse(rows=list(page)) for page in rows]


def _values(points: list[tuple[int, float]], version: int = 11) -> pb.RawValuesResponse:
    return pb.RawValuesResponse(version_major=version, values=[pb.RawPoint(time=t, value=v) for t, v in points])


# ---------------------------------------------------------------- listings


@pytest.mark.parametrize("failure", [GONE, None], ids=["status", "stat"])
def test_a_listing_that_fails_before_its_first_row_is_repeated(server: Any, client: Any, failure: Any) -> None:
    def query(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        if number == 1:
            if failure:
                context.abort(*failure)
            yield pb.SQLQueryResponse(stat=pb.Status(code=440))
            return
        yield from _pages([b'{"n":1}', b'{"n":2}'], [], [b'{"n":3}'])

    server.on["SQLQuery"] = query
    assert [row["n"] for row in client.taken(client.db.query_iter("x", ["p"]))] == [1, 2, 3]
    assert (server.calls["SQLQuery"], server.requests[-1].query, server.requests[-1].params) == (2, "x", ["p"])


def _breaks_once(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
    yield from _pages([b'{"n":1}'])
    if number == 1:
        context.abort(*GONE)
    yield from _pages([b'{"n":2}'])


def test_a_listing_that_breaks_off_later_says_so(server: Any, client: Any) -> None:
    server.on["SQLQuery"] = _breaks_once
    rows = client.db.query_iter("x")
    with pytest.raises(
        errors.StreamInterruptedError, match="SQLQuery broke off after rows had been handed out"
    ) as caught:
        client.taken(rows)
    assert isinstance(caught.value.__cause__, errors.ServerUnavailableError)
    assert (caught.value.retryable, server.calls["SQLQuery"]) == (True, 1)


def test_a_list_starts_again_when_its_listing_breaks_off(server: Any, client: Any) -> None:
    """Nobody has seen a row of a list that is not complete, so a new listing loses nothing."""
    server.on["SQLQuery"] = _breaks_once
    assert client.run(client.db.query("x")) == [{"n": 1}, {"n": 2}]
    assert server.calls["SQLQuery"] == 2


def test_lists_of_streams_and_collections_start_again_too(server: Any, client: Any) -> None:
    def lookup(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield pb.LookupStreamsResponse(results=[pb.StreamDescriptor(uuid=UUID_.bytes, collection="a")])
        if number % 2:
            context.abort(*GONE)

    def collections(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield pb.ListCollectionsResponse(collections=["a"])
        if number == 1:
            context.abort(*GONE)
        yield pb.ListCollectionsResponse(collections=["b"])

    server.on.update(LookupStreams=lookup, ListCollections=collections)
    assert [stream.uuid for stream in client.run(client.db.streams_in_collection("a"))] == [UUID_]
    assert client.run(client.db.list_collections()) == ["a", "b"]


def test_a_lasting_failure_of_a_later_page_is_itself(server: Any, client: Any) -> None:
    def query(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield from _pages([b'{"n":1}'])
        yield pb.SQLQueryResponse(stat=pb.Status(code=441, msg="bad"))

    server.on["SQLQuery"] = query
    with pytest.raises(errors.BadSqlError, match="bad"):
        client.run(client.db.query("x"))


def test_an_abandoned_listing_ends_at_the_server(server: Any, client: Any, kept: list[Any]) -> None:
    def endless(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        while context.is_active():
            yield from _pages([b'{"n":1}'])

    server.on["SQLQuery"] = endless
    assert client.taken(client.db.query_iter("x"), 1) == [{"n": 1}]
    assert client.waited(server.ended)
    assert len(kept) == 1


# ---------------------------------------------------------------- reading points


def test_a_read_goes_on_where_it_broke(server: Any, client: Any) -> None:
    stored = [(1, 1.0), (2, 2.0), (2, 0.0), (2, 2.5), (3, 3.0)]

    def values(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        left = [point for point in stored if request.start <= point[0] < request.end]
        if number < 4:
            yield _values(left[: number + 1])
            context.abort(*GONE)
        yield _values(left)

    server.on["RawValues"] = values
    assert list(client.run(client.stream().values(0, 10))) == stored
    asked = [(request.start, request.end, request.version_major) for request in server.requests]
    assert asked == [(0, 10, 0), (2, 10, 11), (2, 10, 11), (3, 10, 11)]


def test_a_status_in_a_later_page_ends_a_read(server: Any, client: Any) -> None:
    def values(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield _values([(1, 1.0)])
        yield pb.RawValuesResponse(stat=pb.Status(code=450, msg="pruned"))

    server.on["RawValues"] = values
    pages = client.stream().values_iter(0, 10, 7) if client.mode == "sync" else client.stream().values_iter(0, 10)
    with pytest.raises(errors.BTrDBError):
        client.taken(pages)
    with pytest.raises(errors.VersionNotAvailableError, match="pruned"):
        client.run(client.stream().values(0, 10))


@pytest.mark.usefixtures("slow_calls")
def test_a_read_that_gets_nowhere_ends_with_its_budget(server: Any, client: Any) -> None:
    def values(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        yield _values([(1, 1.0)])
        context.abort(*GONE)

    server.on["RawValues"] = values
    with pytest.raises(errors.ServerUnavailableError):
        client.run(client.stream(client.connected(retry_total=250.0)).values(0, 10))
    assert server.calls["RawValues"] == 4, "the first one got somewhere"


def test_an_abandoned_read_ends_at_the_server(server: Any, client: Any, kept: list[Any]) -> None:
    def endless(request: Any, context: grpc.ServicerContext, number: int) -> Iterator[Any]:
        at = 0
        while context.is_active():
            at += 1
            yield _values([(at, 1.0)])

    server.on["RawValues"] = endless
    assert len(client.taken(client.stream().values_iter(0), 2)) == 2
    assert client.waited(server.ended)
    assert len(kept) == 1
