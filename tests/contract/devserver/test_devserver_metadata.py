"""Metadata: what the development server puts on the wire, message by message."""

from __future__ import annotations

import threading
import uuid

import grpc
import pytest

from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.testing.wire import pairs
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


def test_a_fresh_stream(wire, collection):
    raw = wire.create(collection, annotations={"a": "", "b": None, "c": "x"}, name="n")
    answer = wire.info(raw)
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
    assert wire.refused("StreamInfo", both) == 421


def test_stream_info_of_an_unknown_stream_is_a_grpc_status(wire):
    with pytest.raises(grpc.RpcError) as caught:
        wire.info(uuid.uuid4().bytes)
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
    assert wire.refused("Create", pb.CreateParams(**request)) == code


@pytest.mark.parametrize("collection_name", ["x" * 255, "trailing/", "/", " ", "päth/ü", "a\nb", "%_\\'\""])
def test_create_accepts(wire, collection, collection_name):
    name = collection[-20:]
    key = 'Any text: "quoted", back\\slash, ä, =>'
    raw = wire.create(collection_name, annotations={key: 'v"\\,=>NULL'}, name=name, unit="u" * 255)
    answer = wire.info(raw).descriptor
    assert answer.collection == collection_name
    assert list(answer.annotations) == pairs(**{key: 'v"\\,=>NULL'})


def test_create_conflicts(wire, collection):
    raw = wire.create(collection, name="n", unit="V")
    again = pb.CreateParams(uuid=raw, collection=collection, tags=pairs(name="n", unit="V"))
    assert wire.stat(wire.call("Create", again)) == (417, "a stream already exists with that uuid")
    again.collection += "/other"
    assert wire.refused("Create", again) == 417
    taken = pb.CreateParams(uuid=uuid.uuid4().bytes, collection=collection, tags=pairs(unit="V", name="n"))
    assert wire.refused("Create", taken) == 418
    wire.create(collection, name="n", unit="A")


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
    other = wire.create(collection, name="other")
    assert wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=stream, tags=pairs(unit="V"))) == (
        pb.SetStreamTagsResponse()
    )
    descriptor = wire.info(stream).descriptor
    assert list(descriptor.tags) == pairs(name="s", unit="V", ingress="", distiller="")
    assert (descriptor.collection, descriptor.property_version) == (collection, 2)
    wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=stream, collection=collection + "/b", remove=["unit"]))
    descriptor = wire.info(stream).descriptor
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
        assert wire.refused("SetStreamTags", pb.SetStreamTagsParams(uuid=stream, **change)) == code
    assert wire.info(stream).descriptor == descriptor
    assert wire.info(other).descriptor.property_version == 1
    wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=stream, expected_property_version=3))
    assert wire.info(stream).descriptor.property_version == 4
    unknown = pb.SetStreamTagsParams(uuid=uuid.uuid4().bytes)
    assert wire.stat(wire.call("SetStreamTags", unknown)) == (404, "(404: stream does not exist)")


def test_set_annotations(wire, collection):
    raw = wire.create(collection, annotations={"keep": "1", "drop": "2", "null": "3"}, name="s")
    changes = pairs(null=None, new="4", drop="5")
    wire.call(
        "SetStreamAnnotations",
        pb.SetStreamAnnotationsParams(
            uuid=raw, expected_property_version=1, changes=changes, removals=["drop", "missing"]
        ),
    )
    descriptor = wire.info(raw).descriptor
    assert list(descriptor.annotations) == pairs(keep="1", new="4", null=None)
    assert descriptor.property_version == 2
    stale = pb.SetStreamAnnotationsParams(uuid=raw, expected_property_version=1)
    assert wire.stat(wire.call("SetStreamAnnotations", stale)) == (
        423,
        "(423: stream annotation version does not match)",
    )
    unknown = pb.SetStreamAnnotationsParams(uuid=uuid.uuid4().bytes)
    assert wire.refused("SetStreamAnnotations", unknown) == 404


def test_lookup(wire, collection):
    made = {
        name: wire.create(coll, annotations=annotations, name=name, unit=unit)
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
    assert wire.stat(wire.call("LookupStreams", pb.LookupStreamsParams(tags=pairs(chickens="x")))) == (
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
    raw = wire.create(collection + "/a", name="1")
    wire.create(collection + "/a", name="2")
    wire.create(collection + "b", name="1")

    def listed():
        (page,) = wire.call("ListCollections", pb.ListCollectionsParams(prefix=collection))
        return list(page.collections)

    assert listed() == [collection + "/a", collection + "b"]
    wire.call("SetStreamTags", pb.SetStreamTagsParams(uuid=raw, collection=collection + "z"))
    assert listed() == [collection + "/a", collection + "b", collection + "z"]
    wire.call("Obliterate", pb.ObliterateParams(uuid=raw))
    assert listed() == [collection + "/a", collection + "b"]


def test_metadata_usage(wire, collection):
    wire.create(collection, annotations={"a": "1", "b": "1"}, name="1")
    wire.create(collection + "/x", annotations={"a": "2"}, name="2")
    answer = wire.call("GetMetadataUsage", pb.MetadataUsageParams(prefix=collection))
    assert [(count.key, count.count) for count in answer.annotations] == [("a", 2), ("b", 1)]
    assert [(count.key, count.count) for count in answer.tags] == [
        ("name", 0),
        ("unit", 0),
        ("ingress", 0),
        ("distiller", 0),
    ]


def test_an_obliterated_stream_is_gone_for_good(wire, collection, stream):
    wire.insert(stream, (1, 1.0))
    assert wire.call("Obliterate", pb.ObliterateParams(uuid=stream)) == pb.ObliterateResponse()
    assert wire.refused("Obliterate", pb.ObliterateParams(uuid=stream)) == 404
    request = pb.RawValuesParams(uuid=stream, start=0, end=10)
    assert wire.refused("RawValues", request) == 404
    again = pb.CreateParams(uuid=stream, collection=collection, tags=pairs(name="s"))
    assert wire.refused("Create", again) == 429
    assert wire.read(wire.create(collection, name="s")) == []
