"""Operators that write points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import BaseOperator, Context, airflow_errors
from airflow_provider_btrdb.hooks.task import HasBTrDBHook

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import Points, Stream
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

    All files are read and checked before anything is sent. A stream that already holds exactly these points is left
    alone, so a repeated task changes nothing, not even the version of the data.

    :param files: paths that the worker can read, or one path. (templated)
    :param columns: column name -> stream, as a uuid or `collection/name`; the stream must exist. (templated)
    :param time_columns: the column with the time, or several whose texts are joined by a space. (templated)
    :param time_format: a `strptime` format, `rfc3339`, or `ns`; 24:00 is 00:00 of the next day.
    :param utc_offset_hours: the file's clock minus UTC, for formats that say no offset. (templated)
    :param missing: texts that stand for no value; these become no points.
    :param skip_lines: lines before the one with the column names.
    :param delimiter: what separates columns.
    :param merge: what happens at times already taken: "replace", "retain", "equal" or "never" (keep both; a task
        that is repeated then stores points twice, and a lost reply fails it).
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
        from airflow_provider_btrdb.ingest.tables import read_table

        paths = [self.files] if isinstance(self.files, str) else list(self.files)
        with airflow_errors():
            tables = [read_table(path, self.columns, self._format()) for path in paths]
            streams = dict(zip(self.columns, self.hook.streams(*self.columns.values()), strict=True))
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
                    result["inserted"] += self._write(streams[column], points)
                self.log.info("%s: %d of %d points so far sent", path, result["inserted"], result["points"])
        return result

    def _write(self, stream: Stream, points: Points) -> int:
        """Insert the points unless the stream holds exactly them in their range; how many were sent."""
        if len(points) == 0 or _holds(stream, points):
            return 0
        stream.insert(points, self.merge)
        return len(points)

    def _format(self) -> TableFormat:
        from airflow_provider_btrdb.ingest.tables import TableFormat

        return TableFormat(
            time_columns=[self.time_columns] if isinstance(self.time_columns, str) else list(self.time_columns),
            time_format=self.time_format,
            utc_offset_hours=float(self.utc_offset_hours),
            missing=self.missing,
            skip_lines=self.skip_lines,
            delimiter=self.delimiter,
        )


def _holds(stream: Stream, points: Points) -> bool:
    """Are these points, and no others between the first and the last of them, in the stream?"""
    from airflow_provider_btrdb.client import Points

    order = points.times.argsort(kind="stable")
    ordered = Points(points.times[order], points.values[order])
    stored = stream.values(int(ordered.times[0]), int(ordered.times[-1]) + 1)
    return stored == ordered
