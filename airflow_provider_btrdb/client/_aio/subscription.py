"""Following streams: every insert as it happens, and nothing lost where a call ends and the next one begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from uuid import UUID

from airflow_provider_btrdb.client import rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.columns import joined_points, without
from airflow_provider_btrdb.client.errors import BTrDBError, ProtocolError, ServerError
from airflow_provider_btrdb.client.models import Points, needed
from airflow_provider_btrdb.client.pages import arrow_points
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

RENEWAL = 300.0
"""Seconds after which a call is replaced by a fresh one: what an old call has lost without notice comes out then."""
PAUSE = 0.2
"""Seconds before a call that broke is made again."""
UNCLEAR_ENDS = 10
"""How many calls in a row may end with a status that tells nothing before one of them has brought a message.

gRPC with coroutines may put INTERNAL in the place of the server's own status when the server ends a call at once; the
next call then has a chance to bring the true one.
"""


class Followed:
    """One stream: the version up to which all its points are known to be handed out, and the points since then."""

    def __init__(self, stream: AsyncStream, version: int) -> None:
        self.stream = stream
        self.version = version
        self.since: list[Points] = []

    async def missed(self) -> Points:
        """Points stored since `version` that were not handed out; the newest version is the known one then.

        Changed ranges may be wider than what changed, so what they held at the known version is taken off as well.
        """
        newest = await self.stream.version()
        changed = await self.stream.changes(self.version, newest) if newest != self.version else []
        stored = [await self.stream.values(start, end, newest) for start, end in changed]
        known = [await self.stream.values(start, end, self.version) for start, end in changed]
        missed = without(joined_points(stored), joined_points(known + self.since))
        self.version, self.since = newest, []
        return missed


async def subscription(calls: AsyncCalls, uuids: Sequence[UUID]) -> AsyncGenerator[tuple[UUID, Points], None]:
    """See `BTrDB.subscribe`."""
    needed("pyarrow", "arrow")  # now, not when the first points come
    streams = [AsyncStream(calls, uuid) for uuid in uuids]
    followed = {stream.uuid.bytes: Followed(stream, await stream.version()) for stream in streams}
    unclear = 0
    while True:
        requests = _Requests(list(followed))
        pages = calls.start(rpcs.SUBSCRIBE, requests, RENEWAL)
        try:
            for one in followed.values():
                missed = await one.missed()
                if len(missed):
                    yield one.stream.uuid, missed
            await pages.advance()
            while pages.page is not None:
                unclear = 0
                one = _of(pages.page, followed, calls)
                points = arrow_points(pages.page.arrow_bytes, "Subscribe")
                if len(points):
                    one.since.append(points)
                    yield one.stream.uuid, points
                await pages.advance()
        except BTrDBError as error:
            unclear = unclear + 1 if _is_unclear(error) else 0
            if not error.retryable and not 0 < unclear < UNCLEAR_ENDS:
                raise
        finally:
            requests.ended.set()
            pages.cancel()
        await asyncio.sleep(PAUSE)


def _is_unclear(error: BTrDBError) -> bool:
    """A status of gRPC that is no answer of BTrDB: neither a number, nor a refusal with a class of its own."""
    return type(error) is ServerError and error.server_code is None and error.reply_lost


def _of(page: pb.SubscriptionResp, followed: dict[bytes, Followed], calls: AsyncCalls) -> Followed:
    """The stream that a message is about. Raises ProtocolError for one that nobody asked for."""
    if page.uuid not in followed:
        raise ProtocolError(
            "the server sent points of a stream that was not asked for",
            method="Subscribe",
            endpoint=calls.config.endpoint,
            uuid=str(UUID(bytes=page.uuid)) if len(page.uuid) == 16 else None,
        )
    return followed[page.uuid]


class _Requests:
    """What a call sends: the streams to follow, then nothing until it ends, as the end of this would be its end.

    Not a generator: one that is still waiting when a loop closes makes noise.
    """

    def __init__(self, uuids: list[bytes]) -> None:
        self._updates = [pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=uuids)]
        self.ended = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[pb.SubscriptionUpdate]:
        return self

    async def __anext__(self) -> pb.SubscriptionUpdate:
        if self._updates:
            return self._updates.pop()
        await self.ended.wait()
        raise StopAsyncIteration
