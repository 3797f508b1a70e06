"""Arrow on the wire: every message carries a complete IPC stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from airflow_provider_btrdb.devserver.errors import Refusal
from airflow_provider_btrdb.devserver.merge import NO_POINTS, Points, join
from airflow_provider_btrdb.devserver.windows import Rows
from airflow_provider_btrdb.protocol import Code

TIME = pa.timestamp("ns", tz="UTC")
RAW_SCHEMA = pa.schema([pa.field("time", TIME, nullable=False), pa.field("value", pa.float64(), nullable=False)])
WINDOW_SCHEMA = pa.schema(
    [
        pa.field("time", TIME, nullable=False),
        pa.field("min", pa.float64(), nullable=False),
        pa.field("mean", pa.float64(), nullable=False),
        pa.field("max", pa.float64(), nullable=False),
        pa.field("count", pa.uint64(), nullable=False),
        pa.field("stddev", pa.float64(), nullable=False),
    ]
)


def multi_schema(names: Sequence[str]) -> Any:
    """`time` and one column per stream; a gap is NaN."""
    return pa.schema([RAW_SCHEMA.field("time"), *(pa.field(name, pa.float64(), nullable=False) for name in names)])


def template(data: bytes, columns: int) -> Any:
    """The schema that the caller wants, or None; 438 if it does not fit."""
    if not data:
        return None
    try:
        with pa.ipc.open_stream(data) as reader:
            schema = reader.schema
    except (pa.ArrowException, OSError):
        raise Refusal(Code.INVALID_PARAMETER, "the template is no Arrow IPC stream") from None
    if len(schema) != columns:
        raise Refusal(Code.INVALID_PARAMETER, f"the template has {len(schema)} columns, the answer {columns}")
    return schema


def page(schema: Any, columns: Sequence[Any], wanted: Any = None) -> bytes:
    """One IPC stream; columns of 8 bytes a value, cast by position if a template is wanted."""
    arrays = [_array(field.type, column) for field, column in zip(schema, columns, strict=True)]
    if wanted is not None:
        try:
            arrays = [array.cast(field.type) for array, field in zip(arrays, wanted, strict=True)]
        except (pa.ArrowException, NotImplementedError):
            raise Refusal(Code.INVALID_PARAMETER, "the answer cannot be cast to the template") from None
        schema = wanted
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    return bytes(sink.getvalue())


def _array(kind: Any, column: Any) -> Any:
    """The same memory as an Arrow array (`pa.array` would import pandas where it is installed, for a second)."""
    memory = np.ascontiguousarray(column)
    return pa.Array.from_buffers(kind, len(memory), [None, pa.py_buffer(memory)])


def window_page(rows: Rows) -> bytes:
    """Rows of WINDOW_DTYPE."""
    return page(WINDOW_SCHEMA, [rows[name] for name in WINDOW_SCHEMA.names])


def inserted(data: bytes, most: int) -> Points:
    """The points of an ArrowInsert in the order sent: first column times, second values, names do not matter."""
    parts: list[Points] = []
    try:
        with pa.ipc.open_stream(data) as reader:
            if len(reader.schema) != 2:
                raise Refusal(Code.INVALID_PARAMETER, f"expected 2 columns, not {len(reader.schema)}")
            for batch in reader:
                batch.validate(full=True)
                parts.append(_points(batch))
                if sum(len(part.t) for part in parts) > most:
                    raise Refusal(Code.INSERT_TOO_BIG, f"insert is too big, at most {most} points are taken")
    except (pa.ArrowException, OSError, UnicodeDecodeError):  # the last of names, which pyarrow wants in UTF-8
        raise Refusal(Code.INVALID_PARAMETER, "the points are no valid Arrow IPC stream") from None
    return join(parts) if parts else NO_POINTS


def _points(batch: Any) -> Points:
    times, values = batch.columns
    if times.null_count or values.null_count:
        raise Refusal(Code.BAD_VALUE, "insert contains null values")
    if not (pa.types.is_timestamp(times.type) or pa.types.is_int64(times.type)):
        raise Refusal(Code.INVALID_PARAMETER, f"times must be timestamps, not {times.type}")
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise Refusal(Code.INVALID_PARAMETER, f"values must be numbers, not {values.type}")
    if pa.types.is_timestamp(times.type):
        times = times.cast(pa.timestamp("ns", tz=times.type.tz)).view(pa.int64())
    return Points(_memory(times, np.dtype("<i8")), _memory(values.cast(pa.float64(), safe=False), np.dtype("<f8")))


def _memory(array: Any, kind: np.dtype[Any]) -> Any:
    """The values of an array without nulls (`to_numpy` would import pandas)."""
    if not len(array):
        return np.empty(0, kind)
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)
