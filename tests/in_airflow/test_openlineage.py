"""What operators and sensors tell OpenLineage, through its own extractor, and that nothing of it asks the server."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb._airflow import AirflowFailException, Asset, BTrDBTransientException
from airflow_provider_btrdb.assets.streams import create_asset
from airflow_provider_btrdb.audit import runs
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.hooks.facets import MOST_STREAMS
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator, BTrDBMetadataCheckOperator
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator, DeleteRangeOperator
from airflow_provider_btrdb.operators.provision import BTrDBApplyOperator, BTrDBPlanOperator
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import (
    CreateStreamOperator,
    ObliterateStreamOperator,
    UpdateStreamOperator,
)
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor, StreamVersionSensor

pytestmark = [
    pytest.mark.usefixtures("connection"),
    pytest.mark.skipif(find_spec("airflow.providers.openlineage") is None, reason="needs the OpenLineage provider"),
]


@pytest.fixture
def told(server: Any) -> Any:
    """The datasets and job facets of a task that has ended, as OpenLineage would send them."""
    from airflow.providers.openlineage.extractors.base import DefaultExtractor
    from openlineage.client.serde import Serde

    def facets(dataset: Any) -> dict[str, Any]:
        """Without the addresses that are the same in all of them."""
        one = json.loads(Serde.to_json(dataset))
        found: dict[str, Any] = {}
        for kind in ("facets", "inputFacets", "outputFacets"):
            for name, facet in one.get(kind, {}).items():
                found[name] = {key: value for key, value in facet.items() if not key.startswith("_")}
        return {"at": (one["namespace"], one["name"]), **found}

    def of(operator: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
        before = server.calls.counts()
        lineage = DefaultExtractor(operator).extract_on_complete(None)
        assert server.calls.counts() == before
        assert lineage is not None
        return [facets(one) for one in lineage.inputs], [facets(one) for one in lineage.outputs], lineage.job_facets

    return of


@pytest.fixture
def namespace(server: Any) -> str:
    return f"btrdb://{server.endpoint}"


def known_as(namespace: str, collection: str, name: str) -> dict[str, Any]:
    return {"identifiers": [{"namespace": namespace, "name": f"{collection}/{name}", "type": "STREAM"}]}


def test_streams_that_are_made_changed_and_removed(told: Any, db: BTrDB, namespace: str, collection: str) -> None:
    rows = [{"collection": collection, "name": name, "unit": "V"} for name in "ab"]
    create = CreateStreamOperator(task_id="t", streams=rows)
    create.execute({})
    a, b = (stream.uuid for stream in db.streams(f"{collection}/a", f"{collection}/b"))

    def outputs(change: str, *uuids: tuple[Any, str]) -> list[dict[str, Any]]:
        return [
            {
                "at": (namespace, str(uuid)),
                "symlinks": known_as(namespace, collection, name),
                "lifecycleStateChange": {"lifecycleStateChange": change},
            }
            for uuid, name in uuids
        ]

    assert told(create) == ([], outputs("CREATE", (a, "a"), (b, "b")), {})
    again = CreateStreamOperator(task_id="t", streams=rows)
    again.execute({})
    assert told(again) == ([], [], {})
    rows[1]["unit"] = "A"
    rows.append({"collection": collection, "name": "c", "unit": "A"})
    both = CreateStreamOperator(task_id="t", streams=rows, if_exists="update")
    both.execute({})
    (c,) = (stream.uuid for stream in db.streams(f"{collection}/c"))
    assert told(both) == ([], outputs("CREATE", (c, "c")) + outputs("ALTER", (b, "b")), {})

    updates = [{"stream": f"{collection}/{name}", "tags": {"unit": "A"}} for name in "ab"]
    update = UpdateStreamOperator(task_id="t", updates=updates)
    update.execute({})
    assert told(update) == ([], outputs("ALTER", (a, "a")), {})

    remove = ObliterateStreamOperator(task_id="t", streams=[str(a), str(b)], confirm=True)
    remove.execute({})
    assert told(remove) == ([], outputs("DROP", (a, "a"), (b, "b")), {})


def test_of_many_streams_the_collections_are_told(told: Any, namespace: str, collection: str) -> None:
    rows = [{"collection": f"{collection}/{n % 2}", "name": f"{n}"} for n in range(MOST_STREAMS + 1)]
    create = CreateStreamOperator(task_id="t", streams=rows)
    create.execute({})
    change = {"lifecycleStateChange": {"lifecycleStateChange": "CREATE"}}
    assert told(create)[1] == [{"at": (namespace, f"{collection}/{n}"), **change} for n in (0, 1)]


def test_a_plan_is_a_file_and_applying_it_changes_streams(
    told: Any, db: BTrDB, namespace: str, collection: str, tmp_path: Path
) -> None:
    db.create_many([{"collection": collection, "name": name, "unit": "V"} for name in ("alter", "drop")])
    table = tmp_path / "streams.csv"
    table.write_text(f"collection,name,unit\n{collection},alter,A\n{collection},create,A\n")
    plan = BTrDBPlanOperator(task_id="t", spec=str(table), output_path=str(tmp_path), prefixes=collection, prune=True)
    made = plan.execute({})
    path = Path(made["path"])
    inputs, (file,), _ = told(plan)
    assert (inputs, file["at"]) == ([{"at": ("file", str(table))}], ("file", str(path)))

    apply = BTrDBApplyOperator(task_id="t", plan=made, prune=True)
    apply.execute({})
    inputs, outputs, _ = told(apply)
    assert inputs == [{"at": ("file", str(path))}]
    assert [
        (one["lifecycleStateChange"]["lifecycleStateChange"], one["symlinks"]["identifiers"][0]["name"])
        for one in outputs
    ] == [(change, f"{collection}/{change.lower()}") for change in ("CREATE", "ALTER", "DROP")]


@pytest.mark.parametrize("how", [{}, {"write_mode": "replace_range", "start": 0, "end": 100}])
def test_points_with_their_number_and_the_version(
    told: Any, db: BTrDB, namespace: str, collection: str, tmp_path: Path, how: dict[str, Any]
) -> None:
    a, b = (db.create(uuid4(), collection, {"name": name}) for name in "ab")
    b.insert([(1, 5.0)])
    file = tmp_path / "points.csv"
    file.write_text("t,a,b\n1,1.5,5\n2,2.5,\n")
    columns = {"a": f"{collection}/a", "b": f"{collection}/b"}

    def loaded() -> Any:
        operator = BTrDBInsertOperator(
            task_id="t", files=str(file), columns=columns, time_columns="t", time_format="ns", **how
        )
        operator.execute({})
        return told(operator)

    def output(stream: Any, name: str, points: int, version: int | None) -> dict[str, Any]:
        facets: dict[str, Any] = {"version": {"datasetVersion": str(version)}} if version is not None else {}
        return {
            "at": (namespace, str(stream.uuid)),
            "symlinks": known_as(namespace, collection, name),
            "outputStatistics": {"rowCount": points},
            **facets,
        }

    inputs, outputs, _ = loaded()
    assert inputs == [{"at": ("file", str(file))}]
    assert outputs == [output(a, "a", 2, a.version()), output(b, "b", 0, None)]
    assert loaded()[1] == [output(a, "a", 0, None), output(b, "b", 0, None)]

    delete = DeleteRangeOperator(task_id="t", streams=list(columns.values()), start=2, end=9)
    delete.execute({})
    (gone,) = told(delete)[1]
    assert gone["at"] == (namespace, str(a.uuid))
    assert gone["version"] == {"datasetVersion": str(a.version())}


def test_a_task_that_fails_tells_how_far_it_came(
    told: Any, server: Any, db: BTrDB, namespace: str, collection: str, tmp_path: Path
) -> None:
    from airflow_provider_btrdb.testing.faults import Refuse

    a, b = (db.create(uuid4(), collection, {"name": name}) for name in "ab")
    file = tmp_path / "points.csv"
    file.write_text("t,a,b\n1,1.5,5\n")
    operator = BTrDBInsertOperator(
        task_id="t", files=str(file), columns={"a": str(a.uuid), "b": str(b.uuid)}, time_columns="t",
        time_format="ns", btrdb_conn_id="impatient",
    )  # fmt: skip
    with server.faults.inject("Insert", Refuse(), first=2, last=2), pytest.raises(BTrDBTransientException):
        operator.execute({})
    (only,) = told(operator)[1]
    assert only["at"] == (namespace, str(a.uuid))
    assert only["version"] == {"datasetVersion": str(a.version())}


def test_a_query_its_rows_and_its_file(told: Any, namespace: str, collection: str, tmp_path: Path) -> None:
    sql = "SELECT 1 AS one UNION ALL SELECT 2"
    path = tmp_path / "rows.jsonl"
    query = BTrDBQueryOperator(task_id="t", sql=sql, output_path=str(path))
    query.execute({})
    inputs, outputs, job = told(query)
    assert inputs == [{"at": (namespace, "metadata.public.streams")}]
    assert outputs == [{"at": ("file", str(path)), "outputStatistics": {"rowCount": 2, "size": path.stat().st_size}}]
    assert job["sql"].query == sql
    plain = BTrDBQueryOperator(task_id="t", sql=sql)
    plain.execute({})
    assert told(plain)[:2] == (inputs, [])


def test_checks_that_passed_and_that_did_not(told: Any, db: BTrDB, namespace: str, collection: str) -> None:
    db.create_many([{"collection": collection, "name": name, "unit": unit} for name, unit in (("a", "V"), ("b", ""))])
    operator = BTrDBMetadataCheckOperator(
        task_id="t",
        collection=collection,
        tags={"unit": {"present": True, "one_of": ["V"]}},
        annotations={"bus": {"absent": True}},
        min_streams=2,
    )
    with pytest.raises(BTrDBTransientException):
        operator.execute({})
    (checked,), outputs, _ = told(operator)
    assert checked["at"] == (namespace, collection)
    assertions = checked["dataQualityAssertions"]["assertions"]
    assert [(one["assertion"], one.get("column"), one["success"]) for one in assertions] == [
        ("present", "unit", False),
        ("one_of", "unit", True),
        ("absent", "annotations.bus", True),
        ("min_streams", None, True),
    ]
    assert outputs == []


def test_an_audit_tells_each_check_and_the_stored_run(
    told: Any, db: BTrDB, namespace: str, collection: str, tmp_path: Path
) -> None:
    db.create_many([{"collection": collection, "name": name, "unit": unit} for name, unit in (("a", "V"), ("b", ""))])
    rules = [
        {"required": "unit"},
        {"unique": ["collection", "name"]},
        {"not_empty": True, "severity": "warn"},
        {"fresh": "1h", "where": {"name": "nobody"}},
    ]
    suite = tmp_path / "suite.yaml"
    suite.write_text(json.dumps({"select": {"prefix": collection}, "checks": rules}))
    operator = BTrDBAuditOperator(task_id="t", suite=str(suite), output_path=f"{tmp_path}/runs")
    with pytest.raises(AirflowFailException):
        operator.execute({})
    (read, checked), (written,), _ = told(operator)
    assert read["at"] == ("file", str(suite))
    assert checked["at"] == (namespace, collection)
    assertions = checked["dataQualityAssertions"]["assertions"]
    assert [(one["assertion"], one.get("column"), one["success"]) for one in assertions] == [
        ("coverage", None, True),
        ("required unit", "unit", False),
        ("unique collection, name", None, True),
        ("not_empty", None, False),
    ]
    (run,) = runs(tmp_path / "runs")
    assert written["at"] == ("file", str(run / "run.json"))


@pytest.mark.parametrize("deferred", [False, True])
def test_a_sensor_tells_the_version_it_found(
    told: Any, db: BTrDB, namespace: str, collection: str, deferred: bool
) -> None:
    from airflow.providers.common.compat.sdk import TaskDeferred

    stream = db.create(uuid4(), collection, {"name": "x"})
    sensor = StreamVersionSensor(task_id="t", stream=f"{collection}/x", version=10, deferrable=deferred)
    if deferred:
        with pytest.raises(TaskDeferred) as caught:
            sensor.execute({})
        sensor = StreamVersionSensor(task_id="t", stream=f"{collection}/x", version=10)
        event = {"status": "success", "uuid": str(stream.uuid), "from_version": 10, "version": 12}
        assert told(sensor) == ([], [], {})
        sensor.execute_complete({}, event, **(caught.value.kwargs or {}))
    else:
        stream.insert([(1, 1.0)])
        stream.insert([(2, 1.0)])
        sensor.execute({})
    found = {"at": (namespace, str(stream.uuid)), "version": {"datasetVersion": "12"}}
    assert told(sensor) == ([found], [], {})


def test_what_knows_no_uuid_tells_nothing(told: Any, db: BTrDB, collection: str) -> None:
    db.create(uuid4(), collection, {"name": "x"})
    sensor = StreamExistsSensor(task_id="t", stream=f"{collection}/x")
    sensor.execute({})
    assert told(sensor) == ([], [], {})


def test_airflows_sql_operators_tell_the_columns_without_asking(told: Any, server: Any) -> None:
    from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

    operator = SQLExecuteQueryOperator(task_id="t", conn_id="btrdb_default", sql="SELECT name FROM streams")
    before = server.calls.counts()
    started = operator.get_openlineage_facets_on_start()
    assert server.calls.counts() == before
    assert started is not None
    (table,), outputs, _ = told(operator)
    assert table["at"] == (f"btrdb://{server.endpoint}", "metadata.public.streams")
    assert [one["name"] for one in table["schema"]["fields"]] == [
        "uuid", "collection", "name", "unit", "ingress", "distiller", "property_version", "annotations",
    ]  # fmt: skip
    assert outputs == []


def test_airflow_converts_our_assets(namespace: str, server: Any) -> None:
    from airflow.providers.openlineage.utils.utils import translate_airflow_asset

    host, port = server.endpoint.split(":")
    uuid = str(uuid4())
    for asset, name in (
        (create_asset(host=host, port=int(port), uuid=uuid), uuid),
        (create_asset(host=host, port=int(port), collection="grid/bus 7"), "grid/bus 7"),
    ):
        assert isinstance(asset, Asset)
        dataset = translate_airflow_asset(asset, None)
        assert dataset is not None
        assert (dataset.namespace, dataset.name) == (namespace, name)
