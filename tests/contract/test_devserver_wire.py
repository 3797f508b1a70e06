"""What the development server puts on the wire, message by message: the decisions of docs/devserver.md."""

from __future__ import annotations

import itertools
import threading
import uuid

import grpc
import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from airflow_provider_btrdb.protocol import MAX_TIME_NS, METHODS, MIN_TIME_NS, SERVICE
from airflow_provider_btrdb.testing.fixtures import btrdb_devserver  # noqa: F401
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


@pytest.fixture(scope="module")
def wire(btrdb_devserver):  # noqa: F811
    with WireClient(btrdb_devserver.endpoint) as client:
        yield client


@pytest.fixture
def collection():
    return f"wire/{uuid.uuid4().hex}"


@pytest.fixture
def stream(wire, collection):
    return create(wire, collection, name="s")


def pairs(**values):
    return [pb.KeyOptValue(key=key, val=None if v is None else pb.OptValue(value=v)) for key, v in values.items()]


def create(wire, collection, annotations=None, **tags):
    raw = uuid.uuid4().bytes
    answer = wire.call(
        "Create",
        pb.CreateParams(uuid=raw, collection=collection, tags=pairs(**tags), annotations=pairs(**(annotations or {}))),
    )
    assert answer == pb.CreateResponse()
    return raw


def insert(wire, raw, *points, policy=pb.NEVER):
    values = [pb.RawPoint(time=time, value=value) for time, value in points]
    answer = wire.call("Insert", pb.InsertParams(uuid=raw, values=values, merge_policy=policy))
    assert not answer.HasField("stat"), answer.stat
    return answer.version_major


def read(wire, raw, start=MIN_TIME_NS, end=MAX_TIME_NS - 1, version=0):
    pages = wire.call("RawValues", pb.RawValuesParams(uuid=raw, start=start, end=end, version_major=version))
    return [(point.time, point.value) for page in pages for point in page.values]


def info(wire, raw):
    return wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw))


def stat(answer):
    (message,) = answer if isinstance(answer, list) else [answer]
    assert type(message)(stat=message.stat) == message, "a refusal carries nothing but its stat"
    return message.stat.code, message.stat.msg


def refused(wire, method, request):
    return stat(wire.call(method, request))[0]


# ---------- the server itself


def test_info_is_a_proxied_version_5(wire, btrdb_devserver):  # noqa: F811
    answer = wire.call("Info")
    assert not answer.HasField("stat")
    assert not answer.HasField("mash")
    assert (answer.major_version, list(answer.proxy.proxy_endpoints)) == (5, [btrdb_devserver.endpoint])
    assert answer.minor_version >= 30
    assert answer.build.startswith(f"5.{answer.minor_version}.")


def test_fault_injection_is_never_over_the_wire(wire):
    assert refused(wire, "FaultInject", pb.FaultInjectParams(type=1)) == 424


def test_health(btrdb_devserver):  # noqa: F811
    with grpc.insecure_channel(btrdb_devserver.endpoint) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_every_method(btrdb_devserver):  # noqa: F811
    with grpc.insecure_channel(btrdb_devserver.endpoint) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        ]
        services, file = list(stub.ServerReflectionInfo(iter(ask), timeout=10))
    names = {service.name for service in services.list_services_response.service}
    assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    (text,) = file.file_descriptor_response.file_descriptor_proto
    described = descriptor_pb2.FileDescriptorProto.FromString(text)
    assert described.package == "v5api"
    assert {method.name for method in described.service[0].method} == set(METHODS)


def test_an_unknown_method_is_unimplemented(btrdb_devserver):  # noqa: F811
    with grpc.insecure_channel(btrdb_devserver.endpoint) as channel:
        call = channel.unary_unary(f"/{SERVICE}/GetCompactionConfig")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# ---------- metadata


def test_a_fresh_stream(wire, collection):
    raw = create(wire, collection, annotations={"a": "", "b": None, "c": "x"}, name="n")
    answer = info(wire, raw)
    assert not answer.HasField("stat")
    assert (answer.version_major, answer.version_minor) == (10, 0)
    assert answer.descriptor.property_version == 1
    assert answer.descriptor.collection == collection
    assert list(answer.descriptor.tags) == pairs(name="n", unit="", ingress="", distiller="")
    assert list(answer.descriptor.annotations) == pairs(a="", b=None, c="x")
    assert [pair.HasField("val") for pair in answer.descriptor.annotations] == [True, False, True]


