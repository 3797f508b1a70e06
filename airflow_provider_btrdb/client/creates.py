"""Making sure that many streams exist: look every collection up once, decide purely, create what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from uuid import UUID

from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import Work, each, in_flight
from airflow_provider_btrdb.client.errors import (
    AmbiguousStreamError,
    BTrDBError,
    StreamExistsError,
    StreamNotFoundError,
)
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.client.lookups import same_stream, shown
from airflow_provider_btrdb.client.models import CreateResult, Progress, StreamSpec
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

Rows = list[tuple[StreamSpec, UUID]]
Found = Mapping[tuple[str, str], list[pb.StreamDescriptor]]


def create_many(rows: Rows, progress: Progress | None, seconds: float | None) -> Work[list[CreateResult]]:
    """See `BTrDB.create_many`."""

    async def work(calls: AsyncCalls) -> list[CreateResult]:
        found = await _look_up(calls, {spec.collection for spec, _ in rows if spec.uuid is None})
        claimed = {uuid.bytes for spec, uuid in rows if spec.uuid is not None}

        async def one(row: tuple[StreamSpec, UUID]) -> CreateResult:
            spec, uuid = row
            known = decide(spec, found.get((spec.collection, spec.name), ()), claimed)
            return known or await _create(calls, spec, uuid, claimed)

        def failed(row: tuple[StreamSpec, UUID], error: BTrDBError) -> CreateResult:
            return CreateResult(spec=row[0], outcome="failed", uuid=row[1], error=error)

        return await each(calls, rows, one, failed, progress=progress, seconds=seconds)

    return work


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
        uuids = shown(uuid_of(descriptor.uuid) for descriptor in mine)
        raise AmbiguousStreamError(f"{len(mine)} streams are called {spec.path} ({uuids}): name one by uuid")
    return CreateResult(spec=spec, outcome="existed", uuid=uuid_of(mine[0].uuid))


async def _look_up(calls: AsyncCalls, collections: set[str]) -> Found:
    found: dict[tuple[str, str], list[pb.StreamDescriptor]] = defaultdict(list)

    async def one(collection: str) -> None:
        for descriptor in await _descriptors(calls, pb.LookupStreamsParams(collection=collection)):
            found[collection, _name(descriptor)].append(descriptor)

    await in_flight(calls.config.max_in_flight, sorted(collections), one)
    return found


async def _create(calls: AsyncCalls, spec: StreamSpec, uuid: UUID, claimed: set[bytes]) -> CreateResult:
    """Create, and when somebody else was faster find out whether theirs is the stream that was meant."""
    wanted = codec.create_request(uuid, spec.collection, spec.tags, spec.annotations)
    try:
        await calls.unary(rpcs.CREATE, wanted, uuid=uuid)
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
    calls: AsyncCalls, spec: StreamSpec, wanted: pb.CreateParams, claimed: set[bytes], error: AmbiguousStreamError
) -> CreateResult:
    """The server says that a stream has this collection and these tags: find it by name."""
    request = codec.request(
        pb.LookupStreamsParams, collection=spec.collection, tags=codec.to_key_values({"name": spec.name})
    )
    candidates = await _descriptors(calls, request)
    for descriptor in candidates:
        if descriptor.uuid == wanted.uuid:
            ours = error.reply_lost and same_stream(descriptor, wanted)
            return CreateResult(spec=spec, outcome="created" if ours else "existed", uuid=uuid_of(wanted.uuid))
    adopted = decide(spec, candidates, claimed)
    if adopted is not None:
        return adopted
    holders = shown(uuid_of(descriptor.uuid) for descriptor in candidates) or "one that this key may not see"
    raise AmbiguousStreamError(
        f"{spec.path} cannot be created with uuid {uuid_of(wanted.uuid)}: another stream has that collection and "
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
        reply: pb.StreamInfoResponse = await calls.unary(rpcs.STREAM_INFO, request, uuid=uuid)
    except StreamNotFoundError:
        return None
    return reply.descriptor


async def _descriptors(calls: AsyncCalls, request: pb.LookupStreamsParams) -> list[pb.StreamDescriptor]:
    return await calls.listing(rpcs.LOOKUP_STREAMS, request, lambda page: page.results)


def _name(descriptor: pb.StreamDescriptor) -> str:
    return next((tag.val.value for tag in descriptor.tags if tag.key == "name"), "")
