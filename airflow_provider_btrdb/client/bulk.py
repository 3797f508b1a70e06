"""Many calls at once: an asynchronous engine with a bounded number of calls in flight, for both modes.

The synchronous client runs the engine on one background loop of its own, started with the first bulk call.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.errors import (
    AuthenticationError,
    BTrDBError,
    ClientUnusableError,
    DeadlineExceededError,
    ServerUnavailableError,
)
from airflow_provider_btrdb.client.models import Progress
from airflow_provider_btrdb.client.policy import Budget

if TYPE_CHECKING:
    from airflow_provider_btrdb.client._sync.calls import Calls

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[AsyncCalls], Coroutine[Any, Any, T]]


class Stopped(BaseException):
    """Carries KeyboardInterrupt or SystemExit of a callback to the caller: asyncio would end the whole loop with it."""

    def __init__(self, reason: BaseException) -> None:
        self.reason = reason


async def in_flight(limit: int, items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Run `work` on every item, at most `limit` at once. The first exception of `work` ends all and is raised."""
    queue = iter(items)

    async def worker() -> None:
        for item in queue:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(worker())
    except BaseExceptionGroup as several:
        # Callers of one operation want its first error itself, not the group that carries it.
        raise several.exceptions[0] from several.exceptions[0].__cause__


async def each(
    calls: AsyncCalls,
    items: Sequence[T],
    work: Callable[[T], Awaitable[R]],
    failed: Callable[[T, BTrDBError], R],
    *,
    progress: Progress | None,
    seconds: float | None,
) -> list[R]:
    """One result for each item, in their order; an error of BTrDB becomes a result and hides no other.

    `progress(done, total)` is called after each. Items that are not begun when `seconds` are over fail, and those not
    begun when the server is gone or refuses the key.
    """
    results: dict[int, R] = {}
    budget = None if seconds is None else Budget(seconds)
    hopeless: BTrDBError | None = None

    async def one(number: int) -> None:
        nonlocal hopeless
        item = items[number]
        try:
            if budget is not None and not budget.left():
                raise DeadlineExceededError(f"not tried: the {seconds:g} s for the whole operation were over")
            if hopeless is not None:
                raise type(hopeless)(f"not tried, since another call had failed: {hopeless.message}")
            results[number] = await work(item)
        except BTrDBError as error:
            results[number] = failed(item, error)
            # A refused key, or a server that stayed away for the whole budget of a call: the others would end alike.
            gave_up = isinstance(error, ServerUnavailableError) and calls.config.retry_total > 0
            if gave_up or isinstance(error, AuthenticationError):
                hopeless = hopeless or error
        if progress is not None:
            tell(progress, len(results), len(items))

    await in_flight(calls.config.max_in_flight, range(len(items)), one)
    return [results[number] for number in range(len(items))]


def tell(progress: Progress, done: int, total: int) -> None:
    """Call a caller's function; what ends the program leaves the loop as `Stopped`."""
    try:
        progress(done, total)
    except (KeyboardInterrupt, SystemExit) as stop:
        raise Stopped(stop) from None


# ---------------------------------------------------------------- running the engine


class AsyncBulk:
    """Runs bulk work on the connection's own channel and loop."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls

    async def run(self, work: Work[T]) -> T:
        """Await the work; its errors are raised as they are."""
        try:
            return await work(self._calls)
        except Stopped as stopped:
            raise stopped.reason from None

    async def close(self) -> None:
        """Nothing to give back: channel and loop belong to others."""


class Bulk:
    """Runs bulk work for a synchronous client on a thread with a loop and a channel of its own, made when needed."""

    def __init__(self, calls: Calls) -> None:
        self._config = calls.config
        self._pacer = calls.pacer
        self._new_api_key = calls.new_api_key
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls: AsyncCalls | None = None
        self._process = os.getpid()
        self._closed = False

    def run(self, work: Work[T]) -> T:
        """Block until the work is done; an interrupt of the waiting thread cancels the calls in flight."""

        async def with_calls() -> T:
            if self._calls is None:
                self._calls = AsyncCalls(self._config, pacer=self._pacer, new_api_key=self._new_api_key)
            return await work(self._calls)

        if threading.current_thread() is self._thread:
            raise ClientUnusableError("a progress callback cannot make a bulk call on the connection that calls it")
        with self._lock:  # close() may not stop the loop between these two
            loop = self._running_loop()
            future = asyncio.run_coroutine_threadsafe(with_calls(), loop)
        try:
            return future.result()
        except Stopped as stopped:
            raise stopped.reason from None
        except CancelledError:
            raise ClientUnusableError("this BTrDB connection was closed during a bulk call") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop and its thread; work under way is cancelled."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or not thread.is_alive():
            return

        async def wind_up() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if self._calls is not None:
                await self._calls.close()

        asyncio.run_coroutine_threadsafe(wind_up(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise ClientUnusableError("this BTrDB connection is closed", endpoint=self._config.endpoint)
        if os.getpid() != self._process:
            raise ClientUnusableError(
                "this BTrDB connection was opened before the process forked: open another one in the child",
                endpoint=self._config.endpoint,
            )
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="btrdb-bulk", daemon=True)
            self._thread.start()
        return self._loop
