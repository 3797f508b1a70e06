"""Pages of points straight between numpy and the wire, without one message object per point.

A message on the wire is the concatenation of its fields, and a point with both fields written has a fixed length; so a
page is an array of records. Readers that skip default values and readers that do not agree on it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from airflow_provider_btrdb.devserver.merge import Points
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

_RAW = np.dtype([("head", "V3"), ("time", "<i8"), ("mark", "u1"), ("value", "<f8")])
_RAW_LENGTH, _TIME, _VALUE = 0x12, 0x09, 0x11

WINDOW_DTYPE = np.dtype(
    [("time", "<i8"), ("min", "<f8"), ("mean", "<f8"), ("max", "<f8"), ("count", "<u8"), ("stddev", "<f8")]
)
"""A row of windows."""
_STAT_MARKS = (0x09, 0x11, 0x19, 0x21, 0x29, 0x31)
_STAT = np.dtype(
    [("head", "V2")]
    + [part for name in WINDOW_DTYPE.names or () for part in ((f"mark_{name}", "u1"), (name, WINDOW_DTYPE[name]))]
)


def _tag(field: int) -> int:
    return field << 3 | 2


def raw_values(points: Points, version: int) -> bytes:
    """A RawValuesResponse."""
    records = np.empty(len(points.t), _RAW)
    records["head"] = np.void(bytes([_tag(4), _RAW_LENGTH, _TIME]))
    records["mark"] = _VALUE
    records["time"] = points.t
    records["value"] = points.v
    return pb.RawValuesResponse(version_major=version).SerializeToString() + records.tobytes()


def windows(rows: npt.NDArray[np.void], version: int) -> bytes:
    """A WindowsResponse or AlignedWindowsResponse; `rows` has WINDOW_DTYPE."""
    records = np.empty(len(rows), _STAT)
    records["head"] = np.void(bytes([_tag(4), _STAT.itemsize - 2]))
    for name, mark in zip(WINDOW_DTYPE.names or (), _STAT_MARKS, strict=True):
        records[f"mark_{name}"] = mark
        records[name] = rows[name]
    return pb.WindowsResponse(version_major=version).SerializeToString() + records.tobytes()


def insert_params(raw: bytes) -> tuple[pb.InsertParams, Points]:
    """An InsertParams and its points in the order sent; the message may come back without its values."""
    # Fields come in the order of their numbers: uuid, sync, then the points.
    start = 18 if raw[:2] == b"\x0a\x10" else 0
    if raw[start : start + 1] == b"\x10":
        start += 2
    records = np.frombuffer(raw, _RAW, max(0, len(raw) - start) // _RAW.itemsize, start) if start < len(raw) else None
    if records is not None:
        fits = (records["head"] == np.void(bytes([_tag(3), _RAW_LENGTH, _TIME]))) & (records["mark"] == _VALUE)
        count = len(fits) if fits.all() else int(np.argmin(fits))
        message = pb.InsertParams.FromString(raw[:start] + raw[start + count * _RAW.itemsize :])
        if not message.values:
            return message, Points(records["time"][:count].astype("i8"), records["value"][:count].astype("f8"))
    message = pb.InsertParams.FromString(raw)
    times = np.fromiter((point.time for point in message.values), np.int64, len(message.values))
    values = np.fromiter((point.value for point in message.values), np.float64, len(message.values))
    return message, Points(times, values)
