"""The uuid of a stream that nobody gave one: derived from its collection and name, the same on every machine."""

from __future__ import annotations

import json
from uuid import NAMESPACE_DNS, UUID, SafeUUID, uuid5

from airflow_provider_btrdb.client.errors import InputError, ProtocolError

DEFAULT_NAMESPACE = uuid5(NAMESPACE_DNS, "airflow-provider-btrdb")
_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def derived_uuid(collection: str, name: str, *, generation: int = 0, namespace: UUID = DEFAULT_NAMESPACE) -> UUID:
    """uuid5 over the compact UTF-8 JSON of [collection, name], with the generation appended only when it is above 0.

    The text is taken as it is: nothing is normalised, so two spellings are two streams. `generation` gives a stream
    a new uuid after the old one was obliterated, since BTrDB never takes a uuid twice.
    """
    if generation < 0:
        raise InputError(f"generation is {generation} and must not be negative")
    parts: list[str | int] = [collection, name]
    if generation > 0:
        parts.append(generation)
    try:
        return uuid5(namespace, _text(parts))
    except UnicodeEncodeError as error:
        raise InputError(f"{collection!r}/{name!r} cannot be written as UTF-8: {error.reason}") from None


def uuid_of(data: bytes) -> UUID:
    """The UUID of the 16 bytes that a server sent. Raises ProtocolError.

    Does what the constructor does once it has looked at its six arguments, in a third of the time: there is one for
    every stream of a listing.
    """
    if len(data) != 16:
        raise ProtocolError(f"the server sent a uuid of {len(data)} bytes instead of 16")
    uuid = UUID.__new__(UUID)
    object.__setattr__(uuid, "int", int.from_bytes(data))
    object.__setattr__(uuid, "is_safe", SafeUUID.unknown)
    return uuid


def parse_uuid(value: UUID | str, what: str = "uuid") -> UUID:
    """A UUID from a UUID or its text in any case. Raises InputError."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise InputError(f"{what} {value!r} is not a uuid") from None
