"""A whole Airflow: scheduler, triggerer, API server. What no single process of it can show."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import pytest
from standalone import Standalone, standalone

from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM
from airflow_provider_btrdb.testing import RunningServer, devserver
from airflow_provider_btrdb.testing.faults import Delay

API_KEY = "sentinel-key-that-must-never-be-seen"
CROWD, INTERVAL = 300, 10
"""Tasks, and seconds between two looks, of standalone/dags/crowd_dags.py."""
MOST_CALLS = 10
"""Of one look for any number of streams that may exist."""
HERE = Path(__file__).parent / "standalone"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to find the processes of Airflow"),
    pytest.mark.skipif(
        tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 3), reason="needs Airflow 3.3: the form from metadata"
    ),
]


@pytest.fixture(scope="module")
def btrdb() -> Iterator[RunningServer]:
    """A server that only this Airflow and the tests of this module call."""
    with devserver(api_key=API_KEY) as running:
        yield running


@pytest.fixture(scope="module")
def data(btrdb: RunningServer) -> Iterator[BTrDB]:
    """A plain client, to arrange and to look."""
    with connect(btrdb.endpoint, API_KEY) as connection:
        yield connection


@pytest.fixture(scope="module")
def running(btrdb: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    host, port = btrdb.endpoint.rsplit(":", 1)
    connection = {"conn_type": "btrdb", "host": host, "port": int(port), "password": API_KEY}
    settings = {
        "AIRFLOW_CONN_BTRDB_DEFAULT": json.dumps(connection),
        "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(HERE / "plugins"),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    with standalone(tmp_path_factory.mktemp("standalone"), HERE / "dags", settings) as airflow:
        yield airflow
    assert airflow.processes() == {}


@pytest.fixture(scope="module")
def form(running: Standalone) -> tuple[dict[str, Any], list[str]]:
    """The connection form, and the modules of the API server that served it; before any test makes it import more."""
    (form,) = [one for one in running.api("GET", "/ui/connections/hook_meta") if one["connection_type"] == "btrdb"]
    return form, running.api("GET", "/loaded-modules/")


def states(running: Standalone, run: str) -> Counter[str]:
    """How many task instances are in which state."""
    return Counter(task["state"] for task in running.api("GET", f"{run}/taskInstances?limit=1000")["task_instances"])


def ended(running: Standalone, run: str) -> str | None:
    state = running.api("GET", run)["state"]
    return state if state in ("success", "failed") else None


def test_the_form_is_served_whole_and_the_hook_stays_unloaded(form: tuple[dict[str, Any], list[str]]) -> None:
    served, modules = form
    assert set(served["extra_fields"]) == set(CONNECTION_FORM["conn-fields"])
    assert served["standard_fields"]["password"]["title"] == "API key"
    assert (
        served["standard_fields"]["host"]["placeholder"]
        == CONNECTION_FORM["ui-field-behaviour"]["placeholders"]["host"]
    )
    assert {"airflow", "airflow_provider_btrdb.get_provider_info"} <= set(modules)
    assert [
        name for name in modules if name.startswith(("airflow_provider_btrdb.hooks", "grpc", "google.protobuf"))
    ] == []


@pytest.mark.usefixtures("form")
def test_the_button_test_answers(running: Standalone, btrdb: RunningServer) -> None:
    host, port = btrdb.endpoint.rsplit(":", 1)
    asked = {"connection_id": "tried", "conn_type": "btrdb", "host": host, "port": int(port), "password": API_KEY}

    def press(**changes: Any) -> tuple[bool, str]:
        reply = running.api("POST", "/api/v2/connections/test", asked | changes)
        return reply["status"], reply["message"]

    assert press()[0]
    works, message = press(password="some-other-key")
    assert not works
    assert "API key" in message
    works, message = press(extra=json.dumps({"tls": "on", "connect_timeout": 5}))
    assert not works
    assert "TLS" in message


@pytest.mark.usefixtures("form")
def test_a_deferred_sensor_is_released_by_a_later_create(running: Standalone, data: BTrDB) -> None:
    name, run = running.start_run("waits")
    running.wait_for("the sensor to be deferred", lambda: states(running, run)["deferred"])
    running.wait_until_known("waits", name, "wait")
    data.create(uuid4(), "late", {"name": "comer"})
    assert running.wait_for("the run to end", lambda: ended(running, run)) == "success"


@pytest.mark.usefixtures("form")
def test_racing_creates_make_each_stream_once_and_none_fails(
    running: Standalone, btrdb: RunningServer, data: BTrDB
) -> None:
    """The server takes its time between the lookups of an instance and its creates, so that the instances overlap."""
    with btrdb.faults.inject("Create", Delay(20), last=10**6):
        _, run = running.start_run("races")
        assert running.wait_for("the run to end", lambda: ended(running, run), limit=600) == "success"
    assert states(running, run) == {"success": 20}
    assert btrdb.calls.count("Create") > 50, "nobody raced"
    assert Counter(stream.name for stream in data.lookup_iter("raced")) == {f"s{number}": 1 for number in range(50)}


@pytest.mark.usefixtures("form")
def test_a_new_version_runs_the_watching_dag_also_across_a_restart_of_the_triggerer(
    running: Standalone, data: BTrDB
) -> None:
    """The trigger reports from version 10 on, that of a new stream, so the test need not wait for its first look."""
    runs = "/api/v2/dags/watches/dagRuns"

    def told() -> list[dict[str, Any]]:
        """What the events of all successful runs say, in the order of the versions."""
        found = []
        for run in running.api("GET", f"{runs}?state=success")["dag_runs"]:
            xcom = f"{runs}/{run['dag_run_id']}/taskInstances/seen/xcomEntries/return_value"
            found += running.api("GET", xcom)["value"]
        return sorted(found, key=lambda payload: payload["version"])

    def up_to(version: int) -> list[dict[str, Any]]:
        def reached() -> list[dict[str, Any]] | None:
            events = told()
            return events if events and events[-1]["version"] >= version else None

        return running.wait_for(f"a run for version {version}", reached)

    stream = data.create(uuid4(), "watched", {"name": "one"})
    stream.insert([(1, 1.0)])
    first = stream.version()
    assert up_to(first) == [{"uuid": str(stream.uuid), "from_version": 10, "version": first}]

    running.stop_part("triggerer")
    stream.insert([(2, 2.0)])
    stream.insert([(3, 3.0)])
    second = stream.version()
    running.start("triggerer")
    _, missed = up_to(second)
    assert missed == {"uuid": str(stream.uuid), "from_version": first, "version": second}


@pytest.mark.usefixtures("form")
def test_a_crowd_of_triggers_costs_a_handful_of_calls_per_interval(
    running: Standalone, btrdb: RunningServer, data: BTrDB
) -> None:
    """Each task waits for a stream of its own. The watcher of the test above may look six times meanwhile."""
    _, run = running.start_run("crowd")
    running.wait_for("all to be deferred", lambda: states(running, run)["deferred"] == CROWD, limit=600)
    btrdb.calls.clear()
    running.wait_for("the first look", lambda: btrdb.calls.count("SQLQuery"))
    started = time.monotonic()
    btrdb.calls.clear()
    time.sleep(3 * INTERVAL)
    calls = btrdb.calls.counts()
    looks = 1 + int((time.monotonic() - started) / INTERVAL)  # at most, and fewer where a loaded machine is late
    assert calls["SQLQuery"] + calls["LookupStreams"] <= looks * MOST_CALLS, calls
    data.create_many([{"collection": "crowd", "name": f"s{number}"} for number in range(CROWD)])
    assert running.wait_for("the run to end", lambda: ended(running, run), limit=600) == "success"
    assert states(running, run) == {"success": CROWD}
