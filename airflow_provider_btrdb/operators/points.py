"""Operators that write points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import BaseOperator, Context, airflow_errors
from airflow_provider_btrdb.hooks.task import HasBTrDBHook

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import MergePolicy, Points, Stream
    from airflow_provider_btrdb.ingest.tables import TableFormat


class InsertResult(TypedDict):
    """What `BTrDBInsertOperator` leaves in XCom."""

    files: int
    streams: int
    points: int
    """Points in the files."""
    inserted: int
    """Points sent; the others were stored already, with the same values."""
    missing: int
    """Cells without a value."""


class BTrDBInsertOperator(HasBTrDBHook, BaseOperator):
    """Load columns of delimited text files into streams, without taking points through XCom.

    All files are read and checked before anything is sent. A stream that already holds all its points of a file is
    left alone, so a repeated task changes nothing, not even the version of the data.

    :param files: paths that the worker can read, or one path. (templated)
    :param columns: column name -> stream, as a uuid or `collection/name`; the stream must exist. (templated)
    :param time_columns: the column with the time, or several whose texts are joined by a space. (templated)
    :param time_format: a `strptime` format, `rfc3339`, or `ns`; 24:00 is 00:00 of the next day.
    :param utc_offset_hours: the file's clock minus UTC, for formats that say no offset. (templated)
    :param missing: texts that stand for no value; these become no points.
    :param skip_lines: lines before the one with the column names.
    :param delimiter: what separates columns.
    :param merge: what happens at times already taken: "replace", "retain", "equal" or "never" (keep both; after a lost
        reply the task fails for good, since the points may be stored).
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`InsertResult`
    """

    template_fields: Sequence[str] = ("files", "columns", "time_columns", "utc_offset_hours", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "files": "json",
        "columns": "json",
    }
    ui_color = "#e9dff0"

    def __init__(
        self,
        *,
        files: str | Sequence[str],
        columns: Mapping[str, str],
        time_columns: str | Sequence[str],
        time_format: str = "rfc3339",
        utc_offset_hours: float | str = 0.0,
        missing: Sequence[str] = ("",),
        skip_lines: int = 0,
        delimiter: str = ",",
        merge: str = "replace",
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.files = files
        self.columns = columns
        self.time_columns = time_columns
        self.time_format = time_format
        self.utc_offset_hours = utc_offset_hours
        self.missing = missing
        self.skip_lines = skip_lines
        self.delimiter = delimiter
        self.merge = merge
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> InsertResult:
        """Read the files, then write what is not there yet."""
        from airflow_provider_btrdb.client import MergePolicy
        from airflow_provider_btrdb.ingest.tables import read_table

        with airflow_errors():
            paths, columns, policy = self._paths(), self._columns(), MergePolicy.parse(self.merge)
            how = self._format()
            tables = [read_table(path, columns, how) for path in paths]
            streams = dict(zip(columns, self.hook.streams(*columns.values()), strict=True))
            self._check_distinct(streams)
            result: InsertResult = {
                "files": len(paths),
                "streams": len(streams),
                "points": 0,
                "inserted": 0,
                "missing": sum(table.missing_cells for table in tables),
            }
            for path, table in zip(paths, tables, strict=True):
                for column, points in table.columns.items():
                    result["points"] += len(points)
                    result["inserted"] += self._write(streams[column], points, policy)
                self.log.info("%s: %d of %d points so far sent", path, result["inserted"], result["points"])
        return result

    def _write(self, stream: Stream, points: Points, policy: MergePolicy) -> int:
        """Insert the points unless the stream holds them all; how many were sent."""
        from airflow_provider_btrdb.ingest.stored import all_stored, to_store

        wanted = to_store(points, policy)
        if len(wanted) == 0:
            return 0
        first, last = int(wanted.times[0]), int(wanted.times[-1])
        if all_stored(wanted, stream.values_iter(first, last + 1)):
            return 0
        stream.insert(points, policy)
        return len(points)

    def _paths(self) -> list[str]:
        from airflow_provider_btrdb.client.errors import InputError

        paths = [self.files] if isinstance(self.files, str) else list(self.files)
        if not paths:
            raise InputError("files is empty: name at least one")
        return paths

    def _columns(self) -> Mapping[str, str]:
        from airflow_provider_btrdb.client.errors import InputError

        columns: Any = self.columns  # a template may have made anything of it
        if not isinstance(columns, Mapping) or not columns:
            raise InputError(f"columns is {columns!r} and must map column names to streams")
        return columns

    def _check_distinct(self, streams: Mapping[str, Stream]) -> None:
        from airflow_provider_btrdb.client.errors import InputError

        column_of: dict[Stream, str] = {}
        for column, stream in streams.items():
            other = column_of.setdefault(stream, column)
            if other != column:
                raise InputError(f"columns {other!r} and {column!r} both go to stream {stream.uuid}")

    def _format(self) -> TableFormat:
        from airflow_provider_btrdb.ingest.tables import TableFormat

        return TableFormat(
            time_columns=[self.time_columns] if isinstance(self.time_columns, str) else list(self.time_columns),
            time_format=self.time_format,
            utc_offset_hours=_hours(self.utc_offset_hours),
            missing=self.missing,
            skip_lines=self.skip_lines,
            delimiter=self.delimiter,
        )


def _hours(value: Any) -> float:
    from airflow_provider_btrdb.client.errors import InputError

    try:
        hours = float(value)
    except (TypeError, ValueError):
        hours = math.nan
    if not abs(hours) < 24:
        raise InputError(f"utc_offset_hours is {value!r} and must be a number of hours between -24 and 24")
    return hours
