"""Creating, changing and removing streams."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.client import BTrDB, derived_uuid
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import (
    CreateStreamOperator,
    ObliterateStreamOperator,
    UpdateStreamOperator,
)
from airflow_provider_btrdb.testing.faults import Answer, Delay

pytestmark = pytest.mark.usefixtures("connection")


def create(rows: Any, **arguments: Any) -> Any:
    return CreateStreamOperator(task_id="t", streams=rows, **arguments).execute({})


# ---------------------------------------------------------------- if_exists


def test_ignore_leaves_what_is_there(db: BTrDB, collection: str) -> None:
    stream = db.create(uuid4(), collection, {"name": "x", "unit": "old"})
    result = create({"collection": collection, "name": "x", "unit": "new"})
    assert result == {"streams": 1, "created": 0, "existed": 1, "updated": 0}
    stream.refresh()
    assert (stream.unit, stream.property_version) == ("old", 1)


def test_update_gives_tags_and_annotations_and_keeps_the_rest(db: BTrDB, collection: str) -> None:
    stream = db.create(uuid4(), collection, {"name": "x", "unit": "old", "ingress": "kept"}, {"a": "1", "b": "2"})
    rows = [
        {"collection": collection, "name": "x", "unit": "new", "annotations": {"b": "3", "c": None}},
        {"collection": collection, "name": "y"},
    ]
    assert create(rows, if_exists="update") == {"streams": 2, "created": 1, "existed": 1, "updated": 1}
    stream.refresh()
    assert stream.tags == {"name": "x", "unit": "new", "ingress": "kept", "distiller": ""}
    assert stream.annotations == {"a": "1", "b": "3", "c": None}
    version = stream.property_version
    assert create(rows, if_exists="update") == {"streams": 2, "created": 0, "existed": 2, "updated": 0}
    stream.refresh()
    assert stream.property_version == version


def test_update_of_two_streams_with_one_name_keeps_them_apart(db: BTrDB, collection: str) -> None:
    uuids = [uuid4(), uuid4()]
    rows = [
        {"collection": collection, "name": "x", "unit": unit, "uuid": str(uuid)}
        for unit, uuid in zip("VA", uuids, strict=True)
    ]
    assert create(rows)["created"] == 2
    changed = [{**row, "annotations": {"of": row["unit"]}} for row in rows]
    assert create(changed, if_exists="update")["updated"] == 2
    assert [stream.annotations for stream in db.streams(uuids)] == [{"of": "V"}, {"of": "A"}]


def test_update_outlives_somebody_elses_change(server: Any, db: BTrDB, collection: str, pool: Any) -> None:
    """Others change the stream between reading and writing: it is read again, and nobody's change is lost."""
    db.create(uuid4(), collection, {"name": "x"})

    def change(key: str) -> None:
        row = {"collection": collection, "name": "x", "annotations": {key: "set"}}
        create(row, if_exists="update")

    with server.faults.inject("SetStreamAnnotations", Delay(0.05), first=1, last=100):
        list(pool(4).map(change, "abcd"))
    (stream,) = db.streams_in_collection(collection)
    assert stream.annotations == dict.fromkeys("abcd", "set")


def test_fail_finds_out_before_anything_is_created(db: BTrDB, collection: str) -> None:
    rows = [{"collection": collection, "name": f"s{number}"} for number in range(6)]
    rows[5]["uuid"] = str(uuid4())
    create(rows[4:])
    with pytest.raises(AirflowFailException, match=f"2 of 6 streams exist already: {collection}/s4, {collection}/s5"):
        create(rows, if_exists="fail")
    assert db.count_streams(collection) == 2
    assert create(rows[:4], if_exists="fail")["created"] == 4


def test_skip_skips_only_when_all_are_there(collection: str) -> None:
    rows = [{"collection": collection, "name": name} for name in "xy"]
    assert create(rows[:1], if_exists="skip")["created"] == 1
    assert create(rows, if_exists="skip") == {"streams": 2, "created": 1, "existed": 1, "updated": 0}
    with pytest.raises(AirflowSkipException, match="all 2 streams are there already"):
        create(rows, if_exists="skip")


def test_no_rows_are_no_reason_to_skip() -> None:
    assert create([], if_exists="skip")["streams"] == 0


def test_an_unknown_if_exists_changes_nothing(db: BTrDB, collection: str) -> None:
    with pytest.raises(AirflowFailException, match="if_exists is 'replace'; it is ignore, update, fail or skip"):
        create({"collection": collection, "name": "x"}, if_exists="replace")
    assert db.count_streams(collection) == 0


@pytest.mark.parametrize("if_exists", ["ignore", "update", "skip"])
def test_a_uuid_held_by_another_stream_is_an_error_of_its_own(db: BTrDB, collection: str, if_exists: str) -> None:
    held = db.create(uuid4(), collection, {"name": "holder"})
    with pytest.raises(AirflowFailException, match=f"another stream holds it .{collection}/holder"):
        create({"collection": collection, "name": "x", "uuid": str(held.uuid)}, if_exists=if_exists)


def test_mapped_instances_have_a_label(collection: str) -> None:
    context: dict[str, Any] = {}
    rows = [{"collection": collection, "name": name} for name in "xyz"]
    CreateStreamOperator(task_id="t", streams=rows).execute(context)
    assert context == {"stream_label": f"{collection}/x and 2 more"}


# ---------------------------------------------------------------- UpdateStreamOperator


