"""The DAG of test_standalone.py whose runs are started by events."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger

trigger = BTrDBStreamEventTrigger(stream="watched/one", poll_interval=10, from_version=10)
asset = Asset("watched", watchers=[AssetWatcher("versions", trigger=trigger)])

with DAG("watches", schedule=[asset]):

    @task
    def seen(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
        return [event.extra["payload"] for event in triggering_asset_events[asset]]

    seen()
