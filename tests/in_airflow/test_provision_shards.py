"""Many workers share a catalogue: processes of which one is killed, and mapped tasks of which one fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import airflow
import grpc
import pytest

from airflow_provider_btrdb.client import BTrDB, derived_uuid
from airflow_provider_btrdb.testing.faults import Delay, Refuse

WORKERS, SHARDS, COLLECTIONS, NAMES = 4, 64, 128, "abcde"
CAP = 4
"""Calls in flight of each worker."""
HELD_SECONDS = 0.1
API_KEY = "sentinel-key-that-must-never-be-seen"

WORKER = """
import json, sys
from airflow_provider_btrdb.operators.provision import ProvisionStreamsOperator

spec, output, shards = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
made = 0
for shard in shards:
    operator = ProvisionStreamsOperator(
        task_id=f"t{shard}", spec=spec, output_path=output, shard=shard, shards=64, btrdb_conn_id="capped"
    )
    made += operator.execute({})["applied"]["counts"]["created"]
print("MADE", made)
"""


def worker(spec: Path, shards: Iterable[int]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(spec), str(spec.parent / "plans"), json.dumps(list(shards))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def made_by(process: subprocess.Popen[str]) -> int:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return int(output.rpartition("MADE ")[2])


class Watch:
    """The most calls of a method that were certainly in flight at once.

    Each is held back for some time, so those that arrived within less than it were all under way at the end of it.
    """

    def __init__(self, server: Any, method: str, held: float) -> None:
        self._server, self._method, self._held = server, method, held
        self._seen: list[tuple[float, int]] = []
        self.most = 0

    def look(self) -> int:
        """How many calls there were until now."""
        now = time.monotonic()
        count: int = self._server.calls.count(self._method)
        self._seen = [(then, before) for then, before in self._seen if time.monotonic() - then < self._held]
        self.most = max([self.most, *(count - before for _, before in self._seen)])
        # Counted after the clock was read: what is missing here arrived later than that.
        self._seen.append((now, count))
        return count


def test_64_shards_of_4_workers_of_which_one_is_killed(
    server: Any, connection: str, db: BTrDB, collection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = server.endpoint.rsplit(":", 1)
    fields = {"conn_type": "btrdb", "host": host, "port": int(port), "password": API_KEY}
    monkeypatch.setenv("AIRFLOW_CONN_CAPPED", json.dumps({**fields, "extra": {"max_in_flight": CAP}}))
    places = [f"{collection}/{number}" for number in range(COLLECTIONS)]
    spec = tmp_path / "streams.csv"
    spec.write_text("collection,name\n" + "".join(f"{place},{name}\n" for place in places for name in NAMES))
    total = COLLECTIONS * len(NAMES)

    server.calls.clear()
    watch = Watch(server, "Create", HELD_SECONDS / 2)
    with server.faults.inject("Create", Delay(HELD_SECONDS), first=1, last=10 * total):
        workers = [worker(spec, range(number, SHARDS, WORKERS)) for number in range(WORKERS)]
        try:
            while watch.look() < total // 8:
                assert any(process.poll() is None for process in workers)
                time.sleep(0.005)
            workers[0].kill()
            workers[0].communicate()
            until_then = server.calls.count("Create")
            workers[0] = worker(spec, range(0, SHARDS, WORKERS))  # as Airflow does with what was lost
            while any(process.poll() is None for process in workers):
                watch.look()
                time.sleep(0.005)
            made = [made_by(process) for process in workers]
        finally:
            for process in workers:
                process.kill()
                process.communicate()

    streams = list(db.lookup_iter(collection))
    assert sorted((stream.collection, stream.name) for stream in streams) == sorted(
        (place, name) for place in places for name in NAMES
    )
    assert {stream.uuid for stream in streams} == {derived_uuid(place, name) for place in places for name in NAMES}
    assert {stream.property_version for stream in streams} == {1}
    # The killed one had made some, and calls of it were under way.
    assert total - until_then <= sum(made) <= total
    assert server.calls.count("Create") <= total + CAP
    assert 1 < watch.most <= (WORKERS + 1) * CAP


# ---------------------------------------------------------------- mapped tasks


DAG_FILE = """
import json
from datetime import timedelta
from airflow.providers.common.compat.sdk import DAG, AssetAlias
from airflow_provider_btrdb.operators.provision import BTrDBApplyOperator, BTrDBPlanOperator

