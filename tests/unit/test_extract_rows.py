"""Rows -> files: types of parquet columns, and what does not fit."""

from __future__ import annotations

import io
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.extract import rows as module
from airflow_provider_btrdb.extract.rows import format_of, write_rows


def parquet(rows: list[dict[str, Any]]) -> Any:
    file = io.BytesIO()
    assert write_rows(rows, file, "parquet") == len(rows)
    return pq.read_table(io.BytesIO(file.getvalue()))


def test_the_first_batch_decides_the_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 2)
    table = parquet([
        {"whole": 1, "number": 1.5, "flag": True, "late": None, "nested": {"a": None}},
        {"whole": None, "number": 2, "flag": False, "late": None, "nested": None},
        {"whole": 2**40, "number": 3, "flag": None, "late": 7, "nested": ["ä"]},
    ])  # fmt: skip
    assert {name: str(table.schema.field(name).type) for name in table.column_names} == {
        "whole": "int64", "number": "double", "flag": "bool", "late": "string", "nested": "string",
    }  # fmt: skip
    assert table.column("whole").to_pylist() == [1, None, 2**40]
    assert table.column("late").to_pylist() == [None, None, "7"]
    assert table.column("nested").to_pylist() == ['{"a": null}', None, '["ä"]']


def test_a_column_that_changes_its_type_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="column 'n' does not fit one type"):
        parquet([{"n": 1}, {"n": "text"}])
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    with pytest.raises(InputError, match="column 'n' does not fit the int64 of the first 1 rows; cast it in SQL"):
        parquet([{"n": 1}, {"n": 1.5}])


def test_csv_has_one_header_and_empty_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_ROWS", 1)
    file = io.BytesIO()
    write_rows([{"a": None, "b": 'x,"y"'}, {"a": 1, "b": {"k": "ü"}}], file, "csv")
    assert file.getvalue().decode() == 'a,b\r\n,"x,""y"""\r\n1,"{""k"": ""ü""}"\r\n'


def test_the_ending_says_the_format() -> None:
    assert [format_of(path) for path in ("s3://b/k.csv", "/a/b.PARQUET", "x.y.jsonl")] == ["csv", "parquet", "jsonl"]
    with pytest.raises(InputError, match="must end in"):
        format_of("s3://bucket.csv/key")