def test_stream_info_may_omit_one_half(wire, stream):
    answer = wire.call("StreamInfo", pb.StreamInfoParams(uuid=stream, omit_descriptor=True))
    assert answer.version_major == 10
    assert answer.descriptor == pb.StreamDescriptor(uuid=stream)
    answer = wire.call("StreamInfo", pb.StreamInfoParams(uuid=stream, omit_version=True))
    assert (answer.version_major, answer.descriptor.property_version) == (0, 1)
    both = pb.StreamInfoParams(uuid=stream, omit_version=True, omit_descriptor=True)
    assert refused(wire, "StreamInfo", both) == 421


def test_stream_info_of_an_unknown_stream_is_a_grpc_status(wire):
    with pytest.raises(grpc.RpcError) as caught:
        info(wire, uuid.uuid4().bytes)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details() == "[404] stream does not exist"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"collection": ""}, 407),
        ({"collection": "x" * 256}, 407),
        ({"collection": "a\0b"}, 407),
        ({"collection": "ä" * 128}, 407),
        ({"tags": pairs(chickens="x")}, 408),
        ({"tags": pairs(name="x" * 256)}, 409),
        ({"tags": pairs(name="a\0")}, 409),
        ({"annotations": [pb.KeyOptValue(key="")]}, 408),
        ({"annotations": [pb.KeyOptValue(key="k" * 256)]}, 408),
        ({"annotations": pairs(k="v" * 256)}, 409),
        ({"annotations": [*pairs(k="v"), *[pb.KeyOptValue(key=f"{i:0255}") for i in range(9000)]]}, 422),
        ({"uuid": b"short"}, 421),
    ],
)
def test_create_refuses(wire, collection, change, code):
    request = {"uuid": uuid.uuid4().bytes, "collection": collection, "tags": pairs(name="n")} | change
    assert refused(wire, "Create", pb.CreateParams(**request)) == code


@pytest.mark.parametrize("collection_name", ["x" * 255, "trailing/", "/", " ", "päth/ü", "a\nb", "%_\\'\""])
def test_create_accepts(wire, collection, collection_name):
    name = collection[-20:]
    key = 'Any text: "quoted", back\\slash, ä, =>'
    raw = create(wire, collection_name, annotations={key: 'v"\\,=>NULL'}, name=name, unit="u" * 255)
    answer = info(wire, raw).descriptor
    assert answer.collection == collection_name
    assert list(answer.annotations) == pairs(**{key: 'v"\\,=>NULL'})


def test_create_conflicts(wire, collection):
    raw = create(wire, collection, name="n", unit="V")
    again = pb.CreateParams(uuid=raw, collection=collection, tags=pairs(name="n", unit="V"))
    assert stat(wire.call("Create", again)) == (417, "a stream already exists with that uuid")
    again.collection += "/other"
    assert refused(wire, "Create", again) == 417
    taken = pb.CreateParams(uuid=uuid.uuid4().bytes, collection=collection, tags=pairs(unit="V", name="n"))
    assert refused(wire, "Create", taken) == 418
    create(wire, collection, name="n", unit="A")


