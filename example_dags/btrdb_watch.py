"""A run for whatever happens to a stream's data, from Airflow 3.0 on.

Needs the connection `btrdb_default` and the stream `watched/bus1/FREQ`; `airflow dags test` runs it without an event.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger

trigger = BTrDBStreamEventTrigger(stream="watched/bus1/FREQ", poll_interval=10)
frequency = Asset("watched frequency", watchers=[AssetWatcher(name="new points", trigger=trigger)])


@dag(schedule=[frequency], tags=["btrdb"])
def btrdb_watch() -> None:
    @task
    def changed(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        """All events of the run: Airflow may make one run of several."""
        events = (triggering_asset_events or {}).get(frequency, [])
        return [event.extra["payload"] for event in events]

    changed()


watch = btrdb_watch()

if __name__ == "__main__":
    raise SystemExit(watch.test().state != "success")
