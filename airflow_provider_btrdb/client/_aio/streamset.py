"""Several streams read together, each at its own version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, overload
from uuid import UUID

from airflow_provider_btrdb.client import writes
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.bulk import AsyncBulk
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.identity import parse_uuid
from airflow_provider_btrdb.client.models import MergePolicy, Point, Points, Windows, WriteResult, needed
from airflow_provider_btrdb.client.times import TimeLike
from airflow_provider_btrdb.client.together import Pattern, all_match, matches, side_by_side, together


class Description(TypedDict):
    """One row of `StreamSet.describe`."""

    uuid: str
    collection: str
    name: str
    unit: str
    version: int
    count: int
    earliest: int | None
    """int nanoseconds; None in an empty range"""
    latest: int | None


class AsyncStreamSet(Sequence[AsyncStream]):
    """An immutable sequence of streams with a time range and, if pinned, versions, which every read uses.

    `filter` and `pin_versions` give a new set. Reads run side by side, bounded by the connection's `max_in_flight`.
    """

    def __init__(
        self,
        bulk: AsyncBulk,
        streams: Sequence[AsyncStream],
        versions: Sequence[int] | None = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
    ) -> None:
        if isinstance(versions, Mapping) or not all(isinstance(version, int) for version in versions or ()):
            raise InputError("versions are a list of int, in the order of the streams")
        if versions is not None and len(versions) != len(streams):
            raise InputError(f"{len(versions)} versions were given for {len(streams)} streams")
        self._bulk = bulk
        self._streams = tuple(streams)
        self._versions = None if versions is None else tuple(versions)
        self._start = start
        self._end = end

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._streams)} streams>"

    def __len__(self) -> int:
        return len(self._streams)

    @overload
    def __getitem__(self, index: int) -> AsyncStream: ...
    @overload
    def __getitem__(self, index: slice) -> AsyncStreamSet: ...
    def __getitem__(self, index: int | slice) -> AsyncStream | AsyncStreamSet:
        """A stream by position, or a smaller set by slice."""
        if isinstance(index, slice):
            return self._only(range(len(self))[index])
        return self._streams[index]

    def __contains__(self, item: object) -> bool:
        """By stream, uuid, or uuid text."""
        if isinstance(item, AsyncStream):
            return item in self._streams
        return any(str(stream.uuid) == str(item).lower() for stream in self._streams)

    # ------------------------------------------------------------ other sets

    def filter(
        self,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        *,
        collection: Pattern | None = None,
        name: Pattern | None = None,
        unit: Pattern | None = None,
        tags: Mapping[str, Pattern | None] | None = None,
        annotations: Mapping[str, Pattern | None] | None = None,
    ) -> AsyncStreamSet:
        """The streams that match all that is given, and the time range for reads; what is not given stays.

        Text must be equal; a compiled `re` pattern is searched for; None as the value of a key means that the key
        exists. Asks nobody.
        """
        found = [
            at
            for at, stream in enumerate(self._streams)
            if matches(stream.collection, collection)
            and matches(stream.name, name)
            and matches(stream.unit, unit)
            and all_match(stream.tags, tags or {})
            and all_match(stream.annotations, annotations or {})
        ]
        chosen = self._only(found)
        chosen._start = self._start if start is None else start
        chosen._end = self._end if end is None else end
        return chosen

    async def pin_versions(self, versions: Sequence[int] | None = None) -> AsyncStreamSet:
        """The same streams at these versions, in the order of the streams; None pins the newest ones."""
        if versions is None:
            versions = await self._newest()
        return AsyncStreamSet(self._bulk, self._streams, versions, self._start, self._end)

    async def versions(self) -> list[int]:
        """The pinned versions, or the newest ones of an unpinned set, in the order of the streams."""
        return await self._newest() if self._versions is None else list(self._versions)

    # ------------------------------------------------------------ reads, results in the order of the streams

    async def values(self) -> list[Points]:
        """The points of every stream within the range of the set."""
        start, end = self._start, self._end
        return await self._each(lambda stream, version: stream.values(start, end, version))

    async def windows(self, width: int) -> list[Windows]:
        """`Stream.windows` of every stream; the set needs a start and an end (see `filter`)."""
        start, end = self._range()
        return await self._each(lambda stream, version: stream.windows(start, end, width, version=version))

    async def aligned_windows(self, pointwidth: int) -> list[Windows]:
        """`Stream.aligned_windows` of every stream; the set needs a start and an end (see `filter`)."""
        start, end = self._range()
        return await self._each(lambda stream, version: stream.aligned_windows(start, end, pointwidth, version))

    async def count(self) -> int:  # type: ignore[override]  # BTrDB's word; Sequence's is about equal items
        """How many points the streams have together within the range of the set; exact."""
        return sum(await self.counts())

    async def counts(self) -> list[int]:
        """How many points every stream has within the range of the set; exact."""
        start, end = self._start, self._end
        return await self._each(lambda stream, version: stream.count(start, end, version))

    async def earliest(self) -> list[Point | None]:
        """The first point of every stream within the range of the set."""
        start, end = self._start, self._end
        return await self._each(lambda stream, version: stream.first(start, end, version))

    async def latest(self) -> list[Point | None]:
        """The last point of every stream within the range of the set."""
        start, end = self._start, self._end
        return await self._each(lambda stream, version: stream.last(start, end, version))

    async def describe(self) -> list[Description]:
        """A row for every stream: what it is and what it holds within the range of the set, at one version."""
        pinned = await self.pin_versions(self._versions)
        versions, counts = await pinned.versions(), await pinned.counts()
        firsts, lasts = await pinned.earliest(), await pinned.latest()
        return [
            {
                "uuid": str(stream.uuid),
                "collection": stream.collection,
                "name": stream.name,
                "unit": stream.unit,
                "version": versions[at],
                "count": counts[at],
                "earliest": None if (first := firsts[at]) is None else first.time,
                "latest": None if (last := lasts[at]) is None else last.time,
            }
            for at, stream in enumerate(self._streams)
        ]

    # ------------------------------------------------------------ tables of points

    async def to_arrow(self) -> Any:
        """A pyarrow.Table: `time`, then a column for each stream named `collection/name`, null where it has no point.

        A time that a stream has several times gives several rows. Streams of one name are told apart by uuid.
        """
        pa = needed("pyarrow", "arrow")
        times, columns, present = side_by_side(await self.values())
        table = {"time": pa.array(times, pa.timestamp("ns", tz="UTC"))}
        for label, column, mask in zip(self._labels(), columns, present, strict=True):
            table[label] = pa.array(column, pa.float64(), mask=~mask)
        return pa.table(table)

    async def to_pandas(self) -> Any:
        """A pandas.DataFrame over a UTC DatetimeIndex, columns as in `to_arrow`, NaN where a stream has no point."""
        pd = needed("pandas", "pandas")
        times, columns, _ = side_by_side(await self.values())
        index = pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC", name="time")
        return pd.DataFrame(dict(zip(self._labels(), columns, strict=True)), index=index)

    async def to_polars(self) -> Any:
        """A polars.DataFrame with `time` (Datetime ns, UTC), columns as in `to_arrow`, null without a point."""
        pl = needed("polars", "polars")
        times, columns, present = side_by_side(await self.values())
        series = [pl.Series("time", times).cast(pl.Datetime("ns", "UTC"))]
        for label, column, mask in zip(self._labels(), columns, present, strict=True):
            series.append(pl.select(pl.when(pl.Series(mask)).then(pl.Series(column)).alias(label)).to_series())
        return pl.DataFrame(series)

    # ------------------------------------------------------------ writes

    async def insert(
        self,
        points: Mapping[AsyncStream | UUID | str, Points | Iterable[tuple[Any, float]]],
        merge: MergePolicy | str = MergePolicy.NEVER,
    ) -> list[WriteResult]:
        """`Stream.insert` for streams of this set, side by side; a result for each item, in their order."""
        for key in points:
            uuid = key.uuid if isinstance(key, AsyncStream) else parse_uuid(key)
            if uuid not in self:
                raise InputError(f"stream {uuid} is not in this set")
        return await self._bulk.run(writes.insert_many(points.items(), merge, None, None))

    def _only(self, positions: Iterable[int]) -> AsyncStreamSet:
        chosen = list(positions)
        versions = None if self._versions is None else [self._versions[at] for at in chosen]
        return AsyncStreamSet(self._bulk, [self._streams[at] for at in chosen], versions, self._start, self._end)

    async def _newest(self) -> list[int]:
        pairs = [(stream.uuid, 0) for stream in self._streams]
        return await self._bulk.run(together(pairs, lambda stream, _: stream.version()))

    async def _each(self, read: Callable[[Any, int], Any]) -> list[Any]:
        versions = self._versions or (0,) * len(self._streams)
        pairs = [(stream.uuid, version) for stream, version in zip(self._streams, versions, strict=True)]
        return await self._bulk.run(together(pairs, read))

    def _range(self) -> tuple[TimeLike, TimeLike]:
        if self._start is None or self._end is None:
            raise InputError("windows need a range: set it with filter(start=..., end=...)")
        return self._start, self._end

    def _labels(self) -> list[str]:
        paths = [f"{stream.collection}/{stream.name}" for stream in self._streams]
        return [
            path if paths.count(path) == 1 else f"{path} {stream.uuid}"
            for path, stream in zip(paths, self._streams, strict=True)
        ]