def test_creates_that_arrive_together_each_get_their_own_answer(wire, collection):
    raws = [uuid.uuid4().bytes for _ in range(60)]
    answers: dict[int, int] = {}

    def run(index):
        request = pb.CreateParams(uuid=raws[index], collection=collection, tags=pairs(name=f"n{index % 40}"))
        answers[index] = wire.call("Create", request).stat.code

    threads = [threading.Thread(target=run, args=(index,)) for index in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = list(answers.values())
    assert codes.count(0) == 40
    assert codes.count(418) == 20
    (page,) = wire.call("LookupStreams", pb.LookupStreamsParams(collection=collection))
    assert {d.uuid for d in page.results} == {raws[index] for index, code in answers.items() if code == 0}


def test_of_the_same_create_sent_many_times_at_once_one_is_made(wire, collection):
    request = pb.CreateParams(uuid=uuid.uuid4().bytes, collection=collection, tags=pairs(name="n"))
    send = wire.channel.unary_unary(
        METHODS["Create"].path, pb.CreateParams.SerializeToString, pb.CreateResponse.FromString
    )
    # The others keep the server busy, so that some of the fifty meet in one commit.
    others = [pb.CreateParams(uuid=uuid.uuid4().bytes, collection=f"{collection}/{n}") for n in range(20)]
    calls = [send.future(one, timeout=60) for one in [*others, *[request] * 50]]
    codes = [call.result().stat.code for call in calls]
    assert codes[:20] == [0] * 20
    assert sorted(codes[20:]) == [0, *[417] * 49]


def test_set_tags(wire, collection, stream):
    other = create(wire, collection, name="other")
    assert wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=stream, tags=pairs(unit="V"))) == (
        pb.SetStreamTagsResponse()
    )
    descriptor = info(wire, stream).descriptor
    assert list(descriptor.tags) == pairs(name="s", unit="V", ingress="", distiller="")
    assert (descriptor.collection, descriptor.property_version) == (collection, 2)
    wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=stream, collection=collection + "/b", remove=["unit"]))
    descriptor = info(wire, stream).descriptor
    assert list(descriptor.tags) == pairs(name="s", unit="", ingress="", distiller="")
    assert (descriptor.collection, descriptor.property_version) == (collection + "/b", 3)
    for change, code in [
        ({"expected_property_version": 2}, 423),
        ({"tags": pairs(fruit="x")}, 408),
        ({"remove": ["fruit"]}, 408),
        ({"tags": pairs(name="x" * 256)}, 409),
        ({"collection": "x" * 256}, 407),
        ({"collection": collection, "tags": pairs(name="other")}, 418),
    ]:
        assert refused(wire, "SetStreamTags", pb.SetStreamTagsParams(uuid=stream, **change)) == code
    assert info(wire, stream).descriptor == descriptor
    assert info(wire, other).descriptor.property_version == 1
    wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=stream, expected_property_version=3))
    assert info(wire, stream).descriptor.property_version == 4
    unknown = pb.SetStreamTagsParams(uuid=uuid.uuid4().bytes)
    assert stat(wire.call("SetStreamTags", unknown)) == (404, "(404: stream does not exist)")


def test_set_annotations(wire, collection):
    raw = create(wire, collection, annotations={"keep": "1", "drop": "2", "null": "3"}, name="s")
    changes = pairs(null=None, new="4", drop="5")
    wire.call(
        "SetStreamAnnotations",
        pb.SetStreamAnnotationsParams(
            uuid=raw, expected_property_version=1, changes=changes, removals=["drop", "missing"]
        ),
    )
    descriptor = info(wire, raw).descriptor
    assert list(descriptor.annotations) == pairs(keep="1", new="4", null=None)
    assert descriptor.property_version == 2
    stale = pb.SetStreamAnnotationsParams(uuid=raw, expected_property_version=1)
    assert stat(wire.call("SetStreamAnnotations", stale)) == (
        423,
        "(423: stream annotation version does not match)",
    )
    unknown = pb.SetStreamAnnotationsParams(uuid=uuid.uuid4().bytes)
    assert refused(wire, "SetStreamAnnotations", unknown) == 404


def test_lookup(wire, collection):
    made = {
        name: create(wire, coll, annotations=annotations, name=name, unit=unit)
        for name, coll, unit, annotations in [
            ("b", collection, "V", {"site": "n", "null": None}),
            ("a", collection, "V", {"site": "s"}),
            ("c", collection + "2", "A", {}),
            ("d", collection + "/sub", "A", {"site": ""}),
        ]
    }

    def names(**request):
        pages = wire.call("LookupStreams", pb.LookupStreamsParams(**request))
        return [{v: k for k, v in made.items()}[d.uuid] for page in pages for d in page.results]

    everything = {"collection": collection, "is_collection_prefix": True}
    assert names(collection=collection) == ["a", "b"]
    assert names(**everything) == ["a", "b", "d", "c"], "sorted by collection, then name"
    assert names(collection=collection.upper()) == []
    assert names(**everything, tags=pairs(unit="A")) == ["d", "c"]
    assert names(**everything, tags=pairs(unit="A", name="c")) == ["c"]
    assert names(**everything, tags=pairs(unit=None)) == ["a", "b", "d", "c"]
    assert names(**everything, annotations=pairs(site=None)) == ["a", "b", "d"]
    assert names(**everything, annotations=pairs(null=None)) == ["b"]
    assert names(**everything, annotations=pairs(site="n")) == ["b"]
    assert names(**everything, annotations=pairs(site="")) == ["d"]
    assert names(**everything, annotations=pairs(site="n", other=None)) == []
    assert names(collection="") == []
    assert set(made.values()) <= {
        d.uuid
        for page in wire.call("LookupStreams", pb.LookupStreamsParams(is_collection_prefix=True))
        for d in page.results
    }
    assert stat(wire.call("LookupStreams", pb.LookupStreamsParams(tags=pairs(chickens="x")))) == (
        408,
        '(408: tag key "chickens" is invalid)',
    )


