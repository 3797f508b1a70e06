"""Every sensor in every mode in a real run: the same states, the same XComs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import airflow
import pytest

from airflow_provider_btrdb.client import BTrDB

DAG_FILE = """
import json
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor, StreamFreshnessSensor, StreamVersionSensor

WANTED = json.loads({wanted!r})
CLASSES = {{"exists": StreamExistsSensor, "version": StreamVersionSensor, "fresh": StreamFreshnessSensor}}
MODES = {{"poke": {{}}, "reschedule": {{"mode": "reschedule"}}, "deferrable": {{"deferrable": True}}}}

with DAG("sensor_runs", schedule=None) as dag:
    for name, (kind, arguments) in WANTED.items():
        for mode, how in MODES.items():
            CLASSES[kind](task_id=f"{{name}}_{{mode}}", poke_interval=1, **arguments, **how)

if __name__ == "__main__":
    run = dag.test()
    for task in run.get_task_instances():
        value = task.xcom_pull(task_ids=task.task_id) if task.state == "success" else None
        print("OUTCOME", json.dumps([task.task_id, str(task.state), value]))
"""


@pytest.mark.skipif(
    airflow.__version__.startswith("3.0."), reason="needs dag.test() to run sensors again: not in Airflow 3.0"
)
def test_modes_do_not_differ(tmp_path: Path, airflow_db: Path, connection: str, db: BTrDB, collection: str) -> None:
    stream = db.create(uuid4(), collection, {"name": "x"})
    now = time.time_ns()
    stream.insert([(now, 1.0)])
    future = db.create(uuid4(), collection, {"name": "future"})
    future.insert([(now + 10**14, 1.0)])
    there, absent = f"{collection}/x", f"{collection}/absent"
    uuid = str(stream.uuid)
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "found": ("exists", {"stream": [there, uuid], "timeout": 60}),
        "counted": ("exists", {"collection": collection, "min_count": 2, "timeout": 60}),
        "absent": ("exists", {"stream": absent, "timeout": 2}),
        "absent_soft": ("exists", {"stream": absent, "timeout": 2, "soft_fail": True}),
        "invisible": ("exists", {"stream": absent, "require_visible_prefix": absent, "timeout": 60}),
        "moved": ("version", {"stream": there, "version": 10, "timeout": 60}),
        "unmoved": ("version", {"stream": uuid, "version": 11, "timeout": 2}),
        "young": ("fresh", {"stream": there, "younger_than": 3600, "timeout": 60}),
        "future": ("fresh", {"stream": f"{collection}/future", "younger_than": 3600, "timeout": 60}),
    }
    expected = {
        "found": ["success", {"found": 2}],
        "counted": ["success", {"found": 2}],
        "absent": ["failed", None],
        "absent_soft": ["skipped", None],
        "invisible": ["failed", None],
        "moved": ["success", {"uuid": uuid, "from_version": 10, "version": 11}],
        "unmoved": ["failed", None],
        "young": ["success", {"uuid": uuid, "newest_ns": now}],
        "future": ["failed", None],
    }
    (tmp_path / "sensor_runs.py").write_text(DAG_FILE.format(wanted=json.dumps(wanted)))
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, str(tmp_path / "sensor_runs.py")], env=environment, check=True, capture_output=True, text=True
    )
    outcomes = [json.loads(line.removeprefix("OUTCOME ")) for line in run.stdout.splitlines() if line.startswith("OUT")]
    got = {task: [state, value] for task, state, value in outcomes}
    modes = ("poke", "reschedule", "deferrable")
    assert got == {f"{name}_{mode}": outcome for name, outcome in expected.items() for mode in modes}
    for words in ("no stream below", "in the future: its age says nothing"):
        assert (run.stdout + run.stderr).count(words) >= len(modes)
