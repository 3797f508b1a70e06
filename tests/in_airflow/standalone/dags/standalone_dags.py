"""DAGs of test_standalone.py, which starts all their runs."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_btrdb.operators.streams import CreateStreamOperator
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor

RACERS = 20
ROWS = [{"collection": "raced", "name": f"s{number}", "unit": "volts"} for number in range(50)]

with DAG("waits", schedule=None):
    StreamExistsSensor(task_id="wait", stream="late/comer", deferrable=True, poke_interval=5, timeout=600)

with DAG("races", schedule=None, max_active_tasks=RACERS):
    CreateStreamOperator.partial(task_id="create").expand(streams=[ROWS] * RACERS)
