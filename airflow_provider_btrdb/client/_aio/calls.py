"""The way every RPC takes: deadline, metadata, one budget for all attempts, errors of our own tree.

Knows nothing of channels, streams, points or SQL.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

import grpc
from tenacity import AsyncRetrying

from airflow_provider_btrdb.client import rpcs
from airflow_provider_btrdb.client._aio.link import AsyncLink
from airflow_provider_btrdb.client.codec import UNREADABLE
from airflow_provider_btrdb.client.config import ConnectionConfig, NewApiKey
from airflow_provider_btrdb.client.errors import (
    AuthenticationError,
    BTrDBError,
    RateLimitedError,
    ServerUnavailableError,
    StreamInterruptedError,
)
from airflow_provider_btrdb.client.policy import PAUSES, Budget, Pacer, SpentBudget, may_repeat, retry_when
from airflow_provider_btrdb.client.rpcs import Rpc
from airflow_provider_btrdb.client.status import CANCELLED, error_from_stat, unreadable
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

T = TypeVar("T")

ARROW_SINCE = (5, 30)
"""The first version of the server with Arrow calls."""


class AsyncPages:
    """One attempt of a server stream. Whoever holds it must cancel it: nobody reading does not end it at the server."""

    def __init__(self, call: Any, rpc: Rpc, link: AsyncLink, uuid: UUID | str | None) -> None:
        self._call = call
        self._pages = aiter(call)
        self._rpc = rpc
        self._link = link
        self._uuid = uuid
        self.page: Any = None
        """The page that was read last; None after the end."""

    async def advance(self) -> None:
        """Read the next page into `page`. Raises BTrDBError for either of BTrDB's two ways to fail."""
        try:
            self.page = await anext(self._pages, None)
        except (grpc.RpcError, CANCELLED) as error:
            raise self._link.error(error, self._rpc, self._uuid) from None
        if self.page is UNREADABLE:
            raise unreadable(self._rpc.name, self._link.config, self._uuid)
        if self.page is not None and not self._rpc.raw_response and self.page.stat.code:
            raise error_from_stat(self.page.stat, self._rpc.name, self._link.config, self._uuid)

    def cancel(self) -> None:
        """End the call at both ends; harmless after its end."""
        self._call.cancel()


