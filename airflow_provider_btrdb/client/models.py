"""What the client takes and gives, as values: points in columns, stream specifications, results."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from airflow_provider_btrdb.client.errors import BTrDBError, InputError, MissingExtraError
from airflow_provider_btrdb.client.identity import parse_uuid
from airflow_provider_btrdb.client.times import to_ns
from airflow_provider_btrdb.protocol import TAG_KEYS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class MergePolicy(IntEnum):
    """What the server does with a point whose time is already taken."""

    NEVER = 0
    """Keep both."""
    EQUAL = 1
    """Drop the new one if time and value are equal."""
    RETAIN = 2
    """Keep the old one."""
    REPLACE = 3
    """Keep the new one."""

    @classmethod
    def parse(cls, value: MergePolicy | str) -> MergePolicy:
        """`"replace"` or MergePolicy.REPLACE -> MergePolicy.REPLACE. Raises InputError."""
        if isinstance(value, MergePolicy):
            return value
        try:
            return cls[value.upper()]
        except (KeyError, AttributeError):
            known = ", ".join(policy.name.lower() for policy in cls)
            raise InputError(f"merge policy {value!r} is unknown; known are {known}") from None


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points in columns of equal length: `times` int64 nanoseconds, `values` float64. Iterating gives (time, value)."""

    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        kinds = [getattr(getattr(column, "dtype", None), "str", None) for column in (self.times, self.values)]
        if kinds != ["<i8", "<f8"] or self.times.ndim != 1 or self.times.shape != self.values.shape:
            raise InputError(
                "times and values are two numpy columns of one length, int64 and float64: see from_columns"
            )

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return iter(zip(self.times.tolist(), self.values.tolist(), strict=True))

    def __eq__(self, other: object) -> bool:
        """Equal times and bit-equal values: 0.0 and -0.0 differ, NaN equals itself."""
        if not isinstance(other, Points):
            return NotImplemented
        return self.times.tobytes() == other.times.tobytes() and self.values.tobytes() == other.values.tobytes()

    __hash__ = None  # type: ignore[assignment]  # columns can be large and are compared, never looked up

    @classmethod
    def of(cls, points: Points | Iterable[tuple[Any, float]]) -> Points:
        """Points from pairs of a time (int ns, aware datetime, RFC 3339 text...) and a number. Raises InputError."""
        if isinstance(points, Points):
            return points
        try:
            pairs = [(time, value) for time, value in points]
        except (TypeError, ValueError):
            raise InputError("points are Points or pairs of a time and a value") from None
        return cls.from_columns([to_ns(time) for time, _ in pairs], [value for _, value in pairs])

    @classmethod
    def from_columns(cls, times: Any, values: Any) -> Points:
        """Points from two columns of equal length. Raises InputError.

        Times are integers (nanoseconds) or timestamps of any unit, which are converted exactly; values are numbers.
        """
        import numpy as np

        try:
            time_column = _time_column(np, times)
            value_column = np.ascontiguousarray(values, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"these are not columns of int64 nanoseconds and float64 values: {error}") from None
        if time_column.ndim != 1 or time_column.shape != value_column.shape:
            raise InputError(f"times and values differ in shape: {time_column.shape} and {value_column.shape}")
        return cls(time_column, value_column)

    def to_arrow(self) -> Any:
        """A pyarrow.Table with `time` (timestamp[ns, UTC]) and `value` (float64). Needs the extra `arrow`."""
        pa = needed("pyarrow", "arrow")
        return pa.table(
            {"time": pa.array(self.times, pa.timestamp("ns", tz="UTC")), "value": pa.array(self.values, pa.float64())}
        )

    def to_pandas(self) -> Any:
        """A pandas.Series of values over a UTC DatetimeIndex named `time`. Needs the extra `pandas`."""
        pd = needed("pandas", "pandas")
        return pd.Series(self.values, index=_pandas_index(pd, self.times), name="value")

    def to_polars(self) -> Any:
        """A polars.DataFrame with `time` (Datetime ns, UTC) and `value`. Needs the extra `polars`."""
        return _polars_frame(self.times, {"value": self.values})


class Point(NamedTuple):
    """One point."""

    time: int
    """int nanoseconds since the epoch"""
    value: float


@dataclass(frozen=True, slots=True)
class Window:
    """What the points of [time, time + width) amount to; `stddev` is the population's (ddof 0)."""

    time: int
    min: float
    mean: float
    max: float
    count: int
    stddev: float


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows in columns of equal length, by time, without empty ones. Iterating gives `Window`."""

    times: npt.NDArray[np.int64]
    """The beginning of each window, int64 nanoseconds."""
    min: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    max: npt.NDArray[np.float64]
    count: npt.NDArray[np.uint64]
    stddev: npt.NDArray[np.float64]
    """The population's standard deviation (ddof 0)."""

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Window]:
        columns = (self.times, self.min, self.mean, self.max, self.count, self.stddev)
        return map(Window, *(column.tolist() for column in columns))

    def _columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("min", "mean", "max", "count", "stddev")}

    def to_arrow(self) -> Any:
        """A pyarrow.Table with `time` (timestamp[ns, UTC]), min, mean, max, count, stddev. Needs the extra `arrow`."""
        pa = needed("pyarrow", "arrow")
        return pa.table({"time": pa.array(self.times, pa.timestamp("ns", tz="UTC")), **self._columns()})

    def to_pandas(self) -> Any:
        """A pandas.DataFrame over a UTC DatetimeIndex named `time`. Needs the extra `pandas`."""
        pd = needed("pandas", "pandas")
        return pd.DataFrame(self._columns(), index=_pandas_index(pd, self.times))

    def to_polars(self) -> Any:
        """A polars.DataFrame with `time` (Datetime ns, UTC) first. Needs the extra `polars`."""
        return _polars_frame(self.times, self._columns())


