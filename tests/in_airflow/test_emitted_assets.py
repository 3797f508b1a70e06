"""Asset events of a real run: operators make them through an alias, and Airflow keeps them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_provider_btrdb._airflow import AirflowFailException
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.operators.streams import CreateStreamOperator

DAG_FILE = """
import json
from airflow.providers.common.compat.sdk import DAG, AssetAlias
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator, DeleteRangeOperator
from airflow_provider_btrdb.operators.streams import CreateStreamOperator

COLLECTION = {collection!r}
FEW = [{{"collection": COLLECTION, "name": name}} for name in "ab"]
MANY = [{{"collection": f"{{COLLECTION}}/{{number % 2}}", "name": f"{{number}}"}} for number in range(101)]
common = {{"emit_asset": True, "outlets": [AssetAlias("written")]}}

with DAG("emitted_assets", schedule=None) as dag:
    few = CreateStreamOperator(task_id="few", streams=FEW, **common)
    none = CreateStreamOperator(task_id="none", streams=FEW, **common)
    many = CreateStreamOperator(task_id="many", streams=MANY, **common)
    insert = BTrDBInsertOperator(
        task_id="insert", files={file!r}, columns={{"a": f"{{COLLECTION}}/a"}}, time_columns="t", time_format="ns",
        **common,
    )
    delete = DeleteRangeOperator(task_id="delete", streams=f"{{COLLECTION}}/b", start=0, end=9, **common)
    few >> none >> many >> insert >> delete

if __name__ == "__main__":
    run = dag.test()
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    with create_session() as session:
        events = session.query(AssetEvent).filter(AssetEvent.source_dag_id == "emitted_assets").all()
        rows = [[event.source_task_id, event.uri or event.asset.uri, event.extra] for event in events]
        print("EVENTS", json.dumps(rows))
"""


@pytest.mark.skipif(
    airflow.__version__.startswith("2."), reason="needs Airflow 3: its dag.test() makes asset aliases known"
)
def test_events_name_streams_or_their_collections(
    tmp_path: Path, airflow_db: Path, server: Any, connection: str, db: BTrDB, collection: str
) -> None:
    file = tmp_path / "points.csv"
    file.write_text("t,a\n1,1.5\n")
    (tmp_path / "emitted.py").write_text(DAG_FILE.format(collection=collection, file=str(file)))
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(airflow_db),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, str(tmp_path / "emitted.py")], env=environment, check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("EVENTS ")]
    a, b = (stream.uuid for stream in db.streams(f"{collection}/a", f"{collection}/b"))
    base = f"btrdb://{server.endpoint}"
    created = {"streams": 2, "created": 2, "existed": 0, "updated": 0}
    bulk = {"streams": 101, "created": 101, "existed": 0, "updated": 0}
    inserted = {"files": 1, "streams": 1, "points": 1, "inserted": 1, "missing": 0, "outside": 0}
    assert sorted(json.loads(line.removeprefix("EVENTS ")), key=str) == sorted(
        [
            ["few", f"{base}/{a}", created],
            ["few", f"{base}/{b}", created],
            ["many", f"{base}/collection/{collection}/0", bulk],
            ["many", f"{base}/collection/{collection}/1", bulk],
            ["insert", f"{base}/{a}", inserted],
            ["delete", f"{base}/{b}", {"streams": 1, "deleted": 0, "start_ns": 0, "end_ns": 9}],
        ],
        key=str,
    )


@pytest.mark.usefixtures("connection")
def test_without_an_alias_nothing_is_written(db: BTrDB, collection: str) -> None:
    operator = CreateStreamOperator(task_id="t", streams={"collection": collection, "name": "x"}, emit_asset=True)
    with pytest.raises(AirflowFailException, match="needs an AssetAlias among the outlets"):
        operator.execute({})
    assert db.count_streams(collection) == 0
