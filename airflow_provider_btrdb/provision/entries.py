"""What users write, as pydantic models, and the texts that no server takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, PlainValidator

from airflow_provider_btrdb.catalog.streams import ANNOTATION
from airflow_provider_btrdb.documents.faults import nearest
from airflow_provider_btrdb.documents.problems import Problem, Written, refused
from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.provision.specs import EVERY

ENTRIES = "streams"
"""The key of a file that holds its entries."""
MOST_BYTES = 255
"""Of a collection, a tag and an annotation key, in UTF-8: the server's limit."""
_IGNORABLE = TAG_KEYS[1:]


def _uuid(value: Any) -> UUID | None:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise refused(f"is {value!r}, which is no uuid") from None


def _generation(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)  # a cell of a table, or a rendered template
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise refused(f"is {value!r} and must be a whole number, 0 or more")
    return value


def _moved_from(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        collection, _, name = value.rpartition("/")
        parts: Any = (collection, name)
    else:
        parts = value if isinstance(value, list | tuple) and len(value) == 2 else ("", "")
    if not all(isinstance(part, str) and part for part in parts):
        raise refused(f"is {value!r} and must be collection/name, or a list of the two where the name has a slash")
    return parts[0], parts[1]


def _owns(value: Any) -> tuple[str, ...]:
    keys = [value] if value == EVERY else value
    if not isinstance(keys, list) or not all(isinstance(key, str) and key for key in keys):
        raise refused(f"is {value!r} and must be a list of annotation keys, or '*' for all")
    return tuple(sorted(set(keys)))


def _ignored(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(field, str) for field in value):
        raise refused(f"is {value!r} and must be a list of tags and annotations.KEY")
    for field in value:
        if field not in _IGNORABLE and not (field.startswith(ANNOTATION) and len(field) > len(ANNOTATION)):
            raise refused(f"{field!r} cannot be ignored{nearest(field, (*_IGNORABLE, 'annotations.KEY'))}")
    return tuple(sorted(set(value)))


class Defaults(Written):
    """What entries have unless they say otherwise; annotations are merged key by key."""

    unit: str | None = None
    ingress: str | None = None
    distiller: str | None = None
    annotations: dict[str, str | None] = Field(default_factory=dict)
    owns: Annotated[tuple[str, ...], PlainValidator(_owns)] = ()
    ignore_changes: Annotated[tuple[str, ...], PlainValidator(_ignored)] = ()
    prevent_destroy: bool = False


class Entry(Defaults):
    """One stream, after `for_each` was written out and templates were rendered."""

    collection: str
    name: str
    uuid: Annotated[UUID | None, PlainValidator(_uuid)] = None
    generation: Annotated[int, PlainValidator(_generation)] = 0
    moved_from: Annotated[tuple[str, str] | None, PlainValidator(_moved_from)] = None


class Top(Written):
    """The top of a file, without its streams."""

    namespace: Annotated[UUID | None, PlainValidator(_uuid)] = None
    prefixes: list[str] = Field(default_factory=list)
    templates: bool = True
    defaults: dict[str, Any] = Field(default_factory=dict)


FOR_EACH = "for_each"
ENTRY_FIELDS = tuple(dict.fromkeys(("collection", "name", *Entry.model_fields, FOR_EACH)))
TOP_FIELDS = (*Top.model_fields, ENTRIES)
DEFAULT_FIELDS = tuple(Defaults.model_fields)


def canonical(value: Any) -> Any:
    """An annotation that is a mapping or a list -> compact JSON text with sorted keys; all else as it is."""
    if isinstance(value, str) or not isinstance(value, Mapping | list):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError):
        return value  # it holds a date or another thing without JSON; refused as no text


def texts_of(written: Mapping[str, Any]) -> Entry:
    """The texts of an entry that is none, so that what is wrong with them is told with all the rest."""
    notes = written.get("annotations")
    notes = notes if isinstance(notes, Mapping) else {}
    texts = {"collection": "unknown", "name": "unknown"}
    texts |= {field: value for field in ("collection", *TAG_KEYS) if isinstance(value := written.get(field), str)}
    kept = {key: text for key, text in notes.items() if isinstance(key, str) and isinstance(text, str)}
    return Entry.model_construct(None, annotations=kept, **texts)


def text_problems(entry: Entry) -> Iterator[Problem]:
    """Texts that the server would refuse."""
    notes = entry.annotations
    parts = (entry.collection, entry.name, entry.unit, entry.ingress, entry.distiller, *notes, *notes.values())
    whole = "".join([part for part in parts if part])
    whole_is_fine = len(whole) <= MOST_BYTES and whole.isascii() and "\0" not in whole
    if whole_is_fine and entry.collection and entry.name and "" not in notes:
        return  # all texts of most entries together are within the limit of each
    for field, value in (("collection", entry.collection), ("name", entry.name)):
        if not value:
            yield (field,), value, "is empty"
    for field in ("collection", *TAG_KEYS):
        yield from _limits((field,), getattr(entry, field) or "", MOST_BYTES)
    for key, text in entry.annotations.items():
        yield from _limits(("annotations", key), key, MOST_BYTES, "the key ")
        if not key:
            yield ("annotations", key), key, "the key is empty"
        yield from _limits(("annotations", key), text or "", None)


def _limits(where: tuple[str | int, ...], text: str, most: int | None, what: str = "") -> Iterator[Problem]:
    if text.isascii():
        length = len(text)
    else:
        try:
            length = len(text.encode())
        except UnicodeEncodeError:
            yield where, text, f"{what}holds what is no text that UTF-8 can carry (half of a surrogate pair)"
            return
    if most is not None and length > most:
        yield where, text, f"{what}has {length} bytes; the most are {most}"
    if "\0" in text:
        yield where, text, f"{what}holds a NUL character"