def test_an_empty_listing_is_one_empty_message(wire, collection):
    assert wire.call("LookupStreams", pb.LookupStreamsParams(collection=collection)) == [pb.LookupStreamsResponse()]
    assert wire.call("ListCollections", pb.ListCollectionsParams(prefix=collection)) == [pb.ListCollectionsResponse()]
    assert wire.call("SQLQuery", pb.SQLQueryParams(query="select 1 where false")) == [pb.SQLQueryResponse()]


def test_listings_come_in_pages(wire, collection):
    numbers = range(1_234)
    send = wire.channel.unary_unary(METHODS["Create"].path, pb.CreateParams.SerializeToString)
    requests = [
        pb.CreateParams(uuid=uuid.uuid4().bytes, collection=f"{collection}/{n:05}", tags=pairs(name="n"))
        for n in numbers
    ]
    calls = [send.future(request, timeout=60) for request in requests]
    assert {call.result() for call in calls} == {b""}
    expected = [f"{collection}/{n:05}" for n in numbers]
    pages = wire.call("LookupStreams", pb.LookupStreamsParams(collection=collection, is_collection_prefix=True))
    assert [len(page.results) for page in pages] == [1_000, 234]
    assert [d.collection for page in pages for d in page.results] == expected
    pages = wire.call("ListCollections", pb.ListCollectionsParams(prefix=collection))
    assert [len(page.collections) for page in pages] == [1_000, 234]
    assert [name for page in pages for name in page.collections] == expected


def test_collections_are_those_with_a_stream(wire, collection):
    raw = create(wire, collection + "/a", name="1")
    create(wire, collection + "/a", name="2")
    create(wire, collection + "b", name="1")

    def listed():
        (page,) = wire.call("ListCollections", pb.ListCollectionsParams(prefix=collection))
        return list(page.collections)

    assert listed() == [collection + "/a", collection + "b"]
    wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=raw, collection=collection + "z"))
    assert listed() == [collection + "/a", collection + "b", collection + "z"]
    wire.call("Obliterate", pb.ObliterateParams(uuid=raw))
    assert listed() == [collection + "/a", collection + "b"]


def test_metadata_usage(wire, collection):
    create(wire, collection, annotations={"a": "1", "b": "1"}, name="1")
    create(wire, collection + "/x", annotations={"a": "2"}, name="2")
    answer = wire.call("GetMetadataUsage", pb.MetadataUsageParams(prefix=collection))
    assert [(count.key, count.count) for count in answer.annotations] == [("a", 2), ("b", 1)]
    assert [(count.key, count.count) for count in answer.tags] == [
        ("name", 0),
        ("unit", 0),
        ("ingress", 0),
        ("distiller", 0),
    ]


def test_an_obliterated_stream_is_gone_for_good(wire, collection, stream):
    insert(wire, stream, (1, 1.0))
    assert wire.call("Obliterate", pb.ObliterateParams(uuid=stream)) == pb.ObliterateResponse()
    assert refused(wire, "Obliterate", pb.ObliterateParams(uuid=stream)) == 404
    request = pb.RawValuesParams(uuid=stream, start=0, end=10)
    assert refused(wire, "RawValues", request) == 404
    again = pb.CreateParams(uuid=stream, collection=collection, tags=pairs(name="s"))
    assert refused(wire, "Create", again) == 429
    assert read(wire, create(wire, collection, name="s")) == []


# ---------- points


