"""Operators that write and remove points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypedDict

from airflow_provider_btrdb._airflow import AirflowFailException, BaseOperator, Context, airflow_errors, failure
from airflow_provider_btrdb.hooks.facets import TellsLineage, Touched, of_file
from airflow_provider_btrdb.hooks.task import set_label
from airflow_provider_btrdb.operators.arguments import interval, names
from airflow_provider_btrdb.operators.emitting import aliases, emit

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
    outside: int
    """Points of the files that are not in the interval, and were left out."""


class Sent(NamedTuple):
    """What was done to one stream."""

    points: int = 0
    version: int | None = None
    """Of its data afterwards; None if it was left alone."""


class BTrDBInsertOperator(TellsLineage, BaseOperator):
    """Load columns of delimited text files into streams, without taking points through XCom.

    All files are read and checked before anything is sent. A stream that already holds all its points of a file is
    left alone, so a repeated task changes nothing, not even the version of the data.

    With `start` and `end` only points with start <= time < end are written. An interval that is missing or empty fails
    the task for good: in Airflow 3 a DAG scheduled by a bare cron text has start == end; use CronDataIntervalTimetable.

    `write_mode` says what happens to points that are there:

    - "replace_range" removes what the streams hold in the interval, inserts the points of all files, and counts what is
      there then. Runs of intervals that do not overlap may come in any order, side by side and again. Whoever reads the
      interval meanwhile may see it empty.
    - "replace" keeps the new one of two points at one time, "retain" the old one, "equal" both unless they are equal.
    - "never" keeps every point, so a second try would store points twice: the task fails when it has retries, and for
      good after a lost reply.

    :param files: paths that the worker can read, or one path. (templated)
    :param columns: column name -> stream, as a uuid or `collection/name`; the stream must exist. (templated)
    :param time_columns: the column with the time, or several whose texts are joined by a space. (templated)
    :param time_format: a `strptime` format, `rfc3339`, or `ns`; 24:00 is 00:00 of the next day.
    :param utc_offset_hours: the file's clock minus UTC, for formats that say no offset. (templated)
    :param missing: texts that stand for no value; these become no points.
    :param skip_lines: lines before the one with the column names.
    :param delimiter: what separates columns.
    :param write_mode: "replace", "replace_range" (needs start and end), "retain", "equal" or "never".
    :param start: the first time to write, inclusive: RFC 3339 text such as `{{ data_interval_start }}`, an aware
        datetime, or int nanoseconds. (templated)
    :param end: the end of the times to write, exclusive. (templated)
    :param emit_asset: make an asset event for each of the streams (of more than 100, for each of their collections),
        through the AssetAlias among the task's outlets; also when all points were stored already, since an earlier try
        may have stored them and ended before its events were made.
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`InsertResult`
    """

    template_fields: Sequence[str] = (
        "files",
        "columns",
        "time_columns",
        "utc_offset_hours",
        "start",
        "end",
        "btrdb_conn_id",
    )
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
        write_mode: str = "replace",
        start: Any = None,
        end: Any = None,
        emit_asset: bool = False,
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
        self.write_mode = write_mode
        self.start = start
        self.end = end
        self.emit_asset = emit_asset
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> InsertResult:
        """Read the files, then write what is not there yet."""
        from airflow_provider_btrdb.ingest.tables import read_table

        with airflow_errors():
            paths, columns, policy, within = self._paths(), self._columns(), self._policy(), self._interval()
            how = self._format()
            if self.emit_asset:
                aliases(self.outlets)
            tables = [read_table(path, columns, how) for path in paths]
            set_label(context, columns.values())
            streams = dict(zip(columns, self.hook.streams(*columns.values()), strict=True))
            self._check_distinct(streams)
            result: InsertResult = {
                "files": len(paths),
                "streams": len(streams),
                "points": 0,
                "inserted": 0,
                "missing": sum(table.missing_cells for table in tables),
                "outside": 0,
            }
            touched: list[Touched] = []
            try:
                for column, stream in streams.items():
                    loads = [table.columns[column] for table in tables]
                    if within is not None:
                        inside = [points_within(points, *within) for points in loads]
                        result["outside"] += sum(map(len, loads)) - sum(map(len, inside))
                        loads = inside
                    result["points"] += sum(map(len, loads))
                    sent = self._send(stream, loads, policy, within)
                    touched.append(Touched.of(stream, version=sent.version, rows=sent.points))
                    result["inserted"] += sent.points
                    self.log.info("%s: %d of %d points so far sent", column, result["inserted"], result["points"])
            finally:
                self.tell_changed((None, touched), inputs=[of_file(path) for path in paths])
            if self.emit_asset:
                emit(context, self.outlets, self.hook.get_client(), streams.values(), result)
        return result

    def _send(
        self, stream: Stream, loads: Sequence[Points], policy: MergePolicy | None, within: tuple[int, int] | None
    ) -> Sent:
        """Write the points of all files to one stream."""
        from airflow_provider_btrdb.client.columns import joined_points

        if policy is None:
            return self._replace_range(stream, joined_points(loads), *within) if within is not None else Sent()
        sent = [self._write(stream, points, policy) for points in loads]
        return Sent(sum(one.points for one in sent), max((one.version or 0 for one in sent), default=0) or None)

    def _replace_range(self, stream: Stream, points: Points, start_ns: int, end_ns: int) -> Sent:
        """Make the points the only ones of the interval."""
        from airflow_provider_btrdb.client import MergePolicy
        from airflow_provider_btrdb.ingest.stored import all_stored, to_store

        wanted = to_store(points, MergePolicy.REPLACE)
        if stream.count(start_ns, end_ns) == len(wanted) and all_stored(wanted, stream.values_iter(start_ns, end_ns)):
            return Sent()
        version = stream.delete(start_ns, end_ns)
        if len(wanted):
            version = stream.insert(wanted, MergePolicy.REPLACE)
        held = stream.count(start_ns, end_ns)
        if held != len(wanted):
            raise failure(
                f"stream {stream.uuid} holds {held} points in the interval after {len(wanted)} were put there: "
                "somebody else writes to it; another try replaces the interval again",
                retryable=True,
            )
        return Sent(len(wanted), version)

    def _write(self, stream: Stream, points: Points, policy: MergePolicy) -> Sent:
        """Insert the points unless the stream holds them all."""
        from airflow_provider_btrdb.ingest.stored import all_stored, to_store

        wanted = to_store(points, policy)
        if len(wanted) == 0:
            return Sent()
        first, last = int(wanted.times[0]), int(wanted.times[-1])
        if all_stored(wanted, stream.values_iter(first, last + 1)):
            return Sent()
        return Sent(len(points), stream.insert(points, policy))

    def _policy(self) -> MergePolicy | None:
        """The merge policy of the write mode; None for "replace_range"."""
        from airflow_provider_btrdb.client import MergePolicy

        if self.write_mode == "replace_range":
            if self.start is None or self.end is None:
                raise AirflowFailException('write_mode="replace_range" needs start and end: which interval?')
            return None
        if self.write_mode not in ("replace", "retain", "equal", "never"):
            raise AirflowFailException(
                f"write_mode is {self.write_mode!r}; it is replace, replace_range, retain, equal or never"
            )
        if self.write_mode == "never" and self.retries:
            raise AirflowFailException(
                f'write_mode="never" with retries={self.retries}: a second try would store points twice; set retries=0'
            )
        return MergePolicy.parse(self.write_mode)

    def _interval(self) -> tuple[int, int] | None:
        return None if self.start is None and self.end is None else interval(self.start, self.end)

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


class DeleteRangeResult(TypedDict):
    """What `DeleteRangeOperator` leaves in XCom."""

    streams: int
    deleted: int
    """Points that were in the interval."""
    start_ns: int
    end_ns: int


class DeleteRangeOperator(TellsLineage, BaseOperator):
    """Remove the points with start <= time < end from streams.

    All streams must exist before any point is removed. A stream without points in the interval is left alone, so a
    repeated task changes nothing. An interval that is missing or empty fails the task for good: in Airflow 3 a DAG
    scheduled by a bare cron text has start == end; use CronDataIntervalTimetable.

    :param streams: a uuid or `collection/name`, or a list of them. (templated)
    :param start: the first time to remove, inclusive: RFC 3339 text such as `{{ data_interval_start }}`, an aware
        datetime, or int nanoseconds. (templated)
    :param end: the end of the times to remove, exclusive. (templated)
    :param emit_asset: make an asset event for each of the streams (of more than 100, for each of their collections),
        through the AssetAlias among the task's outlets.
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`DeleteRangeResult`
    """

    template_fields: Sequence[str] = ("streams", "start", "end", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"streams": "json"}
    ui_color = "#f4d9d6"

    def __init__(
        self,
        *,
        streams: str | Sequence[str],
        start: Any,
        end: Any,
        emit_asset: bool = False,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.streams = streams
        self.start = start
        self.end = end
        self.emit_asset = emit_asset
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> DeleteRangeResult:
        """Find the streams, count what is in the interval, remove it."""
        start_ns, end_ns = interval(self.start, self.end)
        wanted = list(dict.fromkeys(names(self.streams)))
        set_label(context, wanted)
        if self.emit_asset:
            aliases(self.outlets)
        deleted = 0
        touched: list[Touched] = []
        with airflow_errors():
            streams = self.hook.streams(*wanted)
            try:
                for stream in streams:
                    held = stream.count(start_ns, end_ns)
                    if held:
                        touched.append(Touched.of(stream, version=stream.delete(start_ns, end_ns)))
                        deleted += held
                        self.log.info("%s: %d points removed", stream.uuid, held)
            finally:
                self.tell_changed((None, touched))
        result: DeleteRangeResult = {
            "streams": len(wanted), "deleted": deleted, "start_ns": start_ns, "end_ns": end_ns,
        }  # fmt: skip
        if self.emit_asset:
            emit(context, self.outlets, self.hook.get_client(), streams, result)
        return result


def points_within(points: Points, start_ns: int, end_ns: int) -> Points:
    """Those with start <= time < end, in the same order."""
    from airflow_provider_btrdb.client import Points

    chosen = (points.times >= start_ns) & (points.times < end_ns)
    return Points(points.times[chosen], points.values[chosen])


def _hours(value: Any) -> float:
    from airflow_provider_btrdb.client.errors import InputError

    try:
        hours = float(value)
    except (TypeError, ValueError):
        hours = math.nan
    if not abs(hours) < 24:
        raise InputError(f"utc_offset_hours is {value!r} and must be a number of hours between -24 and 24")
    return hours
