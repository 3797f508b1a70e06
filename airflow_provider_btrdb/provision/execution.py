"""Applying a plan: every change within the connection's caps, refused by the server where the plan is out of date.

A change of tags and annotations is two calls, tags first, each with the property version that the plan expects. Being
cut at any point leaves a state from which the same plan goes on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

from airflow_provider_btrdb.catalog.snapshot import Scope, read, read_one
from airflow_provider_btrdb.catalog.streams import StoredStream
from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import Work, each
from airflow_provider_btrdb.client.errors import (
    AmbiguousStreamError,
    BTrDBError,
    InputError,
    PermissionDeniedError,
    PropertyVersionMismatch,
    RecycledUuidError,
    StreamExistsError,
    StreamNotFoundError,
)
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.client.lookups import shown
from airflow_provider_btrdb.client.models import Progress
from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.provision.ordering import Blockers, ordered
from airflow_provider_btrdb.provision.plans import Change, Plan
from airflow_provider_btrdb.provision.results import Applied, StreamResult
from airflow_provider_btrdb.provision.specs import Path
from airflow_provider_btrdb.provision.standing import holds, standing, update_of
from airflow_provider_btrdb.provision.verification import verified
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

MAX_DESTROY = 10
HALF = "its tags are changed, its annotations perhaps not: "
OVERTAKEN = "somebody has changed it since the plan was made: make a new plan"
Candidates = dict[Path, list[StoredStream]]


def apply_plan(
    plan: Plan,
    *,
    prune: bool = False,
    max_destroy: int = MAX_DESTROY,
    verify: bool = True,
    progress: Progress | None = None,
    seconds: float | None = None,
) -> Work[Applied]:
    """Make the changes of a plan; run it on a connection: `db.run(apply_plan(plan))`.

    Raises InputError before anything is sent when the plan destroys streams and `prune` is not given, or more of them
    than `max_destroy`. What fails for one stream is in its result; `progress(done, total)` is called as results come
    in, and what is not begun after `seconds` fails. `verify` reads every changed stream again. Applying the same plan
    again does what is left.
    """
    doomed = plan.counts["destroy"]
    if doomed and not prune:
        raise InputError(f"the plan destroys {doomed} streams: that needs prune")
    if doomed > max_destroy:
        raise InputError(f"the plan destroys {doomed} streams, and max_destroy allows {max_destroy}")

    async def work(calls: AsyncCalls) -> Applied:
        doing, blockers = ordered(plan.changes)
        candidates = await _candidates(calls, plan, doing)
        one = _Applier(calls, candidates, blockers).apply
        done = await each(calls, doing, one, _failed, progress=progress, seconds=seconds)
        results = {id(change): result for change, result in zip(doing, done, strict=True)}
        applied = Applied(results=tuple(results.get(id(change)) or _problem(change) for change in plan.changes))
        return await verified(calls, plan, applied) if verify else applied

    return work


async def _candidates(calls: AsyncCalls, plan: Plan, doing: Sequence[Change]) -> Candidates:
    """Streams that have come to the names of planned creates since the plan was made."""
    places = {(change.collection, change.name) for change in doing if change.kind == "create" and not change.explicit}
    found: Candidates = defaultdict(list)
    scope = plan.scope.narrowed(collection for collection, _ in places)
    for stream in (await read(scope, lambda stream: stream.path in places)(calls)).values():
        found[stream.path].append(stream)
    return found


def _problem(change: Change) -> StreamResult:
    error = {"hidden": PermissionDeniedError, "ambiguous": AmbiguousStreamError}.get(change.kind, StreamExistsError)
    return StreamResult.of(change, "failed", error=error(f"{change.path}: {change.detail}", uuid=change.uuid))


def _failed(change: Change, error: BTrDBError) -> StreamResult:
    return StreamResult.of(change, "failed", error=error)


class _Applier:
    """Makes single changes, in the order of `ordered`; errors of BTrDB leave as they are."""

    def __init__(self, calls: AsyncCalls, candidates: Candidates, blockers: Blockers) -> None:
        self._calls = calls
        self._candidates = candidates
        self._blockers = blockers
        self._ends: dict[int, asyncio.Future[StreamResult]] = {
            id(other): asyncio.get_running_loop().create_future() for others in blockers.values() for other in others
        }
        """Of changes that others wait for. They were begun earlier, so that no wait is for ever."""

    async def apply(self, change: Change) -> StreamResult:
        """One change, once the place is free that it takes."""
        end = self._ends.get(id(change))
        try:
            result = await self._held_up(change) or await self._apply(change)
        except BTrDBError as error:
            if end is not None:
                end.set_result(_failed(change, error))
            raise
        if end is not None:
            end.set_result(result)
        return result

    async def _apply(self, change: Change) -> StreamResult:
        if change.kind == "create":
            return await self._create(change)
        return await (self._destroy(change) if change.kind == "destroy" else self._update(change))

    async def _held_up(self, change: Change) -> StreamResult | None:
        """The failure of a change that this one waits for is its own, also in whether it may pass."""
        for other in self._blockers.get(id(change), ()):
            result = await self._ends[id(other)]
            if not result.good:
                detail = f"not begun, for another stream did not leave its place: {result.detail}"
                if result.error is not None:
                    raise type(result.error)(detail, uuid=change.uuid)
                return StreamResult.of(change, result.outcome, detail=detail)
        return None

    # ------------------------------------------------------------ create

    async def _create(self, change: Change) -> StreamResult:
        there = _not_of_others(change, self._candidates.get((change.collection, change.name), ()))
        if there and not change.explicit:
            return _found_there(change, there)
        update = update_of(change)
        tags = {**dict.fromkeys(TAG_KEYS, ""), **update.tags, "name": change.name}
        wanted = codec.create_request(change.uuid, change.collection, tags, update.annotations)
        try:
            await self._calls.unary(rpcs.CREATE, wanted, uuid=change.uuid)
        except StreamExistsError as error:
            return await self._uuid_taken(change, error)
        except AmbiguousStreamError as error:
            return await self._tags_taken(change, error)
        except RecycledUuidError as error:
            error.message = f"{change.path}: the uuid {change.uuid} was obliterated: raise the generation of the stream"
            raise
        return StreamResult.of(change, "created")

    async def _uuid_taken(self, change: Change, error: StreamExistsError) -> StreamResult:
        """By an earlier attempt, by another worker, or by a stream that is somewhere else."""
        stream = await self._visible(change.uuid)
        if stream is None:
            error.message = f"{change.path} exists, and this key may not see it: its uuid is {change.uuid}"
            raise error
        if stream.path != (change.collection, change.name):
            error.message = f"{change.path} cannot have uuid {change.uuid}: {'/'.join(stream.path)} has it"
            raise error
        if not holds(change, stream):
            return StreamResult.of(change, "stale", detail=OVERTAKEN)
        return StreamResult.of(change, "created" if error.reply_lost else "unchanged")

    async def _tags_taken(self, change: Change, error: AmbiguousStreamError) -> StreamResult:
        """By another stream, or by the very one: servers differ in whether they look at tags or at uuids first."""
        scope = Scope.of((), [change.collection])
        there = list((await read(scope, lambda stream: stream.name == change.name)(self._calls)).values())
        mine = [stream for stream in there if stream.uuid == change.uuid.bytes]
        if not (mine or change.explicit):
            mine = _not_of_others(change, there)
        if mine:
            return _found_there(change, mine, lost=error.reply_lost)
        holders = shown(uuid_of(stream.uuid) for stream in there) or "one that this key may not see"
        error.message = f"{change.path} cannot be created: another stream has its collection and tags ({holders})"
        raise error

    # ------------------------------------------------------------ update and move

    async def _update(self, change: Change) -> StreamResult:
        update = update_of(change)
        uuid, expected = change.uuid.bytes, change.property_version
        halves: list[tuple[rpcs.Rpc, Callable[[int], object]]] = []
        if update.changes_tags:
            halves.append((rpcs.SET_TAGS, lambda version: update.tags_request(uuid, version)))
        if update.changes_annotations:
            halves.append((rpcs.SET_ANNOTATIONS, lambda version: update.annotations_request(uuid, version)))
        for number, (rpc, request) in enumerate(halves):
            done = HALF if number else ""
            try:
                await self._calls.unary(rpc, request(expected + number), uuid=change.uuid)
            except PropertyVersionMismatch as error:
                stream = await read_one(self._calls, change.uuid)
                found = "stale" if stream is None else standing(change, stream)
                if found == "done":
                    return StreamResult.of(change, "updated" if error.reply_lost else "unchanged")
                if found == "stale" or number + 1 == len(halves):
                    return StreamResult.of(change, "stale", detail=f"{done}{OVERTAKEN}")
            except BTrDBError as error:
                error.message = f"{done}{error.message}"
                raise
        return StreamResult.of(change, "updated")

    # ------------------------------------------------------------ destroy

    async def _destroy(self, change: Change) -> StreamResult:
        """BTrDB destroys whatever has the uuid, so the stream is looked at just before."""
        stream = await read_one(self._calls, change.uuid)
        if stream is None:
            return StreamResult.of(change, "unchanged")
        if stream.property_version != change.property_version:
            return StreamResult.of(change, "stale", detail=OVERTAKEN)
        try:
            request = pb.ObliterateParams(uuid=change.uuid.bytes)
            await self._calls.unary(rpcs.OBLITERATE, request, uuid=change.uuid)
        except StreamNotFoundError as error:
            return StreamResult.of(change, "destroyed" if error.reply_lost else "unchanged")
        return StreamResult.of(change, "destroyed")

    async def _visible(self, uuid: UUID) -> StoredStream | None:
        try:
            return await read_one(self._calls, uuid)
        except PermissionDeniedError:
            return None


def _not_of_others(change: Change, there: Sequence[StoredStream]) -> list[StoredStream]:
    """Streams of the same name that another row names by uuid are none of this one's."""
    others = {uuid.bytes for uuid in change.rivals}
    return [stream for stream in there if stream.uuid not in others]


def _found_there(change: Change, there: Sequence[StoredStream], lost: bool = False) -> StreamResult:
    """Somebody made the stream meanwhile: as the plan wants it, or not. It may be ours when a reply was `lost`."""
    if len(there) > 1:
        uuids = shown(uuid_of(stream.uuid) for stream in there)
        raise AmbiguousStreamError(f"{len(there)} streams are called {change.path} ({uuids})", uuid=change.uuid)
    if holds(change, there[0]):
        ours = lost and there[0].uuid == change.uuid.bytes
        return StreamResult.of(change, "created" if ours else "unchanged", uuid=uuid_of(there[0].uuid))
    return StreamResult.of(change, "stale", uuid=uuid_of(there[0].uuid), detail=OVERTAKEN)
