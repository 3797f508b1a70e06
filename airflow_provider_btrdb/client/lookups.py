"""Pure decisions about finding streams: what an identifier means, what to ask for, which rows mean one stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.client.codec import from_key_values, to_key_values
from airflow_provider_btrdb.client.codec import request as request_of
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.client.models import StreamSpec
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


def flattened(identifiers: Iterable[Any]) -> list[UUID | str]:
    """Single identifiers and iterables of them, one level deep, as one list."""
    flat: list[UUID | str] = []
    for item in identifiers:
        if isinstance(item, UUID | str):
            flat.append(item)
        elif isinstance(item, Iterable):
            flat.extend(item)
        else:
            raise InputError(f"{item!r} is neither a uuid nor collection/name")
    return flat


def parse_identifier(identifier: UUID | str) -> tuple[UUID | None, str, str]:
    """A uuid, or the collection and name of `collection/name` (the name is what follows the last slash)."""
    if isinstance(identifier, UUID):
        return identifier, "", ""
    if not isinstance(identifier, str):
        raise InputError(f"{identifier!r} is neither a uuid nor collection/name")
    collection, slash, name = identifier.rpartition("/")
    if slash:
        if not collection or not name:
            raise InputError(f"{identifier!r} is not collection/name: one of the two is empty")
        return None, collection, name
    try:
        return UUID(identifier), "", ""
    except ValueError:
        raise InputError(f"{identifier!r} is neither a uuid nor collection/name") from None


def lookup_requests(
    collections: Sequence[str],
    is_prefix: bool,
    tags: Mapping[str, str | None] | None,
    annotations: Mapping[str, str | None] | None,
) -> Iterator[pb.LookupStreamsParams]:
    """One request for each collection; without collections one for the whole catalogue.

    Of prefixes that contain each other only the shortest is asked, so that no stream comes twice.
    """
    for name in collections:
        if not isinstance(name, str):
            raise InputError(f"collection {name!r} must be text")
    wanted = list(dict.fromkeys(collections))
    if is_prefix:
        wanted = [name for name in wanted if not any(name != other and name.startswith(other) for other in wanted)]
    if not collections:
        wanted, is_prefix = [""], True
    for name in wanted:
        yield request_of(
            pb.LookupStreamsParams,
            collection=name,
            is_collection_prefix=is_prefix,
            tags=to_key_values(tags or {}),
            annotations=to_key_values(annotations or {}),
        )


def same_stream(found: pb.StreamDescriptor, wanted: pb.CreateParams) -> bool:
    """Is this the stream that was asked for: same collection, tags (one not given is "") and annotations?"""

    def tags(message: pb.StreamDescriptor | pb.CreateParams) -> dict[str, str]:
        return {key: value for key, value in from_key_values(message.tags).items() if value}

    return (
        found.collection == wanted.collection
        and tags(found) == tags(wanted)
        and from_key_values(found.annotations) == from_key_values(wanted.annotations)
    )


def checked_specs(rows: Iterable[Any], namespace: UUID) -> list[tuple[StreamSpec, UUID]]:
    """Specifications with the uuid that each would be created with. Raises InputError naming the row.

    Two rows may not mean one stream: neither the same uuid, nor the same collection and name both without a uuid.
    """
    specs: list[tuple[StreamSpec, UUID]] = []
    first_row: dict[UUID, int] = {}
    for number, row in enumerate(rows, start=1):
        spec = StreamSpec.of(row, f"row {number}")
        uuid = spec.uuid or derived_uuid(spec.collection, spec.name, namespace=namespace)
        earlier = first_row.setdefault(uuid, number)
        if earlier != number:
            raise InputError(f"rows {earlier} and {number} mean one stream: {spec.path} with uuid {uuid}")
        specs.append((spec, uuid))
    return specs


def shown(items: Iterable[Any], most: int = 3) -> str:
    """The first few items for an error message."""
    iterator = iter(items)
    head = [str(item) for item in islice(iterator, most)]
    return ", ".join(head) + (", ..." if next(iterator, None) is not None else "")