def test_an_empty_read_is_one_page_with_the_version(wire, stream):
    (page,) = wire.call("RawValues", pb.RawValuesParams(uuid=stream, start=0, end=10))
    assert page == pb.RawValuesResponse(version_major=10)
    for method, request in [
        ("Windows", pb.WindowsParams(uuid=stream, start=0, end=10, width=3)),
        ("AlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=0, end=10, point_width=1)),
        ("Changes", pb.ChangesParams(uuid=stream)),
    ]:
        (page,) = wire.call(method, request)
        assert page == METHODS[method].response(version_major=10)
    for method, request, columns in [
        ("ArrowRawValues", pb.ArrowRawValuesParams(uuid=stream, start=0, end=10), 2),
        ("ArrowWindows", pb.WindowsParams(uuid=stream, start=0, end=10, width=3), 6),
        ("ArrowAlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=0, end=10, point_width=1), 6),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[stream, stream], start=0, end=10), 3),
    ]:
        (page,) = wire.call(method, request)
        assert not page.HasField("stat")
        table = pa.ipc.open_stream(page.arrow_bytes).read_all()
        assert (table.num_rows, table.num_columns) == (0, columns)


def test_pages_have_five_thousand_points_and_arrow_fifty_thousand(wire, stream):
    for first in range(0, 120_000, 40_000):
        table = arrow_table(range(first, first + 40_000), np.arange(40_000.0))
        wire.call("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=table))
    pages = wire.call("RawValues", pb.RawValuesParams(uuid=stream, start=0, end=12_345))
    assert [len(page.values) for page in pages] == [5_000, 5_000, 2_345]
    assert {page.version_major for page in pages} == {13}
    assert [p.time for page in pages for p in page.values] == list(range(12_345))
    pages = wire.call("ArrowRawValues", pb.ArrowRawValuesParams(uuid=stream, start=0, end=120_000))
    assert [pa.ipc.open_stream(page.arrow_bytes).read_all().num_rows for page in pages] == [50_000, 50_000, 20_000]
    pages = wire.call("AlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=0, end=10_001))
    assert [len(page.values) for page in pages] == [5_000, 5_000, 1]


def arrow_table(times, values, **columns):
    table = pa.table(
        {
            "time": pa.array(list(times), pa.int64()).cast(pa.timestamp("ns", "UTC")),
            "value": pa.array(values),
            **columns,
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_every_insert_is_a_version_and_an_empty_one_is_none(wire, stream):
    assert insert(wire, stream, (1, 1.0)) == 11
    assert insert(wire, stream) == 11
    assert insert(wire, stream, (1, 1.0), policy=pb.RETAIN) == 12, "also if every point is dropped"
    answer = wire.call("Flush", pb.FlushParams(uuid=stream))
    assert (answer.version_major, answer.version_minor) == (12, 0)
    assert wire.call("Delete", pb.DeleteParams(uuid=stream, start=5, end=6)).version_major == 13
    assert wire.call("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=arrow_table([], [0.0][:0]))) == (
        pb.InsertResponse(version_major=13)
    )


def test_duplicates_stay_in_the_order_of_insertion(wire, stream):
    insert(wire, stream, (5, 3.0), (5, 1.0), (4, 9.0))
    insert(wire, stream, (5, 2.0), (5, 0.0))
    assert read(wire, stream) == [(4, 9.0), (5, 3.0), (5, 1.0), (5, 2.0), (5, 0.0)]
    forward = wire.call("Nearest", pb.NearestParams(uuid=stream, time=5))
    backward = wire.call("Nearest", pb.NearestParams(uuid=stream, time=6, backward=True))
    assert (forward.value.value, backward.value.value) == (3.0, 0.0)


def test_retain_keeps_the_first_and_replace_the_last_of_one_batch(wire, collection):
    for policy, expected in [(pb.RETAIN, 1.0), (pb.REPLACE, 3.0)]:
        raw = create(wire, collection, name=str(policy))
        insert(wire, raw, (5, 1.0), (5, 2.0), (5, 3.0), policy=policy)
        assert read(wire, raw) == [(5, expected)]


def test_points_at_the_ends_of_time(wire, stream):
    insert(wire, stream, (MIN_TIME_NS, 1.0), (MAX_TIME_NS - 2, 2.0), (0, 0.0))
    assert read(wire, stream) == [(MIN_TIME_NS, 1.0), (0, 0.0), (MAX_TIME_NS - 2, 2.0)]
    request = pb.AlignedWindowsParams(uuid=stream, start=MIN_TIME_NS, end=MAX_TIME_NS - 1, point_width=63)
    (page,) = wire.call("AlignedWindows", request)
    assert [(row.time, row.count) for row in page.values] == [(-(2**63), 1)]
    request = pb.WindowsParams(uuid=stream, start=MIN_TIME_NS, end=MAX_TIME_NS - 1, width=2**61)
    (page,) = wire.call("Windows", request)
    assert [(row.time, row.count) for row in page.values] == [(MIN_TIME_NS, 2)]
    request.width = 2**63
    (page,) = wire.call("Windows", request)
    assert list(page.values) == []


@pytest.mark.parametrize(
    ("points", "code"),
    [
        ([(MIN_TIME_NS - 1, 1.0)], 413),
        ([(MAX_TIME_NS - 1, 1.0)], 413),
        ([(1, 1.0), (2, float("nan"))], 425),
        ([(1, 1.0), (2, float("-inf"))], 425),
        ([(n, 1.0) for n in range(100_001)], 414),
    ],
)
def test_a_bad_insert_is_refused_as_a_whole(wire, stream, points, code):
    values = [pb.RawPoint(time=time, value=value) for time, value in points]
    assert refused(wire, "Insert", pb.InsertParams(uuid=stream, values=values)) == code
    table = arrow_table([time for time, _ in points], [value for _, value in points])
    assert refused(wire, "ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=table)) == code
    assert info(wire, stream).version_major == 10


def test_bad_requests_for_points(wire, stream):
    unknown = uuid.uuid4().bytes
    for method, request, code in [
        ("Insert", pb.InsertParams(uuid=unknown, values=[pb.RawPoint()]), 404),
        ("Insert", pb.InsertParams(uuid=unknown), 404),
        ("Insert", pb.InsertParams(uuid=b"x"), 421),
        ("Insert", pb.InsertParams(uuid=stream, merge_policy=9), 421),
        ("Insert", pb.InsertParams(uuid=stream, rounding=pb.RoundSpec(bits=53)), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=b"nonsense"), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=arrow_table([1], ["x"])), 438),
        ("ArrowInsert", pb.ArrowInsertParams(uuid=stream, arrow_bytes=arrow_table([1], [1.0], z=[1])), 438),
        (
            "ArrowInsert",
            pb.ArrowInsertParams(uuid=stream, arrow_bytes=arrow_table([1], pa.array([None], "double"))),
            425,
        ),
        ("Delete", pb.DeleteParams(uuid=stream, start=5, end=5), 413),
        ("Delete", pb.DeleteParams(uuid=stream, start=MIN_TIME_NS - 1, end=5), 413),
        ("Delete", pb.DeleteParams(uuid=unknown, start=1, end=5), 404),
        ("Flush", pb.FlushParams(uuid=unknown), 404),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=0, end=MAX_TIME_NS), 413),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=2, end=1), 413),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=1, end=2, version_major=11), 450),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=1, end=2, version_major=9), 450),
        ("RawValues", pb.RawValuesParams(uuid=stream, start=1, end=2, version_major=2**64 - 1), 450),
        ("RawValues", pb.RawValuesParams(uuid=unknown, start=1, end=2), 404),
        ("ArrowRawValues", pb.ArrowRawValuesParams(uuid=stream, start=1, end=2, template_bytes=b"x"), 438),
        ("AlignedWindows", pb.AlignedWindowsParams(uuid=stream, start=1, end=2, point_width=64), 415),
        ("Windows", pb.WindowsParams(uuid=stream, start=1, end=2, width=0), 415),
        ("Windows", pb.WindowsParams(uuid=stream, start=1, end=2, width=2**63 + 1), 415),
        ("Windows", pb.WindowsParams(uuid=stream, start=1, end=2, width=1, depth=64), 415),
        ("Nearest", pb.NearestParams(uuid=stream, time=MAX_TIME_NS), 413),
        ("Nearest", pb.NearestParams(uuid=stream, time=0), 401),
        ("Nearest", pb.NearestParams(uuid=unknown, time=0), 404),
        ("Changes", pb.ChangesParams(uuid=stream, from_major=11, to_major=10), 427),
        ("Changes", pb.ChangesParams(uuid=stream, to_major=11), 450),
        ("Changes", pb.ChangesParams(uuid=stream, resolution=64), 415),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(start=0, end=1), 421),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[stream], version_majors=[0, 0], start=0, end=1), 421),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[stream], start=0, end=1, snap_period_ns=-1), 438),
        ("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[unknown], start=0, end=1), 404),
        ("GenerateCSV", pb.GenerateCSVParams(start_time=0, end_time=1), 421),
    ]:
        assert refused(wire, method, request) == code, (method, request)


