"""The fault plan: exactly the calls that were asked for go wrong, in exactly the way that was asked for."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
import uuid
import weakref

import grpc
import psycopg
import pytest
from google.protobuf.message import DecodeError

from airflow_provider_btrdb.devserver import arrow
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.subscriptions import Subscriber
from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.faults import (
    Answer,
    Corrupt,
    CutAfter,
    Delay,
    Fault,
    FaultPlan,
    LoseReply,
    Refuse,
)
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


@pytest.fixture(scope="module")
def server():
    with devserver(faults=FaultPlan(Fault("FaultInject", Answer(500, "from the start")))) as running:
        yield running


@pytest.fixture(scope="module")
def wire(server):
    with WireClient(server.endpoint) as client:
        yield client


@pytest.fixture
def stream(wire):
    raw = uuid.uuid4().bytes
    wire.call("Create", pb.CreateParams(uuid=raw, collection=f"faults/{raw.hex()}"))
    values = [pb.RawPoint(time=n, value=1.0) for n in range(12_000)]
    wire.call("Insert", pb.InsertParams(uuid=raw, values=values))
    return raw


def status(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def raw_values(stream):
    return pb.RawValuesParams(uuid=stream, start=0, end=20_000)


def test_a_plan_from_the_start(wire):
    assert wire.call("FaultInject").stat.code == 500
    assert wire.call("FaultInject").stat.code == 424


def test_refuse_the_second_and_third_call(wire, server):
    refuse = Refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
    with server.faults.inject("Info", refuse, first=2, last=3) as fault:
        assert wire.call("Info").major_version == 5
        for _ in range(2):
            assert status(lambda: wire.call("Info")) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
        assert wire.call("Info").major_version == 5
        assert (fault.seen, fault.fired) == (4, 2)
    assert wire.call("Info").major_version == 5
    assert fault.seen == 4


def test_answer_with_a_stat(wire, server, stream):
    with server.faults.inject("Insert", Answer(419, "degraded")) as fault:
        answer = wire.call("Insert", pb.InsertParams(uuid=stream, values=[pb.RawPoint(time=1)]))
        assert (answer.stat.code, answer.stat.msg) == (419, "(419: degraded)")
    with server.faults.inject("RawValues", Answer(419)):
        (page,) = wire.call("RawValues", raw_values(stream))
        assert page.stat.code == 419
    assert fault.fired == 1


def test_delay(wire, server):
    with server.faults.inject("Info", Delay(0.3)) as fault:
        started = time.monotonic()
        assert wire.call("Info").major_version == 5
        assert time.monotonic() - started >= 0.3
    assert fault.fired == 1


def test_a_deadline_that_a_delay_outlasts(wire, server):
    with server.faults.inject("Info", Delay(30)):
        call = wire.channel.unary_unary(METHODS["Info"].path)
        assert status(lambda: call(b"", timeout=0.2))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_lost_reply_has_committed(wire, server, stream):
    with server.faults.inject("Insert", LoseReply()) as fault:
        insert = pb.InsertParams(uuid=stream, values=[pb.RawPoint(time=50_000)])
        code, _ = status(lambda: wire.call("Insert", insert))
        assert code is grpc.StatusCode.UNAVAILABLE
    assert fault.fired == 1
    answer = wire.call("Nearest", pb.NearestParams(uuid=stream, time=50_000))
    assert (answer.version_major, answer.value.time) == (12, 50_000)


def test_a_lost_reply_of_create(wire, server):
    raw = uuid.uuid4().bytes
    request = pb.CreateParams(uuid=raw, collection=f"faults/{raw.hex()}")
    with server.faults.inject("Create", LoseReply(grpc.StatusCode.DEADLINE_EXCEEDED, "late")):
        assert status(lambda: wire.call("Create", request)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "late")
        assert wire.call("Create", request).stat.code == 417


@pytest.mark.parametrize("pages", [0, 1, 2, 3])
def test_cut_a_stream(wire, server, stream, pages):
    with server.faults.inject("RawValues", CutAfter(pages)) as fault:
        call = wire.start("RawValues", raw_values(stream))
        got = []
        with pytest.raises(grpc.RpcError) as caught:
            got.extend(page for page in call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [len(page.values) for page in got] == [5_000, 5_000, 2_000][:pages]
    assert fault.fired == 1


def test_corrupt_pages(wire, server, stream):
    with server.faults.inject("RawValues", Corrupt("version", message=2)):
        pages = wire.call("RawValues", raw_values(stream))
        assert [page.version_major for page in pages] == [11, 12, 11]
    with server.faults.inject("RawValues", Corrupt("status")):
        pages = wire.call("RawValues", raw_values(stream))
        assert [page.HasField("stat") for page in pages] == [True, False, False]
        assert pages[0].stat == pb.Status()
    with server.faults.inject("StreamInfo", Corrupt("uuid")) as fault:
        answer = wire.call("StreamInfo", pb.StreamInfoParams(uuid=stream))
        assert answer.descriptor.uuid == bytes(byte ^ 0xFF for byte in stream)
        assert fault.fired == 1
    with server.faults.inject("Info", Corrupt("nothing")):
        assert wire.call("Info") == pb.InfoResponse()
    with server.faults.inject("Info", Corrupt("garbage")):
        data = wire.channel.unary_unary(METHODS["Info"].path)(b"", timeout=10)
        with pytest.raises(DecodeError):
            pb.InfoResponse.FromString(data)


def test_faults_of_one_method_leave_others_alone(wire, server):
    with server.faults.inject("Create", Refuse()):
        assert wire.call("Info").major_version == 5


def test_a_plan_must_make_sense():
    with pytest.raises(ValueError, match="no method"):
        Fault("Nonsense", Refuse())
    with pytest.raises(ValueError, match="counted from 1"):
        Fault("Info", Refuse(), first=0)
    with pytest.raises(ValueError, match="counted from 1"):
        Fault("Info", Refuse(), first=3, last=2)


def test_the_call_log(wire, server):
    server.calls.clear()
    wire.call("Info")
    wire.channel.unary_unary(METHODS["Info"].path)(
        b"", metadata=[("x-api-client", "me"), ("authorization", "Bearer k")]
    )
    list(wire.start("ListCollections", pb.ListCollectionsParams(), timeout=30))
    assert server.calls.counts() == {"Info": 2, "ListCollections": 1}
    assert server.calls.without_deadline() == ["Info"]
    first, second = server.calls.records("Info")
    assert 0 < first.seconds_left < 70
    assert second.metadata["x-api-client"] == "me"
    assert "authorization" not in second.metadata


def test_a_write_whose_caller_goes_away_is_finished(wire, server, stream):
    """Many callers give up at once; what is committed is committed as a whole, and the stream goes on."""
    insert = wire.channel.unary_unary(METHODS["Insert"].path, pb.InsertParams.SerializeToString)
    calls = [
        insert.future(pb.InsertParams(uuid=stream, values=[pb.RawPoint(time=100_000 + n)] * 3), timeout=30)
        for n in range(50)
    ]
    for call in calls[::2]:
        call.cancel()
    for call in calls[1::2]:
        call.result()
    info = wire.call("StreamInfo", pb.StreamInfoParams(uuid=stream, omit_descriptor=True))
    # Of that version: what nobody waits for may be committed at any later time.
    then = pb.RawValuesParams(uuid=stream, start=100_000, end=200_000, version_major=info.version_major)
    pages = wire.call("RawValues", then)
    times = [point.time for page in pages for point in page.values]
    assert len(times) == 3 * (info.version_major - 11)
    assert set(times) >= {100_000 + n for n in range(1, 50, 2)}


def test_a_write_goes_on_when_its_caller_is_gone(wire, server, stream):
    insert = wire.channel.unary_unary(METHODS["Insert"].path, pb.InsertParams.SerializeToString)
    arrived = server.calls.count("Insert")
    with psycopg.connect(server.dsn) as blocker:
        blocker.execute("LOCK TABLE btrdb.op")
        call = insert.future(pb.InsertParams(uuid=stream, values=[pb.RawPoint(time=99_999)]), timeout=30)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while server.calls.count("Insert") == arrived or server.sql_as_owner(waiting) == [(0,)]:
            time.sleep(0.01)
        call.cancel()
        time.sleep(0.2)
    flushed = wire.call("Flush", pb.FlushParams(uuid=stream))
    assert flushed.version_major == 12
    assert wire.call("Nearest", pb.NearestParams(uuid=stream, time=99_999)).value.time == 99_999


def test_a_create_whose_caller_is_gone_harms_no_other_of_its_commit(wire, server):
    create = wire.channel.unary_unary(
        METHODS["Create"].path, pb.CreateParams.SerializeToString, pb.CreateResponse.FromString
    )
    requests = [pb.CreateParams(uuid=uuid.uuid4().bytes, collection=f"together/{n}") for n in range(6)]
    arrived = server.calls.count("Create")
    with psycopg.connect(server.dsn) as blocker:
        blocker.execute("LOCK TABLE btrdb.stream")
        calls = [create.future(request, timeout=60) for request in requests]
        while server.calls.count("Create") < arrived + len(calls):
            time.sleep(0.01)
        calls[2].cancel()
        time.sleep(0.2)
    assert [call.result() for call in calls[:2] + calls[3:]] == [pb.CreateResponse()] * 5
    codes = [wire.call("Create", request).stat.code for request in requests]
    assert codes == [417] * 6, "the one that nobody waits for is made as well"


def test_a_write_whose_caller_is_gone_is_finished_before_the_server_ends(tmp_path):
    raw = uuid.uuid4().bytes
    with contextlib.ExitStack() as stack:
        with devserver(data=tmp_path / "data") as server, WireClient(server.endpoint) as wire:
            wire.call("Create", pb.CreateParams(uuid=raw, collection="last"))
            blocker = stack.enter_context(psycopg.connect(server.dsn))
            blocker.execute("LOCK TABLE btrdb.op")
            insert = wire.channel.unary_unary(METHODS["Insert"].path, pb.InsertParams.SerializeToString)
            call = insert.future(pb.InsertParams(uuid=raw, values=[pb.RawPoint(time=1)]), timeout=30)
            while server.sql_as_owner("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
                time.sleep(0.01)
            call.cancel()
            threading.Timer(3.0, blocker.rollback).start()
        with devserver(data=tmp_path / "data") as server, WireClient(server.endpoint) as wire:
            assert wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw)).version_major == 11


def test_new_calls_are_refused_while_old_ones_come_to_their_end():
    raw = uuid.uuid4().bytes
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(devserver(limits=Limits(drain_seconds=100)))
        with WireClient(server.endpoint) as wire:
            wire.call("Create", pb.CreateParams(uuid=raw, collection="slow"))
            with psycopg.connect(server.dsn) as blocker:
                blocker.execute("LOCK TABLE btrdb.op")
                insert = wire.channel.unary_unary(METHODS["Insert"].path, pb.InsertParams.SerializeToString)
                slow = insert.future(pb.InsertParams(uuid=raw, values=[pb.RawPoint(time=1)]), timeout=100)
                while not server.calls.count("Insert"):
                    time.sleep(0.01)
                ending = threading.Thread(target=stack.close)
                ending.start()
                refused = (grpc.StatusCode.UNKNOWN, "")
                while refused[0] is grpc.StatusCode.UNKNOWN:  # the answer of a server that serves
                    refused = status(lambda: wire.call("StreamInfo", pb.StreamInfoParams(uuid=bytes(16))))
                assert refused == (grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
                assert not slow.done()
            assert pb.InsertResponse.FromString(slow.result()).version_major == 11
            ending.join()


def test_an_error_of_our_own_says_nothing_of_python(wire, stream, monkeypatch, caplog):
    def broken(rows):
        raise RuntimeError("the secret of Python")

    monkeypatch.setattr(arrow, "window_page", broken)
    request = pb.WindowsParams(uuid=stream, start=0, end=10, width=1)
    assert status(lambda: wire.call("ArrowWindows", request)) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "the secret of Python" in caplog.text, "the owner of the server finds it in the log"


def test_a_subscriber_who_has_left_is_forgotten():
    with devserver() as server, WireClient(server.endpoint) as wire:
        raw, over = uuid.uuid4().bytes, threading.Event()
        wire.call("Create", pb.CreateParams(uuid=raw, collection="left"))

        def updates():
            yield pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[raw])
            over.wait()

        call = wire.start("Subscribe", updates())
        call.initial_metadata()
        # Told by its stream: subscribers of other tests come and go in this process.
        (subscriber,) = [
            weakref.ref(one)
            for one in gc.get_objects()
            if type(one) is Subscriber and uuid.UUID(bytes=raw) in one.uuids  # isinstance() would wake lazy imports
        ]
        call.cancel()
        over.set()
        deadline = time.monotonic() + 120
        while subscriber() is not None:
            assert time.monotonic() < deadline, "it is still kept"
            time.sleep(0.05)
            gc.collect()


def test_a_subscriber_that_keeps_up_may_receive_any_amount():
    with devserver(limits=Limits(subscriber_bytes=20_000)) as server, WireClient(server.endpoint) as wire:
        raw, over = uuid.uuid4().bytes, threading.Event()
        wire.call("Create", pb.CreateParams(uuid=raw, collection="quick"))

        def updates():
            yield pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[raw])
            over.wait()

        call = wire.start("Subscribe", updates())
        call.initial_metadata()
        received = 0
        while received < 100_000:
            wire.call("Insert", pb.InsertParams(uuid=raw, values=[pb.RawPoint(time=n) for n in range(500)]))
            received += len(next(call).arrow_bytes)
        call.cancel()
        over.set()


def test_a_subscriber_that_does_not_keep_up_is_cut_off():
    with devserver(limits=Limits(subscriber_bytes=20_000)) as server, WireClient(server.endpoint) as wire:
        raw = uuid.uuid4().bytes
        wire.call("Create", pb.CreateParams(uuid=raw, collection="slow"))
        over = threading.Event()

        def updates():
            yield pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[raw])
            over.wait()

        call = wire.start("Subscribe", updates())
        call.initial_metadata()
        values = [pb.RawPoint(time=n, value=1.0) for n in range(50_000)]
        for _ in range(3):
            wire.call("Insert", pb.InsertParams(uuid=raw, values=values))
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        over.set()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Changes" in caught.value.details()
