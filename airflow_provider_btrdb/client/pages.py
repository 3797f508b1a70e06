"""The bytes of pages of points and windows <-> columns.

A RawPoint with a time and a value other than zero is 18 bytes, `09 <int64> 11 <float64>` little endian, behind a tag
and a length; a StatPoint is 54 bytes made the same way. Pages of such records are read and written by numpy at once.
proto3 leaves out fields that are 0 (not -0.0), so records may be shorter: every marker byte is checked, and a page
that does not match goes through protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import numpy as np
from google.protobuf.message import DecodeError

from airflow_provider_btrdb.client.columns import joined_points
from airflow_provider_btrdb.client.errors import ProtocolError
from airflow_provider_btrdb.client.models import MergePolicy, Points, Windows, needed
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

T = TypeVar("T", Points, Windows)

_VALUES = 0x22
"""Tag of field 4, `values`, of the replies."""
_INSERT_VALUES = 0x1A
"""Tag of field 3, `values`, of InsertParams."""
_MAJOR = 0x10
_MINOR = 0x18

_FIXED64 = 1
"""The wire type of an eight byte field."""


def _record(*fields: tuple[str, str]) -> np.dtype[Any]:
    """A message of eight byte fields, numbered in order, behind its tag and length."""
    parts: list[tuple[str, str]] = [("tag", "u1"), ("length", "u1")]
    for name, kind in fields:
        parts += [(f"mark_{name}", "u1"), (name, kind)]
    return np.dtype(parts)


_POINT_FIELDS = ("time", "value")
_POINT = _record(("time", "<i8"), ("value", "<f8"))
_WINDOW_FIELDS = ("time", "min", "mean", "max", "count", "stddev")
_WINDOW = _record(("time", "<i8"), ("min", "<f8"), ("mean", "<f8"), ("max", "<f8"), ("count", "<u8"), ("stddev", "<f8"))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page: its columns, the version they were read at, and the server's Status if it sent one."""

    columns: T
    version: int
    minor: int
    """Points that the server buffers beside that version and has merged into the page."""
    stat: pb.Status | None


def decode_points(data: bytes) -> Page[Points]:
    """The bytes of a RawValuesResponse -> a page. Raises ProtocolError for bytes that are no such message."""
    versions, records = _records(data, _POINT, _POINT_FIELDS)
    if records is not None:
        return Page(Points(records["time"].astype(np.int64), records["value"].astype(np.float64)), *versions, None)
    message = _parsed(pb.RawValuesResponse, data, "RawValues")
    size = len(message.values)
    times = np.fromiter((point.time for point in message.values), np.int64, size)
    values = np.fromiter((point.value for point in message.values), np.float64, size)
    return Page(Points(times, values), message.version_major, message.version_minor, _stat(message))


def decode_arrow_points(data: bytes) -> Page[Points]:
    """The bytes of an ArrowRawValuesResponse -> a page. Raises ProtocolError where they hold no times and values.

    Read by hand where nothing but versions stands before the table: protobuf would copy the table twice.
    """
    versions, at = _head(data)
    size, begin = _varint(data, at + 1) if at >= 0 else (0, -1)
    if begin >= 0 and begin + size == len(data):
        return Page(arrow_points(data[begin:], "ArrowRawValues"), *versions, None)
    message = _parsed(pb.ArrowRawValuesResponse, data, "ArrowRawValues")
    return Page(
        arrow_points(message.arrow_bytes, "ArrowRawValues"),
        message.version_major,
        message.version_minor,
        _stat(message),
    )


def arrow_points(data: bytes, method: str) -> Points:
    """An Arrow IPC stream with a column of times and one of values, in that order. Raises ProtocolError."""
    pa = needed("pyarrow", "arrow")
    batches = []
    try:
        for batch in pa.ipc.open_stream(data) if data else ():
            times, values = batch.column(0), batch.column(1)
            if times.type != pa.timestamp("ns", tz="UTC") or values.type != pa.float64():
                raise pa.ArrowInvalid(f"its columns are {times.type} and {values.type}")
            batches.append(Points(_buffer(times, np.int64), _buffer(values, np.float64)))
    except (pa.ArrowException, OSError, IndexError) as error:
        raise ProtocolError(f"the server sent an Arrow page that cannot be read: {error}", method=method) from None
    return joined_points(batches)


