"""A task under Airflow's real supervisor, as an executor runs it: what its log hides, and keys that change in it.

Only the API server is missing; what it would answer stands below.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import pytest

from airflow_provider_btrdb.client import BTrDB

pytestmark = pytest.mark.skipif(
    tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 3), reason="needs Airflow 3.3: supervise_task"
)

RUNNER = """
import sys, uuid
import httpx
from airflow.executors.workloads import BundleInfo
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time.supervisor import supervise_task

TIME = "2024-01-01T00:00:00Z"
RUN = dict.fromkeys(("data_interval_start", "data_interval_end", "end_date", "partition_key")) | {
    "dag_id": "one", "run_id": "r", "logical_date": TIME, "start_date": TIME, "run_after": TIME, "run_type": "manual",
    "state": "running", "consumed_asset_events": [],
}

def answer(request):
    if request.url.path.endswith("/run"):
        return httpx.Response(200, json={"dag_run": RUN, "max_tries": 0, "should_retry": False})
    return httpx.Response(200, json={"ok": True})

instance = TaskInstance(
    id=uuid.uuid4(), task_id="task", dag_id="one", run_id="r", try_number=1, dag_version_id=uuid.uuid4()
)
sys.exit(supervise_task(
    ti=instance, bundle_info=BundleInfo(name="here", version=None), dag_rel_path="one.py", token="", log_path="one.log",
    client=Client(base_url="http://unused", token="", transport=httpx.MockTransport(answer)),
))
"""

DAG_FILE = """
import json, logging, os
from urllib.parse import quote
from airflow.providers.common.compat.sdk import DAG, task as as_task
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

with DAG("one", schedule=None) as dag:
    @as_task
    def task():
{body}
    task()
"""


def run_task(folder: Path, body: str, connection: dict[str, Any]) -> list[str]:
    """Run a task with this body; what it logged, as text."""
    indented = "".join(f"        {line}\n" for line in body.strip().splitlines())
    (folder / "one.py").write_text(DAG_FILE.format(body=indented))
    bundle = {
        "name": "here",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder), "refresh_interval": 1},
    }
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        env=os.environ
        | {
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
            "AIRFLOW_CONN_BTRDB_DEFAULT": json.dumps(connection),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    log = (folder / "logs" / "one.log").read_text()
    assert done.returncode == 0, (done.stderr[-3000:], log[-3000:])
    events = [str(json.loads(line)["event"]) for line in log.splitlines()]
    assert "Done. Returned value was: None" in events, log[-3000:]
    return events


KEY = "sentinel%key/that?must+never-be-seen"
PASSWORD = "sentinel-of-the-proxy"


def test_secrets_of_the_connection_are_masked_in_the_log(tmp_path: Path) -> None:
    body = f"""
    from urllib.parse import quote
    secrets = [{KEY!r}, quote({KEY!r}, safe=""), {PASSWORD!r}]
    logging.getLogger("careless").info("before %s", secrets[2])
    BTrDBHook().get_client()
    for secret in secrets:
        logging.getLogger("careless").info("logged [%s]", secret)
        print(f"printed [{{secret}}]")
    """.replace("\n    ", "\n")
    proxy = f"http://me:{PASSWORD}@proxy.example.com:3128"
    fields = {"host": "localhost", "port": 1, "password": KEY, "extra": {"proxy": proxy}}
    events = run_task(tmp_path, body, {"conn_type": "btrdb", **fields})
    assert f"before {PASSWORD}" in events  # so that it is not hidden by something else
    assert events.count("logged [***]") == events.count("printed [***]") == 3


def test_a_key_that_changes_under_a_task(tmp_path: Path, server: Any, db: BTrDB) -> None:
    """Bulk calls ask for the newer key on a loop and a thread of their own, beside the one that talks to Airflow."""
    host, port = server.endpoint.split(":")
    collection = f"airflow-test/{uuid4()}"
    old = {"conn_type": "btrdb", "host": host, "port": int(port), "password": "old-key"}
    body = f"""
    hook = BTrDBHook()
    db = hook.get_client()
    os.environ["AIRFLOW_CONN_BTRDB_DEFAULT"] = {json.dumps(old | {"password": server.api_key})!r}
    rows = [{{"collection": {collection!r}, "name": str(number)}} for number in range(20)]
    print([result.outcome for result in hook.create_many(rows)])
    assert hook.info()["majorVersion"] == 5 and hook.get_client() is db
    """.replace("\n    ", "\n")
    events = run_task(tmp_path, body, old)
    assert str(["created"] * 20) in events
    assert db.count_streams(collection) == 20
