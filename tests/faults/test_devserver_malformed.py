"""Requests that no client should send: the server answers with a chosen refusal and goes on serving."""

from __future__ import annotations

import random
import uuid

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.protocol import METHODS, SERVICE, Kind
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.fixtures import btrdb_devserver  # noqa: F401
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

SAFE = sorted(set(METHODS) - {"Subscribe"})
CHOSEN = {
    grpc.StatusCode.INTERNAL: "error unmarshalling request",
    grpc.StatusCode.UNKNOWN: "[404] stream does not exist",
}


@pytest.fixture(scope="module")
def wire(btrdb_devserver):  # noqa: F811
    with WireClient(btrdb_devserver.endpoint) as client:
        yield client


def outcome(wire, method, raw):
    """None for an answer, or the gRPC status; anything but a chosen one fails."""
    try:
        answer = wire.start(method, raw)
        messages = [answer] if METHODS[method].kind is Kind.UNARY else list(answer)
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
    else:
        code = details = None
    assert CHOSEN.get(code) == details, method
    if code is not None:
        return code
    for message in messages:
        assert not message.HasField("stat") or message.stat.code >= 400
    return None


@pytest.mark.parametrize("method", SAFE)
@pytest.mark.parametrize(
    "raw",
    [b"\xff", b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff\x0f", b"\x08", b"\x0a\x02\xff\xfe\x12\x02\xff\xfe\x1a\x01\xff"],
    ids=["tag", "short", "huge", "cut", "utf8"],
)
def test_bytes_that_are_no_message(wire, method, raw):
    outcome(wire, method, raw)
    assert wire.call("Info").major_version == 5


def test_a_message_that_cannot_be_parsed_says_so(wire):
    assert outcome(wire, "Create", b"\xff") is grpc.StatusCode.INTERNAL
    assert outcome(wire, "Create", b"\x12\x02\xff\xfe") is grpc.StatusCode.INTERNAL, "text that is not UTF-8"
    (answer,) = wire.start("Subscribe", iter([pb.SubscriptionUpdate(op=7)]))
    assert answer.stat.code == 421


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SAFE), st.binary(max_size=120))
def test_arbitrary_bytes(wire, method, raw):
    outcome(wire, method, raw)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_arbitrary_numbers_and_texts(wire, data):
    """Requests that parse, with any value in any field."""
    method = data.draw(st.sampled_from(SAFE))
    request = METHODS[method].request()
    for field in request.DESCRIPTOR.fields:
        strategy = {
            field.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
            field.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
            field.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
            field.CPPTYPE_ENUM: st.integers(0, 5),
            field.CPPTYPE_BOOL: st.booleans(),
            field.CPPTYPE_STRING: st.text(max_size=20) if field.type == field.TYPE_STRING else st.binary(max_size=20),
        }.get(field.cpp_type)
        if strategy is not None and data.draw(st.booleans()):
            if field.is_repeated:
                getattr(request, field.name).extend(data.draw(st.lists(strategy, max_size=3)))
            else:
                setattr(request, field.name, data.draw(strategy))
    outcome(wire, method, request.SerializeToString())


def test_arbitrary_numbers_for_a_stream_that_exists(wire):
    raw = uuid.uuid4().bytes
    wire.call("Create", pb.CreateParams(uuid=raw, collection=f"malformed/{raw.hex()}"))
    wire.call("Insert", pb.InsertParams(uuid=raw, values=[pb.RawPoint(time=n * 10**9) for n in range(100)]))
    chance = random.Random(7)

    def number():
        sign = chance.choice([1, -1])
        return chance.choice(
            [0, 1, -1, 2**63 - 1, -(2**63), sign * 2 ** chance.randrange(63), 10**9 * chance.randrange(100)]
        )

    for _ in range(300):
        start, end, version = number(), number(), abs(number()) % 2**63
        for method, request in [
            ("RawValues", pb.RawValuesParams(uuid=raw, start=start, end=end, version_major=version)),
            (
                "AlignedWindows",
                pb.AlignedWindowsParams(uuid=raw, start=start, end=end, point_width=chance.randrange(70)),
            ),
            ("ArrowWindows", pb.WindowsParams(uuid=raw, start=start, end=end, width=version)),
            ("Nearest", pb.NearestParams(uuid=raw, time=start, backward=chance.random() < 0.5)),
            (
                "Changes",
                pb.ChangesParams(
                    uuid=raw, from_major=version, to_major=abs(end) % 2**63, resolution=chance.randrange(70)
                ),
            ),
            ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[raw], start=start, end=end, snap_period_ns=version)),
        ]:
            assert outcome(wire, method, request.SerializeToString()) is None


def test_a_message_that_is_too_large_is_refused(wire):
    with pytest.raises(grpc.RpcError) as caught:
        wire.start("Insert", b"\x00" * (65 << 20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert wire.call("Info").major_version == 5


def test_other_paths_are_unimplemented(wire):
    for path in ("/", f"/{SERVICE}/", f"/{SERVICE}/info", "/v4api.BTrDB/Info", "/x/y/z"):
        with pytest.raises(grpc.RpcError) as caught:
            wire.channel.unary_unary(path)(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_without_sql_the_query_is_unimplemented():
    with devserver(sql=False) as server, WireClient(server.endpoint) as wire:
        with pytest.raises(grpc.RpcError) as caught:
            wire.call("SQLQuery", pb.SQLQueryParams(query="select 1"))
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert wire.call("Info").major_version == 5


def test_a_database_that_goes_away_is_unavailable_not_unknown():
    with devserver() as server, WireClient(server.endpoint) as wire:
        raw = uuid.uuid4().bytes
        wire.call("Create", pb.CreateParams(uuid=raw, collection="gone"))
        server.sql_as_owner(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where pid <> pg_backend_pid() and usename is not null"
        )
        outcomes = set()
        for _ in range(20):
            try:
                outcomes.add(wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw)).version_major)
            except grpc.RpcError as error:
                outcomes.add(error.code())
        assert outcomes <= {10, grpc.StatusCode.UNAVAILABLE}
        assert wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw)).version_major == 10, "and it recovers"
