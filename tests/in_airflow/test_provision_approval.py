"""The approval in example_dags/provision_ieee118.py, answered through the API of a whole Airflow.

dag.test() of Airflow 3.1 and 3.2 cannot do that: only a triggerer answers what the waiting trigger asks.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import pytest
from standalone import Standalone, standalone

from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.provision import apply_plan, make_plan, read_spec
from airflow_provider_btrdb.testing import devserver

DAGS = Path(__file__).parents[2] / "example_dags"
PREFIX = "provision/ieee118/"
STREAMS = 1534
DAG = "provision_ieee118"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to find the processes of Airflow"),
    pytest.mark.skipif(
        tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 1), reason="needs Airflow 3.1: approvals"
    ),
]


@pytest.fixture(scope="module")
def catalogue() -> Iterator[tuple[str, BTrDB]]:
    """A server with all streams of the specification, and one that it does not have."""
    with devserver() as server, connect(server.endpoint) as db:
        spec = read_spec(DAGS / "data" / "ieee118" / "streams.yaml", params={"prefix": PREFIX})
        db.run(apply_plan(db.run(make_plan(spec))))
        db.create(uuid4(), f"{PREFIX}bus001", {"name": "STRANGER", "unit": "volts"}, {"bus": "1"})
        yield server.endpoint, db


@pytest.fixture(scope="module")
def running(catalogue: tuple[str, BTrDB], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    """An Airflow with this example alone: others have schedules."""
    home = tmp_path_factory.mktemp("approval")
    shutil.copytree(DAGS / "data", home / "dags" / "data")
    shutil.copy(DAGS / "provision_ieee118.py", home / "dags")
    host, port = catalogue[0].rsplit(":", 1)
    settings = {
        "AIRFLOW_CONN_BTRDB_DEFAULT": json.dumps({"conn_type": "btrdb", "host": host, "port": int(port)}),
        "BTRDB_PLANS": str(home / "plans"),
    }
    with standalone(home, home / "dags", settings) as airflow:
        yield airflow
    assert airflow.processes() == {}


def answered(running: Standalone, option: str) -> tuple[str, dict[str, str], str]:
    """A run that somebody answers like this: its end, how its tasks ended, and what was asked."""
    name, run = running.start_run(DAG)

    def asked() -> Any:
        """An answer that came before the task waits for it would be no test of the waiting."""
        found = running.api("GET", f"{run}/hitlDetails?response_received=false")["hitl_details"]
        return [one for one in found if one["task_instance"]["state"] in ("awaiting_input", "deferred")]

    def ended() -> Any:
        state = running.api("GET", run)["state"]
        return state if state in ("success", "failed") else None

    (question,) = running.wait_for("the question", asked)
    running.wait_until_known(DAG, name, "approve")
    answer = {"chosen_options": [option], "params_input": {}}
    running.api("PATCH", f"{run}/taskInstances/approve/-1/hitlDetails", answer)
    end = running.wait_for("the run to end", ended)
    tasks = running.api("GET", f"{run}/taskInstances")["task_instances"]
    return end, {task["task_id"]: task["state"] for task in tasks}, question["body"]


def test_streams_are_destroyed_once_somebody_approves_it(running: Standalone, catalogue: tuple[str, BTrDB]) -> None:
    _, db = catalogue
    end, tasks, question = answered(running, "Reject")
    assert f"1 to destroy, {STREAMS} unchanged" in question
    assert (end, tasks["approve"], tasks["apply"], tasks["audit"]) == ("success", "success", "skipped", "skipped")
    assert db.count_streams(PREFIX) == STREAMS + 1

    end, tasks, _ = answered(running, "Approve")
    assert (end, set(tasks.values())) == ("success", {"success"})
    assert set(tasks) == {"plan", "who_decides", "approve", "apply", "audit", "drift_report", "check"}
    assert db.count_streams(PREFIX) == STREAMS
    assert db.streams_in_collection(f"{PREFIX}bus001")
    assert "STRANGER" not in {stream.name for stream in db.lookup_iter(PREFIX)}
