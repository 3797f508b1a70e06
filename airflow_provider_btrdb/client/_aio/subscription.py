"""Following streams: every insert as it happens, and nothing lost where a call ends and the next one begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from airflow_provider_btrdb.client import rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls, AsyncPages
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.columns import joined_points, without
from airflow_provider_btrdb.client.errors import BTrDBError
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.client.models import Points, needed
from airflow_provider_btrdb.client.pages import arrow_points
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

RENEWAL = 300.0
"""Seconds after which a call is replaced by a fresh one: what an old call has lost without notice comes out then."""
PAUSE = 0.2
"""Seconds before a call that broke is made again."""


class Followed:
    """One stream: the version up to which all its points are known to be handed out, and the points since then."""

    def __init__(self, stream: AsyncStream, version: int) -> None:
        self.stream = stream
        self.version = version
        self.since: list[Points] = []

    async def missed(self) -> Points:
        """Points that changed since `version` and were not handed out; the newest version is the known one then."""
        newest = await self.stream.version()
        changed = await self.stream.changes(self.version, newest) if newest != self.version else []
        stored = [await self.stream.values(start, end, newest) for start, end in changed]
        missed = without(joined_points(stored), joined_points(self.since))
        self.version, self.since = newest, []
        return missed


async def subscription(calls: AsyncCalls, uuids: Sequence[UUID]) -> AsyncIterator[tuple[UUID, Points]]:
    """See `BTrDB.subscribe`."""
    needed("pyarrow", "arrow")  # now, not when the first points come
    streams = [AsyncStream(calls, uuid) for uuid in uuids]
    followed = {stream.uuid: Followed(stream, await stream.version()) for stream in streams}
    while True:
        ended = asyncio.Event()
        pages = _open(calls, list(followed), ended)
        try:
            for uuid, one in followed.items():
                missed = await one.missed()
                if len(missed):
                    yield uuid, missed
            await pages.advance()
            while pages.page is not None:
                uuid, points = uuid_of(pages.page.uuid), arrow_points(pages.page.arrow_bytes, "Subscribe")
                if uuid in followed and len(points):
                    followed[uuid].since.append(points)
                    yield uuid, points
                await pages.advance()
        except BTrDBError as error:
            if not error.retryable:
                raise
        finally:
            ended.set()
            pages.cancel()
        await asyncio.sleep(PAUSE)


def _open(calls: AsyncCalls, uuids: list[UUID], ended: asyncio.Event) -> AsyncPages:
    async def requests() -> AsyncIterator[pb.SubscriptionUpdate]:
        yield pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[uuid.bytes for uuid in uuids])
        await ended.wait()  # a request stream that ends would end the subscription

    return calls.start(rpcs.SUBSCRIBE, requests(), RENEWAL)
