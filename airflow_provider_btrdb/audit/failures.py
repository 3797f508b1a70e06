"""The failures of a run as a file: JSON lines, or Parquet for tools that read tables. Knows no paths.

Both hold the same. In Parquet every column is text: those of a `Failure` behind `check`, its `uuids` as a JSON list,
and `uuid` null where there is none. Parquet needs the extra `arrow`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple

from airflow_provider_btrdb.audit.results import Failure
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import needed

COLUMNS = ("check", *Failure.model_fields)
DEFAULTS = {name: field.default for name, field in Failure.model_fields.items() if not field.is_required()}
GROUP_BYTES = 1 << 20
"""Lines that make a row group of Parquet, which is in memory while it is written, or read."""

Row = dict[str, Any]
"""The name of the check at `check`, and what a `Failure` is made of; a line may leave out what is default."""


class Format(NamedTuple):
    """How failures are kept."""

    file: str
    write: Callable[[Iterable[bytes], IO[bytes]], None]
    """From the lines of a `Spool`."""
    read: Callable[[IO[bytes]], Iterator[Row]]


def format_named(name: str) -> Format:
    """`jsonl` or `parquet`. Raises InputError for another word, and MissingExtraError where Parquet has no library."""
    if name not in FORMATS:
        raise InputError(f"failures are kept as {' or '.join(FORMATS)}, not as {name!r}")
    if name == "parquet":
        needed("pyarrow", "arrow")
    return FORMATS[name]


def lines_of(file: IO[bytes]) -> Iterator[bytes]:
    """All lines; files of Airflow 2 cannot be iterated."""
    return iter(file.readline, b"")


def _write_lines(lines: Iterable[bytes], file: IO[bytes]) -> None:
    for line in lines:
        file.write(line)


def _read_lines(file: IO[bytes]) -> Iterator[Row]:
    return map(json.loads, lines_of(file))


def _write_parquet(lines: Iterable[bytes], file: IO[bytes]) -> None:
    pa = needed("pyarrow", "arrow")
    from pyarrow import parquet

    schema = pa.schema([pa.field(name, pa.string(), nullable=name == "uuid") for name in COLUMNS])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(lines):
            writer.write_batch(pa.RecordBatch.from_pylist([_cells(line) for line in group], schema))


def _groups(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    group, size = [], 0
    for line in lines:
        group.append(line)
        size += len(line)
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _cells(line: bytes) -> Row:
    row = {**DEFAULTS, **json.loads(line)}
    return {**row, "uuids": json.dumps(row["uuids"])}


def _read_parquet(file: IO[bytes]) -> Iterator[Row]:
    needed("pyarrow", "arrow")
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:
        for number in range(table.num_row_groups):  # `iter_batches` holds more the longer a file is
            for row in table.read_row_group(number).to_pylist():
                yield {**row, "uuids": json.loads(row["uuids"])}


FORMATS = {
    "jsonl": Format("failures.jsonl", _write_lines, _read_lines),
    "parquet": Format("failures.parquet", _write_parquet, _read_parquet),
}
