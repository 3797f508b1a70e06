"""Making a plan on a connection: one pass over what exists, the comparison, and a question about what may be hidden."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from airflow_provider_btrdb.catalog.shards import checked_shard, in_shard
from airflow_provider_btrdb.catalog.snapshot import Scope, Snapshot, read, read_one
from airflow_provider_btrdb.catalog.streams import StoredStream
from airflow_provider_btrdb.client import rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import Work, in_flight, tell
from airflow_provider_btrdb.client.codec import request
from airflow_provider_btrdb.client.errors import PermissionDeniedError
from airflow_provider_btrdb.client.models import Progress
from airflow_provider_btrdb.provision.compare import check_prune, compare
from airflow_provider_btrdb.provision.plans import Change, Plan
from airflow_provider_btrdb.provision.specs import Spec
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

MOST_ASKED = 10_000
"""Up to so many streams that would be created are all asked for: a matter of seconds. Of more a sample is, and all when
it finds anything."""
HIDDEN = "the API key may not read this collection, so nothing can be said about the stream"
HIDDEN_UUID = "a stream that the API key may not read has the uuid {}"


def make_plan(
    spec: Spec, *, prune: bool = False, shard: tuple[int, int] | None = None, progress: Progress | None = None
) -> Work[Plan]:
    """What has to be done so that the database is what the specification says; changes nothing.

    Run it on a connection: `db.run(make_plan(spec))`. `prune` plans to destroy what is unmanaged below the prefixes of
    the specification; `shard` (k, n) is one part of n; `progress(done, total)` is called as the server is asked, by
    uuid, for streams that the listings do not show. Raises InputError.
    """
    checked_shard(shard)
    if prune:
        check_prune(spec)

    async def work(calls: AsyncCalls) -> Plan:
        scope = spec.scope if shard is None else await _scope_of(calls, spec, shard)
        snapshot = await read(scope)(calls)
        plan = compare(spec, snapshot, prune=prune, shard=shard)
        asked = await _asked(calls, plan, snapshot, progress)
        if asked.elsewhere:
            plan = compare(spec, snapshot, prune=prune, shard=shard, elsewhere=asked.elsewhere)
        return replace(_without_hidden(plan, snapshot, asked.refused), scope=scope)

    return work


async def _scope_of(calls: AsyncCalls, spec: Spec, shard: tuple[int, int]) -> Scope:
    """The collections of a shard, so that n workers together read the catalogue about once."""
    rows = [row for row in spec.streams if in_shard(row.collection, shard)]
    collections = {row.collection for row in rows}
    collections |= {row.moved_from[0] for row in rows if row.moved_from is not None}
    for prefix in spec.scope.prefixes:
        asked = request(pb.ListCollectionsParams, prefix=prefix)
        names = await calls.listing(rpcs.LIST_COLLECTIONS, asked, lambda page: page.collections)
        collections |= {name for name in names if in_shard(name, shard)}
    return Scope.of((), collections)


@dataclass(slots=True)
class _Asked:
    """What the server says of streams by their uuids."""

    tells_hidden: bool = True
    """Does a refusal mean that the stream is there? Some servers refuse any uuid that they do not know."""
    elsewhere: dict[bytes, StoredStream] = field(default_factory=dict)
    """Those that are there."""
    refused: set[UUID] = field(default_factory=set)
    """Those that are there, and that the key may not read."""


async def _asked(calls: AsyncCalls, plan: Plan, snapshot: Snapshot, progress: Progress | None) -> _Asked:
    """Questions about streams that would be created.

    Listings show only the specification's scope, and of it only what a key may read. A stream that would be created
    may be out of both; asked for it by uuid, a server shows it, or refuses it.
    """
    asked = _Asked()
    # Also of one that cannot be created: its stream may be somewhere else, with other tags.
    creates = [change for change in plan.changes if change.kind == "create" or change.explicit]
    if not creates:
        return asked
    asked.tells_hidden = not await _is_refused(calls, uuid4())
    first = creates if len(creates) <= MOST_ASKED else _sample(creates, snapshot)
    await _ask(calls, first, asked, progress)
    if len(first) < len(creates) and (asked.refused or asked.elsewhere):
        known = {change.uuid for change in first}
        await _ask(calls, [change for change in creates if change.uuid not in known], asked, progress)
    return asked


async def _ask(calls: AsyncCalls, changes: Sequence[Change], asked: _Asked, progress: Progress | None) -> None:
    done = 0

    async def ask(change: Change) -> None:
        nonlocal done
        try:
            stream = await read_one(calls, change.uuid)
        except PermissionDeniedError:
            if asked.tells_hidden:
                asked.refused.add(change.uuid)
        else:
            if stream is not None:
                asked.elsewhere[stream.uuid] = stream
        done += 1
        if progress is not None:
            tell(progress, done, len(changes))

    await in_flight(calls.config.max_in_flight, changes, ask)


def _sample(creates: Sequence[Change], snapshot: Snapshot) -> list[Change]:
    """Those whose uuid the specification names; and of the collections that show nothing an even part, of each the
    first and the last. What a key may not read begins with one text, so it stands together in the order of a plan.
    """
    seen = {stream.collection for stream in snapshot.values()}
    silent: dict[str, list[Change]] = defaultdict(list)
    for change in creates:
        if change.collection not in seen and not change.explicit:
            silent[change.collection].append(change)
    groups = list(silent.values())[:: -(-2 * len(silent) // MOST_ASKED) or 1]
    ends = [change for group in groups for change in (group[:1] if len(group) == 1 else (group[0], group[-1]))]
    return [*(change for change in creates if change.explicit), *ends]


async def _is_refused(calls: AsyncCalls, uuid: UUID) -> bool:
    try:
        await read_one(calls, uuid)
    except PermissionDeniedError:
        return True
    return False


def _without_hidden(plan: Plan, snapshot: Snapshot, refused: set[UUID]) -> Plan:
    """Creates of what the key may not read become `hidden`; with one of a collection that shows nothing, all of it."""
    if not refused:
        return plan
    seen = {stream.collection for stream in snapshot.values()}
    dark = {change.collection for change in plan.changes if change.uuid in refused} - seen

    def looked_at(change: Change) -> Change:
        if change.kind != "create" or not (change.collection in dark or change.uuid in refused):
            return change
        detail = HIDDEN if change.collection in dark else HIDDEN_UUID.format(change.uuid)
        return replace(change, kind="hidden", differences=(), detail=detail)

    return replace(plan, changes=tuple(map(looked_at, plan.changes)))
