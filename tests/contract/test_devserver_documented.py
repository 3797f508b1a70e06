"""Sentences of docs/devserver.md that no other test proves."""

from __future__ import annotations

import logging
import re
import threading
import tomllib
import uuid
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest

from airflow_provider_btrdb.cli.devserver import _options, _parser
from airflow_provider_btrdb.devserver import arrow, auth, binaries, dispatch
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.protocol import METHODS, TAG_KEYS
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.fixtures import btrdb_devserver  # noqa: F401
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

PAGE = Path(__file__).parents[2] / "docs" / "devserver.md"


@pytest.fixture(scope="module")
def wire(btrdb_devserver):  # noqa: F811
    with WireClient(btrdb_devserver.endpoint) as client:
        yield client


def create(wire):
    raw = uuid.uuid4().bytes
    assert wire.call("Create", pb.CreateParams(uuid=raw, collection=f"documented/{raw.hex()}")) == pb.CreateResponse()
    return raw


def arrow_insert(wire, raw, times, values, policy=pb.NEVER):
    data = arrow.page(arrow.RAW_SCHEMA, [np.asarray(times, np.int64), np.asarray(values, np.float64)])
    return wire.call("ArrowInsert", pb.ArrowInsertParams(uuid=raw, arrow_bytes=data, merge_policy=policy))


def codes(answers):
    return [answer.stat.code for answer in answers]


def test_the_example_of_keys():
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    keys = auth.parse_keys(tomllib.loads(text))
    grant = keys.identify([("authorization", "Bearer a-long-random-text")])
    assert (grant.read, grant.insert, grant.delete) == (("",), ("loads/",), ())
    assert keys.identify([]).read == ("open/",)


def test_the_limits_of_the_page_are_the_limits():
    limits, text = Limits(), PAGE.read_text()
    assert f"{limits.insert_points:,} (stat 414)" in text
    assert f"{limits.multi_streams:,} (stat 421)" in text
    assert f"{limits.subscriptions:,} (stat 426)" in text
    assert limits.max_message_bytes == 64 << 20
    assert "64 MiB" in text
    assert f"| calls in flight | {limits.concurrent_calls:,} (RESOURCE_EXHAUSTED) |" in text
    assert f"{limits.sql_concurrency} at a time" in text
    assert f"{limits.sql_statement_seconds:.0f} s per step, {limits.sql_total_seconds:.0f} s in all" in text
    assert (limits.sql_row_bytes, limits.sql_answer_bytes) == (4 << 20, 1 << 30)
    assert f"{dispatch.STALLED_READER_SECONDS:.0f} s (DEADLINE_EXCEEDED)" in text
    assert f"at most {limits.drain_seconds:.0f} seconds" in text
    assert limits.subscriber_bytes == 16 << 20


def test_methods_with_numbered_texts_are_those_of_the_page():
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| texts of refusals"))
    named = {name for name in METHODS if re.search(rf"\b{name}\b", row)}
    assert named == set(dispatch.NUMBERED_TEXTS)


def test_every_option_is_on_the_page():
    text = PAGE.read_text()
    for action in _parser()._actions:
        for option in action.option_strings:
            assert option in text or option in ("-h", "--help")


def test_an_open_address_is_allowed_with_a_key_and_tls(monkeypatch, tmp_path):
    monkeypatch.setenv("BTRDB_DEVSERVER_API_KEY", "k")
    given = ["--data", str(tmp_path), "--listen", "0.0.0.0:4411", "--tls-cert", "c.pem", "--tls-key", "k.pem"]
    options = _options(_parser().parse_args(given))
    assert (options.host, options.port, options.tls) == ("0.0.0.0", 4411, (Path("c.pem"), Path("k.pem")))
    assert len(options.keys.grants) == 1
    assert "k" not in repr(options.keys.grants)


def test_pg_bin_comes_first(monkeypatch, tmp_path):
    found = binaries.find_programs()
    for name in ("initdb", "postgres"):
        (tmp_path / name).symlink_to(found.bin / name)
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    assert binaries.find_programs().bin == tmp_path


def test_a_null_tag_is_empty(wire):
    raw = uuid.uuid4().bytes
    tags = [pb.KeyOptValue(key=key) for key in TAG_KEYS]
    wire.call("Create", pb.CreateParams(uuid=raw, collection=f"documented/{raw.hex()}", tags=tags))
    descriptor = wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw)).descriptor
    assert [(tag.key, tag.val.value, tag.HasField("val")) for tag in descriptor.tags] == [
        (key, "", True) for key in TAG_KEYS
    ]


def test_nul_in_a_search(wire):
    assert codes(wire.call("LookupStreams", pb.LookupStreamsParams(collection="a\0"))) == [438]
    assert codes(wire.call("ListCollections", pb.ListCollectionsParams(prefix="a\0"))) == [438]
    assert wire.call("GetMetadataUsage", pb.MetadataUsageParams(prefix="a\0")).stat.code == 438


