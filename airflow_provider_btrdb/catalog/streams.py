"""One stream of a catalogue as a compact value, so that a hundred thousand of them fit into little memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

from airflow_provider_btrdb.client.codec import from_key_values
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

H = TypeVar("H", bound=Hashable)

ANNOTATION = "annotations."
"""Before the key, where an annotation is named as a field beside the tags."""

Annotations = tuple[tuple[str, str | None], ...]
"""Pairs of a key and a value (None is null), sorted by key."""


class StoredStream(NamedTuple):
    """What the server says of a stream."""

    uuid: bytes
    """16 bytes"""
    collection: str
    name: str
    unit: str
    ingress: str
    distiller: str
    annotations: Annotations
    property_version: int

    @property
    def path(self) -> tuple[str, str]:
        """Collection and name: what people know it by."""
        return self.collection, self.name


class Sharing:
    """Equal values become one object: most texts of a catalogue occur in many of its streams.

    Holds what it has seen, so it lives no longer than the reading.
    """

    def __init__(self) -> None:
        self._seen: dict[Any, Any] = {}

    def __call__(self, value: H) -> H:
        """The first value that was equal to this one."""
        shared: H = self._seen.setdefault(value, value)
        return shared


def sorted_annotations(values: Mapping[str, str | None], shared: Sharing | None = None) -> Annotations:
    """A mapping in the form of `StoredStream.annotations`. Pairs are shared, as whole sets seldom occur twice."""
    pairs = sorted(values.items()) if len(values) > 1 else values.items()
    return tuple(pairs) if shared is None else tuple(map(shared, pairs))


def printable(text: str) -> str:
    """One line without control characters, which a terminal would obey: names are data of others."""
    return text if text.isprintable() else repr(text)[1:-1]


def reader() -> Callable[[pb.StreamDescriptor], StoredStream]:
    """Makes values of descriptors; those that come from one reader share their texts."""
    shared = Sharing()

    def read(descriptor: pb.StreamDescriptor) -> StoredStream:
        tags = from_key_values(descriptor.tags)
        return StoredStream(
            descriptor.uuid,
            shared(descriptor.collection),
            shared(tags.get("name") or ""),
            shared(tags.get("unit") or ""),
            shared(tags.get("ingress") or ""),
            shared(tags.get("distiller") or ""),
            sorted_annotations(from_key_values(descriptor.annotations), shared),
            descriptor.property_version,
        )

    return read
