"""Many calls at once: an asynchronous engine with a bounded number of calls in flight, for both modes.

The synchronous client runs the engine on one background loop of its own, started with the first bulk call.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.errors import (
    AmbiguousStreamError,
    BTrDBError,
    ClientUnusableError,
    StreamExistsError,
    StreamNotFoundError,
)
from airflow_provider_btrdb.client.lookups import same_stream, shown
from airflow_provider_btrdb.client.models import CreateResult, StreamSpec
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

if TYPE_CHECKING:
    from airflow_provider_btrdb.client._sync.calls import Calls

T = TypeVar("T")
Work = Callable[[AsyncCalls], Coroutine[Any, Any, T]]
Rows = list[tuple[StreamSpec, UUID]]
Found = Mapping[tuple[str, str], list[pb.StreamDescriptor]]


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


# ---------------------------------------------------------------- creating many streams


@dataclass(slots=True)
class _Progress:
    """Counts finished rows and tells whoever wants to know."""

    total: int
    tell: Callable[[int, int], None] | None
    done: int = 0

    def step(self) -> None:
        self.done += 1
        if self.tell is not None:
            self.tell(self.done, self.total)


async def create_many(calls: AsyncCalls, rows: Rows, progress: Callable[[int, int], None] | None) -> list[CreateResult]:
    """See `BTrDB.create_many`: look every collection up once, decide, create what is missing."""
    found = await _look_up(calls, {spec.collection for spec, _ in rows if spec.uuid is None})
    claimed = {uuid.bytes for spec, uuid in rows if spec.uuid is not None}
    steps = _Progress(len(rows), progress)
    results: dict[int, CreateResult] = {}

    async def one(number: int) -> None:
        spec, uuid = rows[number]
        try:
            known = decide(spec, found.get((spec.collection, spec.name), ()), claimed)
            results[number] = known or await _create(calls, spec, uuid, claimed)
        except BTrDBError as error:
            results[number] = CreateResult(spec=spec, outcome="failed", uuid=uuid, error=error)
        steps.step()

    await in_flight(calls.config.max_in_flight, range(len(rows)), one)
    return [results[number] for number in range(len(rows))]


def decide(spec: StreamSpec, candidates: Iterable[pb.StreamDescriptor], claimed: set[bytes]) -> CreateResult | None:
    """What the catalogue says of a specification: its stream is there, or None: create it. Raises AmbiguousStreamError.

    Streams whose uuid another row of the same call names belong to that row; they are never adopted for this one.
    """
    if spec.uuid is not None:
        return None
    mine = [descriptor for descriptor in candidates if descriptor.uuid not in claimed]
    if not mine:
        return None
    if len(mine) > 1:
        uuids = shown(UUID(bytes=descriptor.uuid) for descriptor in mine)
        raise AmbiguousStreamError(f"{len(mine)} streams are called {spec.path} ({uuids}): name one by uuid")
    return CreateResult(spec=spec, outcome="existed", uuid=UUID(bytes=mine[0].uuid))


async def _look_up(calls: AsyncCalls, collections: set[str]) -> Found:
    found: dict[tuple[str, str], list[pb.StreamDescriptor]] = defaultdict(list)

    async def one(collection: str) -> None:
        for descriptor in await _descriptors(calls, pb.LookupStreamsParams(collection=collection)):
            found[collection, _name(descriptor)].append(descriptor)

    await in_flight(calls.config.max_in_flight, sorted(collections), one)
    return found


async def _create(calls: AsyncCalls, spec: StreamSpec, uuid: UUID, claimed: set[bytes]) -> CreateResult:
    """Create, and when somebody else was faster find out whether theirs is the stream that was meant."""
    wanted = pb.StreamDescriptor(
        uuid=uuid.bytes,
        collection=spec.collection,
        tags=codec.to_key_values(spec.tags),
        annotations=codec.to_key_values(spec.annotations),
    )
    request = pb.CreateParams(
        uuid=wanted.uuid, collection=wanted.collection, tags=wanted.tags, annotations=wanted.annotations
    )
    try:
        await calls.unary(rpcs.CREATE, request, uuid=str(uuid))
    except StreamExistsError as error:
        descriptor = await _descriptor(calls, uuid)
        if descriptor is None or (descriptor.collection, _name(descriptor)) != (spec.collection, spec.name):
            raise _held_by_another(spec, uuid, descriptor, error) from error
        ours = error.reply_lost and same_stream(descriptor, wanted)
        return CreateResult(spec=spec, outcome="created" if ours else "existed", uuid=uuid)
    except AmbiguousStreamError as error:
        return await _adopt_taken(calls, spec, wanted, claimed, error)
    return CreateResult(spec=spec, outcome="created", uuid=uuid)


async def _adopt_taken(
    calls: AsyncCalls, spec: StreamSpec, wanted: pb.StreamDescriptor, claimed: set[bytes], error: AmbiguousStreamError
) -> CreateResult:
    """The server says that a stream has this collection and these tags: find it by name."""
    request = pb.LookupStreamsParams(collection=spec.collection, tags=codec.to_key_values({"name": spec.name}))
    candidates = await _descriptors(calls, request)
    for descriptor in candidates:
        if descriptor.uuid == wanted.uuid:
            ours = error.reply_lost and same_stream(descriptor, wanted)
            return CreateResult(spec=spec, outcome="created" if ours else "existed", uuid=UUID(bytes=wanted.uuid))
    adopted = decide(spec, candidates, claimed)
    if adopted is not None:
        return adopted
    holders = shown(UUID(bytes=descriptor.uuid) for descriptor in candidates) or "one that this key may not see"
    raise AmbiguousStreamError(
        f"{spec.path} cannot be created with uuid {UUID(bytes=wanted.uuid)}: another stream has that collection and "
        f"these tags ({holders})",
        method="Create",
        endpoint=calls.config.endpoint,
        server_code=error.server_code,
    ) from error


def _held_by_another(
    spec: StreamSpec, uuid: UUID, descriptor: pb.StreamDescriptor | None, error: StreamExistsError
) -> StreamExistsError:
    holder = "one that this key may not see" if descriptor is None else f"{descriptor.collection}/{_name(descriptor)}"
    return StreamExistsError(
        f"{spec.path} cannot have uuid {uuid}: another stream holds it ({holder})",
        method="Create",
        endpoint=error.endpoint,
        server_code=error.server_code,
    )


async def _descriptor(calls: AsyncCalls, uuid: UUID) -> pb.StreamDescriptor | None:
    request = pb.StreamInfoParams(uuid=uuid.bytes, omit_version=True)
    try:
        reply: pb.StreamInfoResponse = await calls.unary(rpcs.STREAM_INFO, request, uuid=str(uuid))
    except StreamNotFoundError:
        return None
    return reply.descriptor


async def _descriptors(calls: AsyncCalls, request: pb.LookupStreamsParams) -> list[pb.StreamDescriptor]:
    pages = await calls.all_pages(rpcs.LOOKUP_STREAMS, request)
    return [descriptor for page in pages for descriptor in page.results]


def _name(descriptor: pb.StreamDescriptor) -> str:
    return next((tag.val.value for tag in descriptor.tags if tag.key == "name"), "")


# ---------------------------------------------------------------- running the engine


class AsyncBulk:
    """Runs bulk work on the connection's own channel and loop."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls

    async def run(self, work: Work[T]) -> T:
        """Await the work; its errors are raised as they are."""
        return await work(self._calls)

    async def close(self) -> None:
        """Nothing to give back: channel and loop belong to others."""


class Bulk:
    """Runs bulk work for a synchronous client on a thread with a loop and a channel of its own, made when needed."""

    def __init__(self, calls: Calls) -> None:
        self._config = calls.config
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls: AsyncCalls | None = None
        self._closed = False

    def run(self, work: Work[T]) -> T:
        """Block until the work is done; an interrupt of the waiting thread cancels the calls in flight."""
        loop = self._running_loop()

        async def with_calls() -> T:
            if self._calls is None:
                self._calls = AsyncCalls(self._config)
            return await work(self._calls)

        future = asyncio.run_coroutine_threadsafe(with_calls(), loop)
        try:
            return future.result()
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
        with self._lock:
            if self._closed:
                raise ClientUnusableError("this BTrDB connection is closed", endpoint=self._config.endpoint)
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="btrdb-bulk", daemon=True)
                self._thread.start()
            return self._loop
