"""Rows of a query -> parquet, csv or jsonl, written batch by batch to an open binary file. Knows no paths."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import IO, Any, Protocol

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import needed

FORMATS = ("parquet", "csv", "jsonl")
BATCH_ROWS = 10_000

Row = Mapping[str, Any]


def format_of(path: str) -> str:
    """The format that a path's ending says. Raises InputError."""
    _, dot, ending = path.rsplit("/", 1)[-1].lower().rpartition(".")
    if not dot or ending not in FORMATS:
        raise InputError(f"{path!r} must end in {', '.join(f'.{name}' for name in FORMATS)}, which says the format")
    return ending


def write_rows(rows: Iterable[Row], file: IO[bytes], kind: str) -> int:
    """Write all rows; returns how many. Raises InputError naming a column that fits no type.

    jsonl: one object a line. csv (RFC 4180, UTF-8): the first row names the columns; None is an empty cell. parquet:
    the first `BATCH_ROWS` rows decide each column's type, one that holds nothing there is text. Mappings and lists, as
    annotations are, become JSON text in csv and parquet. Without rows the file has no columns. Needs the extra `arrow`
    for parquet.
    """
    writers: dict[str, type[_Writer]] = {"parquet": _Parquet, "csv": _Csv, "jsonl": _Jsonl}
    writer = writers[kind](file)
    source, written = iter(rows), 0
    try:
        while batch := list(islice(source, BATCH_ROWS)):
            writer.write(batch)
            written += len(batch)
    finally:
        writer.close()
    return written


class _Writer(Protocol):
    def __init__(self, file: IO[bytes]) -> None: ...

    def write(self, batch: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class _Jsonl:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, batch: Sequence[Row]) -> None:
        self._file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in batch).encode())

    def close(self) -> None:
        """Every batch is whole already."""


class _Csv:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._columns: list[str] | None = None

    def write(self, batch: Sequence[Row]) -> None:
        text = io.StringIO()
        writer = csv.writer(text)
        if self._columns is None:
            self._columns = list(batch[0])
            writer.writerow(self._columns)
        writer.writerows([_flat(row[name]) for name in self._columns] for row in batch)
        self._file.write(text.getvalue().encode())

    def close(self) -> None:
        """Every batch is whole already."""


class _Parquet:
    def __init__(self, file: IO[bytes]) -> None:
        self._pa = needed("pyarrow", "arrow")
        self._file = file
        self._writer: Any = None

    def write(self, batch: Sequence[Row]) -> None:
        first = self._writer is None
        fields: Mapping[str, Any] = (
            dict.fromkeys(batch[0]) if first else {field.name: field.type for field in self._writer.schema}
        )
        columns = {name: self._column(name, [_flat(row[name]) for row in batch], kind) for name, kind in fields.items()}
        table = self._pa.table(columns)
        if first:
            self._open(table.schema)
        self._writer.write_table(table)

    def _column(self, name: str, values: Sequence[Any], kind: Any) -> Any:
        text = self._pa.string()
        if kind == text or all(value is None for value in values):
            kind = kind or text
            values = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        try:
            array = self._pa.array(values)
            # Not array(values, kind), which cuts 1.5 down to fit int64.
            return array if kind is None else array.cast(kind)
        except (self._pa.ArrowInvalid, self._pa.ArrowTypeError) as error:
            wanted = "one type" if kind is None else f"the {kind} of the first {BATCH_ROWS} rows"
            raise InputError(f"column {name!r} does not fit {wanted}; cast it in SQL: {error}") from None

    def _open(self, schema: Any) -> None:
        from pyarrow import parquet

        self._writer = parquet.ParquetWriter(self._file, schema)

    def close(self) -> None:
        if self._writer is None:
            self._open(self._pa.schema([]))
        self._writer.close()


def _flat(value: Any) -> Any:
    """A cell: mappings and lists as JSON text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping | list) else value