def _time_column(np: Any, times: Any) -> Any:
    """int64 nanoseconds. The unit of a timestamp column counts: its bare numbers may be microseconds."""
    if not len(times):
        return np.empty(np.shape(times), np.int64)
    column = np.asarray(times)
    if column.dtype.kind in "OM":
        if column.ndim != 1:
            raise InputError(f"times have the shape {column.shape} and must be one column")
        if column.dtype.kind == "O":
            column = np.array([to_ns(time) for time in times], np.int64)
        else:
            in_ns = column.astype("datetime64[ns]")
            if np.isnat(in_ns).any() or (in_ns.astype(column.dtype) != column).any():
                raise InputError("times hold no time (NaT) or one that int64 nanoseconds cannot hold")
            column = in_ns.view(np.int64)
    if column.dtype.kind not in "iu" or (column.dtype.kind == "u" and (column > np.int64(2**63 - 1)).any()):
        raise InputError(f"times are {column.dtype} and must be int64 nanoseconds or timestamps")
    return np.ascontiguousarray(column, dtype=np.int64)


_SPEC_FIELDS = ("collection", *TAG_KEYS, "annotations", "uuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """A stream as somebody wants it. Without `uuid` the stream is known by its collection and name."""

    collection: str
    name: str
    unit: str = ""
    ingress: str = ""
    distiller: str = ""
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    uuid: UUID | None = None

    @property
    def path(self) -> str:
        """`collection/name`, for people."""
        return f"{self.collection}/{self.name}"

    @property
    def tags(self) -> dict[str, str]:
        """All four tags."""
        return {key: getattr(self, key) for key in TAG_KEYS}

    @classmethod
    def of(cls, row: StreamSpec | Mapping[str, Any], where: str = "stream") -> StreamSpec:
        """A specification from a row of a manifest; `where` names the row in errors. Raises InputError.

        Columns are collection and name (both needed), unit, ingress, distiller, annotations (a mapping of text to
        text or None) and uuid.
        """
        if isinstance(row, StreamSpec):
            cls.of({name: getattr(row, name) for name in _SPEC_FIELDS}, where)
            return row
        if not isinstance(row, Mapping):
            raise InputError(f"{where} is a {type(row).__name__}, not a row of columns")
        for column in row:
            if column not in _SPEC_FIELDS:
                raise InputError(
                    f"{where}: unknown column {column!r}{_near(str(column))}; known are {_listed(_SPEC_FIELDS)}"
                )
        for column in ("collection", "name"):
            if not row.get(column):
                raise InputError(f"{where}: {column} is missing")
        for column in ("collection", *TAG_KEYS):
            if not isinstance(row.get(column, ""), str):
                raise InputError(f"{where}: {column} is {row[column]!r} and must be text")
        annotations = checked_annotations(row.get("annotations") or {}, where)
        uuid = row.get("uuid")
        return cls(
            collection=row["collection"],
            annotations=annotations,
            uuid=None if uuid in (None, "") else parse_uuid(uuid, f"{where}: uuid"),
            **{key: row[key] for key in TAG_KEYS if key in row},
        )


def checked_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """The same mapping, or an InputError naming the tag whose value is not text."""
    if not isinstance(tags, Mapping):
        raise InputError(f"tags are a {type(tags).__name__}, not a mapping of text to text")
    for key, value in tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"tag {key!r} is {value!r} and must be text")
    return dict(tags)


def checked_annotations(annotations: Mapping[str, Any], where: str = "annotations") -> dict[str, str | None]:
    """The same mapping, or an InputError naming the key whose value is neither text nor None."""
    if not isinstance(annotations, Mapping):
        raise InputError(f"{where}: annotations are a {type(annotations).__name__}, not a mapping of text to text")
    for key, value in annotations.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: annotation key {key!r} must be text")
        if value is not None and not isinstance(value, str):
            raise InputError(f"{where}: annotation {key!r} is {value!r}; annotations are text, so write {str(value)!r}")
    return dict(annotations)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateResult:
    """What became of one specification of a bulk create."""

    spec: StreamSpec
    outcome: Literal["created", "existed", "failed"]
    uuid: UUID
    """The uuid of the stream that now stands for the specification; of a failed one the uuid that was tried."""
    error: BTrDBError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """What became of one item of a bulk update or insert."""

    uuid: UUID
    outcome: Literal["ok", "unchanged", "failed"]
    """"unchanged": the stream was already as an update with `settle` wants it."""
    version: int = 0
    """The new property version of an update, the new version of the data of an insert; 0 if it failed."""
    error: BTrDBError | None = None


Progress = Callable[[int, int], None]
"""Told how many items of how many are finished."""


def _near(word: str) -> str:
    close = difflib.get_close_matches(word, _SPEC_FIELDS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _pandas_index(pd: Any, times: Any) -> Any:
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC", name="time")


def _polars_frame(times: Any, columns: Mapping[str, Any]) -> Any:
    pl = needed("polars", "polars")
    return pl.DataFrame({"time": times, **columns}).with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC")))


def needed(module: str, extra: str) -> Any:
    """An optional module, or MissingExtraError naming the pip command."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(f"{module} is not installed: pip install 'airflow-provider-btrdb[{extra}]'") from None
