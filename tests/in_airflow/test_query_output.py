"""Rows of a query written to files."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from airflow_provider_btrdb._airflow import AirflowFailException
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.operators.query import BTrDBQueryOperator

pytestmark = pytest.mark.usefixtures("connection")

SQL = "SELECT name, unit, annotations FROM streams WHERE collection = $1 ORDER BY name"


def write(path: Path | str, sql: str = SQL, parameters: Any = (), **arguments: Any) -> Any:
    return BTrDBQueryOperator(task_id="t", sql=sql, parameters=parameters, output_path=str(path), **arguments).execute(
        {}
    )


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_rows_are_written_in_the_format_of_the_ending(db: BTrDB, collection: str, tmp_path: Path, ending: str) -> None:
    db.create(uuid4(), collection, {"name": 'a "quoted", name', "unit": "µV"}, {"k": None, "l": "\n"})
    db.create(uuid4(), collection, {"name": "b"})
    path = tmp_path / "made" / "on the way" / f"rows.{ending}"
    result = write(path, parameters=[collection])
    assert result == {"path": str(path), "format": ending, "rows": 2, "bytes": path.stat().st_size}
    rows = read(path)
    flat = ending != "jsonl"
    assert [(row["name"], row["unit"]) for row in rows] == [('a "quoted", name', "µV"), ("b", "")]
    first = rows[0]["annotations"]
    assert (json.loads(first) if flat else first) == {"k": None, "l": "\n"}
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_file_of_many_batches(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    result = write(path, "SELECT n, n % 7 = 0 AS even, repeat('x', 20) AS filler FROM generate_series(1, 25000) AS n")
    assert result["rows"] == 25_000
    rows = read(path)
    assert len(rows) == 25_000
    assert [int(row["n"]) for row in rows] == list(range(1, 25_001))


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_no_rows_are_a_file_too(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    assert write(path, "SELECT 1 AS n WHERE false")["rows"] == 0
    assert path.exists()
    assert read(path) == []


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert write(f"file://{tmp_path}/rows.jsonl", "SELECT 1 AS n")["rows"] == 1
    assert read(tmp_path / "rows.jsonl") == [{"n": 1}]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write(path, "SELECT 1 AS n")
    with pytest.raises(AirflowFailException, match="division by zero"):
        write(path, "SELECT 1 / (20000 - n) AS n FROM generate_series(1, 30000) AS n")
    assert read(path) == [{"n": 1}]
    assert os.listdir(tmp_path) == ["rows.jsonl"]
    write(path, "SELECT 2 AS n")
    assert read(path) == [{"n": 2}]


@pytest.mark.parametrize("path", ["rows.txt", "rows", "parquet", "dir.csv/rows"])
def test_an_ending_that_says_no_format_fails_before_the_query(server: Any, path: str) -> None:
    before = server.calls.count("SQLQuery")
    with pytest.raises(AirflowFailException, match=r"must end in \.parquet, \.csv, \.jsonl"):
        write(path, "SELECT 1 AS n")
    assert server.calls.count("SQLQuery") == before


def test_the_guard_of_xcom_names_both_ways_out(tmp_path: Path) -> None:
    sql = "SELECT generate_series(1, 6) AS n"
    with pytest.raises(AirflowFailException, match=r"max_xcom_rows=5 rows.* output_path"):
        BTrDBQueryOperator(task_id="t", sql=sql, max_xcom_rows=5).execute({})
    assert write(tmp_path / "rows.csv", sql, max_xcom_rows=5)["rows"] == 6
