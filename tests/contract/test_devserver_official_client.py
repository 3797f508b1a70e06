"""The official client, version 5.34.2, against the development server; every result is checked by value."""

from __future__ import annotations

import io
import uuid
import warnings
from types import SimpleNamespace

import grpc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.fixtures import btrdb_devserver  # noqa: F401

btrdb = pytest.importorskip("btrdb")
from btrdb import exceptions  # noqa: E402

SCHEMA = pa.schema([pa.field("time", pa.timestamp("ns", "UTC"), False), pa.field("value", pa.float64(), False)])
SECOND = 1_000_000_000


def connect(endpoint, key=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return btrdb.connect(endpoint, apikey=key)


@pytest.fixture(scope="module")
def db(btrdb_devserver):  # noqa: F811
    return connect(btrdb_devserver.endpoint)


@pytest.fixture
def collection():
    return f"official/{uuid.uuid4().hex}"


@pytest.fixture
def stream(db, collection):
    return db.create(uuid.uuid4(), collection, {"name": "s", "unit": "volts"}, {"site": "north"})


def test_connects_and_enables_arrow(db):
    assert db._ARROW_ENABLED
    info = db.info()
    assert info["majorVersion"] == 5
    assert info["minorVersion"] >= 30


def test_metadata_comes_back(db, stream, collection):
    other = db.stream_from_uuid(stream.uuid)
    assert other.exists()
    assert other.collection == collection
    assert other.tags() == {"name": "s", "unit": "volts", "ingress": "", "distiller": ""}
    assert other.annotations() == ({"site": "north"}, 1)
    assert other.version() == 10
    assert collection in db.list_collections("official/")
    assert db.list_unique_annotations(collection) == ["site"]
    assert [s.uuid for s in db.streams_in_collection(collection, tags={"name": "s"})] == [stream.uuid]
    assert db.streams_in_collection(collection, tags={"name": "t"}) == []
    assert db.collection_metadata(collection) == (
        {"name": 0, "unit": 0, "ingress": 0, "distiller": 0},
        {"site": 1},
    )


def test_unknown_stream(db):
    missing = db.stream_from_uuid(uuid.uuid4())
    # StreamInfo answers with a gRPC status; this version of the client lets it through, with real servers as well.
    with pytest.raises(grpc.RpcError) as caught:
        missing.exists()
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details() == "[404] stream does not exist"
    with pytest.raises(exceptions.StreamNotFoundError):
        missing.values(0, 10)
    with pytest.raises(exceptions.StreamNotFoundError):
        missing.insert([(1, 1.0)])


def test_create_conflicts(db, stream, collection):
    with pytest.raises(exceptions.StreamExists, match="a stream already exists with that uuid"):
        db.create(stream.uuid, collection, {"name": "other"})
    with pytest.raises(exceptions.AmbiguousStream):
        db.create(uuid.uuid4(), collection, {"name": "s", "unit": "volts"})
    with pytest.raises(exceptions.InvalidTagKey):
        db.create(uuid.uuid4(), collection, {"name": "x", "chickens": "y"})
    with pytest.raises(exceptions.InvalidTagValue):
        db.create(uuid.uuid4(), collection, {"name": "x" * 256})
    for bad in ("", "x" * 256):
        with pytest.raises(exceptions.InvalidCollection):
            db.create(uuid.uuid4(), bad, {"name": "x"})


def test_update(db, stream, collection):
    stream.update(tags={"name": "renamed"})
    stream.update(annotations={"color": "red"})
    stream.update(collection=collection + "/moved")
    again = db.stream_from_uuid(stream.uuid)
    assert again.name == "renamed"
    assert again.tags()["unit"] == "volts"
    assert again.annotations() == ({"site": "north", "color": "red"}, 4)
    assert again.collection == collection + "/moved"
    stream.update(annotations={"only": "this"}, replace=True)
    assert db.stream_from_uuid(stream.uuid).annotations()[0] == {"only": "this"}


def test_stale_property_version(db, stream):
    stale = db.stream_from_uuid(stream.uuid)
    stale.annotations()
    stream.update(annotations={"a": "1"})
    with pytest.raises(exceptions.BTRDBServerError, match="423"):
        stale._update_annotations({"b": "2"}, None, False)


def test_raw_points(stream):
    points = [(i * SECOND, float(i)) for i in range(12_000)]
    assert stream.insert(points) == 11
    got = stream.values(0, 20_000 * SECOND)
    assert [(point.time, point.value) for point, _ in got] == points
    assert {version for _, version in got} == {11}
    assert stream.count(0, 20_000 * SECOND, precise=True) == 12_000
    assert stream.earliest()[0].time == 0
    assert stream.latest()[0].time == 11_999 * SECOND
    assert stream.nearest(5 * SECOND + 1, 0)[0].time == 6 * SECOND
    assert stream.nearest(5 * SECOND, 0, backward=True)[0].time == 4 * SECOND
    assert stream.nearest(13_000 * SECOND, 0) is None


def test_old_versions_stay(stream):
    first = stream.insert([(1, 1.0), (2, 2.0)])
    second = stream.insert([(2, 5.0), (3, 3.0)], merge="replace")
    third = stream.delete(1, 3)

    def at(version):
        return [(point.time, point.value) for point, _ in stream.values(0, 10, version)]

    assert at(first) == [(1, 1.0), (2, 2.0)]
    assert at(second) == [(1, 1.0), (2, 5.0), (3, 3.0)]
    assert at(third) == [(3, 3.0)]
    with pytest.raises(exceptions.VersionNotAvailable):
        at(third + 1)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("never", [(110, 1.0), (110, 2.0), (110, 1.0), (120, 1.0), (120, 1.0)]),
        ("equal", [(110, 1.0), (110, 2.0), (120, 1.0)]),
        ("retain", [(110, 1.0), (120, 1.0)]),
        ("replace", [(110, 1.0), (120, 1.0)]),
    ],
)
def test_merge_policies(stream, policy, expected):
    stream.insert([(120, 1.0)], merge=policy)
    stream.insert([(110, 1.0), (120, 1.0), (110, 2.0), (110, 1.0)], merge=policy)
    assert [(point.time, point.value) for point, _ in stream.values(0, 1000)] == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_bad_values(stream, value):
    with pytest.raises(exceptions.BadValue):
        stream.insert([(1, 1.0), (2, value)])
    assert stream.version() == 10


