"""Provision streams, wait for them, load points, query and audit their metadata, and check the outcome.

Needs the connection `btrdb_default`. Creates 1,557 streams in `weather/tmy3/` and `grid/ieee118/` and loads 189,733
points; running it again changes nothing. See data/README.md for where the data comes from.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

# Airflow 3 alone: from airflow.sdk import dag, task
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import CreateStreamOperator
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor

DATA = Path(__file__).parent / "data"


@dag(schedule=None, tags=["btrdb"], default_args={"retries": 2, "retry_delay": timedelta(seconds=10)})
def btrdb_quickstart() -> None:
    @task(retries=0)
    def weather() -> list[dict[str, Any]]:
        from quickstart_data import weather_streams

        return weather_streams(DATA)

    @task(retries=0)
    def phasors() -> list[dict[str, Any]]:
        from quickstart_data import phasor_streams

        return phasor_streams(DATA)

    @task(retries=0)
    def loads() -> list[dict[str, Any]]:
        from quickstart_data import weather_files

        return [
            {
                "files": file["path"],
                "columns": {column: f"{file['collection']}/{name}" for column, name in file["columns"].items()},
                "utc_offset_hours": file["utc_offset_hours"],
            }
            for file in weather_files(DATA)
        ]

    create = CreateStreamOperator(task_id="create_streams", streams=weather().concat(phasors()))

    wait = StreamExistsSensor(
        task_id="wait_for_streams",
        collection="grid/ieee118/",
        min_count="{{ ti.xcom_pull(task_ids='phasors') | length }}",
        deferrable=True,
        poke_interval=5,
        timeout=300,
    )

    load = BTrDBInsertOperator.partial(
        task_id="load_weather",
        time_columns=["Date (MM/DD/YYYY)", "Time (HH:MM)"],
        time_format="%m/%d/%Y %H:%M",
        missing=["-9900"],
        skip_lines=1,
    ).expand_kwargs(loads())

    units = BTrDBQueryOperator(
        task_id="count_units",
        sql="SELECT unit, COUNT(*) AS streams FROM streams WHERE collection LIKE $1 GROUP BY unit ORDER BY unit",
        parameters=["grid/ieee118/%"],
    )

    @task
    def audit() -> dict[str, Any]:
        from quickstart_data import PHASOR_ANNOTATIONS, allowed_units

        hook = BTrDBHook()
        _, annotation_counts = hook.collection_metadata("grid/ieee118/")
        return {
            "annotation_counts": annotation_counts,
            "missing_annotation": hook.query(
                "SELECT collection, name, key AS value FROM streams, unnest(string_to_array($2, ',')) AS key "
                "WHERE collection LIKE $1 AND NOT annotations ? key ORDER BY 1, 2, 3",
                ["grid/ieee118/%", ",".join(PHASOR_ANNOTATIONS)],
            ),
            "misspelt_unit": hook.query(
                "SELECT collection, name, unit AS value FROM streams "
                "WHERE collection LIKE $1 AND unit <> ALL (string_to_array($2, ',')) ORDER BY 1, 2",
                ["grid/ieee118/%", ",".join(allowed_units(DATA))],
            ),
            "duplicate_name": hook.query(
                "SELECT collection, name, COUNT(*) AS streams FROM streams WHERE collection LIKE $1 "
                "GROUP BY collection, name HAVING COUNT(*) > 1 ORDER BY 1, 2",
                ["grid/ieee118/%"],
            ),
        }

    @task(retries=0)
    def check(findings: dict[str, Any], unit_rows: list[dict[str, Any]]) -> None:
        from quickstart_data import phasor_streams, planted_faults

        def places(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
            return sorted((row["collection"], row["name"]) for row in rows)

        for kind in ("missing_annotation", "misspelt_unit", "duplicate_name"):
            planted = [fault for fault in planted_faults(DATA) if fault["fault"] == kind]
            assert places(findings[kind]) == places(planted), f"{kind}: {findings[kind]} instead of {planted}"
        assert sum(row["streams"] for row in unit_rows) == len(phasor_streams(DATA))

        hook = BTrDBHook()
        for path, expected in json.loads((DATA / "expected.json").read_text())["streams"].items():
            (stream,) = hook.streams(path)
            points = stream.values()
            measured = {"count": len(points), "first_ns": int(points.times[0]), "last_ns": int(points.times[-1])}
            assert measured == {key: expected[key] for key in measured}, f"{path}: {measured} instead of {expected}"

    create >> wait >> [load, units]
    checked = check(audit_done := audit(), units.output)
    wait >> audit_done
    load >> checked


quickstart = btrdb_quickstart()

if __name__ == "__main__":
    raise SystemExit(quickstart.test().state != "success")
