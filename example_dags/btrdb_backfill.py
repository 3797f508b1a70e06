"""Load one day per run, so that any day can be run again, in any order and side by side; and check what is there.

Needs the connection `btrdb_default`. Backfill the first week with
`airflow backfill create --dag-id btrdb_backfill --from-date 1997-01-01 --to-date 1997-01-07`
(Airflow 2.11: `airflow dags backfill -s 1997-01-01 -e 1997-01-07 btrdb_backfill`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Airflow 3 alone: from airflow.sdk import dag, task
from airflow.providers.common.compat.sdk import dag, task
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator
from airflow_provider_btrdb.operators.streams import CreateStreamOperator

FILE = Path(__file__).parent / "data" / "weather" / "703165TY.csv"
STREAM = "backfill/703165/DryBulb"


@dag(
    # Not schedule="@daily": in Airflow 3 that has start == end, and nothing would be loaded.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(1997, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["btrdb"],
)
def btrdb_backfill() -> None:
    create = CreateStreamOperator(
        task_id="create",
        streams={"collection": "backfill/703165", "name": "DryBulb", "unit": "C"},
    )

    load = BTrDBInsertOperator(
        task_id="load_day",
        files=str(FILE),
        columns={"Dry-bulb (C)": STREAM},
        time_columns=["Date (MM/DD/YYYY)", "Time (HH:MM)"],
        time_format="%m/%d/%Y %H:%M",
        utc_offset_hours=-9,
        missing=["-9900"],
        skip_lines=1,
        write_mode="replace_range",
        start="{{ data_interval_start }}",
        end="{{ data_interval_end }}",
    )

    @task
    def check(data_interval_start: Any = None, data_interval_end: Any = None) -> int:
        (stream,) = BTrDBHook().streams(STREAM)
        hours = stream.count(data_interval_start, data_interval_end)
        assert hours in (14, 24), f"{hours} hours on {data_interval_start}"  # 14: the file begins at 01:00 UTC-9
        return int(hours)

    create >> load >> check()


backfill = btrdb_backfill()

if __name__ == "__main__":
    import inspect

    day = "logical_date" if "logical_date" in inspect.signature(backfill.test).parameters else "execution_date"
    raise SystemExit(backfill.test(**{day: datetime(1997, 1, 2, tzinfo=UTC)}).state != "success")
