"""Laws of the point codec: numpy's way and protobuf's way read and write the same bytes."""

from __future__ import annotations

import json
import math
import struct
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client import codec, pages
from airflow_provider_btrdb.client.errors import InputError, ProtocolError
from airflow_provider_btrdb.client.models import MergePolicy, Points
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")

TIMES = st.one_of(st.just(0), st.sampled_from([1, -1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 1.0]),
    st.floats(width=64),
)
PAIRS = st.lists(st.tuples(TIMES, VALUES), max_size=40)
VERSIONS = st.one_of(st.integers(0, 300), st.sampled_from([127, 128, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1))


def _points(pairs: list[tuple[int, float]]) -> Points:
    return Points(np.array([time for time, _ in pairs], np.int64), np.array([value for _, value in pairs], np.float64))


def _message(pairs: list[tuple[int, float]], major: int, minor: int, stat: pb.Status | None) -> pb.RawValuesResponse:
    return pb.RawValuesResponse(
        stat=stat,
        version_major=major,
        version_minor=minor,
        values=[pb.RawPoint(time=time, value=value) for time, value in pairs],
    )


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def _as_protobuf_reads(data: bytes) -> tuple[list[tuple[int, bytes]], int, bytes | None] | None:
    """Points, version and status by protobuf alone; None where protobuf refuses."""
    try:
        message = pb.RawValuesResponse.FromString(data)
    except DecodeError:
        return None
    stat = message.stat.SerializeToString() if message.HasField("stat") else None
    return [(point.time, _bits(point.value)) for point in message.values], message.version_major, stat


def _as_we_read(data: bytes) -> tuple[list[tuple[int, bytes]], int, bytes | None] | None:
    try:
        page = pages.decode_points(data)
    except ProtocolError:
        return None
    stat = None if page.stat is None else page.stat.SerializeToString()
    assert page.columns.times.dtype == np.int64
    assert page.columns.values.dtype == np.float64
    return [(time, _bits(value)) for time, value in page.columns], page.version, stat


# ---------------------------------------------------------------- writing


@settings(deadline=None)
@given(PAIRS, st.sampled_from(MergePolicy))
@example([(0, 0.0)], MergePolicy.NEVER)
@example([(0, -0.0), (0, math.nan)], MergePolicy.REPLACE)
def test_an_insert_is_what_protobuf_reads(pairs: list[tuple[int, float]], policy: MergePolicy) -> None:
    message = pb.InsertParams.FromString(pages.InsertRequests(UUID_, policy, 40).encode(_points(pairs)))
    assert message.uuid == UUID_.bytes
    assert message.merge_policy == int(policy)
    assert not message.sync
    assert not message.HasField("rounding")
    assert [(point.time, _bits(point.value)) for point in message.values] == [(t, _bits(v)) for t, v in pairs]


def test_merge_policies_have_the_numbers_of_the_wire() -> None:
    assert {policy.name: int(policy) for policy in MergePolicy} == dict(pb.MergePolicy.items())


def test_columns_need_not_lie_side_by_side_in_memory() -> None:
    every_other = Points(np.arange(10, dtype=np.int64)[::2], np.arange(10, dtype=np.float64)[::-2])
    message = pb.InsertParams.FromString(pages.InsertRequests(UUID_, MergePolicy.NEVER, 5).encode(every_other))
    assert [(point.time, point.value) for point in message.values] == list(every_other)


@settings(deadline=None)
@given(st.lists(PAIRS, max_size=4))
def test_a_batch_leaves_nothing_behind_in_the_next_one(batches: list[list[tuple[int, float]]]) -> None:
    requests = pages.InsertRequests(UUID_, MergePolicy.RETAIN, 40)
    for pairs in batches:
        message = pb.InsertParams.FromString(requests.encode(_points(pairs)))
        assert [(point.time, _bits(point.value)) for point in message.values] == [(t, _bits(v)) for t, v in pairs]


# ---------------------------------------------------------------- reading


@settings(deadline=None)
@given(PAIRS, VERSIONS, VERSIONS, st.one_of(st.none(), st.builds(pb.Status, code=st.integers(0, 500), msg=st.text())))
@example([], 0, 0, None)
@example([], 10, 0, None)
@example([(1, 1.0), (0, 1.0), (1, 0.0), (0, 0.0)], 10, 0, None)
def test_a_page_is_what_protobuf_reads(
    pairs: list[tuple[int, float]], major: int, minor: int, stat: pb.Status | None
) -> None:
    message = _message(pairs, major, minor, stat)
    read = _as_we_read(message.SerializeToString())
    expected_stat = None if stat is None else stat.SerializeToString()
    assert read == ([(time, _bits(value)) for time, value in pairs], major, expected_stat)


@settings(deadline=None)
@given(st.lists(st.tuples(PAIRS, VERSIONS, VERSIONS), min_size=1, max_size=4))
def test_messages_one_after_the_other_are_one_message(parts: list[tuple[Any, int, int]]) -> None:
    """protobuf merges what is concatenated: versions in the middle, the last one counts."""
    data = b"".join(_message(pairs, major, minor, None).SerializeToString() for pairs, major, minor in parts)
    assert _as_we_read(data) == _as_protobuf_reads(data)
    assert _as_we_read(data) is not None


def test_full_records_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points other than zeros never become Python objects: protobuf is not asked."""
    data = _message([(5, 1.5), (6, -0.0), (7, math.nan)], 11, 3, None).SerializeToString()
    monkeypatch.setattr(pages, "_parsed", None)
    page = pages.decode_points(data)
    assert page.columns.times.tolist() == [5, 6, 7]
    assert page.version == 11
    assert pages.decode_points(b"\x10\x0a").version == 10


def test_columns_of_a_page_can_be_written_to_and_outlive_it() -> None:
    data = bytearray(_message([(5, 1.5)], 11, 0, None).SerializeToString())
    page = pages.decode_points(bytes(data))
    page.columns.times[0] = 9
    page.columns.values[0] = 2.5
    assert list(page.columns) == [(9, 2.5)]
    assert page.columns.times.flags.c_contiguous
    assert page.columns.values.flags.c_contiguous


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x10" + b"\xff" * 9 + b"\x01")
@example(b"\x10" + b"\x80" * 9 + b"\x01")
@example(b"\x10\xff")
@example(b"\x22\x12\x09")
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(data: bytes) -> None:
    assert _as_we_read(data) == _as_protobuf_reads(data)


@pytest.mark.parametrize("last", [0x02, 0x7F])
def test_a_version_of_more_than_64_bits_is_cut_as_protobuf_cuts_it(last: int) -> None:
    data = b"\x10" + b"\xff" * 9 + bytes([last])
    assert _as_we_read(data) == _as_protobuf_reads(data)


FULL = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1).filter(bool), st.floats(width=64).filter(lambda v: _bits(v) != bytes(8))
    ),
    min_size=1,
    max_size=6,
)


@given(FULL, st.integers(1, 2**63 - 1), st.data())
@settings(max_examples=400, deadline=None)
def test_a_damaged_page_is_never_read_differently(
    pairs: list[tuple[int, float]], major: int, data: st.DataObject
) -> None:
    whole = bytearray(_message(pairs, major, 1, None).SerializeToString())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    damaged = bytes(whole)
    assert _as_we_read(damaged) == _as_protobuf_reads(damaged)
    cut = damaged[: data.draw(st.integers(0, len(damaged)))]
    assert _as_we_read(cut) == _as_protobuf_reads(cut)


@pytest.mark.parametrize("offset", [0, 1, 2, 11])
def test_every_marker_byte_of_a_record_counts(offset: int) -> None:
    """Two records, the second with one marker changed: not the points that its neighbours suggest."""
    head = _message([], 11, 0, None).SerializeToString()
    records = bytearray(_message([(1, 1.5), (2, 2.5)], 0, 0, None).SerializeToString())
    records[20 + offset] ^= 0x01
    data = head + bytes(records)
    assert _as_we_read(data) == _as_protobuf_reads(data)
    assert _as_we_read(data) != ([(1, _bits(1.5)), (2, _bits(2.5))], 11, None)


# ---------------------------------------------------------------- windows

WINDOWS = st.lists(st.tuples(TIMES, VALUES, VALUES, VALUES, st.integers(0, 2**64 - 1), VALUES), max_size=12)
NAMES = ("time", "min", "mean", "max", "count", "stddev")


def _windows_as_protobuf_reads(data: bytes) -> tuple[list[tuple[Any, ...]], int] | None:
    try:
        message = pb.WindowsResponse.FromString(data)
    except DecodeError:
        return None
    rows = [tuple(getattr(row, name) for name in NAMES) for row in message.values if row.count > 0]
    return [
        tuple(_bits(cell) if isinstance(cell, float) else cell for cell in row) for row in rows
    ], message.version_major


def _windows_as_we_read(data: bytes) -> tuple[list[tuple[Any, ...]], int] | None:
    try:
        page = pages.decode_windows(data)
    except ProtocolError:
        return None
    rows = [tuple(getattr(window, name) for name in NAMES) for window in page.columns]
    return [tuple(_bits(cell) if isinstance(cell, float) else cell for cell in row) for row in rows], page.version


@given(WINDOWS, VERSIONS, st.data())
@settings(deadline=None)
def test_a_page_of_windows_is_what_protobuf_reads(rows: list[Any], major: int, data: st.DataObject) -> None:
    values = [pb.StatPoint(**dict(zip(NAMES, row, strict=True))) for row in rows]
    whole = bytearray(pb.WindowsResponse(version_major=major, version_minor=1, values=values).SerializeToString())
    assert _windows_as_we_read(bytes(whole)) == _windows_as_protobuf_reads(bytes(whole))
    assert _windows_as_we_read(bytes(whole)) is not None
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    assert _windows_as_we_read(bytes(whole)) == _windows_as_protobuf_reads(bytes(whole))


# ---------------------------------------------------------------- points in Arrow


@settings(deadline=None)
@given(PAIRS, VERSIONS, VERSIONS, st.booleans(), st.randoms(use_true_random=False))
def test_arrow_pages_are_read_as_protobuf_reads_them(
    pairs: list[tuple[int, float]], major: int, minor: int, refused: bool, random: Any
) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    sink = pa.BufferOutputStream()
    table = _points(pairs).to_arrow()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    fields = [
        pb.ArrowRawValuesResponse(version_major=major).SerializeToString(),
        pb.ArrowRawValuesResponse(version_minor=minor).SerializeToString(),
        pb.ArrowRawValuesResponse(arrow_bytes=sink.getvalue().to_pybytes()).SerializeToString(),
    ]
    if refused:
        fields.append(pb.ArrowRawValuesResponse(stat=pb.Status(code=404)).SerializeToString())
    if random.random() < 0.5:
        random.shuffle(fields)  # a sender may choose the order
    page = pages.decode_arrow_points(b"".join(fields))
    assert (page.version, page.minor) == (major, minor)
    assert (page.stat is not None) is refused
    assert page.columns == _points(pairs)


# ---------------------------------------------------------------- metadata and SQL


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.one_of(st.none(), st.text())))
def test_key_values_and_back(values: dict[str, str | None]) -> None:
    sent = pb.CreateParams(annotations=codec.to_key_values(values)).SerializeToString()
    assert codec.from_key_values(pb.CreateParams.FromString(sent).annotations) == values


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.integers(), st.booleans())), max_size=5))
def test_sql_rows(rows: list[dict[str, Any]]) -> None:
    assert codec.from_sql_rows([json.dumps(row).encode() for row in rows]) == rows


@pytest.mark.parametrize("row", [b"", b"{", b'{"a": 1', b"\xff"])
def test_a_row_that_is_not_json(row: bytes) -> None:
    with pytest.raises(ProtocolError, match="a row that is not JSON"):
        codec.from_sql_rows([b'{"a": 1}', row])


@pytest.mark.parametrize("rows", [[b"1"], [b'{"a": 1}, {"b": 2}'], [b"[]"], [b"null"]])
def test_a_row_is_one_object(rows: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="a row that is not"):
        codec.from_sql_rows(rows)


def test_sql_parameters_travel_as_text() -> None:
    from datetime import UTC, date, datetime
    from decimal import Decimal

    params = ["x", 1, True, False, 1.5, Decimal("0.10"), UUID_, date(2024, 1, 31), datetime(2024, 1, 31, tzinfo=UTC)]
    assert codec.to_sql_parameters(params) == [
        "x", "1", "true", "false", "1.5", "0.10", str(UUID_), "2024-01-31", "2024-01-31T00:00:00+00:00",
    ]  # fmt: skip
    assert codec.to_sql_parameters(()) == []


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ("abc", "a list or a tuple, not a str"),
        (b"abc", "a list or a tuple, not a bytes"),
        ({"a": 1}, "a list or a tuple, not a dict"),
        (5, "a list or a tuple, not a int"),
        (["x", None], r"\$2 is None, which cannot travel"),
        ([b"x"], r"\$1 is a bytes, which has no text form"),
    ],
)
def test_sql_parameters_that_cannot_travel(params: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        codec.to_sql_parameters(params)
