"""The client against a real server, every test in both modes."""

from __future__ import annotations

import pickle
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from airflow_provider_btrdb.client import MergePolicy, Points, derived_uuid, errors

pytestmark = pytest.mark.anyio

ODD_TEXT = 'ünï "quoted" back\\slash\nnew line \'x\' 123 true null NaN {"a": 1} 電'


async def made(db: Any, done: Any, collection: str, name: str = "x", **tags: str) -> Any:
    return await done(db.create(uuid4(), collection, {"name": name, **tags}))


async def test_info_tells_version_and_proxy(db: Any, done: Any) -> None:
    info = await done(db.info())
    assert info["majorVersion"] >= 5
    assert isinstance(info["build"], str)


async def test_create_then_read_back_exactly_what_was_given(db: Any, done: Any, collection: str) -> None:
    uuid = uuid4()
    annotations = {"odd": ODD_TEXT, "number": "123", "null": None, "empty": ""}
    created = await done(db.create(uuid, collection, {"name": "x", "unit": "volts"}, annotations))
    assert created.uuid == uuid

    stream = await done(db.stream_from_uuid(str(uuid).upper()))
    await done(stream.refresh())
    assert stream.collection == collection
    assert stream.tags == {"name": "x", "unit": "volts", "ingress": "", "distiller": ""}
    assert (stream.name, stream.unit) == ("x", "volts")
    assert stream.annotations == annotations
    assert stream.property_version == 1


async def test_create_refuses_annotations_that_are_not_text(db: Any, done: Any, collection: str) -> None:
    with pytest.raises(errors.InputError, match="'limit' is 3"):
        await done(db.create(uuid4(), collection, {"name": "x"}, {"limit": 3}))
    assert await done(db.count_streams(collection)) == 0


async def test_the_same_uuid_twice_is_an_error_that_travels(db: Any, done: Any, collection: str) -> None:
    stream = await made(db, done, collection)
    with pytest.raises(errors.StreamExistsError) as caught:
        await done(db.create(stream.uuid, collection, {"name": "other"}))
    assert caught.value.server_code == 417
    assert caught.value.method == "Create"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.uuid) == (type(caught.value), str(caught.value), str(stream.uuid))