def _buffer(array: Any, kind: type[Any]) -> Any:
    """The values of an Arrow array without nulls, where they lie. (`to_numpy` would import pandas if it is there.)"""
    if array.null_count:
        raise IndexError("there are nulls in it")
    if len(array) == 0:  # an empty array may have no buffer
        return np.empty(0, kind)
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * 8)


def decode_windows(data: bytes) -> Page[Windows]:
    """The bytes of an (Aligned)WindowsResponse -> a page without empty windows. Raises ProtocolError."""
    versions, records = _records(data, _WINDOW, _WINDOW_FIELDS)
    stat = None
    if records is None:
        message = _parsed(pb.WindowsResponse, data, "Windows")
        versions, stat = (message.version_major, message.version_minor), _stat(message)
        records = np.array([tuple(getattr(row, name) for name in _WINDOW_FIELDS) for row in message.values], _ROW)
    columns = Windows(*(np.ascontiguousarray(records[name][records["count"] > 0]) for name in _WINDOW_FIELDS))
    return Page(columns, *versions, stat)


_ROW = np.dtype([(name, _WINDOW[name]) for name in _WINDOW_FIELDS])


class InsertRequests:
    """Makes InsertParams of batches of points for one stream. Zeros are written out, which is legal.

    One buffer serves all batches: a fresh one for each would cost more in pages from the system than filling it.
    """

    def __init__(self, uuid: UUID, policy: MergePolicy, largest: int) -> None:
        """`largest`: the most points of a batch."""
        head = pb.InsertParams(uuid=uuid.bytes, merge_policy=policy.name).SerializeToString()
        self._begin = len(head)
        self._buffer = np.empty(self._begin + largest * _POINT.itemsize, np.uint8)
        self._buffer[: self._begin] = np.frombuffer(head, np.uint8)
        self._records = self._buffer[self._begin :].view(_POINT)
        self._records["tag"] = _INSERT_VALUES
        self._records["length"] = _POINT.itemsize - 2
        for name, mark in _marks(_POINT_FIELDS):
            self._records[name] = mark

    def encode(self, points: Points) -> bytes:
        """The bytes of the request with these points."""
        records = self._records[: len(points)]
        records["time"] = points.times
        records["value"] = points.values
        return self._buffer[: self._begin + records.nbytes].tobytes()


def _marks(fields: tuple[str, ...]) -> list[tuple[str, int]]:
    return [(f"mark_{name}", number << 3 | _FIXED64) for number, name in enumerate(fields, start=1)]


def _records(data: bytes, record: np.dtype[Any], fields: tuple[str, ...]) -> tuple[tuple[int, int], Any]:
    """The page's two version numbers and its records, or None where not every record has every field."""
    versions, begin = _head(data)
    if begin < 0 or (len(data) - begin) % record.itemsize:
        return versions, None
    records = np.frombuffer(data, record, offset=begin)
    marks = [("tag", _VALUES), ("length", record.itemsize - 2), *_marks(fields)]
    return versions, records if all((records[name] == mark).all() for name, mark in marks) else None


def _head(data: bytes) -> tuple[tuple[int, int], int]:
    """The two version numbers and where the records begin, or -1 where the head is not just these."""
    major = minor = at = 0
    while at < len(data) and data[at] in (_MAJOR, _MINOR):
        mark = data[at]
        number, at = _varint(data, at + 1)
        if at < 0:
            return (0, 0), -1
        major, minor = (number, minor) if mark == _MAJOR else (major, number)
    if at < len(data) and data[at] != _VALUES:
        return (0, 0), -1
    return (major, minor), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 63:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    return 0, -1


def _parsed(message: Any, data: bytes, method: str) -> Any:
    try:
        return message.FromString(data)
    except DecodeError:
        raise ProtocolError("the server sent a page that cannot be read", method=method) from None


def _stat(message: Any) -> pb.Status | None:
    return message.stat if message.HasField("stat") else None
