"""The same work by hand over a bare gRPC stub: what it costs when nothing is checked, repeated or explained."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
import numpy as np
import pyarrow as pa

from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb
from side_by_side import data, work

WORKERS = 64


class _Floor(work.Work):
    METHOD: str
    RAW = False

    def __init__(self, size: int, endpoint: str, api_key: str | None) -> None:
        super().__init__(size, endpoint, api_key)
        self.channel = grpc.insecure_channel(endpoint, options=[("grpc.max_receive_message_length", -1)])
        self._stub("Info", self.channel.unary_unary)(pb.InfoParams())

    def close(self) -> None:
        self.channel.close()

    def _stub(self, name: str, kind: Any, *, raw: bool = False) -> Any:
        method = METHODS[name]
        return kind(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=None if raw else method.response.FromString,
        )

    def pages(self, name: str, request: Any, *, raw: bool = False) -> Any:
        """The replies to a request."""
        return self._stub(name, self.channel.unary_stream, raw=raw)(request, metadata=work.metadata(self.api_key))


class Create(_Floor, work.Create):
    """grpc.aio with 64 coroutines that take one row after another."""

    def prepare(self) -> None:
        super().prepare()
        self.result = [uuid4() for _ in self.rows]

    def run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        async with grpc.aio.insecure_channel(self.endpoint) as channel:
            create = self._stub("Create", channel.unary_unary)
            header = work.metadata(self.api_key)
            rows = iter(zip(self.result, self.rows, strict=True))

            async def worker() -> None:
                for uuid, row in rows:
                    request = pb.CreateParams(
                        uuid=uuid.bytes,
                        collection=row["collection"],
                        tags=[_pair(key, row[key]) for key in ("name", "unit", "ingress", "distiller")],
                        annotations=[_pair(key, value) for key, value in row["annotations"].items()],
                    )
                    reply = await create(request, metadata=header)
                    assert not reply.stat.code

            await asyncio.gather(*(worker() for _ in range(WORKERS)))

    def uuids(self) -> list[UUID]:
        return list(self.result)


def _pair(key: str, value: str) -> pb.KeyOptValue:
    return pb.KeyOptValue(key=key, val=pb.OptValue(value=value))


class Lookup(_Floor, work.Lookup):
    """Tuples with dictionaries, the uuid left as bytes."""

    def run(self) -> None:
        request = pb.LookupStreamsParams(collection=data.collection(self.size), is_collection_prefix=True)
        self.result = [
            (
                found.uuid,
                found.collection,
                {tag.key: tag.val.value for tag in found.tags},
                {annotation.key: annotation.val.value for annotation in found.annotations},
            )
            for page in self.pages("LookupStreams", request)
            for found in page.results
        ]

    def found(self) -> Any:
        return ((UUID(bytes=uuid), *rest) for uuid, *rest in self.result)


class Sql(_Floor, work.Sql):
    def run(self) -> None:
        request = pb.SQLQueryParams(query=self.STATEMENT, params=[str(self.size)])
        self.result = [
            row for page in self.pages("SQLQuery", request) for row in json.loads(b"[" + b",".join(page.rows) + b"]")
        ]


_RECORD = np.dtype([("head", "<u2"), ("m1", "u1"), ("time", "<i8"), ("m2", "u1"), ("value", "<f8")])


class Values(_Floor, work.Values):
    """numpy over the bytes of the pages; the head of a page is as long as that of the first."""

    def run(self) -> None:
        request = pb.RawValuesParams(uuid=data.STREAM.bytes, start=data.FIRST_NS, end=data.end_ns(self.size))
        pages = [np.frombuffer(page, _RECORD, offset=2) for page in self.pages("RawValues", request, raw=True)]
        self.result = (
            np.concatenate([page["time"] for page in pages]),
            np.concatenate([page["value"] for page in pages]),
        )


class ArrowValues(_Floor, work.Values):
    def run(self) -> None:
        request = pb.ArrowRawValuesParams(uuid=data.STREAM.bytes, start=data.FIRST_NS, end=data.end_ns(self.size))
        self.result = pa.concat_tables(
            [pa.ipc.open_stream(page.arrow_bytes).read_all() for page in self.pages("ArrowRawValues", request)]
        )

    def columns(self) -> tuple[Any, Any]:
        return self.result["time"].cast("int64").to_numpy(), self.result["value"].to_numpy()


class ArrowInsert(_Floor, work.Insert):
    """50,000 points a call, from a table."""

    def prepare(self) -> None:
        self.points = self.table()

    def run(self) -> None:
        insert = self._stub("ArrowInsert", self.channel.unary_unary)
        for begin in range(0, self.size, data.ARROW_POINTS_A_PAGE):
            sink = io.BytesIO()
            with pa.ipc.new_stream(sink, self.points.schema) as writer:
                writer.write(self.points.slice(begin, data.ARROW_POINTS_A_PAGE))
            reply = insert(pb.ArrowInsertParams(uuid=data.STREAM.bytes, arrow_bytes=sink.getvalue()))
            assert not reply.stat.code
            self.result = reply.version_major


CASES = {
    "create": Create,
    "lookup": Lookup,
    "sql": Sql,
    "values": Values,
    "arrow-values": ArrowValues,
    "arrow-insert": ArrowInsert,
}
