"""With SQL switched off at the server everything works but SQL that a user wrote. And keys with little rights."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb._airflow import AirflowFailException
from airflow_provider_btrdb.client import BTrDB, connect
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator, BTrDBMetadataCheckOperator
from airflow_provider_btrdb.operators.points import BTrDBInsertOperator, DeleteRangeOperator
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator
from airflow_provider_btrdb.operators.streams import (
    CreateStreamOperator,
    ObliterateStreamOperator,
    UpdateStreamOperator,
)
from airflow_provider_btrdb.sensors.streams import StreamExistsSensor, StreamFreshnessSensor, StreamVersionSensor
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger
from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger


def set_connection(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, conn_id: str = "btrdb_default", **fields: Any
) -> None:
    host, port = endpoint.split(":")
    text = json.dumps({"conn_type": "btrdb", "host": host, "port": int(port), **fields})
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", text)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[BTrDB]:
    with devserver(sql=False) as server, connect(server.endpoint) as db:
        set_connection(monkeypatch, server.endpoint)
        yield db


def test_everything_but_users_sql_works_without_sql(plain: BTrDB, tmp_path: Path) -> None:
    rows = [{"collection": "c", "name": f"s{number}"} for number in range(20)]
    names = [f"c/s{number}" for number in range(20)]

    def execute(cls: Any, **arguments: Any) -> Any:
        return cls(task_id="t", **arguments).execute({})

    assert execute(CreateStreamOperator, streams=rows, if_exists="fail")["created"] == 20
    with pytest.raises(AirflowFailException, match="20 of 20 streams exist already"):
        execute(CreateStreamOperator, streams=rows, if_exists="fail")
    assert execute(CreateStreamOperator, streams=[{**row, "unit": "V"} for row in rows], if_exists="update") == {
        "streams": 20, "created": 0, "existed": 20, "updated": 20,
    }  # fmt: skip
    assert execute(UpdateStreamOperator, updates=[{"stream": names[0], "tags": {"unit": "A"}}])["updated"] == 1
    file = tmp_path / "t.csv"
    file.write_text(f"t,a\n{time.time_ns()},1\n")
    loaded = execute(BTrDBInsertOperator, files=str(file), columns={"a": names[1]}, time_columns="t", time_format="ns")
    assert loaded["inserted"] == 1
    assert execute(BTrDBMetadataCheckOperator, collection="c", tags={"unit": {"one_of": ["V", "A"]}})["streams"] == 20
    suite = {
        "checks": [{"required": "unit"}, {"unique": ["collection", "name"]}, {"not_empty": True, "severity": "warn"}]
    }
    counts = execute(BTrDBAuditOperator, suite=suite, output_path=str(tmp_path / "runs"))["counts"]
    assert (counts["pass"], counts["warn"]) == (2, 1)
    uuids = [str(stream.uuid) for stream in plain.streams(names)]
    assert execute(StreamExistsSensor, stream=names) == {"found": 20}
    assert execute(StreamExistsSensor, stream=uuids, require_visible_prefix="c") == {"found": 20}
    assert execute(StreamExistsSensor, collection="c", min_count=20) == {"found": 20}
    assert execute(StreamVersionSensor, stream=names[1], version=10)["version"] == 11
    assert execute(StreamFreshnessSensor, stream=names[1], younger_than=3600)["uuid"] == uuids[1]
    assert execute(DeleteRangeOperator, streams=names[1], start=0, end=2**61)["deleted"] == 1
    assert execute(ObliterateStreamOperator, streams=names[2], confirm=True)["obliterated"] == 1

    async def triggers() -> list[Any]:
        common = {"btrdb_conn_id": "btrdb_default", "poll_interval": 0.1}
        nothing: dict[str, Any] = dict.fromkeys(("collection", "tags", "annotations", "require_visible_prefix"))
        waiting: list[Any] = [
            StreamExistsTrigger(streams=streams, end_time=time.time() + 200, min_count=1, **nothing, **common)
            for streams in (names[3:], uuids[3:])
        ]
        waiting.append(BTrDBStreamEventTrigger(stream=names[1], from_version=10, **common))
        async with asyncio.timeout(200):
            return [(await anext(aiter(trigger.run()))).payload for trigger in waiting]

    events = asyncio.run(triggers())
    assert events[:2] == [{"status": "success", "found": 17}] * 2
    assert events[2] == {"uuid": uuids[1], "from_version": 10, "version": 12}
    with pytest.raises(AirflowFailException, match="SQLQuery"):
        execute(BTrDBQueryOperator, sql="SELECT 1")


@pytest.fixture
def two_of_five(monkeypatch: pytest.MonkeyPatch) -> Iterator[BTrDB]:
    keys = {
        "keys": {
            "all": {"key": "all", "read": [""], "insert": [""]},
            "two": {"key": "two", "read": ["p1", "p2"], "insert": [""]},
        }
    }
    with devserver(keys=keys) as server, connect(server.endpoint, "all") as db:
        set_connection(monkeypatch, server.endpoint, password="two")
        yield db


def test_a_key_that_sees_two_of_five_prefixes_never_creates_a_second_stream(two_of_five: BTrDB) -> None:
    """What it cannot see is there all the same: the server refuses, and the operator says why."""
    rows = [{"collection": f"p{number}", "name": "x"} for number in range(1, 6)]
    two_of_five.create_many(rows)
    other = two_of_five.create(uuid4(), "p4", {"name": "y"})
    for if_exists in ("ignore", "update", "skip"):
        with pytest.raises(AirflowFailException, match=r'3 of 5 streams failed: p3/x: .*permission "read" on "p3"'):
            CreateStreamOperator(task_id="t", streams=rows, if_exists=if_exists).execute({})
        with pytest.raises(AirflowFailException, match=r"p4/y.*this key may not see"):
            CreateStreamOperator(task_id="t", streams={"collection": "p4", "name": "y"}, if_exists=if_exists).execute(
                {}
            )
    with pytest.raises(AirflowFailException, match="2 of 5 streams exist already"):
        CreateStreamOperator(task_id="t", streams=rows, if_exists="fail").execute({})
    assert two_of_five.count_streams() == 6
    with pytest.raises(AirflowFailException, match="permission"):
        UpdateStreamOperator(task_id="t", updates={"stream": str(other.uuid), "tags": {"unit": "V"}}).execute({})
    check = BTrDBMetadataCheckOperator(
        task_id="t", collection="p", tags={"name": {"present": True}}, min_streams=6, retry_on_failure=False
    )
    with pytest.raises(AirflowFailException, match=r"2 streams below 'p'.*invisible to this key"):
        check.execute({})
