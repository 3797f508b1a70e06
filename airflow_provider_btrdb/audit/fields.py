"""What of a stream a check can look at, and the two ways to ask for it: of a value here, and in SQL. Makes no calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

from airflow_provider_btrdb.catalog.streams import ANNOTATION, StoredStream
from airflow_provider_btrdb.client.codec import from_key_values
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.documents import problems
from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

FIELDS = ("collection", *TAG_KEYS, "uuid")


class Seen(NamedTuple):
    """A stream as a listing shows it."""

    uuid: bytes
    """16 bytes"""
    collection: str
    tags: dict[str, str | None]
    annotations: dict[str, str | None]


Value = Callable[[Seen], str | None]
"""None where a stream has nothing: no such annotation, null, or an empty tag, as every stream has all tags."""


def of_descriptor(found: pb.StreamDescriptor) -> Seen:
    """From a page of a listing."""
    return Seen(found.uuid, found.collection, from_key_values(found.tags), from_key_values(found.annotations))


def of_stored(stream: StoredStream) -> Seen:
    """From a value of the catalogue."""
    tags: dict[str, str | None] = {key: getattr(stream, key) for key in TAG_KEYS}
    return Seen(stream.uuid, stream.collection, tags, dict(stream.annotations))


def is_field(name: str) -> bool:
    """`collection`, a tag, `uuid`, or `annotations.KEY`."""
    return name in FIELDS or (name.startswith(ANNOTATION) and len(name) > len(ANNOTATION))


@cache
def value_of(field: str) -> Value:
    """How to find the field's value."""
    if field == "collection":
        return lambda seen: seen.collection
    if field == "uuid":
        return lambda seen: str(uuid_of(seen.uuid))
    if field.startswith(ANNOTATION):
        key = field[len(ANNOTATION) :]
        return lambda seen: seen.annotations.get(key)
    return lambda seen: seen.tags.get(field) or None


class Sql:
    """A statement in the making: its text refers to `texts` as `$1`, `$2` ..."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def text(self, value: str) -> str:
        """The place of a text; equal texts share one."""
        if value not in self.texts:
            self.texts.append(value)
        return f"${self.texts.index(value) + 1}::text"

    def any_of(self, values: Iterable[str]) -> str:
        """An array of texts."""
        return f"ARRAY[{', '.join(map(self.text, values))}]::text[]"

    def named(self, query: str) -> str:
        """The uuids of a user's query, as texts."""
        return f"(SELECT named.uuid::text FROM (\n{query}\n) AS named)"  # noqa: S608 - the user's own SQL

    def value(self, field: str) -> str:
        """What `value_of` finds; NULL where it finds None."""
        if field.startswith(ANNOTATION):
            return f"(annotations -> {self.text(field[len(ANNOTATION) :])})"
        if field == "uuid":
            return "uuid::text"
        if field == "collection":
            return "collection::text"
        return f"nullif({field}::text, '')"


def shown(value: object) -> str:
    """A stored text for a sentence; texts of streams are cut later than what users write."""
    return problems.shown(value, 120)