def test_windows_leave_out_what_is_empty_and_what_the_end_cuts(wire, stream):
    insert(wire, stream, (-8, 1.0), (0, 2.0), (9, 3.0), (16, 4.0), (20, 5.0))

    def aligned(start, end, width):
        request = pb.AlignedWindowsParams(uuid=stream, start=start, end=end, point_width=width)
        return [(r.time, r.count) for page in wire.call("AlignedWindows", request) for r in page.values]

    assert aligned(-9, 24, 3) == [(-8, 1), (0, 1), (8, 1), (16, 2)]
    assert aligned(-7, 23, 3) == [(-8, 1), (0, 1), (8, 1)], "both ends are floored"
    assert aligned(1, 2, 3) == []
    assert aligned(0, 1, 0) == [(0, 1)]
    request = pb.WindowsParams(uuid=stream, start=-9, end=20, width=10)
    rows = [(r.time, r.count) for page in wire.call("Windows", request) for r in page.values]
    assert rows == [(-9, 2), (1, 1)]
    request.depth = 33
    assert [(r.time, r.count) for page in wire.call("Windows", request) for r in page.values] == rows


def test_windows_of_an_old_version(wire, stream):
    insert(wire, stream, (1, 1.0))
    insert(wire, stream, (2, 3.0))
    request = pb.AlignedWindowsParams(uuid=stream, start=0, end=8, point_width=3, version_major=11)
    (page,) = wire.call("AlignedWindows", request)
    assert (page.version_major, page.values[0].count) == (11, 1)