def test_a_template_never_loses_anything(wire):
    raw = create(wire)
    arrow_insert(wire, raw, [1, 2], [1.5, 2.5])
    for field in (pa.field("v", pa.int64()), pa.field("v", pa.binary())):
        template = pa.schema([("t", pa.int64()), field]).serialize().to_pybytes()
        request = pb.ArrowRawValuesParams(uuid=raw, start=0, end=9, template_bytes=template)
        assert codes(wire.call("ArrowRawValues", request)) == [438]
    template = pa.schema([("t", pa.timestamp("s")), ("v", pa.float64())]).serialize().to_pybytes()
    request = pb.ArrowRawValuesParams(uuid=raw, start=0, end=9, template_bytes=template)
    assert codes(wire.call("ArrowRawValues", request)) == [438]


def test_large_descriptors_come_in_small_pages(wire):
    prefix = f"documented/{uuid.uuid4().hex}"
    annotations = [pb.KeyOptValue(key=f"{n:0200}", val=pb.OptValue(value="v" * 200)) for n in range(1_500)]
    for number in range(8):
        params = pb.CreateParams(uuid=uuid.uuid4().bytes, collection=f"{prefix}/{number}", annotations=annotations)
        assert wire.call("Create", params) == pb.CreateResponse()
    request = pb.LookupStreamsParams(collection=prefix, is_collection_prefix=True)
    pages = wire.call("LookupStreams", request)
    assert sum(len(page.results) for page in pages) == 8
    assert all(page.ByteSize() < 4 << 20 for page in pages)
    assert len(pages) > 1


def test_too_many_streams(wire):
    raws = [uuid.uuid4().bytes for _ in range(1_001)]
    assert codes(wire.call("ArrowMultiValues", pb.ArrowMultiValuesParams(uuids=raws, start=0, end=1))) == [421]
    streams = [pb.StreamCSVConfig(uuid=raw) for raw in raws]
    assert codes(wire.call("GenerateCSV", pb.GenerateCSVParams(end_time=1, streams=streams))) == [421]


def test_too_many_calls_at_once(wait_until):
    """Of calls that have just been answered none is made: they may still count for a moment."""
    with devserver(limits=Limits(concurrent_calls=3)) as server, WireClient(server.endpoint) as wire:
        over = threading.Event()

        def silence():
            over.wait()
            yield from ()

        calls = [wire.start("Subscribe", silence()) for _ in range(3)]
        wait_until(lambda: server.calls.count("Subscribe") == 3)
        with pytest.raises(grpc.RpcError) as caught:
            wire.call("Info")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for call in calls:
            call.cancel()
        over.set()


def test_too_many_subscriptions():
    with devserver(limits=Limits(subscriptions=1)) as server, WireClient(server.endpoint) as wire:
        updates = [pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[create(wire)]) for _ in range(2)]
        (answer,) = wire.start("Subscribe", iter(updates))
        assert answer.stat.code == 426


def test_a_client_that_does_not_read(monkeypatch, caplog, wait_until):
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    with devserver() as server, WireClient(server.endpoint, options=narrow) as wire:
        raw = create(wire)
        for first in range(0, 1_000_000, 100_000):
            arrow_insert(wire, raw, range(first, first + 100_000), np.zeros(100_000))
        caplog.set_level(logging.INFO, dispatch.log.name)
        monkeypatch.setattr(dispatch, "STALLED_READER_SECONDS", 0.5)
        call = wire.start("ArrowRawValues", pb.ArrowRawValuesParams(uuid=raw, start=0, end=1_000_000))
        wait_until(lambda: "ArrowRawValues: the client does not read" in caplog.messages)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.details() == "the client does not read"


def test_a_read_sees_one_version(wire):
    """Every commit replaces every value; no read may mix two of them, whatever is fused or cut meanwhile."""
    raw = create(wire)
    times = np.arange(40_000)
    arrow_insert(wire, raw, times, np.zeros(len(times)))
    stop = threading.Event()
    mixed = []
    versions = set()

    def read():
        while not stop.is_set():
            pages = wire.call("ArrowRawValues", pb.ArrowRawValuesParams(uuid=raw, start=0, end=10**6))
            parts = [pa.ipc.open_stream(page.arrow_bytes).read_all() for page in pages]
            values = np.concatenate([part.column(1).to_numpy() for part in parts])
            versions.update(page.version_major for page in pages)
            if len(values) != len(times) or len(set(values)) != 1 or pages[0].version_major - 11 != values[0]:
                mixed.append(set(values))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for generation in range(1, 500):
        arrow_insert(wire, raw, times, np.full(len(times), float(generation)), pb.REPLACE)
        if len(versions) > 5:
            break
    stop.set()
    for reader in readers:
        reader.join()
    assert mixed == []
    assert len(versions) > 5


def test_a_read_of_a_stream_that_is_obliterated_says_so(wire):
    raw = create(wire)
    for first in range(0, 1_000_000, 100_000):
        arrow_insert(wire, raw, range(first, first + 100_000), np.zeros(100_000))
    call = wire.start("RawValues", pb.RawValuesParams(uuid=raw, start=0, end=1_000_000))
    first = next(call)
    assert len(first.values) == 5_000
    assert wire.call("Obliterate", pb.ObliterateParams(uuid=raw)) == pb.ObliterateResponse()
    *pages, last = list(call)
    assert last.stat.code == 404 or sum(len(page.values) for page in [first, *pages, last]) == 1_000_000
    assert not any(page.HasField("stat") for page in pages)
