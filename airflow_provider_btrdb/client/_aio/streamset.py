"""Several streams read together, each at its own version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import Points
from airflow_provider_btrdb.client.times import TimeLike


class AsyncStreamSet(Sequence[AsyncStream]):
    """An immutable sequence of streams; `pin_versions` gives one whose every read uses the pinned versions."""

    def __init__(self, streams: Sequence[AsyncStream], versions: Sequence[int] | None = None) -> None:
        if versions is not None and len(versions) != len(streams):
            raise InputError(f"{len(versions)} versions were given for {len(streams)} streams")
        self._streams = tuple(streams)
        self._versions = None if versions is None else tuple(versions)

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
            return AsyncStreamSet(self._streams[index], None if self._versions is None else self._versions[index])
        return self._streams[index]

    async def pin_versions(self, versions: Sequence[int] | None = None) -> AsyncStreamSet:
        """The same streams at these versions, in the order of the streams; None pins the newest ones."""
        if versions is None:
            versions = [await stream.version() for stream in self._streams]
        return AsyncStreamSet(self._streams, versions)

    async def versions(self) -> list[int]:
        """The pinned versions, or the newest ones of an unpinned set, in the order of the streams."""
        if self._versions is not None:
            return list(self._versions)
        return [await stream.version() for stream in self._streams]

    async def values(self, start: TimeLike | None = None, end: TimeLike | None = None) -> list[Points]:
        """The points of every stream with start <= time < end, in the order of the streams."""
        versions = self._versions or (0,) * len(self._streams)
        return [
            await stream.values(start, end, version) for stream, version in zip(self._streams, versions, strict=True)
        ]
