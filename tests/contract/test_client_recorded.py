"""Our client decodes messages that the official client's own code has made.

They are recorded in `recorded_official.json`, in hexadecimal; where the official client is installed a test makes them
again and compares. To record anew: RECORD=1 pytest tests/contract/test_client_recorded.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest

from airflow_provider_btrdb.client import connect, connect_async, errors
from airflow_provider_btrdb.client.models import Point
from airflow_provider_btrdb.protocol import METHODS, SERVICE, Kind

pytestmark = pytest.mark.anyio

FILE = Path(__file__).with_name("recorded_official.json")
RECORDED: dict[str, list[str]] = json.loads(FILE.read_text()) if FILE.exists() else {}
UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")
OTHER = UUID("11111111-2222-3333-4444-555555555555")
MIN = -(16 << 56)
POINTS = [(MIN, -1.5), (-1, 0.0), (0, -0.0), (0, 0.0), (0, 5e-324), (7, 1.7976931348623157e308), (2**61, 0.1)]
WINDOWS = [(-8, -1.0, -0.5, 0.0, 2, 0.5), (0, 0.0, 0.0, 0.0, 1, 0.0), (8, 1.0, 1.5, 2.0, 2**40, 0.25)]
TAGS = {"name": "äb", "unit": "°C", "ingress": "", "distiller": "d"}
NOTES = {"": "no key", "empty": "", "json": '{"a": "\\n"}', "kanji": "電力", "null": None}


def made() -> dict[str, list[str]]:
    """Every kind of reply, made by the official client's own message classes."""
    pb = pytest.importorskip("btrdb", reason="needs the official client").grpcinterface.btrdb_pb2
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")

    def pairs(values: dict[str, str | None]) -> list[Any]:
        return [
            pb.KeyOptValue(key=key) if value is None else pb.KeyOptValue(key=key, val=pb.OptValue(value=value))
            for key, value in values.items()
        ]

    def descriptor(uuid: UUID, version: int) -> Any:
        return pb.StreamDescriptor(
            uuid=uuid.bytes, collection="a/b", tags=pairs(TAGS), annotations=pairs(NOTES), propertyVersion=version
        )

    def raw(points: Any) -> Any:
        return pb.RawValuesResponse(
            versionMajor=11, versionMinor=0, values=[pb.RawPoint(time=time, value=value) for time, value in points]
        )

    fields = ("time", "min", "mean", "max", "count", "stddev")
    stats = [pb.StatPoint(**dict(zip(fields, row, strict=True))) for row in WINDOWS]
    sink = pa.BufferOutputStream()
    columns = [pa.array(column) for column in zip(*POINTS, strict=True)]
    schema = pa.schema(
        [
            pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
        ]
    )
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write(pa.record_batch([columns[0].cast(pa.timestamp("ns", tz="UTC")), columns[1]], schema=schema))
    replies: dict[str, list[Any]] = {
        "Info": [
            pb.InfoResponse(
                majorVersion=5, minorVersion=31, build="5.31.0", proxy=pb.ProxyInfo(proxyEndpoints=["a:4410"])
            )
        ],
        "RawValues": [raw(POINTS[:3]), raw(POINTS[3:]), raw([])],
        "ArrowRawValues": [pb.ArrowRawValuesResponse(versionMajor=11, arrowBytes=sink.getvalue().to_pybytes())],
        "Windows": [
            pb.WindowsResponse(versionMajor=11, values=stats[:2]),
            pb.WindowsResponse(versionMajor=11, values=stats[2:]),
        ],
        "AlignedWindows": [pb.AlignedWindowsResponse(versionMajor=11, values=stats)],
        "StreamInfo": [pb.StreamInfoResponse(versionMajor=300, versionMinor=7, descriptor=descriptor(UUID_, 4))],
        "LookupStreams": [pb.LookupStreamsResponse(results=[descriptor(UUID_, 1), descriptor(OTHER, 2)])],
        "ListCollections": [pb.ListCollectionsResponse(collections=["a/b", "ü"]), pb.ListCollectionsResponse()],
        "GetMetadataUsage": [
            pb.MetadataUsageResponse(tags=[pb.KeyCount(key="name")], annotations=[pb.KeyCount(key="k", count=2**33)])
        ],
        "Nearest": [pb.NearestResponse(versionMajor=11, value=pb.RawPoint(time=0, value=-0.0))],
        "Changes": [
            pb.ChangesResponse(
                versionMajor=11, ranges=[pb.ChangedRange(start=-4, end=0), pb.ChangedRange(start=8, end=2**60)]
            )
        ],
        "Insert": [pb.InsertResponse(versionMajor=12)],
        "Delete": [pb.DeleteResponse(versionMajor=13)],
        "Flush": [pb.FlushResponse(versionMajor=13)],
        "Obliterate": [pb.ObliterateResponse(stat=pb.Status(code=431, msg="(431: obliterate is off)"))],
        "Create": [pb.CreateResponse(stat=pb.Status(code=417, msg="a stream already exists with that uuid"))],
        "SetStreamTags": [pb.SetStreamTagsResponse()],
        "SetStreamAnnotations": [pb.SetStreamAnnotationsResponse(stat=pb.Status(code=423, msg="(423: no match)"))],
        "SQLQuery": [pb.SQLQueryResponse(SQLQueryRow=[b'{"n": 1, "a": {"k": null}}', '{"n": "電"}'.encode()])],
    }
    return {name: [reply.SerializeToString().hex() for reply in pages] for name, pages in replies.items()}