class AsyncCalls:
    """The calls of one connection."""

    def __init__(
        self, config: ConnectionConfig, *, pacer: Pacer | None = None, new_api_key: NewApiKey | None = None
    ) -> None:
        self.pacer = pacer or Pacer(config.max_rps)
        self.new_api_key = new_api_key
        self._link = AsyncLink(config, new_api_key)
        self._server: tuple[int, int] | None = None
        self._slots = asyncio.Semaphore(config.max_in_flight)

    @property
    def config(self) -> ConnectionConfig:
        """How the server is talked to, with the key in use."""
        return self._link.config

    async def close(self) -> None:
        """See `AsyncLink.close`."""
        await self._link.close()

    def use_key(self, key: str | None) -> None:
        """See `AsyncLink.use_key`."""
        self._link.use_key(key)

    async def info(self, limit: float | None = None) -> pb.InfoResponse:
        """What the server says of itself. `limit` overrides `request_timeout`."""
        reply: pb.InfoResponse = await self.unary(rpcs.INFO, pb.InfoParams(), limit=limit)
        self._server = (reply.major_version, reply.minor_version)
        return reply

    async def prefers_arrow(self) -> bool:
        """Should points be read in Arrow? Where the server offers it and pyarrow is loaded already.

        Reading in Arrow takes less CPU time than reading RawPoints (docs/benchmarks.md); loading pyarrow just for
        it would cost more than a read of a million points saves.
        """
        if self.config.arrow == "off" or (self.config.arrow == "auto" and sys.modules.get("pyarrow") is None):
            return False
        if self._server is None:
            await self.info()
        return self._server is not None and self._server >= ARROW_SINCE

    async def unary(self, rpc: Rpc, request: Any, *, uuid: UUID | str | None = None, limit: float | None = None) -> Any:
        """The reply to one request, repeated as the RPC allows. `limit` overrides `request_timeout` and the budget."""
        budget = Budget(min(self.config.retry_total, limit or self.config.retry_total))
        try:
            return await self._attempt(rpc, request, uuid, budget, limit)
        except BTrDBError as error:
            # tenacity costs as much as half an RPC, so it comes in only after a failure.
            if not may_repeat(error, rpc.repeat):
                raise
            first = error
        lost = first.reply_lost
        async for attempt in self._attempts(rpc, budget):
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise first
                try:
                    return await self._attempt(rpc, request, uuid, budget, limit)
                except BTrDBError as error:
                    lost = error.reply_lost = error.reply_lost or lost
                    raise
        raise AssertionError("tenacity ended without a result or an error")

    async def pages(self, rpc: Rpc, request: Any, *, uuid: UUID | str | None = None) -> AsyncGenerator[Any, None]:
        """The pages of a listing: repeated until the first one was handed out, then StreamInterruptedError."""
        stream = await self.open(rpc, request, Budget(self.config.retry_total), uuid=uuid)
        try:
            while stream.page is not None:
                yield stream.page
                await stream.advance()
        except BTrDBError as error:
            if not error.retryable:
                raise
            raise StreamInterruptedError(
                f"{rpc.name} broke off after rows had been handed out: {error.message}",
                method=rpc.name,
                endpoint=self.config.endpoint,
                uuid=uuid,
            ) from error
        finally:
            stream.cancel()

    async def listing(
        self, rpc: Rpc, request: Any, items: Callable[[Any], Iterable[T]], *, uuid: UUID | str | None = None
    ) -> list[T]:
        """The items of all pages of a listing.

        As nothing is handed out before the end, a broken attempt just starts again.
        """
        budget = Budget(self.config.retry_total)
        async for attempt in self._attempts(rpc, budget):
            with attempt:
                stream = await self._open_once(rpc, request, uuid)
                try:
                    collected: list[T] = []
                    while stream.page is not None:
                        collected.extend(items(stream.page))
                        await stream.advance()
                    return collected
                finally:
                    stream.cancel()
        raise AssertionError("tenacity ended without a result or an error")

    def start(self, rpc: Rpc, requests: Any, seconds: float) -> AsyncPages:
        """A call in both directions, without waiting for its first page; it ends after `seconds` at the latest."""
        call = self._link.stub(rpc)(requests, timeout=seconds, metadata=self._link.metadata)
        return AsyncPages(call, rpc, self._link, None)

    async def open(
        self, rpc: Rpc, request: Any, budget: Budget, *, uuid: UUID | str | None = None, after: BTrDBError | None = None
    ) -> AsyncPages:
        """A server stream with its first page read, repeated within the budget until that succeeds.

        `after` is the error that ended the attempt before this one: there is a pause then, and when the budget is
        spent that error is raised.
        """
        async for attempt in self._attempts(rpc, budget):
            with attempt:
                if attempt.retry_state.attempt_number == 1 and after is not None:
                    raise after
                return await self._open_once(rpc, request, uuid)
        raise AssertionError("tenacity ended without a result or an error")

    async def _open_once(self, rpc: Rpc, request: Any, uuid: UUID | str | None) -> AsyncPages:
        """Opening counts as a call under way until the first page is there; whoever reads on may make other calls."""

        async def once() -> AsyncPages:
            # Not what the budget has left: whoever reads slowly is no reason to break off.
            seconds = self.config.stream_timeout
            call = self._link.stub(rpc)(request, timeout=seconds, metadata=self._link.metadata)
            stream = AsyncPages(call, rpc, self._link, uuid)
            try:
                await stream.advance()
            except BaseException:
                stream.cancel()
                raise
            return stream

        return await self._in_turn(once)

    async def _attempt(
        self, rpc: Rpc, request: Any, uuid: UUID | str | None, budget: Budget, limit: float | None
    ) -> Any:
        async def once() -> Any:
            seconds = self._timeout(limit or self.config.request_timeout, budget)
            try:
                reply = await self._link.stub(rpc)(request, timeout=seconds, metadata=self._link.metadata)
            except (grpc.RpcError, CANCELLED) as error:
                raise self._link.error(error, rpc, uuid) from None
            if reply is UNREADABLE:
                raise unreadable(rpc.name, self.config, uuid)
            if reply.stat.code:
                raise error_from_stat(reply.stat, rpc.name, self.config, uuid)
            return reply

        return await self._in_turn(once)

    async def _in_turn(self, once: Callable[[], Awaitable[T]]) -> T:
        """Make a call when it is its turn, again with a newer key if there is one; what it tells helps the next."""
        async with self._slots:
            delay = self.pacer.delay()
            if delay:
                await asyncio.sleep(delay)
            used, position = self._link.metadata, self._link.position
            try:
                result = await once()
            except AuthenticationError:
                if not await self._link.has_new_key(used):
                    raise
                result = await once()
            except RateLimitedError:
                self.pacer.refused()
                raise
            except ServerUnavailableError:
                self._link.try_next_endpoint(position)
                raise
            self.pacer.served()
            return result

    def _attempts(self, rpc: Rpc, budget: Budget) -> AsyncRetrying:
        return AsyncRetrying(stop=SpentBudget(budget), wait=PAUSES, retry=retry_when(rpc.repeat), reraise=True)

    def _timeout(self, seconds: float, budget: Budget) -> float:
        """What one attempt gets: its own limit, within what the budget has left where there are repeats."""
        return min(seconds, max(budget.left(), 0.001)) if self.config.retry_total else seconds
