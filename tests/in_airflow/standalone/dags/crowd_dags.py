"""The DAG of test_standalone.py with many tasks that wait in the triggerer, from their start to their end."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.triggers.base import StartTriggerArgs

CROWD = 300
INTERVAL = 10


class Waits(BaseOperator):
    start_from_trigger = True

    def __init__(self, *, stream: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="crowd_trigger.EndingTrigger",
            trigger_kwargs={
                "streams": [stream], "collection": None, "tags": None, "annotations": None, "min_count": 1,
                "require_visible_prefix": None, "btrdb_conn_id": "btrdb_default", "poll_interval": INTERVAL,
                "end_time": 4e9,
            },
            next_method="never",
        )  # fmt: skip

    def execute(self, context: Any) -> None:
        raise AssertionError("it must start and end in the triggerer")


with DAG("crowd", schedule=None, max_active_tasks=CROWD):
    for number in range(CROWD):
        Waits(task_id=f"wait{number}", stream=f"crowd/s{number}")
