"""BTrDBConnectionCheckOperator: what it finds, and when a retry could help."""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.operators.connection import BTrDBConnectionCheckOperator


@pytest.mark.usefixtures("patient")
def test_what_answers(
    connection: str, server: Any, db: BTrDB, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    db.create(uuid4(), f"airflow-test/{uuid4()}", {"name": "x"})
    operator = BTrDBConnectionCheckOperator(task_id="t")
    with caplog.at_level(logging.INFO):
        result = operator.execute({})
    assert result == {
        "endpoint": server.endpoint,
        "version": "5.30",
        "build": str(db.info()["build"]),
        "streams": db.count_streams(),
        "all_counted": True,
        "serves_sql": True,
    }
    assert json.loads(json.dumps(result)) == result
    # Airflow 2 logs the one way, Airflow 3.3 the other, and those in between something here, something there.
    told = [re.findall(r"ok   (\w+):", text) for text in (caplog.text, capfd.readouterr().out)]
    assert ["name", "port", "server", "SQL", "streams"] in told


@pytest.mark.usefixtures("patient")
def test_what_is_wrong_decides_on_retries(server: Any, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    host, port = server.endpoint.split(":")
    for fields, error, words in (
        ({"port": int(port), "password": "other"}, AirflowFailException, "the API key was refused"),
        ({"port": closed_port}, BTrDBTransientException, "nothing listens there"),
        ({"port": 0, "extra": {"tls": "maybe"}}, AirflowFailException, "tls is 'maybe'"),
    ):
        text = json.dumps({"conn_type": "btrdb", "host": host, **fields})
        monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", text)
        with pytest.raises(error, match=words):
            BTrDBConnectionCheckOperator(task_id="t").execute({})