def test_update_changes_what_differs(db: BTrDB, collection: str) -> None:
    x = db.create(uuid4(), collection, {"name": "x", "unit": "V"}, {"old": "1"})
    y = db.create(uuid4(), collection, {"name": "y", "unit": "V"})
    updates = [
        {"stream": f"{collection}/x", "annotations": {"k": "v"}, "remove_annotations": ["old"]},
        {"stream": str(y.uuid), "tags": {"name": "z", "unit": "V"}, "collection": f"{collection}/moved"},
    ]
    operator = UpdateStreamOperator(task_id="t", updates=updates)
    assert operator.execute({}) == {"streams": 2, "updated": 2, "unchanged": 0}
    x.refresh()
    y.refresh()
    assert (x.annotations, x.property_version) == ({"k": "v"}, 2)
    assert (y.collection, y.name, y.property_version) == (f"{collection}/moved", "z", 2)
    assert operator.execute({}) == {"streams": 2, "updated": 0, "unchanged": 2}
    x.refresh()
    assert x.property_version == 2


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({"annotations": {"k": "v"}}, "row 1 does not say which stream"),
        ([{"stream": "COLLECTION/x"}], "nothing to update"),
        ([{"stream": "COLLECTION/x", "annotation": {}}], "update has no 'annotation'"),
        ([{"stream": "COLLECTION/x", "tags": {"unit": 5}}], "tag 'unit' is 5 and must be text"),
        ([{"stream": "COLLECTION/y", "tags": {"unit": "V"}}], "no stream is called COLLECTION/y"),
        ([{"stream": "COLLECTION/x", "tags": {"unit": "V"}}] * 2, "row 2: COLLECTION/x stands in an earlier row too"),
        ("text", "updates is 'text' and must be a row or a list of rows"),
    ],
)
def test_a_wrong_update_says_what_is_wrong(db: BTrDB, collection: str, updates: Any, words: str) -> None:
    db.create(uuid4(), collection, {"name": "x"})
    rows = [updates] if isinstance(updates, dict) else updates
    if isinstance(rows, list):
        rows = [{key: str(v).replace("COLLECTION", collection) if key == "stream" else v for key, v in row.items()}
                for row in rows]  # fmt: skip
    with pytest.raises(AirflowFailException, match=words.replace("COLLECTION", collection)):
        UpdateStreamOperator(task_id="t", updates=rows).execute({})
    (stream,) = db.streams_in_collection(collection)
    assert stream.property_version == 1


def test_a_passing_failure_of_an_update_is_worth_a_retry(server: Any, db: BTrDB, collection: str) -> None:
    db.create(uuid4(), collection, {"name": "x"})
    row = {"stream": f"{collection}/x", "tags": {"unit": "V"}}
    with (
        server.faults.inject("SetStreamTags", Answer(419, "degraded"), first=1, last=100),
        pytest.raises(BTrDBTransientException, match="1 of 1 streams failed"),
    ):
        UpdateStreamOperator(task_id="t", updates=row, btrdb_conn_id="impatient").execute({})


# ---------------------------------------------------------------- ObliterateStreamOperator


def obliterate(streams: Any, **arguments: Any) -> Any:
    return ObliterateStreamOperator(task_id="t", streams=streams, **arguments).execute({})


def test_obliterate_wants_to_be_confirmed(db: BTrDB, collection: str) -> None:
    db.create(uuid4(), collection, {"name": "x"})
    for confirm in (False, "True", None):
        with pytest.raises(AirflowFailException, match="set confirm=True"):
            obliterate(f"{collection}/x", confirm=confirm)
    assert db.count_streams(collection) == 1
    assert obliterate(f"{collection}/x", confirm=True) == {"streams": 1, "obliterated": 1, "absent": 0}
    assert db.count_streams(collection) == 0


def test_obliterate_removes_nothing_unless_all_are_there(db: BTrDB, collection: str) -> None:
    x = db.create(uuid4(), collection, {"name": "x"})
    names = [str(x.uuid), f"{collection}/x", f"{collection}/y"]
    with pytest.raises(AirflowFailException, match="no stream is called"):
        obliterate(names, confirm=True)
    assert db.count_streams(collection) == 1
    result = obliterate(names, confirm=True, if_absent="ignore")
    assert result == {"streams": 3, "obliterated": 1, "absent": 2}
    assert obliterate(names, confirm=True, if_absent="ignore")["absent"] == 3


@pytest.mark.parametrize("streams", [[], None, [None], ""])
def test_obliterate_names_what_it_removes(streams: Any) -> None:
    with pytest.raises(AirflowFailException, match="name at least one stream"):
        obliterate(streams, confirm=True)


# ---------------------------------------------------------------- on_kill


def test_a_killed_task_ends_its_calls_at_once(server: Any, db: BTrDB, collection: str, pool: Any) -> None:
    """And the error is worth a retry: the task may have been killed because its machine goes away."""
    operator = CreateStreamOperator(task_id="t", streams={"collection": collection, "name": "x"})
    before = server.calls.count("LookupStreams")
    with server.faults.inject("LookupStreams", Delay(3600)):
        task = pool(1).submit(operator.execute, {})
        while server.calls.count("LookupStreams") == before:
            assert not task.done()
        operator.on_kill()
        with pytest.raises(BTrDBTransientException, match="closed during"):
            task.result(timeout=100)
    assert operator.execute({})["created"] == 1  # a new connection


def test_killing_a_task_that_made_no_call_does_nothing() -> None:
    BTrDBQueryOperator(task_id="t", sql="SELECT 1", btrdb_conn_id="no_such_connection").on_kill()


def test_a_derived_uuid_is_kept(collection: str, db: BTrDB) -> None:
    create({"collection": collection, "name": "x"}, if_exists="fail")
    assert db.streams(f"{collection}/x")[0].uuid == derived_uuid(collection, "x")