def test_several_streams(wire, collection):
    a, b = (create(wire, collection, name=name) for name in "ab")
    insert(wire, a, (1, 1.0), (1, 7.0), (3, 3.0))
    insert(wire, b, (2, 2.0), (3, 30.0))
    insert(wire, b, (4, 4.0))

    def table(**request):
        pages = wire.call("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=[a, b], start=0, end=10, **request))
        parts = [pa.ipc.open_stream(page.arrow_bytes).read_all() for page in pages]
        return pa.concat_tables(parts)

    got = table()
    assert got.column_names == ["time", str(uuid.UUID(bytes=a)), str(uuid.UUID(bytes=b))]
    assert [field.nullable for field in got.schema] == [False] * 3
    assert got.column(0).cast(pa.int64()).to_pylist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(got.column(1).to_numpy(), [1.0, np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(got.column(2).to_numpy(), [np.nan, 2.0, 30.0, 4.0])
    assert table(version_majors=[0, 11]).column(0).cast(pa.int64()).to_pylist() == [1, 2, 3]
    template = pa.schema([("t", pa.int64()), pa.field("x", pa.float32(), False), ("y", pa.float64())])
    got = table(template_bytes=template.serialize().to_pybytes())
    assert got.schema == template
    short = pa.schema([("t", pa.int64())]).serialize().to_pybytes()
    request = pb.ArrowMultiValuesParams(uuids=[a, b], start=0, end=10, template_bytes=short)
    assert refused(wire, "ArrowMultiValues", request) == 438


def test_changes(wire, stream):
    insert(wire, stream, (100, 1.0), (5_000, 2.0))
    insert(wire, stream, (200, 1.0))
    wire.call("Delete", pb.DeleteParams(uuid=stream, start=0, end=150))

    def ranges(after, upto, resolution=0):
        request = pb.ChangesParams(uuid=stream, from_major=after, to_major=upto, resolution=resolution)
        (page,) = wire.call("Changes", request)
        return page.version_major, [(r.start, r.end) for r in page.ranges]

    assert ranges(0, 0) == (13, [(100, 101), (200, 201), (5_000, 5_001)])
    assert ranges(10, 11) == (11, [(100, 101), (5_000, 5_001)])
    assert ranges(11, 12) == (12, [(200, 201)])
    assert ranges(12, 13) == (13, [(100, 101)])
    assert ranges(13, 13) == (13, [])
    assert ranges(0, 0, 8) == (13, [(0, 256), (4_864, 5_120)])
    assert ranges(0, 0, 63) == (13, [(0, 2**63 - 1)])


def test_csv(wire, collection):
    a, b = (create(wire, collection, name=name) for name in "ab")
    insert(wire, a, (0, 1.0), (0, 2.0), (1_500_000_000, 3.0))
    insert(wire, b, (0, 5.0))

    def rows(kind, **request):
        streams = [pb.StreamCSVConfig(label="A", uuid=a), pb.StreamCSVConfig(label="B", uuid=b, version=10)]
        params = pb.GenerateCSVParams(query_type=kind, start_time=-16, end_time=2**31, streams=streams, **request)
        messages = wire.call("GenerateCSV", params)
        assert [message.is_header for message in messages] == [True] + [False] * (len(messages) - 1)
        return [list(message.row) for message in messages]

    time_columns = ["Timestamp (ns)", "Human-Readable Time (UTC)"]
    assert rows(pb.GenerateCSVParams.RAW_QUERY, include_versions=True) == [
        [*time_columns, "A, ver. 11", "B, ver. 10"],
        ["0", "1970-01-01T00:00:00Z", "1.000000", ""],
        ["0", "1970-01-01T00:00:00Z", "2.000000", ""],
        ["1500000000", "1970-01-01T00:00:01.5Z", "3.000000", ""],
    ]
    columns = [f"{label} ({what})" for label, what in itertools.product("AB", ("Min", "Mean", "Max", "Count"))]
    row = ["1.000000", "1.500000", "2.000000", "2", "", "", "", ""]
    assert rows(pb.GenerateCSVParams.ALIGNED_WINDOWS_QUERY, depth=4) == [
        [*time_columns, *columns],
        ["0", "1970-01-01T00:00:00Z", *row],
        ["1500000000", "1970-01-01T00:00:01.5Z", "3.000000", "3.000000", "3.000000", "1", "", "", "", ""],
    ]
    assert rows(pb.GenerateCSVParams.WINDOWS_QUERY, window_size=16)[1] == ["0", "1970-01-01T00:00:00Z", *row]


def test_rounding(wire, stream):
    values = [pb.RawPoint(time=1, value=1.0 + 2.0**-52)]
    request = pb.InsertParams(uuid=stream, values=values, rounding=pb.RoundSpec(bits=10))
    wire.call("Insert", request)
    assert read(wire, stream) == [(1, 1.0)]


def test_a_thousand_small_inserts_read_fast_because_they_are_few_chunks(wire, stream, btrdb_devserver):  # noqa: F811
    send = wire.channel.unary_unary(METHODS["Insert"].path, pb.InsertParams.SerializeToString)
    calls = [
        send.future(pb.InsertParams(uuid=stream, values=[pb.RawPoint(time=n, value=1.0)]), timeout=120)
        for n in range(1_000)
    ]
    for call in calls:
        call.result()
    assert [time for time, _ in read(wire, stream)] == list(range(1_000))
    assert info(wire, stream).version_major == 1_010
    rows = btrdb_devserver.sql_as_owner(
        "SELECT count(*) FILTER (WHERE vto = 9223372036854775807), count(*) FROM btrdb.chunk c "
        "JOIN btrdb.stream s USING (sid) WHERE s.uuid = %s",
        [uuid.UUID(bytes=stream)],
    )
    live, ever = rows[0]
    assert live < 40
    assert ever >= 1_000, "old versions keep their chunks"
    old = read(wire, stream, version=510)
    assert len(old) == 500
    assert old == sorted(old)


# ---------- following


class Follower:
    """A Subscribe call with a queue of updates."""

    def __init__(self, wire):
        self._updates: list[pb.SubscriptionUpdate | None] = []
        self._more = threading.Condition()
        self.answers = wire.start("Subscribe", self._requests())

    def _requests(self):
        while True:
            with self._more:
                self._more.wait_for(lambda: self._updates)
                update = self._updates.pop(0)
            if update is None:
                return
            yield update

    def send(self, update):
        with self._more:
            self._updates.append(update)
            self._more.notify()

    def close(self):
        self.send(None)
        self.answers.cancel()


@pytest.fixture
def follower(wire):
    follower = Follower(wire)
    yield follower
    follower.close()


def test_subscribe(wire, collection, follower):
    a, b = (create(wire, collection, name=name) for name in "ab")
    follower.send(pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[a]))
    follower.answers.initial_metadata()
    insert(wire, b, (1, 1.0))
    insert(wire, a, (5, 5.0), (3, 3.0), (5, 5.0), policy=pb.EQUAL)
    answer = next(follower.answers)
    assert (answer.uuid, answer.HasField("stat")) == (a, False)
    table = pa.ipc.open_stream(answer.arrow_bytes).read_all()
    assert table.column(0).cast(pa.int64()).to_pylist() == [5, 3, 5], "as received, unsorted"
    assert table.column(1).to_pylist() == [5.0, 3.0, 5.0]
    for number in range(100):
        insert(wire, a, (number, 0.0))
    got = [pa.ipc.open_stream(next(follower.answers).arrow_bytes).read_all() for _ in range(100)]
    assert [table.column(0).cast(pa.int64()).to_pylist() for table in got] == [[n] for n in range(100)]
    wire.call("Obliterate", pb.ObliterateParams(uuid=a))
    assert next(follower.answers).stat.code == 404
    with pytest.raises(StopIteration):
        next(follower.answers)


def test_subscribe_to_nothing_that_exists(wire, follower):
    follower.send(pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[uuid.uuid4().bytes]))
    (answer,) = list(follower.answers)
    assert answer.stat.code == 404