@pytest.mark.parametrize("time", [btrdb.MINIMUM_TIME - 1, btrdb.MAXIMUM_TIME, btrdb.MAXIMUM_TIME + 1])
def test_times_out_of_range(stream, time):
    with pytest.raises(exceptions.InvalidTimeRange):
        stream.insert([(time, 1.0)])


def test_windows(stream):
    stream.insert([(0, 1.0), (3, 2.0), (5, 3.0), (40, 7.0)])
    rows = [row for row, _ in stream.aligned_windows(0, 64, 3)]
    assert [(r.time, r.min, r.mean, r.max, r.count) for r in rows] == [(0, 1.0, 2.0, 3.0, 3), (40, 7.0, 7.0, 7.0, 1)]
    assert rows[0].stddev == pytest.approx(np.std([1, 2, 3]))
    rows = [row for row, _ in stream.windows(1, 46, 10)]
    assert [(r.time, r.mean, r.count) for r in rows] == [(1, 2.5, 2), (31, 7.0, 1)]
    for width in (0, 64):
        with pytest.raises(exceptions.InvalidPointWidth):
            list(stream.windows(0, 100, 0)) if width == 0 else stream.aligned_windows(0, 100, width)


def test_arrow_points(stream):
    times = np.arange(120_000, dtype=np.int64) * 1000
    values = np.random.default_rng(1).normal(size=len(times))
    table = pa.table([pa.array(times).cast(SCHEMA.field(0).type), pa.array(values)], schema=SCHEMA)
    assert stream.arrow_insert(table) == 13
    got = stream.arrow_values(0, 10**9)
    assert got.schema == SCHEMA
    assert got["time"].cast(pa.int64()).to_numpy().tolist() == times.tolist()
    assert got["value"].to_numpy().tolist() == values.tolist()
    assert stream.arrow_insert(table.slice(0, 0)) == 13
    assert len(stream.arrow_values(10**9, 2 * 10**9)) == 0


def test_arrow_template(stream):
    stream.insert([(1, 1.5), (2, 2.5)])
    template = pa.schema([pa.field("t", pa.int64(), False), pa.field("v", pa.float32(), False)])
    got = stream.arrow_values(0, 10, schema=template)
    assert got.schema == template
    assert got.to_pydict() == {"t": [1, 2], "v": [1.5, 2.5]}


def test_arrow_windows(stream):
    stream.insert([(0, 1.0), (3, 2.0), (5, 3.0), (40, 7.0)])
    got = stream.arrow_aligned_windows(0, 64, 3)
    assert got.column_names == ["time", "min", "mean", "max", "count", "stddev"]
    assert got["time"].cast(pa.int64()).to_pylist() == [0, 40]
    assert got["count"].to_pylist() == [3, 1]
    assert got["stddev"].to_pylist() == pytest.approx([np.std([1, 2, 3]), 0.0])
    got = stream.arrow_windows(1, 46, 10)
    assert got["time"].cast(pa.int64()).to_pylist() == [1, 31]
    assert len(stream.arrow_windows(1000, 2000, 10)) == 0


