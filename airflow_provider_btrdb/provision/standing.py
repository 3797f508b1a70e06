"""What a stream as it is now says of a planned change: done, half done, or overtaken. Pure."""

from __future__ import annotations

from typing import Literal

from airflow_provider_btrdb.catalog.streams import ANNOTATION, StoredStream
from airflow_provider_btrdb.client.updates import Update
from airflow_provider_btrdb.provision.plans import Change, Difference

Standing = Literal["done", "half", "stale"]


def update_of(change: Change) -> Update:
    """The two calls that make a change, as values."""
    tags, annotations, removed = {}, {}, []
    collection = None
    for field, operation, _, new in change.differences:
        if field.startswith(ANNOTATION):
            if operation == "remove":
                removed.append(field[len(ANNOTATION) :])
            else:
                annotations[field[len(ANNOTATION) :]] = new
        elif field == "collection":
            collection = new
        else:
            tags[field] = new or ""
    return Update(tags=tags, collection=collection, annotations=annotations, remove_annotations=tuple(removed))


def standing(change: Change, stream: StoredStream) -> Standing:
    """After the server refused an update because of the property version.

    "done": all of it is there. "half": tags and collection are as wanted, annotations as planned, and the version is
    one above the planned one: the first of the two calls was made, so the second may follow. "stale": anything else.
    """
    if holds(change, stream):
        return "done"
    annotations = dict(stream.annotations)
    one_call = stream.property_version == change.property_version + 1
    first_half = all(
        _as_before(one, annotations) if _is_annotation(one) else _as_wanted(one, stream, annotations)
        for one in change.differences
    )
    return "half" if one_call and first_half else "stale"


def holds(change: Change, stream: StoredStream) -> bool:
    """Is the stream where the change wants it, with everything that it says and others may not change?"""
    annotations = dict(stream.annotations)
    return stream.path == (change.collection, change.name) and all(
        one.field in change.ignore_changes or _as_wanted(one, stream, annotations) for one in change.differences
    )


def _is_annotation(difference: Difference) -> bool:
    return difference.field.startswith(ANNOTATION)


def _as_wanted(difference: Difference, stream: StoredStream, annotations: dict[str, str | None]) -> bool:
    if not _is_annotation(difference):
        return bool(getattr(stream, difference.field) == difference.new)
    key = difference.field[len(ANNOTATION) :]
    if difference.operation == "remove":
        return key not in annotations
    return key in annotations and annotations[key] == difference.new


def _as_before(difference: Difference, annotations: dict[str, str | None]) -> bool:
    key = difference.field[len(ANNOTATION) :]
    if difference.operation == "add":
        return key not in annotations
    return key in annotations and annotations[key] == difference.old
