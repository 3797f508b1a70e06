"""Metadata and SQL: values <-> messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import DecodeError

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


def to_key_values(values: Mapping[str, str | None]) -> list[pb.KeyOptValue]:
    """A mapping -> KeyOptValue list; None becomes an absent value. Raises InputError naming what is not text."""
    pairs = []
    for key, value in values.items():
        try:
            val = None if value is None else pb.OptValue(value=value)
            pairs.append(pb.KeyOptValue(key=key, val=val))
        except (TypeError, ValueError):
            raise InputError(f"{key!r}: {value!r} must be text to text") from None
    return pairs


def from_key_values(pairs: Iterable[pb.KeyOptValue]) -> dict[str, str | None]:
    """The inverse of `to_key_values`; the text is exactly what is stored."""
    return {pair.key: pair.val.value if pair.HasField("val") else None for pair in pairs}


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
    """JSON objects, one a row -> dictionaries. Joined to one document: half the cost of one by one."""
    try:
        found = json.loads(b"[" + b",".join(rows) + b"]")
    except ValueError as error:
        raise ProtocolError(f"the server sent a row that is not JSON: {error}", method="SQLQuery") from None
    if len(found) != len(rows) or not all(isinstance(row, dict) for row in found):
        raise ProtocolError("the server sent a row that is not one JSON object", method="SQLQuery")
    return found  # type: ignore[no-any-return]