again = {{"retries": 2, "retry_delay": timedelta(0)}}
with DAG("sharded", schedule=None, default_args={{"btrdb_conn_id": "impatient", **again}}) as dag:
    plans = BTrDBPlanOperator.partial(
        task_id="plan", spec={spec!r}, output_path={output!r}, shards=4, browse_url="https://files.example.com/plans/",
        map_index_template="{{{{ stream_label }}}}",
    ).expand(shard=[0, 1, 2, 3])
    BTrDBApplyOperator.partial(
        task_id="apply", emit_asset=True, outlets=[AssetAlias("provisioned")],
        map_index_template="{{{{ stream_label }}}}",
    ).expand(plan=plans.output)

if __name__ == "__main__":
    run = dag.test()
    from airflow.models.asset import AssetEvent
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    with create_session() as session:
        events = session.query(AssetEvent).filter(AssetEvent.source_dag_id == "sharded").all()
        uris = [event.uri or event.asset.uri for event in events]
    with create_session() as session:
        xcoms = session.query(XComModel).filter(XComModel.dag_id == "sharded").all()
        print("FOUND", json.dumps({{
            "tries": sorted([ti.task_id, ti.map_index, str(ti.state), ti.try_number, ti.rendered_map_index]
                            for ti in run.get_task_instances()),
            "events": uris,
            "xcoms": [[xcom.task_id, xcom.key, xcom.value] for xcom in xcoms],
        }}))
"""


@pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="needs Airflow 3: its dag.test() makes asset aliases known"
)
def test_mapped_tasks_of_which_one_is_retried(
    server: Any, connection: str, db: BTrDB, collection: str, airflow_db: Path, tmp_path: Path
) -> None:
    places = [f"{collection}/{number}" for number in range(8)]
    spec = tmp_path / "streams.csv"
    spec.write_text("collection,name\n" + "".join(f"{place},{name}\n" for place in places for name in NAMES))
    output = tmp_path / "plans"
    (tmp_path / "sharded.py").write_text(DAG_FILE.format(spec=str(spec), output=str(output)))
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
    }
    with server.faults.inject("Create", Refuse(grpc.StatusCode.UNAVAILABLE), first=3) as fault:
        run = subprocess.run(
            [sys.executable, str(tmp_path / "sharded.py")], env=environment, check=False, capture_output=True, text=True
        )
    assert run.returncode == 0, run.stdout + run.stderr
    assert fault.fired == 1
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("FOUND ")]
    found = json.loads(line.removeprefix("FOUND "))

    labels = {f"shard {number} of 4" for number in range(4)}
    assert {(state, label) for _, _, state, _, label in found["tries"]} == {("success", label) for label in labels}
    assert sorted(tries for task, _, _, tries, _ in found["tries"] if task == "apply") == [1, 1, 1, 2]
    streams = list(db.lookup_iter(collection))
    assert len(streams) == len(places) * len(NAMES)
    assert {stream.property_version for stream in streams} == {1}
    assert sorted(found["events"]) == sorted(f"btrdb://{server.endpoint}/{stream.uuid}" for stream in streams)

    links = {value for _, key, value in found["xcoms"] if key == "_link_PlanPageLink"}
    assert len(links) == 4
    pages = [path.relative_to(output) for path in output.rglob("*.plan.html")]
    assert {f"https://files.example.com/plans/{page}" for page in pages} == {link.strip('"') for link in links}
    assert max(len(str(value)) for _, _, value in found["xcoms"]) < 1000
    written = [path.read_text() for path in output.rglob("*.*") if path.is_file()]
    assert len(written) == 3 * 4
    assert API_KEY not in "".join([line, *written])