def test_the_official_client_makes_these_messages() -> None:
    messages = made()
    if os.environ.get("RECORD"):
        FILE.write_text(json.dumps(messages, indent=1) + "\n")
    assert json.loads(FILE.read_text()) == messages


@pytest.fixture(scope="module")
def player() -> Iterator[str]:
    """A server that answers every call with what was recorded."""

    def answer(name: str) -> Any:
        replies = [bytes.fromhex(text) for text in RECORDED.get(name, [])]
        return lambda request, context: replies[0] if METHODS[name].kind is Kind.UNARY else iter(replies)

    kinds = {
        Kind.UNARY: grpc.unary_unary_rpc_method_handler,
        Kind.SERVER_STREAM: grpc.unary_stream_rpc_method_handler,
    }
    handlers = {name: kinds[METHODS[name].kind](answer(name)) for name in RECORDED}
    with ThreadPoolExecutor(4) as workers:
        server = grpc.server(workers)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.mark.parametrize("opening", [connect, connect_async])
async def test_they_are_read_as_they_were_meant(done: Any, one_loop: None, player: str, opening: Any) -> None:
    db = await done(opening(player, arrow="off"))
    stream = await done(db.stream_from_uuid(UUID_))
    assert await done(db.info()) == {
        "majorVersion": 5, "minorVersion": 31, "build": "5.31.0", "proxy": {"proxyEndpoints": ["a:4410"]}
    }  # fmt: skip
    assert bits(await done(stream.values(MIN, 2**62))) == bits(POINTS)
    assert rows(await done(stream.windows(-8, 16, 8))) == WINDOWS
    assert rows(await done(stream.aligned_windows(-8, 16, 3))) == WINDOWS
    assert await done(stream.version()) == 300
    await done(stream.refresh())
    assert (stream.collection, stream.tags, stream.annotations, stream.property_version) == ("a/b", TAGS, NOTES, 4)
    found = await done(db.streams_in_collection("a/b"))
    assert [(one.uuid, one.tags, one.annotations) for one in found] == [(UUID_, TAGS, NOTES), (OTHER, TAGS, NOTES)]
    assert await done(db.list_collections()) == ["a/b", "ü"]
    assert await done(db.collection_metadata("")) == ({"name": 0}, {"k": 2**33})
    nearest = await done(stream.nearest(-3))
    assert (nearest, float(nearest.value).hex()) == (Point(0, 0.0), "-0x0.0p+0")
    assert await done(stream.changes(10)) == [(-4, 0), (8, 2**60)]
    assert [await done(call) for call in (stream.insert([(1, 1.0)]), stream.delete(0, 1), stream.flush())] == [
        12,
        13,
        13,
    ]
    assert await done(db.query("SELECT 1")) == [{"n": 1, "a": {"k": None}}, {"n": "電"}]
    assert await done(stream.update({"unit": "K"})) == 5
    for call, error in (
        (lambda: db.create(UUID_, "a"), errors.StreamExistsError),
        (stream.obliterate, errors.ObliterateDisabledError),
        (lambda: stream.update(annotations={"a": "b"}), errors.PropertyVersionMismatch),
    ):
        with pytest.raises(error):
            await done(call())
    await done(db.close())


@pytest.mark.parametrize("opening", [connect, connect_async])
async def test_arrow_is_read_as_it_was_meant(done: Any, one_loop: None, player: str, opening: Any) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    db = await done(opening(player, arrow="on"))
    assert bits(await done((await done(db.stream_from_uuid(UUID_))).values(MIN, 2**62))) == bits(POINTS)
    await done(db.close())


def test_every_call_of_the_client_has_a_recorded_answer() -> None:
    from airflow_provider_btrdb.client import rpcs

    used = {rpc.name for rpc in vars(rpcs).values() if isinstance(rpc, rpcs.Rpc)}
    assert used - RECORDED.keys() == {"Subscribe"}  # the official client has no class for what comes there


def bits(points: Any) -> list[tuple[int, str]]:
    return [(time, float(value).hex()) for time, value in points]


def rows(windows: Any) -> list[tuple[Any, ...]]:
    return [(w.time, w.min, w.mean, w.max, w.count, w.stddev) for w in windows]
