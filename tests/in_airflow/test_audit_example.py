"""example_dags/btrdb_audit.py: it fails because of the planted faults, people hear of them once, and when they go."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_btrdb.audit import load, runs
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.testing import devserver

DAGS = Path(__file__).parents[2] / "example_dags"


@pytest.fixture
def catalogue(quickstart_data: Any) -> Iterator[tuple[str, BTrDB]]:
    """A server with the streams of the quickstart."""
    rows = quickstart_data.phasor_streams(DAGS / "data")
    with devserver() as server, connect(server.endpoint) as db:
        db.create_many({key: row[key] for key in row if key != "uuid" or row["uuid"]} for row in rows)
        yield server.endpoint, db


def mend(db: BTrDB, planted: Any) -> None:
    for fault in planted:
        if fault["fault"] == "duplicate_name":
            (stream,) = [one for one in db.streams_in_collection(fault["collection"]) if str(one.uuid) == fault["uuid"]]
            stream.obliterate()
        else:
            (stream,) = db.streams(f"{fault['collection']}/{fault['name']}")
            if fault["fault"] == "misspelt_unit":
                stream.update(tags={"unit": fault["clean"]})
            else:
                stream.update(annotations={fault["value"]: fault["clean"]})


def a_day_later(folder: Path) -> None:
    """As if people had been told a day earlier than they were."""
    (kept,) = folder.glob("told-*.json")
    told = json.loads(kept.read_text())
    for check in told["checks"].values():
        if check["at"]:
            check["at"] = (datetime.fromisoformat(check["at"]) - timedelta(days=1)).isoformat()
    kept.write_text(json.dumps(told))


def buttons(airflow_db: Path, tmp_path: Path) -> list[str]:
    """Where the button of the task leads, as Airflow 3 keeps it, also for a task that failed."""
    copy = shutil.copy(airflow_db / "airflow.db", tmp_path / "copy.db")
    with closing(sqlite3.connect(copy)) as database:
        query = "SELECT value FROM xcom WHERE dag_id = 'btrdb_audit' AND key = '_link_AuditPageLink'"
        links = [str(json.loads(value)).strip('"') for (value,) in database.execute(query)]
        return [link for link in links if link]  # Airflow 3.0 keeps also that there is none


@pytest.mark.timeout(600)  # a whole DAG, four times
def test_the_nightly_audit_fails_tells_once_and_tells_what_is_resolved(
    catalogue: tuple[str, BTrDB], airflow_db: Path, tmp_path: Path, quickstart_data: Any
) -> None:
    endpoint, db = catalogue
    folder = tmp_path / "audits"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW_CONN_BTRDB_DEFAULT": f"btrdb://{endpoint}",
        "AIRFLOW__BTRDB__AUDIT_PAGE": "True",
        "AIRFLOW__BTRDB__AUDIT_PATH": f"{folder}/",
        "BTRDB_AUDITS": str(folder),
    }

    def run() -> tuple[int, str]:
        command = [sys.executable, str(DAGS / "btrdb_audit.py")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
        return done.returncode, done.stdout + done.stderr

    status, said = run()
    assert status == 1, said
    planted = quickstart_data.planted_faults(DAGS / "data")
    missing = sum(fault["fault"] == "missing_annotation" for fault in planted)
    misspelt = sum(fault["fault"] == "misspelt_unit" for fault in planted)
    subject = "Audit ieee118: fail (2 fail, 1 warn, 3 pass)."
    assert f"To grid operations: {subject}" in said, said
    assert f"To metadata team: {subject}" in said
    told = said.partition("To grid operations")[2]
    assert f"{missing} of 1535 streams fail ({missing} new, 0 resolved)" in told
    assert re.search(rf"WARN +allowed unit \[grid operations\]: {misspelt} of 1535", said.partition("To grid")[0])
    (first,) = runs(folder)
    assert [check.outcome for check in load(first).checks] == ["fail", "warn", "pass", "fail", "pass", "pass"]

    links = buttons(airflow_db, tmp_path)
    assert links == ([f"/btrdb/audits/{first.name}/report.html"] if hasattr(AirflowPlugin, "external_views") else [])
    assert ("audit_page needs Airflow 3.1" in said) == (not links)

    status, said = run()
    assert (status, "To grid operations" in said) == (1, False), said
    mend(db, planted)
    status, said = run()
    assert (status, "To grid operations" in said) == (0, False), said
    a_day_later(folder)
    status, said = run()
    assert status == 0, said
    assert f"all 1534 streams pass ({missing} resolved)" in said.partition("To metadata team")[2], said
    assert len(list(runs(folder))) == 4
