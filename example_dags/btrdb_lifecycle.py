"""The life of a few streams: made, described, filled, waited for, checked, written to a file, emptied, removed.

Needs the connection `btrdb_default`. Uses streams in `lifecycle/` only and leaves nothing behind but a file of rows.
"""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

# Airflow 3 alone: from airflow.sdk import dag, task
from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.operators.audit import BTrDBMetadataCheckOperator
from airflow_provider_btrdb.operators.connection import BTrDBConnectionCheckOperator
from airflow_provider_btrdb.operators.points import DeleteRangeOperator
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import (
    CreateStreamOperator,
    ObliterateStreamOperator,
    UpdateStreamOperator,
)
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor, StreamFreshnessSensor, StreamVersionSensor

NAMES = ("L1MAG", "L2MAG", "L3MAG")
ROWS_FILE = Path(tempfile.gettempdir()) / "btrdb_lifecycle.parquet"


@dag(schedule=None, tags=["btrdb"])
def btrdb_lifecycle() -> None:
    look = BTrDBConnectionCheckOperator(task_id="check_connection")

    create = CreateStreamOperator(
        task_id="create",
        streams=[{"collection": "lifecycle/bus1", "name": name, "unit": "volts"} for name in NAMES],
        if_exists="update",
    )

    update = UpdateStreamOperator(
        task_id="describe",
        updates=[
            {"stream": f"lifecycle/bus1/{name}", "annotations": {"phase": phase, "base_kv": "500"}}
            for name, phase in zip(NAMES, "ABC", strict=True)
        ],
    )

    @task
    def insert() -> dict[str, Any]:
        (stream,) = BTrDBHook().streams("lifecycle/bus1/L1MAG")
        with BTrDBHook.airflow_errors():
            before = stream.version()
            stream.insert([(time.time_ns(), 500.1)], merge="replace")
        return {"uuid": str(stream.uuid), "version": before}

    inserted = insert()

    exists = StreamExistsSensor(
        task_id="wait_for_streams",
        stream=[f"lifecycle/bus1/{name}" for name in NAMES],
        require_visible_prefix="lifecycle/",
        deferrable=True,
        poke_interval=5,
        timeout=300,
    )

    moved = StreamVersionSensor(
        task_id="wait_for_version",
        stream=inserted["uuid"],
        version=inserted["version"],
        deferrable=True,
        poke_interval=5,
        timeout=300,
    )

    fresh = StreamFreshnessSensor(
        task_id="wait_for_fresh_points",
        stream="lifecycle/bus1/L1MAG",
        younger_than=timedelta(minutes=10),
        deferrable=True,
        poke_interval=5,
        timeout=300,
    )

    audit = BTrDBMetadataCheckOperator(
        task_id="check_metadata",
        collection="lifecycle/",
        tags={"name": {"pattern": r"L[123]MAG", "unique": True}, "unit": {"one_of": ["volts", "amps"]}},
        annotations={"phase": {"present": True}, "base_kv": {"pattern": r"\d+"}},
        min_streams=len(NAMES),
    )

    query = BTrDBQueryOperator(
        task_id="write_rows",
        sql="SELECT uuid, name, unit, annotations FROM streams WHERE collection = $1 ORDER BY name",
        parameters=["lifecycle/bus1"],
        output_path=str(ROWS_FILE),
    )

    delete = DeleteRangeOperator(
        task_id="delete_range",
        streams="lifecycle/bus1/L1MAG",
        start="2020-01-01T00:00:00Z",
        end="2070-01-01T00:00:00Z",
    )

    obliterate = ObliterateStreamOperator(
        task_id="obliterate",
        streams=[f"lifecycle/bus1/{name}" for name in NAMES],
        confirm=True,
        if_absent="ignore",
    )

    @task
    def check(written: dict[str, Any], deleted: dict[str, Any]) -> None:
        assert (written["rows"], written["bytes"]) == (len(NAMES), ROWS_FILE.stat().st_size), written
        assert deleted["deleted"] == 1, deleted
        assert BTrDBHook().list_collections("lifecycle/") == []

    look >> create >> update >> exists >> inserted >> [moved, fresh] >> audit >> query >> delete >> obliterate
    obliterate >> check(query.output, delete.output)


lifecycle = btrdb_lifecycle()

if __name__ == "__main__":
    raise SystemExit(lifecycle.test().state != "success")