def test_stream_set(db, collection):
    a = db.create(uuid.uuid4(), collection, {"name": "a"})
    b = db.create(uuid.uuid4(), collection, {"name": "b"})
    a.insert([(1, 1.0), (2, 2.0)])
    b.insert([(2, 20.0), (3, 30.0)])
    streams = db.streams(a.uuid, b.uuid)
    got = streams.filter(start=1, end=10).arrow_values()
    assert got.column_names == ["time", str(a.uuid), str(b.uuid)]
    assert got["time"].cast(pa.int64()).to_pylist() == [1, 2, 3]
    np.testing.assert_array_equal(got[str(a.uuid)].to_numpy(), [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(got[str(b.uuid)].to_numpy(), [np.nan, 20.0, 30.0])
    assert [[point.value for point in points] for points in streams.filter(start=1, end=10).values()] == [
        [1.0, 2.0],
        [20.0, 30.0],
    ]
    found = db.streams(f"{collection}/a", f"{collection}/b")
    assert [s.uuid for s in found] == [a.uuid, b.uuid]


@pytest.fixture
def pair(db, collection):
    """Two streams, and a set of both that holds what both were given in columns."""
    made = [db.create(uuid.uuid4(), collection, {"name": name, "unit": unit}) for name, unit in ("aV", "bA")]
    streams = db.streams(*(stream.uuid for stream in made))
    frames = [
        pd.DataFrame({"time": [1, 2], "value": [1.0, 2.0]}),
        pd.DataFrame({"time": [2, 3], "value": [20.0, 30.0]}),
    ]
    streams.insert({stream.uuid: frame for stream, frame in zip(made, frames, strict=True)})
    return [stream.uuid for stream in made], streams


def test_a_stream_set_writes_and_tells(db, collection, pair):
    uuids, streams = pair
    tables = [pa.table([[5], [value]], schema=SCHEMA) for value in (5.0, 50.0)]
    assert streams.arrow_insert(dict(zip(uuids, tables, strict=True))) == dict.fromkeys(uuids, 12)
    assert streams.versions() == dict.fromkeys(uuids, 12)
    assert streams.count() == 6
    assert [(point.time, point.value) for point in streams.earliest()] == [(1, 1.0), (2, 20.0)]
    assert [(point.time, point.value) for point in streams.latest()] == [(5, 5.0), (5, 50.0)]
    assert [(point.time, point.value) for point in streams.current()] == [(5, 5.0), (5, 50.0)]
    assert db.stream_from_uuid(uuids[0]).count(1, 5) == 2
    assert db.list_unique_names(collection) == ["a", "b"]
    assert db.list_unique_units(collection) == ["A", "V"]
    old = db.streams(*uuids).pin_versions(dict.fromkeys(uuids, 11)).filter(start=1, end=10).arrow_values()
    assert old["time"].cast(pa.int64()).to_pylist() == [1, 2, 3]


def test_every_form_of_a_stream_set(db, collection, pair):
    uuids, streams = pair
    chosen = streams.filter(start=1, end=10)
    nan = float("nan")
    columns = [[1, 2, 3], [1.0, 2.0, nan], [nan, 20.0, 30.0]]
    plain = [f"{collection}/a", f"{collection}/b"]

    def same(times, *values):
        assert [int(time) for time in times] == columns[0]
        for got, expected in zip(values, columns[1:], strict=True):
            np.testing.assert_array_equal(np.array(got, float), expected)

    assert [[point and point.value for point in row] for row in chosen.rows()] == [
        [1.0, None],
        [2.0, 20.0],
        [None, 30.0],
    ]
    records = chosen.to_dict()
    same(*([record[key] for record in records] for key in ("time", *plain)))
    np.testing.assert_array_equal(np.array(chosen.to_array(), float), [[1.0, 2.0], [20.0, 30.0]])
    assert [dict(one) for one in chosen.to_series(datetime64_index=False)] == [{1: 1.0, 2: 2.0}, {2: 20.0, 3: 30.0}]
    frame = chosen.to_dataframe()
    same(frame.index, *(frame[name] for name in plain))
    text = io.StringIO()
    chosen.to_csv(text)
    assert text.getvalue().splitlines() == [f"time,{plain[0]},{plain[1]}", "1,1.0,", "2,2.0,20.0", "3,,30.0"]
    assert chosen.to_table().splitlines()[-1].split() == ["3", "30"]
    tables = [chosen.arrow_to_arrow_table(), chosen.arrow_to_polars().to_arrow()]
    for table in tables:
        same(table["time"].cast(pa.int64()).to_pylist(), *(table[name].to_pylist() for name in table.column_names[1:]))
    frame = chosen.arrow_to_dataframe()
    same(frame.index.astype("int64"), *(frame[name] for name in plain))
    by_time = chosen.arrow_to_dict()
    same([time.value for time in by_time], *([row[name] for row in by_time.values()] for name in plain))
    same(columns[0], *chosen.arrow_to_numpy().T)
    same(columns[0], *chosen.arrow_to_series())
    windows = chosen.windows(width=2, depth=0).values()
    assert [[(row.time, row.mean, row.count) for row in rows] for rows in windows] == [
        [(1, 1.5, 2)],
        [(1, 20.0, 1), (3, 30.0, 1)],
    ]
    aligned = db.streams(*uuids).filter(start=1, end=10).aligned_windows(pointwidth=2).values()
    assert [[(row.time, row.mean, row.count, row.stddev) for row in rows] for rows in aligned] == [
        [(0, 1.5, 2, 0.5)],
        [(0, 25.0, 2, 5.0)],
    ]


def test_snapping(db, collection):
    a = db.create(uuid.uuid4(), collection, {"name": "a"})
    base, half = 100 * SECOND, SECOND // 2
    offsets = [half - 1, SECOND, 2 * SECOND - half, 2 * SECOND + 3 * SECOND // 4]
    a.insert([(base + offset, float(index)) for index, offset in enumerate(offsets)])

    def snapped(seconds):
        wanted = db.streams(a.uuid).filter(start=base, end=base + int(seconds * SECOND), sampling_frequency=1)
        table = wanted.arrow_values()
        times = (table["time"].cast(pa.int64()).to_numpy() - base) // SECOND
        return list(zip(times.tolist(), table[str(a.uuid)].to_pylist(), strict=True))

    assert snapped(3) == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert snapped(2.9) == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert snapped(4) == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]


def test_sql(db, stream, collection):
    rows = db.query("SELECT * FROM streams WHERE collection = $1::text;", [collection])
    assert rows == [
        {
            "uuid": str(stream.uuid),
            "collection": collection,
            "name": "s",
            "unit": "volts",
            "ingress": "",
            "distiller": "",
            "property_version": 1,
            "annotations": {"site": "north"},
        }
    ]
    assert db.query("SELECT count(*) FROM streams WHERE collection = $1", [collection]) == [{"count": 1}]
    assert db.query(
        "select distinct(skeys(annotations)) as annotations from streams where collection=$1", [collection]
    ) == [{"annotations": "site"}]
    assert db.query("SELECT name FROM streams WHERE uuid = $1", [str(uuid.uuid4())]) == []
    with pytest.raises(exceptions.BadSQLValue):
        db.query("SELECT nonsense FROM streams")


def test_obliterate(db, stream, collection):
    stream.insert([(1, 1.0)])
    stream.obliterate()
    with pytest.raises(exceptions.StreamNotFoundError):
        stream.values(0, 10)
    assert collection not in db.list_collections(collection)
    with pytest.raises(exceptions.RecycledUUID):
        db.create(stream.uuid, collection, {"name": "s"})
    again = db.create(uuid.uuid4(), collection, {"name": "s", "unit": "volts"})
    assert again.values(0, 10) == []
    with pytest.raises(exceptions.StreamNotFoundError):
        stream.obliterate()


def test_changes_flush_and_csv(db, stream):
    stream.insert([(100, 1.0), (200, 2.0)])
    stream.flush()
    assert stream.version() == 11
    ((ranges, version),) = list(db.ep.changes(stream.uuid, 10, 11, 0))
    assert version == 11
    assert [(r.start, r.end) for r in ranges] == [(100, 101), (200, 201)]
    raw = SimpleNamespace(to_proto=lambda: 2)
    rows = [list(row) for row in db.ep.generateCSV(raw, 0, 1000, 0, 0, True, (0, "lab", stream.uuid))]
    assert rows == [
        ["Timestamp (ns)", "Human-Readable Time (UTC)", "lab, ver. 11"],
        ["100", "1970-01-01T00:00:00.0000001Z", "1.000000"],
        ["200", "1970-01-01T00:00:00.0000002Z", "2.000000"],
    ]


def test_key(collection):
    with devserver(api_key="sesame") as server:
        db = connect(server.endpoint, "sesame")
        made = db.create(uuid.uuid4(), collection, {"name": "s"})
        assert db.stream_from_uuid(made.uuid).name == "s"
        for key in ("wrong", None):
            with pytest.raises(exceptions.BTrDBError) as caught:
                connect(server.endpoint, key)
            assert (
                "<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAUTHENTICATED\n"
                '\tdetails = "invalid api key"\n'
            ) in str(caught.value)
