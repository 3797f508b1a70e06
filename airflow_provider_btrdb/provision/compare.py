"""The difference between what is wanted and what is there: pure, and the same for any order of either."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from uuid import UUID

from airflow_provider_btrdb.catalog.shards import checked_shard, in_shard
from airflow_provider_btrdb.catalog.snapshot import Snapshot
from airflow_provider_btrdb.catalog.streams import ANNOTATION, Sharing, StoredStream
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.provision.collisions import collisions
from airflow_provider_btrdb.provision.ordering import stuck
from airflow_provider_btrdb.provision.plans import Change, Difference, Plan, Unmanaged
from airflow_provider_btrdb.provision.specs import EVERY, Path, Spec, WantedStream

SHOWN_UNMANAGED = 100
SEVERAL = "{} streams have the name: say which one is meant by its uuid"
BOTH = "there are streams at this place and where it was moved from: say which one is meant by its uuid"


def check_prune(spec: Spec) -> None:
    """Raises InputError unless the specification says what `prune` may destroy."""
    if not spec.prefixes:
        raise InputError("prune needs prefixes in the specification: they say what it manages")
    if "" in spec.prefixes:
        raise InputError("prune with the empty prefix would manage the whole database: name prefixes of your own")


def compare(
    spec: Spec,
    snapshot: Snapshot,
    *,
    prune: bool = False,
    shard: tuple[int, int] | None = None,
    elsewhere: Snapshot | None = None,
) -> Plan:
    """The plan that makes `snapshot` what `spec` says. With `prune`, unmanaged streams below its prefixes go.

    A shard (k, n) is about the streams whose wanted collection belongs to it, and unmanaged ones that lie in one.
    `elsewhere` has streams out of the specification's scope whose uuids it names or would give.
    Raises InputError for `prune` without prefixes.
    """
    checked_shard(shard)
    if prune:
        check_prune(spec)
    found = _Found(spec, snapshot, elsewhere or {})
    shared = Sharing()
    changes: list[Change] = []
    unchanged = 0
    for row in spec.streams:
        if in_shard(row.collection, shard):
            change = _change(row, spec, found, shared)
            if change is None:
                unchanged += 1
            else:
                changes.append(change)
    strangers = [stream for stream in found.strangers if in_shard(stream.collection, shard)]
    doomed = _doomed(spec, strangers) if prune else []
    changes += map(_destroy, doomed)
    gone = {stream.uuid for stream in doomed}
    there = (stream for stream in snapshot.values() if stream.uuid not in gone)
    met = collisions(changes, spec, there, found.origins(spec), found.by_uuid)
    reasons = stuck(changes, met)
    changes = [_stuck(change, reasons[id(change)]) if id(change) in reasons else change for change in changes]
    changes.sort(key=lambda change: (change.collection, change.name, change.uuid.int))
    staying = (stream for stream in strangers if stream.uuid not in gone)
    first = heapq.nsmallest(SHOWN_UNMANAGED, ((stream.collection, stream.name, stream.uuid) for stream in staying))
    return Plan(
        changes=tuple(changes),
        unchanged=unchanged,
        unmanaged=len(strangers) - len(doomed),
        unmanaged_first=tuple(Unmanaged(collection, name, uuid_of(uuid)) for collection, name, uuid in first),
        scope=spec.scope,
        shard=shard,
    )


def _doomed(spec: Spec, strangers: Iterable[StoredStream]) -> list[StoredStream]:
    """A stream without a name is none of them: no specification could keep it. Nor is one with the uuid that a row
    would get: it is perhaps the row's own, renamed by somebody, and a uuid that is gone never comes back.
    """
    kept = {row.collection for row in spec.streams if row.prevent_destroy}
    doomed = [
        stream
        for stream in strangers
        if stream.name and stream.collection.startswith(spec.prefixes) and stream.collection not in kept
    ]
    derived = {row.new_uuid(spec.namespace).bytes for row in spec.streams if row.uuid is None} if doomed else set()
    return [stream for stream in doomed if stream.uuid not in derived]


class _Found:
    """The catalogue, arranged by what the specification asks of it."""

    def __init__(self, spec: Spec, snapshot: Snapshot, elsewhere: Snapshot) -> None:
        self._snapshot, self._elsewhere = snapshot, elsewhere
        self._claimed = {row.uuid.bytes for row in spec.streams if row.uuid is not None}
        self._named: dict[Path, list[UUID]] = defaultdict(list)
        for row in spec.streams:
            if row.uuid is not None:
                self._named[row.path].append(row.uuid)
        self._at: dict[Path, list[StoredStream] | StoredStream | None] = {
            row.path: None for row in spec.streams if row.uuid is None
        }
        self._at |= {row.moved_from: None for row in spec.streams if row.moved_from is not None}
        self.strangers: list[StoredStream] = []
        """Streams that no row can mean."""
        for stream in snapshot.values():
            if stream.uuid not in self._claimed:
                self._put(stream)
            elif stream.path in self._at:
                self._named[stream.path].append(uuid_of(stream.uuid))

    def by_uuid(self, uuid: UUID) -> StoredStream | None:
        """The stream that has it, wherever it is."""
        return self._snapshot.get(uuid.bytes) or self._elsewhere.get(uuid.bytes)

    def _put(self, stream: StoredStream) -> None:
        path = stream.path
        if path not in self._at:
            self.strangers.append(stream)
            return
        there = self._at[path]
        if there is None:
            self._at[path] = stream
        elif isinstance(there, list):
            there.append(stream)
        else:
            self._at[path] = [there, stream]  # a list for each of many would cost as much as the streams

    def named(self, path: Path) -> tuple[UUID, ...]:
        """The uuids named by rows whose streams have this collection and name, or are to have them."""
        return tuple(sorted(set(self._named.get(path, ()))))

    def at(self, path: Path | None) -> Sequence[StoredStream]:
        """The streams of this collection and name, without those that a row names by uuid."""
        there = self._at.get(path) if path is not None else None
        return there if isinstance(there, list) else () if there is None else (there,)

    def origins(self, spec: Spec) -> set[Path]:
        """Where one stream is that a row takes from there; of several none is taken."""
        places = {row.moved_from for row in spec.streams if row.moved_from is not None}
        return {place for place in places if len(self.at(place)) == 1}


def _change(row: WantedStream, spec: Spec, found: _Found, shared: Sharing) -> Change | None:
    """What is to be done for one row; None when its stream is as it should be."""
    uuid = row.uuid
    if uuid is not None:
        stream = found.by_uuid(uuid)
        return _create(row, uuid, (), shared) if stream is None else _update(row, stream, shared)
    here, origin = found.at(row.path), found.at(row.moved_from)
    if here and origin:
        return _ambiguous(row, spec, [*here, *origin], BOTH)
    candidates = here or origin
    if len(candidates) > 1:
        return _ambiguous(row, spec, candidates, SEVERAL)
    if candidates:
        return _update(row, candidates[0], shared)
    uuid = row.new_uuid(spec.namespace)
    holder = found.by_uuid(uuid)
    if holder is None:
        return _create(row, uuid, found.named(row.path), shared)
    return _update(row, holder, shared) if holder.path == row.path else _taken(row, uuid, holder)


def _update(row: WantedStream, stream: StoredStream, shared: Sharing) -> Change | None:
    moves = stream.path != row.path
    if (
        not moves
        and row.annotations == stream.annotations
        and row.unit in (None, stream.unit)
        and row.ingress in (None, stream.ingress)
        and row.distiller in (None, stream.distiller)
    ):
        return None  # most streams, most of the time
    differences = [*_places(row, stream), *_tags(row, stream), *_annotations(row, stream)]
    if not differences:
        return None
    return Change(
        kind="move" if moves else "update",
        collection=row.collection,
        name=row.name,
        uuid=uuid_of(stream.uuid),
        property_version=stream.property_version,
        differences=tuple(map(shared, differences)),
    )


def _places(row: WantedStream, stream: StoredStream) -> Iterator[Difference]:
    for field, old, new in (("collection", stream.collection, row.collection), ("name", stream.name, row.name)):
        if old != new:
            yield Difference(field, "set", old, new)


def _tags(row: WantedStream, stream: StoredStream) -> Iterator[Difference]:
    for key in TAG_KEYS[1:]:
        old, new = getattr(stream, key), getattr(row, key)
        if new is not None and new != old and key not in row.ignore_changes:
            yield Difference(key, "set", old, new)


def _annotations(row: WantedStream, stream: StoredStream) -> Iterator[Difference]:
    there, wanted = dict(stream.annotations), dict(row.annotations)
    for key, new in wanted.items():
        field = f"{ANNOTATION}{key}"
        if field in row.ignore_changes:
            continue
        if key not in there:
            yield Difference(field, "add", None, new)
        elif there[key] != new:
            yield Difference(field, "set", there[key], new)
    for key, old in there.items():
        field = f"{ANNOTATION}{key}"
        owned = EVERY in row.owns or key in row.owns
        if key not in wanted and owned and field not in row.ignore_changes:
            yield Difference(field, "remove", old, None)


def _create(row: WantedStream, uuid: UUID, rivals: tuple[UUID, ...], shared: Sharing) -> Change:
    tags = [(key, getattr(row, key)) for key in TAG_KEYS[1:]]
    differences = [Difference(key, "add", None, value) for key, value in tags if value is not None]
    differences += [Difference(f"{ANNOTATION}{key}", "add", None, value) for key, value in row.annotations]
    return Change(
        kind="create",
        collection=row.collection,
        name=row.name,
        uuid=uuid,
        differences=shared(tuple(map(shared, differences))),
        explicit=row.uuid is not None,
        rivals=rivals,
        ignore_changes=row.ignore_changes,
    )


def _ambiguous(row: WantedStream, spec: Spec, candidates: Iterable[StoredStream], detail: str) -> Change:
    rivals = tuple(sorted(uuid_of(stream.uuid) for stream in candidates))
    return Change(
        kind="ambiguous",
        collection=row.collection,
        name=row.name,
        uuid=row.new_uuid(spec.namespace),
        rivals=rivals,
        detail=detail.format(len(rivals)),
    )


def _taken(row: WantedStream, uuid: UUID, holder: StoredStream) -> Change:
    return Change(
        kind="taken",
        collection=row.collection,
        name=row.name,
        uuid=uuid,
        detail=f"the uuid that it would get belongs to {'/'.join(holder.path)}: name that place in moved_from to take "
        "the stream back, or raise the generation for a new one",
    )


def _destroy(stream: StoredStream) -> Change:
    return Change(
        kind="destroy",
        collection=stream.collection,
        name=stream.name,
        uuid=uuid_of(stream.uuid),
        property_version=stream.property_version,
    )


def _stuck(change: Change, detail: str) -> Change:
    return replace(change, kind="taken", differences=(), rivals=(), detail=detail)
