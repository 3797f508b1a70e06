"""Values <-> messages, and columns of points <-> the bytes of RawPoint pages.

A RawPoint with a time and a value other than zero is 20 bytes inside its page: a tag and a length, then
`09 <int64> 11 <float64>`, little endian. Pages of such records are read and written by numpy at once. proto3 leaves
out a time of 0 and a value of 0.0 (not -0.0), so records may be shorter: every marker byte is checked, and a page
that does not match goes through protobuf.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.client.errors import InputError, ProtocolError
from airflow_provider_btrdb.client.models import MergePolicy, Points
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

_TIME_MARK = 0x09
"""Field 1 of RawPoint, eight fixed bytes."""
_VALUE_MARK = 0x11
"""Field 2 of RawPoint, eight fixed bytes."""
_RECORD_BODY = 18
_PAGE_MARK = 0x22
"""Field 4 of RawValuesResponse: values."""
_INSERT_MARK = 0x1A
"""Field 3 of InsertParams: values."""
_MAJOR_MARK = 0x10
_MINOR_MARK = 0x18


# ---------------------------------------------------------------- metadata


def to_key_values(values: Mapping[str, str | None]) -> list[pb.KeyOptValue]:
    """A mapping -> KeyOptValue list; None becomes an absent value."""
    return [
        pb.KeyOptValue(key=key) if value is None else pb.KeyOptValue(key=key, val=pb.OptValue(value=value))
        for key, value in values.items()
    ]


def from_key_values(pairs: Iterable[pb.KeyOptValue]) -> dict[str, str | None]:
    """The inverse of `to_key_values`; the text is exactly what is stored."""
    return {pair.key: pair.val.value if pair.HasField("val") else None for pair in pairs}


def to_sql_parameters(params: Sequence[Any]) -> list[str]:
    """Parameters travel as text; None has no text form. Raises InputError naming the parameter."""
    if isinstance(params, str | bytes) or not isinstance(params, Sequence):
        raise InputError(f"SQL parameters are a list or a tuple, not a {type(params).__name__}")
    return [_to_sql_text(value, number) for number, value in enumerate(params, start=1)]


def _to_sql_text(value: Any, number: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None:
        raise InputError(f"SQL parameter ${number} is None, which cannot travel: write NULL in the statement")
    raise InputError(f"SQL parameter ${number} is a {type(value).__name__}, which has no text form")


def from_sql_rows(rows: Sequence[bytes]) -> list[dict[str, Any]]:
    """JSON objects, one a row -> dictionaries. Joined to one document: half the cost of one by one."""
    try:
        return json.loads(b"[" + b",".join(rows) + b"]")  # type: ignore[no-any-return]
    except ValueError as error:
        raise ProtocolError(f"the server sent a row that is not JSON: {error}", method="SQLQuery") from None


# ---------------------------------------------------------------- columns of points


@dataclass(frozen=True, slots=True)
class Page:
    """One page of raw values: the points, the version they were read at, and the server's Status if it sent one."""

    points: Points
    version: int
    stat: pb.Status | None


def decode_page(data: bytes) -> Page:
    """The bytes of a RawValuesResponse -> a Page. Raises ProtocolError for bytes that are no such message."""
    version, begin = _page_head(data)
    if begin >= 0:
        points = _decode_records(data, begin)
        if points is not None:
            return Page(points, version, None)
    return _decode_with_protobuf(data)


def encode_insert(uuid: UUID, points: Points, policy: MergePolicy) -> bytes:
    """The bytes of an InsertParams with these points (zeros are written out, which is legal)."""
    import numpy as np

    head = pb.InsertParams(uuid=uuid.bytes, merge_policy=int(policy)).SerializeToString()  # type: ignore[arg-type]
    records = np.empty(len(points), _record_type(np))
    records["tag"] = _INSERT_MARK
    records["length"] = _RECORD_BODY
    records["time_mark"] = _TIME_MARK
    records["time"] = points.times
    records["value_mark"] = _VALUE_MARK
    records["value"] = points.values
    return head + records.tobytes()


def _record_type(np: Any) -> Any:
    return np.dtype(
        [("tag", "u1"), ("length", "u1"), ("time_mark", "u1"), ("time", "<i8"), ("value_mark", "u1"), ("value", "<f8")]
    )


def _page_head(data: bytes) -> tuple[int, int]:
    """The version and where the records begin, or -1 where the head is not just two version numbers."""
    version, at = 0, 0
    while at < len(data) and data[at] in (_MAJOR_MARK, _MINOR_MARK):
        mark = data[at]
        number, at = _varint(data, at + 1)
        if at < 0:
            return 0, -1
        if mark == _MAJOR_MARK:
            version = number
    if at < len(data) and data[at] != _PAGE_MARK:
        return 0, -1
    return version, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    return 0, -1


def _decode_records(data: bytes, begin: int) -> Points | None:
    import numpy as np

    record = _record_type(np)
    if (len(data) - begin) % record.itemsize:
        return None
    records = np.frombuffer(data, record, offset=begin)
    marks_hold = (
        (records["tag"] == _PAGE_MARK).all()
        and (records["length"] == _RECORD_BODY).all()
        and (records["time_mark"] == _TIME_MARK).all()
        and (records["value_mark"] == _VALUE_MARK).all()
    )
    if not marks_hold:
        return None
    return Points(records["time"].astype(np.int64), records["value"].astype(np.float64))


def _decode_with_protobuf(data: bytes) -> Page:
    import numpy as np
    from google.protobuf.message import DecodeError

    try:
        message = pb.RawValuesResponse.FromString(data)
    except DecodeError:
        raise ProtocolError("the server sent a page of points that cannot be read", method="RawValues") from None
    times = np.fromiter((point.time for point in message.values), np.int64, len(message.values))
    values = np.fromiter((point.value for point in message.values), np.float64, len(message.values))
    return Page(Points(times, values), message.version_major, message.stat if message.HasField("stat") else None)