async def test_the_same_collection_and_tags_twice_is_ambiguous(db: Any, done: Any, collection: str) -> None:
    await made(db, done, collection)
    with pytest.raises(errors.AmbiguousStreamError):
        await made(db, done, collection)


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        ({"name": "x", "chickens": "2"}, errors.InvalidTagKeyError),
        ({"name": "x" * 256}, errors.InvalidTagValueError),
    ],
)
async def test_bad_tags_are_refused_by_number(
    db: Any, done: Any, collection: str, tags: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await done(db.create(uuid4(), collection, tags))
    assert await done(db.count_streams(collection)) == 0


async def test_a_handle_asks_nobody_until_it_must(db: Any, done: Any) -> None:
    stream = await done(db.stream_from_uuid(uuid4()))
    assert str(stream.uuid) in repr(stream)
    with pytest.raises(errors.MetadataNotLoadedError, match="refresh"):
        _ = stream.collection
    assert await done(stream.exists()) is False
    with pytest.raises(errors.StreamNotFoundError):
        await done(stream.version())


async def test_streams_by_uuid_by_text_and_by_name(db: Any, done: Any, collection: str) -> None:
    one, two = await made(db, done, collection, "one"), await made(db, done, collection, "two")
    found = await done(db.streams(one.uuid, [str(two.uuid).upper(), f"{collection}/one"], versions=[10, 10, 10]))
    assert [stream.uuid for stream in found] == [one.uuid, two.uuid, one.uuid]
    assert [stream.name for stream in found] == ["one", "two", "one"]
    assert await done(found.versions()) == [10, 10, 10]
    assert isinstance(found[:2], type(found))
    assert len(found[:2]) == 2


async def test_not_found_and_ambiguous_differ_and_name_what_was_asked(db: Any, done: Any, collection: str) -> None:
    await made(db, done, collection, unit="volts")
    await made(db, done, collection, unit="amps")
    with pytest.raises(errors.AmbiguousStreamError, match=f"{collection}/x"):
        await done(db.streams(f"{collection}/x"))
    with pytest.raises(errors.StreamNotFoundError, match=f"{collection}/y"):
        await done(db.streams(f"{collection}/y"))
    with pytest.raises(errors.InputError, match="not-a-uuid"):
        await done(db.streams("not-a-uuid"))
    assert await done(db.missing(f"{collection}/x", [f"{collection}/y", uuid4()])) != []
    assert await done(db.missing(f"{collection}/x")) == []


async def test_lookup_by_prefix_tags_and_annotations(db: Any, done: Any, items: Any, collection: str) -> None:
    for name, given in (("a", {"k": "1"}), ("b", {"k": "2"}), ("c", {"k": None}), ("d", {})):
        await done(db.create(uuid4(), collection + "/deep", {"name": name, "unit": "V"}, given))

    async def names(*where: str, **how: Any) -> list[str]:
        return sorted(stream.name for stream in await done(db.streams_in_collection(*where, **how)))

    assert await names(collection) == ["a", "b", "c", "d"]
    assert await names(collection, is_collection_prefix=False) == []
    assert await names(collection + "/deep", is_collection_prefix=False) == ["a", "b", "c", "d"]
    assert await names(collection, annotations={"k": "2"}) == ["b"]
    assert await names(collection, annotations={"k": None}) == ["a", "b", "c"]
    assert await names(collection, tags={"name": "a", "unit": "V"}) == ["a"]
    assert await names(collection, tags={"name": "A"}) == []
    assert await names(collection, collection + "/deep") == ["a", "b", "c", "d"]
    assert len(await items(db.lookup_iter(collection))) == 4
    assert await done(db.count_streams(collection)) == 4
    assert await done(db.count_streams(collection + "/none")) == 0


async def test_collections_and_their_metadata(db: Any, done: Any, collection: str) -> None:
    await done(db.create(uuid4(), f"{collection}/b", {"name": "x"}, {"k": "1", "l": "2"}))
    await done(db.create(uuid4(), f"{collection}/a", {"name": "x"}, {"k": "1"}))
    assert await done(db.list_collections(collection)) == [f"{collection}/a", f"{collection}/b"]
    tags, annotations = await done(db.collection_metadata(collection))
    assert set(tags) == {"name", "unit", "ingress", "distiller"}
    assert annotations == {"k": 2, "l": 1}


async def test_query_with_parameters_gives_dictionaries(db: Any, done: Any, items: Any, collection: str) -> None:
    uuid = uuid4()
    await done(db.create(uuid, collection, {"name": "x'; --", "unit": "V"}, {"k": ODD_TEXT, "n": None}))
    sql = "SELECT uuid, name, annotations, property_version FROM streams WHERE collection = $1 AND name = $2;"
    rows = await done(db.query(sql, [collection, "x'; --"]))
    assert rows == [
        {"uuid": str(uuid), "name": "x'; --", "annotations": {"k": ODD_TEXT, "n": None}, "property_version": 1}
    ]
    assert await items(db.query_iter(sql, [collection, "nobody"])) == []
    assert await done(db.query("SELECT $1::bigint + 1 AS n, $2::boolean AS b", (41, True))) == [{"n": 42, "b": True}]


async def test_bad_sql_is_one_clear_error(db: Any, done: Any) -> None:
    with pytest.raises(errors.BadSqlError, match="no_such_column"):
        await done(db.query("SELECT no_such_column FROM streams"))
    with pytest.raises(errors.InputError, match=r"\$1 is None"):
        await done(db.query("SELECT $1", [None]))
    with pytest.raises(errors.InputError, match="list or a tuple"):
        await done(db.query("SELECT $1", "text"))


async def test_points_survive_exactly(db: Any, done: Any, items: Any, collection: str) -> None:
    stream = await made(db, done, collection)
    pairs = [(0, 0.0), (-1, -0.0), (5, 1e308), (5, 2.5), (7, -5e-324), (2**60, 3.0)]
    version = await done(stream.insert(pairs))
    points = await done(stream.values())
    assert points == Points.of(sorted(pairs, key=lambda pair: pair[0]))
    assert version == await done(stream.version()) == 11
    assert list(await done(stream.values(5, 7))) == [(5, 1e308), (5, 2.5)]
    assert len(await done(stream.values(8, 9))) == 0
    assert await items(stream.values_iter(8, 9)) == []


async def test_values_at_a_version_and_pinned_sets(db: Any, done: Any, collection: str) -> None:
    stream = await made(db, done, collection)
    first = await done(stream.insert([(1, 1.0)]))
    await done(stream.insert([(2, 2.0)]))
    assert list(await done(stream.values(version=first))) == [(1, 1.0)]
    both = await done(db.streams(stream.uuid, stream.uuid, versions=[first, first + 1]))
    assert [len(points) for points in await done(both.values())] == [1, 2]
    newest = await done(both.pin_versions())
    assert await done(newest.versions()) == [first + 1, first + 1]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("never", [(1, 1.0), (1, 1.0), (1, 2.0)]),
        ("equal", [(1, 1.0), (1, 2.0)]),
        ("retain", [(1, 1.0)]),
        (MergePolicy.REPLACE, [(1, 2.0)]),
    ],
)
async def test_merge_policies(
    db: Any, done: Any, collection: str, policy: str, expected: list[tuple[int, float]]
) -> None:
    stream = await made(db, done, collection)
    for value in (1.0, 1.0, 2.0):
        await done(stream.insert([(1, value)], policy))
    assert list(await done(stream.values())) == expected


