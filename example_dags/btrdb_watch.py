"""A run for whatever happens to a stream's data, and asset events for streams that were made; from Airflow 3.0 on.

Needs the connection `btrdb_default`. `btrdb_make_watched` makes the stream that `btrdb_watch` watches; `airflow dags
test` runs the latter without an event.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAlias, AssetWatcher, dag, task

from airflow_provider_btrdb.operators.streams import CreateStreamOperator
from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger

trigger = BTrDBStreamEventTrigger(stream="watched/bus1/FREQ", poll_interval=10)
frequency = Asset("watched frequency", watchers=[AssetWatcher(name="new points", trigger=trigger)])


@dag(schedule=[frequency], tags=["btrdb"])
def btrdb_watch() -> None:
    @task
    def changed(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """All events of the run: Airflow may make one run of several."""
        events = triggering_asset_events[frequency] if triggering_asset_events else []
        return [event.extra["payload"] for event in events]

    changed()


@dag(schedule=None, tags=["btrdb"])
def btrdb_make_watched() -> None:
    CreateStreamOperator(
        task_id="make",
        streams={"collection": "watched/bus1", "name": "FREQ", "unit": "Hz"},
        emit_asset=True,
        outlets=[AssetAlias("streams that were made")],
    )


watch, make = btrdb_watch(), btrdb_make_watched()

if __name__ == "__main__":
    raise SystemExit({make.test().state, watch.test().state} != {"success"})
