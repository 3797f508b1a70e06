"""Reading what exists: which listings cover what is asked, and one pass over them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from airflow_provider_btrdb.catalog.streams import StoredStream, reader
from airflow_provider_btrdb.client import rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import Work, in_flight
from airflow_provider_btrdb.client.codec import request
from airflow_provider_btrdb.client.errors import ProtocolError, StreamNotFoundError
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

Snapshot = Mapping[bytes, StoredStream]
"""Streams by the 16 bytes of their uuid."""
Keep = Callable[[StoredStream], bool]

FEW = 64
"""Up to so many collections below a prefix are cheaper listed one by one than by the prefix."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: everything below the prefixes (plain text, so "foo" covers "foobar"), and these collections."""

    prefixes: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()

    @classmethod
    def of(cls, prefixes: Iterable[str], collections: Iterable[str]) -> Scope:
        """Sorted, and without what another prefix covers, so that no stream is listed twice."""
        wanted: list[str] = []
        for prefix in sorted(set(prefixes)):
            if not (wanted and prefix.startswith(wanted[-1])):
                wanted.append(prefix)
        covered = tuple(wanted)
        return cls(covered, tuple(sorted({name for name in collections if not name.startswith(covered)})))

    def covers(self, collection: str) -> bool:
        """Is the collection listed as a whole?"""
        return collection.startswith(self.prefixes) or collection in self.collections

    def narrowed(self, collections: Iterable[str]) -> Scope:
        """What is enough to see these collections: a prefix only where many of them lie below it."""
        names = set(collections)
        below = Counter(map(self._prefix_of, names))
        return Scope.of((prefix for prefix in self.prefixes if below[prefix] > FEW), names)

    def _prefix_of(self, collection: str) -> str | None:
        """The prefix above it. Of prefixes none of which covers another, only the last one before it can be."""
        place = bisect_right(self.prefixes, collection)
        prefix = self.prefixes[place - 1] if place else None
        return prefix if prefix is not None and collection.startswith(prefix) else None

    def requests(self) -> list[pb.LookupStreamsParams]:
        """One LookupStreams for each prefix and each collection."""
        return [
            request(pb.LookupStreamsParams, collection=text, is_collection_prefix=is_prefix)
            for texts, is_prefix in ((self.prefixes, True), (self.collections, False))
            for text in texts
        ]


def read(scope: Scope, keep: Keep | None = None) -> Work[dict[bytes, StoredStream]]:
    """The streams of the scope that the key may see; with `keep` only those that it accepts.

    A listing that breaks off starts again. Several listings are not one moment: a stream that moves meanwhile can be
    seen at either place or at none.
    """

    async def work(calls: AsyncCalls) -> dict[bytes, StoredStream]:
        found: dict[bytes, StoredStream] = {}
        value = reader()

        def taken(page: pb.LookupStreamsResponse) -> list[StoredStream]:
            streams = map(value, page.results)
            return list(streams) if keep is None else [stream for stream in streams if keep(stream)]

        async def one(asked: pb.LookupStreamsParams) -> None:
            for stream in await calls.listing(rpcs.LOOKUP_STREAMS, asked, taken):
                earlier = found.get(stream.uuid)
                if earlier is None or earlier.property_version < stream.property_version:
                    found[stream.uuid] = stream

        await in_flight(calls.config.max_in_flight, scope.requests(), one)
        return found

    return work


async def read_one(calls: AsyncCalls, uuid: UUID) -> StoredStream | None:
    """The stream with this uuid; None where there is none. Raises PermissionDeniedError and others."""
    try:
        reply: pb.StreamInfoResponse = await calls.unary(
            rpcs.STREAM_INFO, pb.StreamInfoParams(uuid=uuid.bytes, omit_version=True), uuid=uuid
        )
    except StreamNotFoundError:
        return None
    if reply.descriptor.uuid != uuid.bytes:
        raise ProtocolError("the server's reply lacks the descriptor of this stream", method="StreamInfo", uuid=uuid)
    return reader()(reply.descriptor)
