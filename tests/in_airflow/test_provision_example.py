"""example_dags/provision_ieee118.py: from nothing, after somebody broke the streams, and when nobody approves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import pytest

from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.provision import apply_plan, make_plan, read_spec

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "example_dags"
EXAMPLE = DAGS / "provision_ieee118.py"
PREFIX = "provision/ieee118/"
STREAMS = 1534
AIRFLOW = tuple(map(int, airflow.__version__.split(".")[:2]))

ANSWER = """
import sys, time
from airflow.api_fastapi.app import create_app
from fastapi.testclient import TestClient

with TestClient(create_app(apps="core")) as client:
    token = client.get("/auth/token").json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    print("READY", flush=True)
    runs = "/api/v2/dags/provision_ieee118/dagRuns"
    for _ in range(600):
        found = client.get(runs + "/~/hitlDetails?response_received=false").json()["hitl_details"]
        waiting = [one for one in found if one["task_instance"]["state"] in ("awaiting_input", "deferred")]
        if waiting:
            break
        time.sleep(0.5)
    (asked,) = waiting
    run_id = asked["task_instance"]["dag_run_id"]
    url = f"{runs}/{run_id}/taskInstances/approve/-1/hitlDetails"
    answer = client.patch(url, json={"chosen_options": [sys.argv[1]], "params_input": {}})
    print("ASKED", asked["body"], answer.status_code, flush=True)
"""


@pytest.fixture
def environment(airflow_db: Path, connection: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # Two processes write to it, and one that stalls must not be too much for the patience of the other.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_db / 'airflow.db'}?timeout=300",
        "BTRDB_PLANS": str(tmp_path / "plans"),
    }


def run(environment: dict[str, str], answer: str | None = None) -> str:
    """What the run and whoever answered it said."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as example:
        try:
            said = _answered(environment, answer) if answer else ""
            output, _ = example.communicate(timeout=280)
        finally:
            example.kill()
    assert example.returncode == 0, output[-6000:]
    return said + output


def _answered(environment: dict[str, str], answer: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ANSWER, answer],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)  # a whole DAG, twice
def test_the_example_provisions_and_repairs(
    environment: dict[str, str], db: BTrDB, server: Any, quickstart_data: Any
) -> None:
    run(environment)
    streams = {f"{stream.collection}/{stream.name}": stream for stream in db.lookup_iter(PREFIX)}
    assert len(streams) == STREAMS

    planted = [fault for fault in quickstart_data.planted_faults(DAGS / "data") if fault["fault"] != "duplicate_name"]
    assert len(planted) == 12
    for fault in planted:
        stream = streams[f"{PREFIX}{fault['collection'].rpartition('/')[2]}/{fault['name']}"]
        if fault["fault"] == "misspelt_unit":
            stream.update(tags={"unit": fault["value"]})
        else:
            stream.update(remove_annotations=[fault["value"]])
    server.calls.clear()
    run(environment)
    assert server.calls.count("Create") == 0
    assert server.calls.count("SetStreamTags") + server.calls.count("SetStreamAnnotations") == 12


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="needs Airflow 3.3: a dag.test() that can be answered")
@pytest.mark.timeout(600)  # a whole DAG, twice
def test_the_example_asks_before_it_destroys(environment: dict[str, str], db: BTrDB) -> None:
    spec = read_spec(DAGS / "data" / "ieee118" / "streams.yaml", params={"prefix": PREFIX})
    db.run(apply_plan(db.run(make_plan(spec))))
    db.create(uuid4(), f"{PREFIX}bus001", {"name": "STRANGER", "unit": "volts"}, {"bus": "1"})
    said = run(environment, "Reject")
    assert "1 to destroy, 1534 unchanged" in said.partition("ASKED")[2].partition("\n")[0]
    assert db.count_streams(PREFIX) == STREAMS + 1
    run(environment, "Approve")
    assert db.count_streams(PREFIX) == STREAMS


def test_the_specification_says_what_the_tables_say(quickstart_data: Any) -> None:
    spec = read_spec(DAGS / "data" / "ieee118" / "streams.yaml", params={"prefix": "grid/ieee118/"})
    clean = quickstart_data._clean_phasor_streams(DAGS / "data")
    assert {(row.collection, row.name, row.unit, row.annotations) for row in spec.streams} == {
        (row["collection"], row["name"], row["unit"], tuple(sorted(row["annotations"].items()))) for row in clean
    }
    assert (len(spec.streams), spec.prefixes) == (STREAMS, ("grid/ieee118/",))
