"""Which changes would give two streams one collection and the same tags, which no server takes. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from uuid import UUID

from airflow_provider_btrdb.catalog.streams import StoredStream
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.provision.plans import Change
from airflow_provider_btrdb.provision.specs import Path, Spec

_Key = tuple[str, ...]
"""Collection and tags."""


def collisions(
    changes: Sequence[Change],
    spec: Spec,
    staying: Iterable[StoredStream],
    origins: Container[Path],
    by_uuid: Callable[[UUID], StoredStream | None],
) -> dict[int, UUID]:
    """By the `id` of such a change: another of these streams.

    `staying` are the streams that are not to be destroyed, `origins` the places from which a row takes the only one.
    """
    takers = [change for change in changes if _takes(change)]
    if not takers:
        return {}
    places: set[Path] = {(change.collection, change.name) for change in takers}
    moving = {change.uuid.bytes for change in takers}
    homes = {row.uuid.bytes: row.path for row in spec.streams if row.uuid is not None}
    held: dict[_Key, list[UUID]] = defaultdict(list)
    for stream in staying:
        if stream.path in places and stream.uuid not in moving:
            # Of a stream that leaves, the change may be in the plan of another shard.
            home = homes.get(stream.uuid, None if stream.path in origins else stream.path)
            if home == stream.path:
                held[stream.collection, *_tags(stream)].append(uuid_of(stream.uuid))
    keys = {id(change): _key(change, by_uuid(change.uuid)) for change in takers}
    for change in takers:
        held[keys[id(change)]].append(change.uuid)
    met: dict[int, UUID] = {}
    for uuids in held.values():
        uuids.sort()
    for change in takers:
        uuids = held[keys[id(change)]]
        if len(uuids) > 1:
            met[id(change)] = uuids[0] if uuids[0] != change.uuid else uuids[1]
    return met


def _takes(change: Change) -> bool:
    """Can it meet another stream? One that is created where no other row is cannot."""
    if change.kind == "create":
        return change.explicit or bool(change.rivals)
    tags = any(one.field in TAG_KEYS for one in change.differences)
    return change.kind == "move" or (change.kind == "update" and tags)


def _tags(stream: StoredStream | None) -> tuple[str, ...]:
    return tuple("" if stream is None else getattr(stream, key) for key in TAG_KEYS)


def _key(change: Change, stream: StoredStream | None) -> _Key:
    """Afterwards."""
    new = {one.field: one.new or "" for one in change.differences if one.field in TAG_KEYS}
    tags = {**dict(zip(TAG_KEYS, _tags(stream), strict=True)), **new, "name": change.name}
    return change.collection, *tags.values()
