"""`BTrDBRetryPolicy`: which errors it fails at once, and a task that Airflow therefore does not try again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_provider_btrdb.client import dbapi, errors

pytestmark = pytest.mark.skipif(
    tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 3), reason="needs Airflow 3.3: retry policies"
)


def raised_from(exception: Exception, cause: Exception) -> Exception:
    exception.__cause__ = cause
    return exception


@pytest.mark.parametrize(
    ("exception", "action"),
    [
        (errors.StreamNotFoundError("gone"), "fail"),
        (errors.AuthenticationError("refused"), "fail"),
        (errors.InputError("no row"), "fail"),
        (raised_from(RuntimeError("mine"), raised_from(KeyError("x"), errors.BadSqlError("bad"))), "fail"),
        (dbapi.as_pep249(errors.BadSqlError("bad")), "fail"),
        (errors.ServerUnavailableError("away"), "default"),
        (dbapi.as_pep249(errors.ServerUnavailableError("away")), "default"),
        (ValueError("somebody else's"), "default"),
    ],
    ids=repr,
)
def test_the_error_decides(exception: Exception, action: str) -> None:
    from airflow_provider_btrdb.retries import BTrDBRetryPolicy

    assert BTrDBRetryPolicy().evaluate(exception, 1, 3).action.value == action


DAG_FILE = """
import json
from datetime import timedelta
from airflow.sdk import DAG, task
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.retries import BTrDBRetryPolicy

with DAG("retry_policy", schedule=None) as dag:

    @task(retries=1, retry_delay=timedelta(0), retry_policy=BTrDBRetryPolicy())
    def ask(stream):
        BTrDBHook("impatient").get_client().streams(stream)
        raise ValueError("somebody else's")

    ask.override(task_id="absent")("no such/stream")
    ask.override(task_id="there")([])

if __name__ == "__main__":
    run = dag.test()
    tries = {task.task_id: [str(task.state), task.try_number] for task in run.get_task_instances()}
    print("TRIES", json.dumps(tries))
"""


def test_airflow_asks_it(tmp_path: Path, airflow_db: Path, connection: str, server: Any) -> None:
    (tmp_path / "retry_policy.py").write_text(DAG_FILE)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, str(tmp_path / "retry_policy.py")],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("TRIES ")]
    assert json.loads(line.removeprefix("TRIES ")) == {"absent": ["failed", 1], "there": ["failed", 2]}
