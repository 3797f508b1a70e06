"""Stream descriptors between rows of the database and messages of the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

COLUMNS = (
    "uuid, collection, name, unit, ingress, distiller, property_version, "
    "akeys(annotations) AS keys, avals(annotations) AS vals"
)
"""What `descriptor` reads, in this order."""


def descriptor(row: tuple[Any, ...]) -> pb.StreamDescriptor:
    """A row of COLUMNS as a message; annotations are sorted by key."""
    message = pb.StreamDescriptor(uuid=row[0].bytes, collection=row[1], property_version=row[6])
    for key, value in zip(TAG_KEYS, row[2:6], strict=True):
        message.tags.add(key=key).val.value = value
    for key, value in sorted(zip(row[7], row[8], strict=True)):
        pair = message.annotations.add(key=key)
        if value is not None:
            pair.val.value = value
            pair.val.SetInParent()
    return message


def hstore(annotations: Mapping[str, str | None]) -> str:
    """A literal of PostgreSQL's hstore."""
    return ",".join(
        f"{_quoted(key)}=>{'NULL' if value is None else _quoted(value)}" for key, value in annotations.items()
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def tag_values(tags: Mapping[str, str]) -> list[str]:
    """All four, in the order of the columns; what nobody set is empty."""
    return [tags.get(key, "") for key in TAG_KEYS]
