"""A piece of work that is measured, and the comparisons that make it count."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import grpc
import numpy as np

from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb
from side_by_side import data
from side_by_side.server import RECEIVED


class Work(ABC):
    """One piece of work; connecting is up to the constructor."""

    def __init__(self, size: int, endpoint: str, api_key: str | None) -> None:
        self.size = size
        self.endpoint = endpoint
        self.api_key = api_key
        self.result: Any = None

    def prepare(self) -> None:  # noqa: B027 - most works have nothing to prepare
        """Make the arguments; not measured."""

    @abstractmethod
    def run(self) -> None:
        """What is measured."""

    @abstractmethod
    def compare(self) -> int:
        """AssertionError where the result is not what it must be; how many items were compared."""

    def close(self) -> None:  # noqa: B027 - a floor has nothing to close
        """Close the connection."""


class Create(Work):
    """Create `size` streams in collections of this process's own."""

    def prepare(self) -> None:
        self.prefix = f"create/{os.getpid()}"
        self.rows = data.wanted(self.size, self.prefix)

    @abstractmethod
    def uuids(self) -> list[UUID]:
        """The streams that were made, in the order of the rows."""

    def compare(self) -> int:
        expected = {
            uuid: (
                row["collection"],
                {key: row[key] for key in ("name", "unit", "ingress", "distiller")},
                row["annotations"],
            )
            for uuid, row in zip(self.uuids(), self.rows, strict=True)
        }
        at_the_server = list(_created(self.endpoint, self.api_key, self.prefix))
        assert len(at_the_server) == len(expected) == self.size, "the server has more or fewer streams"
        assert {uuid: rest for uuid, *rest in map(_with_tuple, at_the_server)} == {
            uuid: [value] for uuid, value in expected.items()
        }, "the server has other streams"
        return self.size


def _with_tuple(found: data.StreamValues) -> tuple[UUID, tuple[str, dict[str, str], dict[str, str]]]:
    return found[0], found[1:]


class Insert(Work):
    """Insert the first `size` points."""

    def columns(self) -> tuple[Any, Any]:
        columns = data.points(0, self.size)
        # glibc asks the system for every block larger than any freed before (mallopt, M_MMAP_THRESHOLD), which doubles
        # the time of an insert. Freeing one puts all sides and sizes on one footing.
        np.empty(2**21)
        return columns

    def pairs(self) -> list[tuple[int, float]]:
        times, values = self.columns()
        return list(zip(times.tolist(), values.tolist(), strict=True))

    def table(self) -> Any:
        import pyarrow as pa

        times, values = self.columns()
        return pa.table({"time": pa.array(times, pa.timestamp("ns", tz="UTC")), "value": pa.array(values)})

    def compare(self) -> int:
        begin = 0
        for request in _received(self.endpoint, self.api_key):
            times, values = _inserted(request)
            _same_points(times, values, begin)
            begin += len(times)
        assert begin == self.size, f"{begin} of {self.size} points arrived"
        assert self.result == data.VERSION
        return begin


class Values(Work):
    """Read the first `size` points of a stream."""

    def columns(self) -> tuple[Any, Any]:
        """Times and values of the result."""
        return self.result  # type: ignore[no-any-return]

    def compare(self) -> int:
        times, values = self.columns()
        assert len(times) == self.size
        _same_points(times, values, 0)
        return self.size


class Lookup(Work):
    """Read `size` streams with all their values."""

    def found(self) -> Iterable[data.StreamValues]:
        """What was found, as values."""
        return self.result  # type: ignore[no-any-return]

    def compare(self) -> int:
        prefix = data.collection(self.size)
        for number, found in enumerate(self.found()):
            assert found == data.stream(number, prefix), found
        assert number == self.size - 1
        return self.size


class Sql(Work):
    """Read `size` rows of an SQL SELECT."""

    STATEMENT = "SELECT * FROM streams LIMIT $1::bigint"

    def compare(self) -> int:
        assert len(self.result) == self.size
        for number, row in enumerate(self.result):
            assert row == data.row(number), row
        return self.size


def same_page(times: Any, values: Any, begin: int) -> int:
    """Compare a page of points that begins with number `begin`; the number of the next point."""
    _same_points(times, values, begin)
    return begin + len(times)


def _same_points(times: Any, values: Any, begin: int) -> None:
    wanted_times, wanted_values = data.points(begin, begin + len(times))
    assert np.array_equal(times, wanted_times), "times differ"
    assert np.array_equal(values, wanted_values), "values differ"


def _inserted(request: bytes) -> tuple[Any, Any]:
    """The points of an InsertParams or ArrowInsertParams, read by protobuf and pyarrow and not by what is measured."""
    arrow = pb.ArrowInsertParams.FromString(request)
    if arrow.arrow_bytes:
        assert arrow.uuid == data.STREAM.bytes
        import pyarrow as pa

        table = pa.ipc.open_stream(io.BytesIO(arrow.arrow_bytes)).read_all()
        return table["time"].cast("int64").to_numpy(), table["value"].to_numpy()
    rows = pb.InsertParams.FromString(request)
    assert rows.uuid == data.STREAM.bytes
    count = len(rows.values)
    return (
        np.fromiter((point.time for point in rows.values), np.int64, count),
        np.fromiter((point.value for point in rows.values), np.float64, count),
    )


def _created(endpoint: str, api_key: str | None, prefix: str) -> Iterator[data.StreamValues]:
    """The streams below a prefix: what the recorded server received, or what the development server has."""
    try:
        for request in _received(endpoint, api_key):
            yield as_values(pb.CreateParams.FromString(request))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        asked = pb.LookupStreamsParams(collection=prefix, is_collection_prefix=True).SerializeToString()
        for page in _stream_of(endpoint, api_key, METHODS["LookupStreams"].path, asked):
            for descriptor in pb.LookupStreamsResponse.FromString(page).results:
                yield as_values(descriptor)


def as_values(message: Any) -> data.StreamValues:
    """A descriptor or the request to create one -> values."""
    return (
        UUID(bytes=message.uuid),
        message.collection,
        {tag.key: tag.val.value for tag in message.tags},
        {annotation.key: annotation.val.value for annotation in message.annotations},
    )


def _received(endpoint: str, api_key: str | None) -> Iterator[bytes]:
    return _stream_of(endpoint, api_key, RECEIVED, b"")


def _stream_of(endpoint: str, api_key: str | None, method: str, request: bytes) -> Iterator[bytes]:
    with grpc.insecure_channel(endpoint, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield from channel.unary_stream(method)(request, metadata=metadata(api_key))


def metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The header that carries a key."""
    return (("authorization", f"Bearer {api_key}"),) if api_key else ()