async def test_many_points_go_in_batches_and_come_back_in_pages(
    db: Any, done: Any, items: Any, collection: str
) -> None:
    stream = await made(db, done, collection)
    points = Points.from_columns(np.arange(120_001) * 10, np.linspace(-1.0, 1.0, 120_001))
    await done(stream.insert(points, "replace"))
    assert await done(stream.version()) == 13
    pages = await items(stream.values_iter())
    assert len(pages) > 2
    assert await done(stream.values()) == points


@pytest.mark.parametrize(
    ("pairs", "error", "words"),
    [
        ([(1, 1.0), (2, float("nan"))], errors.BadValueError, "point 1"),
        ([(1, float("inf"))], errors.BadValueError, "point 0"),
        ([(48 << 56, 1.0)], errors.InvalidTimeRangeError, "nanoseconds"),
        ([("2024-01-01T00:00:00", 1.0)], errors.InputError, "RFC 3339"),
    ],
)
async def test_bad_points_change_nothing(
    db: Any, done: Any, collection: str, pairs: Any, error: type[Exception], words: str
) -> None:
    stream = await made(db, done, collection)
    with pytest.raises(error, match=words):
        await done(stream.insert(pairs))
    assert await done(stream.version()) == 10


async def test_reading_a_stream_that_is_not_there(db: Any, done: Any) -> None:
    stream = await done(db.stream_from_uuid(uuid4()))
    with pytest.raises(errors.StreamNotFoundError):
        await done(stream.values())
    with pytest.raises(errors.InvalidTimeRangeError):
        await done(stream.values(5, 4))


async def test_create_many_creates_adopts_and_names_failures(db: Any, done: Any, collection: str) -> None:
    adopted = await made(db, done, collection, "there")
    taken = await made(db, done, collection, "taken")
    explicit = uuid4()
    rows = [
        {"collection": collection, "name": "there"},
        {"collection": collection, "name": "new", "unit": "V", "annotations": {"k": None}},
        {"collection": collection, "name": "explicit", "uuid": str(explicit)},
        {"collection": collection, "name": "thief", "uuid": str(taken.uuid)},
        {"collection": "c" * 256, "name": "too long"},
    ]
    told: list[tuple[int, int]] = []
    results = await done(db.create_many(rows, progress=lambda *step: told.append(step)))
    assert [result.outcome for result in results] == ["existed", "created", "created", "failed", "failed"]
    assert results[0].uuid == adopted.uuid
    assert results[1].uuid == derived_uuid(collection, "new")
    assert results[2].uuid == explicit
    assert isinstance(results[3].error, errors.StreamExistsError)
    assert f"{collection}/taken" in str(results[3].error)
    assert isinstance(results[4].error, errors.InvalidCollectionError)
    assert told[-1] == (5, 5)

    again = await done(db.create_many(rows[:3]))
    assert [result.outcome for result in again] == ["existed", "existed", "existed"]


async def test_create_many_keeps_planted_duplicates_apart(db: Any, done: Any, collection: str) -> None:
    """A row with its own uuid never stands for the row without one, in whatever order they come to be."""
    rows = [
        {"collection": collection, "name": "x", "unit": "V"},
        {"collection": collection, "name": "x", "unit": "A", "uuid": str(uuid4())},
    ]
    await done(db.create_many(rows[1:]))  # as if a run had been cut between the two
    assert [result.outcome for result in await done(db.create_many(rows))] == ["created", "existed"]
    assert [result.outcome for result in await done(db.create_many(rows))] == ["existed", "existed"]
    assert await done(db.count_streams(collection)) == 2


async def test_create_many_refuses_ambiguous_names_and_rows_that_mean_one_stream(
    db: Any, done: Any, collection: str
) -> None:
    await made(db, done, collection, unit="V")
    await made(db, done, collection, unit="A")
    (result,) = await done(db.create_many([{"collection": collection, "name": "x"}]))
    assert isinstance(result.error, errors.AmbiguousStreamError)
    row = {"collection": collection, "name": "y"}
    with pytest.raises(errors.InputError, match="rows 1 and 3"):
        await done(db.create_many([row, {"collection": collection, "name": "z"}, row]))
    with pytest.raises(errors.InputError, match=r"row 2: unknown column 'unti'.*did you mean 'unit'"):
        await done(db.create_many([row, {**row, "unti": "V"}]))
    assert await done(db.count_streams(collection)) == 2
