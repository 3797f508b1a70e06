"""The way every RPC takes: deadline, metadata, one budget for all attempts, errors of our own tree.

Owns the channel. Knows nothing of streams, points or SQL.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from tenacity import AsyncRetrying

from airflow_provider_btrdb.client.channel import channel_settings
from airflow_provider_btrdb.client.config import ConnectionConfig
from airflow_provider_btrdb.client.errors import (
    BTrDBError,
    ClientUnusableError,
    RateLimitedError,
    StreamInterruptedError,
)
from airflow_provider_btrdb.client.policy import PAUSES, Budget, Pacer, SpentBudget, may_repeat, retry_when
from airflow_provider_btrdb.client.rpcs import Rpc
from airflow_provider_btrdb.client.status import error_from_rpc, error_from_stat
from airflow_provider_btrdb.protocol import Kind


class AsyncPages:
    """One attempt of a server stream. Whoever holds it must cancel it: nobody reading does not end it at the server."""

    def __init__(self, call: Any, rpc: Rpc, config: ConnectionConfig, uuid: str | None) -> None:
        self._call = call
        self._pages = aiter(call)
        self._rpc = rpc
        self._config = config
        self._uuid = uuid
        self.page: Any = None
        """The page that was read last; None after the end."""

    async def advance(self) -> None:
        """Read the next page into `page`. Raises BTrDBError for either of BTrDB's two ways to fail."""
        try:
            self.page = await anext(self._pages, None)
        except grpc.RpcError as error:
            raise error_from_rpc(error, self._rpc.name, self._config, self._uuid) from None
        if self.page is not None and not self._rpc.raw_response and self.page.stat.code:
            raise error_from_stat(self.page.stat, self._rpc.name, self._config, self._uuid)

    def cancel(self) -> None:
        """End the call at both ends; harmless after its end."""
        self._call.cancel()


class AsyncCalls:
    """One channel and the calls over it."""

    def __init__(self, config: ConnectionConfig, pacer: Pacer | None = None) -> None:
        settings = channel_settings(config)
        self.pacer = pacer or Pacer(config.max_rps)
        self._slots = asyncio.Semaphore(config.max_in_flight)
        self.config = config
        self._metadata = settings.metadata
        if settings.credentials is None:
            self._channel = grpc.aio.insecure_channel(settings.target, options=settings.options)
        else:
            self._channel = grpc.aio.secure_channel(settings.target, settings.credentials, options=settings.options)
        self._stubs: dict[Rpc, Any] = {}
        self._process = os.getpid()
        self._closed = False

    async def close(self) -> None:
        """Close the channel; calls under way end with an error, later ones are refused."""
        self._closed = True
        if os.getpid() == self._process:
            await self._channel.close()

    async def unary(self, rpc: Rpc, request: Any, *, uuid: str | None = None, limit: float | None = None) -> Any:
        """The reply to one request, repeated as the RPC allows. `limit` overrides `request_timeout`."""
        budget = Budget(self.config.retry_total)
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

    async def pages(self, rpc: Rpc, request: Any, *, uuid: str | None = None) -> AsyncIterator[Any]:
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

    async def all_pages(self, rpc: Rpc, request: Any, *, uuid: str | None = None) -> list[Any]:
        """All pages of a listing: as nothing is handed out before the end, a broken attempt just starts again."""
        budget = Budget(self.config.retry_total)
        async for attempt in self._attempts(rpc, budget):
            with attempt:
                stream = await self._open_once(rpc, request, uuid, budget)
                try:
                    collected = []
                    while stream.page is not None:
                        collected.append(stream.page)
                        await stream.advance()
                    return collected
                finally:
                    stream.cancel()
        raise AssertionError("tenacity ended without a result or an error")

    async def open(
        self, rpc: Rpc, request: Any, budget: Budget, *, uuid: str | None = None, after: BTrDBError | None = None
    ) -> AsyncPages:
        """A server stream with its first page read, repeated within the budget until that succeeds.

        `after` is the error that ended the attempt before this one: there is a pause then, and when the budget is
        spent that error is raised.
        """
        async for attempt in self._attempts(rpc, budget):
            with attempt:
                if attempt.retry_state.attempt_number == 1 and after is not None:
                    raise after
                return await self._open_once(rpc, request, uuid, budget)
        raise AssertionError("tenacity ended without a result or an error")

    async def _open_once(self, rpc: Rpc, request: Any, uuid: str | None, budget: Budget) -> AsyncPages:
        """Opening counts as a call under way until the first page is there; whoever reads on may make other calls."""
        async with self._slots:
            await self._wait_for_turn()
            seconds = self._timeout(self.config.stream_timeout, budget)
            call = self._stub(rpc)(request, timeout=seconds, metadata=self._metadata)
            stream = AsyncPages(call, rpc, self.config, uuid)
            try:
                await stream.advance()
            except BaseException as error:
                stream.cancel()
                self._note(error)
                raise
            self.pacer.served()
            return stream

    async def _attempt(self, rpc: Rpc, request: Any, uuid: str | None, budget: Budget, limit: float | None) -> Any:
        async with self._slots:
            await self._wait_for_turn()
            seconds = self._timeout(limit or self.config.request_timeout, budget)
            try:
                reply = await self._stub(rpc)(request, timeout=seconds, metadata=self._metadata)
            except grpc.RpcError as error:
                translated = error_from_rpc(error, rpc.name, self.config, uuid)
                self._note(translated)
                raise translated from None
        if reply.stat.code:
            refused = error_from_stat(reply.stat, rpc.name, self.config, uuid)
            self._note(refused)
            raise refused
        self.pacer.served()
        return reply

    async def _wait_for_turn(self) -> None:
        delay = self.pacer.delay()
        if delay:
            await asyncio.sleep(delay)

    def _note(self, error: BaseException) -> None:
        if isinstance(error, RateLimitedError):
            self.pacer.refused()

    def _attempts(self, rpc: Rpc, budget: Budget) -> AsyncRetrying:
        return AsyncRetrying(stop=SpentBudget(budget), wait=PAUSES, retry=retry_when(rpc.repeat), reraise=True)

    def _timeout(self, seconds: float, budget: Budget) -> float:
        """What one attempt gets: its own limit, within what the budget has left where there are repeats."""
        return min(seconds, max(budget.left(), 0.001)) if self.config.retry_total else seconds

    def _stub(self, rpc: Rpc) -> Any:
        if self._closed:
            raise ClientUnusableError("this BTrDB connection is closed", endpoint=self.config.endpoint)
        if os.getpid() != self._process:
            raise ClientUnusableError(
                "this BTrDB connection was opened before the process forked: open another one in the child",
                endpoint=self.config.endpoint,
            )
        stub = self._stubs.get(rpc)
        if stub is None:
            method = rpc.method
            kinds = {Kind.UNARY: self._channel.unary_unary, Kind.SERVER_STREAM: self._channel.unary_stream}
            stub = self._stubs[rpc] = kinds[method.kind](
                method.path,
                request_serializer=None if rpc.raw_request else method.request.SerializeToString,
                response_deserializer=None if rpc.raw_response else method.response.FromString,
            )
        return stub
