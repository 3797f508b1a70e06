"""Metadata and SQL: values <-> messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError
from pydantic_core import from_json

from airflow_provider_btrdb.client.errors import InputError, ProtocolError
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

M = TypeVar("M")


def request(kind: Callable[..., M], **fields: Any) -> M:
    """A message of this kind, or an InputError where protobuf refuses a field (wrong type, out of range, no UTF-8)."""
    try:
        return kind(**fields)
    except UnicodeError:
        raise InputError("this holds what is no text that UTF-8 can carry (half of a surrogate pair)") from None
    except (TypeError, ValueError) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in fields.items() if isinstance(value, str | int | float))
        raise InputError(f"these arguments cannot be sent ({shown}): {error}") from None


UNREADABLE: Any = object()
"""Stands for a reply that is no message of its kind."""


def readable(kind: Any) -> Callable[[bytes], Any]:
    """A deserializer that never raises: asyncio's gRPC would take its exception for the end of the stream."""

    def read(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            return UNREADABLE

    return read


def to_key_values(values: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """A mapping -> KeyOptValues for `request`; None becomes an absent value. Raises InputError naming what is not text.

    As dictionaries, since protobuf makes a message of nested dictionaries three times as fast as of nested messages.
    """
    for key, value in values.items():
        if not isinstance(key, str) or not (value is None or isinstance(value, str)):
            raise InputError(f"{key!r}: {value!r} must be text to text")
    return [{"key": key, "val": None if value is None else {"value": value}} for key, value in values.items()]


def from_key_values(pairs: Iterable[pb.KeyOptValue]) -> dict[str, str | None]:
    """The inverse of `to_key_values`; the text is exactly what is stored."""
    # Asked only of empty text, since the question costs as much as the value.
    return {pair.key: pair.val.value or ("" if pair.HasField("val") else None) for pair in pairs}


def create_request(
    uuid: UUID, collection: str, tags: Mapping[str, str], annotations: Mapping[str, str | None]
) -> pb.CreateParams:
    """The request for a stream. Raises InputError for what cannot be sent."""
    return request(
        pb.CreateParams,
        uuid=uuid.bytes,
        collection=collection,
        tags=to_key_values(tags),
        annotations=to_key_values(annotations),
    )


def to_sql_parameters(params: Sequence[Any]) -> list[str]:
    """Parameters travel as text; None has no text form. Raises InputError naming the parameter."""
    if isinstance(params, str | bytes) or not isinstance(params, Sequence):
        raise InputError(f"SQL parameters are a list or a tuple, not a {type(params).__name__}")
    return [_to_sql_text(value, number) for number, value in enumerate(params, start=1)]


def _to_sql_text(value: Any, number: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal | UUID):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None:
        raise InputError(f"SQL parameter ${number} is None, which cannot travel: write NULL in the statement")
    raise InputError(f"SQL parameter ${number} is a {type(value).__name__}, which has no text form")


def from_sql_rows(rows: Sequence[bytes]) -> list[dict[str, Any]]:
    """JSON objects, one a row -> dictionaries. (pydantic parses them in two thirds of the time that `json` takes.)"""
    try:
        found = [from_json(row) for row in rows]
    except ValueError as error:
        raise ProtocolError(f"the server sent a row that is not JSON: {error}", method="SQLQuery") from None
    if not all(isinstance(row, dict) for row in found):
        raise ProtocolError("the server sent a row that is not one JSON object", method="SQLQuery")
    return found
