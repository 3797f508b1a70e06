"""The hook in plain Python tasks: mapped shards, a sensor, SQL, and a check of the outcome.

Needs the connection `btrdb_default`. Creates 40 streams in `example/taskflow/` and writes a minute of points to each;
running it again ends in the same state. docs/taskflow.md tells what is what.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

# Airflow 3 alone: from airflow.sdk import PokeReturnValue, dag, task
from airflow.providers.common.compat.sdk import PokeReturnValue, dag, task

from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

COLLECTION = "example/taskflow"
STREAMS, SHARDS = 40, 2
START_NS, SECOND_NS = 1_704_067_200_000_000_000, 1_000_000_000


@dag(schedule=None, tags=["btrdb"], default_args={"retries": 2, "retry_delay": timedelta(seconds=10)})
def btrdb_taskflow() -> None:
    # [START shards]
    @task
    def shards() -> list[list[dict[str, Any]]]:
        rows = [{"collection": COLLECTION, "name": f"s{number:02}", "unit": "V"} for number in range(STREAMS)]
        return [rows[first::SHARDS] for first in range(SHARDS)]

    @task
    def create(rows: list[dict[str, Any]]) -> list[str]:
        results = BTrDBHook().create_many(rows)
        with BTrDBHook.airflow_errors():  # which failures are worth a retry
            for result in results:
                if result.error is not None:
                    raise result.error
        return [str(result.uuid) for result in results]

    # [END shards]

    # [START sensor]
    @task.sensor(poke_interval=5, timeout=300, mode="reschedule")
    def all_there() -> PokeReturnValue:
        found = len(BTrDBHook().streams_in_collection(COLLECTION))
        return PokeReturnValue(is_done=found >= STREAMS, xcom_value=found)

    # [END sensor]

    # [START client]
    @task
    def write(uuids: list[str]) -> int:
        hook = BTrDBHook()
        minute = [(START_NS + second * SECOND_NS, float(second)) for second in range(60)]
        with hook.airflow_errors():
            results = hook.get_client().insert_many([(uuid, minute) for uuid in uuids], merge="replace")
            for result in results:
                if result.error is not None:
                    raise result.error
        hook.report_lineage(outputs=[COLLECTION])
        return len(results)

    # [END client]

    # [START sql]
    @task.sql(conn_id="btrdb_default")
    def by_unit() -> str:
        return f"SELECT unit, count(*) FROM streams WHERE collection = '{COLLECTION}' GROUP BY unit"  # noqa: S608 - ours

    @task
    def frame_of_names() -> list[str]:
        sql = "SELECT name FROM streams WHERE collection = %s ORDER BY name"
        return BTrDBHook().get_df(sql, parameters=[COLLECTION], df_type="pandas")["name"].tolist()

    # [END sql]

    @task(retries=0)
    def check(written: Any, found: int, units: list[Any], names: list[str]) -> None:
        assert sum(written) == found == STREAMS
        assert [list(row) for row in units] == [["V", STREAMS]]
        assert names == [f"s{number:02}" for number in range(STREAMS)]
        for stream in BTrDBHook().streams_in_collection(COLLECTION):
            points = stream.values(start=START_NS)
            assert (len(points), points.values.sum()) == (60, 1770.0), stream

    created = create.expand(rows=shards())
    found = all_there()
    created >> found
    written = write.expand(uuids=created)
    units, names = by_unit(), frame_of_names()
    found >> [written, units, names]
    check(written, found, units, names)


taskflow = btrdb_taskflow()

if __name__ == "__main__":
    raise SystemExit(taskflow.test().state != "success")
