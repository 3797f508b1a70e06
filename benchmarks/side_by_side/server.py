"""A server that answers with recorded bytes, so that the client is all that is measured.

It decodes a request only to know how much is asked for, keeps the bytes of every create and insert, and hands them
back to whoever compares them with what was meant (`RECEIVED`). Run as a process: it prints its port, and ends with
its standard input.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any

import grpc
import numpy as np

from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb
from side_by_side import data

RECEIVED = "/recorded.Bytes/Received"
"""The bytes of the creates and inserts since the last time this was asked, in their order; no request."""
KEPT_PAGES = 200
"""Pages of points that are kept: all of a million. Of a longer answer every page is made as it is sent."""


class Recorded(grpc.GenericRpcHandler):
    """All methods that the benchmark calls."""

    def __init__(self) -> None:
        self._received: list[bytes] = []
        done = pb.InsertResponse(version_major=data.VERSION).SerializeToString()
        info = pb.InfoResponse(major_version=5, minor_version=34, build="5.34.0-recorded").SerializeToString()
        unary: dict[str, Callable[[bytes, Any], bytes]] = {
            "Info": lambda request, context: info,
            "Create": self._keep(b""),
            "Insert": self._keep(done),
            "ArrowInsert": self._keep(done),
            "StreamInfo": lambda request, context: _stream_info(),
        }
        streams: dict[str, Callable[[bytes, Any], Iterator[bytes]]] = {
            "RawValues": lambda request, context: _points(request),
            "ArrowRawValues": lambda request, context: _arrow_points(request),
            "LookupStreams": lambda request, context: _streams(request),
            "SQLQuery": lambda request, context: _rows(request),
        }
        self._handlers = {
            **{METHODS[name].path: grpc.unary_unary_rpc_method_handler(answer) for name, answer in unary.items()},
            **{METHODS[name].path: grpc.unary_stream_rpc_method_handler(answer) for name, answer in streams.items()},
            RECEIVED: grpc.unary_stream_rpc_method_handler(self._hand_back),
        }

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a method; None is UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)

    def _keep(self, reply: bytes) -> Callable[[bytes, Any], bytes]:
        def answer(request: bytes, context: Any) -> bytes:
            self._received.append(request)
            return reply

        return answer

    def _hand_back(self, request: bytes, context: Any) -> Iterator[bytes]:
        received, self._received = self._received, []
        yield from received


def _pages(total: int, size: int, make: Callable[[int, int], bytes]) -> Iterator[bytes]:
    for begin in range(0, total, size):
        yield make(begin, min(begin + size, total))


def _points(request: bytes) -> Iterator[bytes]:
    asked = pb.RawValuesParams.FromString(request)
    return _pages(data.points_before(asked.end), data.POINTS_A_PAGE, _point_page)


_RECORD = np.dtype([("head", "<u2"), ("m1", "u1"), ("time", "<i8"), ("m2", "u1"), ("value", "<f8")])


@lru_cache(KEPT_PAGES)
def _point_page(begin: int, end: int) -> bytes:
    records = np.empty(end - begin, _RECORD)
    records["head"], records["m1"], records["m2"] = 18 << 8 | 0x22, 0x09, 0x11
    records["time"], records["value"] = data.points(begin, end)
    return pb.RawValuesResponse(version_major=data.VERSION).SerializeToString() + records.tobytes()


def _arrow_points(request: bytes) -> Iterator[bytes]:
    asked = pb.ArrowRawValuesParams.FromString(request)
    return _pages(data.points_before(asked.end), data.ARROW_POINTS_A_PAGE, _arrow_page)


@lru_cache(KEPT_PAGES)
def _arrow_page(begin: int, end: int) -> bytes:
    import pyarrow as pa

    schema = pa.schema(
        [
            pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
        ]
    )
    times, values = data.points(begin, end)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write(pa.record_batch([pa.array(times, schema.field(0).type), pa.array(values)], schema=schema))
    return pb.ArrowRawValuesResponse(version_major=data.VERSION, arrow_bytes=sink.getvalue()).SerializeToString()


def _streams(request: bytes) -> Iterator[bytes]:
    """A prefix of `data.collection` has its streams; nothing else exists, so that all creates are needed."""
    prefix = pb.LookupStreamsParams.FromString(request).collection
    asked = prefix.split("/")
    count = int(asked[1]) if asked[0] == "recorded" else 0
    recorded = data.collection(data.RECORDED).encode()
    for page in _pages(count, data.STREAMS_A_PAGE, _recorded(_stream_page)):
        yield page.replace(recorded, prefix.encode())  # both are equally long, so the message stays whole


def _recorded(make: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
    def page(begin: int, end: int) -> bytes:
        return make(begin % data.RECORDED, (end - 1) % data.RECORDED + 1)

    return page


@cache
def _stream_page(begin: int, end: int) -> bytes:
    prefix = data.collection(data.RECORDED)
    return pb.LookupStreamsResponse(
        results=[_descriptor(number, prefix) for number in range(begin, end)]
    ).SerializeToString()


def _descriptor(number: int, prefix: str) -> pb.StreamDescriptor:
    uuid, where, tags, annotations = data.stream(number, prefix)
    return pb.StreamDescriptor(
        uuid=uuid.bytes,
        collection=where,
        tags=_pairs(tags),
        annotations=_pairs(annotations),
        property_version=1,
    )


def _pairs(values: dict[str, str]) -> list[pb.KeyOptValue]:
    return [pb.KeyOptValue(key=key, val=pb.OptValue(value=value)) for key, value in values.items()]


def _rows(request: bytes) -> Iterator[bytes]:
    asked = pb.SQLQueryParams.FromString(request)
    return _pages(int(asked.params[0]), data.ROWS_A_PAGE, _recorded(_row_page))


@cache
def _row_page(begin: int, end: int) -> bytes:
    return pb.SQLQueryResponse(rows=[data.row_json(number) for number in range(begin, end)]).SerializeToString()


def _stream_info() -> bytes:
    return pb.StreamInfoResponse(version_major=data.VERSION, descriptor=_descriptor(0, "recorded")).SerializeToString()


def main() -> None:
    """Serve until standard input ends."""
    server = grpc.server(
        ThreadPoolExecutor(max_workers=4),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    server.add_generic_rpc_handlers((Recorded(),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    main()
