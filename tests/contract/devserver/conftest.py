"""One server without a key for the tests of this folder, and a bare wire with the words that they share."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest

from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS
from airflow_provider_btrdb.testing.fixtures import btrdb_devserver  # noqa: F401
from airflow_provider_btrdb.testing.wire import WireClient, pairs
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class Wire(WireClient):
    """Calls that must go well, and the refusals of those that must not."""

    def create(self, collection, annotations=None, **tags):
        raw = uuid.uuid4().bytes
        tags, annotations = pairs(**tags), pairs(**(annotations or {}))
        request = pb.CreateParams(uuid=raw, collection=collection, tags=tags, annotations=annotations)
        assert self.call("Create", request) == pb.CreateResponse()
        return raw

    def insert(self, raw, *points, policy=pb.NEVER):
        values = [pb.RawPoint(time=time, value=value) for time, value in points]
        answer = self.call("Insert", pb.InsertParams(uuid=raw, values=values, merge_policy=policy))
        assert not answer.HasField("stat"), answer.stat
        return answer.version_major

    @staticmethod
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

    def read(self, raw, start=MIN_TIME_NS, end=MAX_TIME_NS - 1, version=0):
        pages = self.call("RawValues", pb.RawValuesParams(uuid=raw, start=start, end=end, version_major=version))
        return [(point.time, point.value) for page in pages for point in page.values]

    def info(self, raw):
        return self.call("StreamInfo", pb.StreamInfoParams(uuid=raw))

    @staticmethod
    def stat(answer):
        (message,) = answer if isinstance(answer, list) else [answer]
        assert type(message)(stat=message.stat) == message, "a refusal carries nothing but its stat"
        return message.stat.code, message.stat.msg

    def refused(self, method, request):
        return self.stat(self.call(method, request))[0]


@pytest.fixture(scope="module")
def wire(btrdb_devserver):  # noqa: F811
    with Wire(btrdb_devserver.endpoint) as client:
        yield client


@pytest.fixture
def collection():
    return f"wire/{uuid.uuid4().hex}"


@pytest.fixture
def stream(wire, collection):
    return wire.create(collection, name="s")
