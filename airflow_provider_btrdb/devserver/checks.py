"""What a request may contain: pure checks, one named function per rule, in the order of the v4 server."""

from __future__ import annotations

import uuid as uuidlib
from collections.abc import Iterable, Mapping

from airflow_provider_btrdb.devserver.errors import Refusal
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS, TAG_KEYS, Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

MAX_TEXT_BYTES = 255
"""Of a collection, a tag value and an annotation key, in UTF-8."""
MAX_ANNOTATION_VALUE_CHARS = 255
MAX_ANNOTATIONS_BYTES = 2 << 20
MAX_POINT_WIDTH = 63


def stream_uuid(raw: bytes) -> uuidlib.UUID:
    """The 16 bytes of a request as a uuid; 421 for any other length."""
    if len(raw) != 16:
        raise Refusal(Code.WRONG_ARGUMENTS, f"a uuid has 16 bytes, not {len(raw)}")
    return uuidlib.UUID(bytes=raw)


def collection(name: str) -> None:
    """1 to 255 bytes without NUL; a trailing slash is legal."""
    if not 1 <= len(name.encode()) <= MAX_TEXT_BYTES or "\0" in name:
        raise Refusal(Code.INVALID_COLLECTION, "invalid collection name")


def tag_key(key: str) -> None:
    """One of the four keys that every stream has."""
    if key not in TAG_KEYS:
        raise Refusal(Code.INVALID_TAG_KEY, f'tag key "{key}" is invalid')


def tag_value(key: str, value: str) -> None:
    """At most 255 bytes without NUL; the empty string is legal."""
    if len(value.encode()) > MAX_TEXT_BYTES or "\0" in value:
        raise Refusal(Code.INVALID_TAG_VALUE, f'invalid value for tag "{key}"')


def annotation_key(key: str) -> None:
    """Any text of 1 to 255 bytes without NUL (version 4 was stricter)."""
    if not 1 <= len(key.encode()) <= MAX_TEXT_BYTES or "\0" in key:
        raise Refusal(Code.INVALID_TAG_KEY, "annotation key is invalid")


def annotation_value(key: str, value: str | None) -> None:
    """At most 255 characters without NUL, as the client's documentation says; null is legal."""
    if value is not None and (len(value) > MAX_ANNOTATION_VALUE_CHARS or "\0" in value):
        raise Refusal(Code.INVALID_TAG_VALUE, f'invalid value for annotation "{key}"')


def annotations_size(annotations: Mapping[str, str | None]) -> None:
    """All keys and values of one stream together."""
    if sum(len(key.encode()) + len((value or "").encode()) for key, value in annotations.items()) > (
        MAX_ANNOTATIONS_BYTES
    ):
        raise Refusal(Code.ANNOTATIONS_TOO_BIG, "annotations cannot exceed 2MB")


def tags_of(pairs: Iterable[pb.KeyOptValue]) -> dict[str, str]:
    """Tags of a request, checked; one without a value is empty."""
    tags = {pair.key: pair.val.value for pair in pairs}
    for key in tags:
        tag_key(key)
    for key, value in tags.items():
        tag_value(key, value)
    return tags


def annotations_of(pairs: Iterable[pb.KeyOptValue]) -> dict[str, str | None]:
    """Annotations of a request, checked; None is a null value."""
    annotations = {pair.key: pair.val.value if pair.HasField("val") else None for pair in pairs}
    for key in annotations:
        annotation_key(key)
    for key, value in annotations.items():
        annotation_value(key, value)
    return annotations


def searched(text: str) -> str:
    """A text that a lookup compares with; NUL is in no stored text and PostgreSQL does not take it."""
    if "\0" in text:
        raise Refusal(Code.INVALID_PARAMETER, "a NUL byte matches nothing")
    return text


def time_range(start: int, end: int) -> None:
    """[start, end) of a read or a delete."""
    if start < MIN_TIME_NS or end >= MAX_TIME_NS:
        raise Refusal(Code.INVALID_TIME_RANGE, "time range out of bounds")
    if start >= end:
        raise Refusal(Code.INVALID_TIME_RANGE, "start time >= end time")


def single_time(time: int) -> None:
    """The time of Nearest."""
    if not MIN_TIME_NS <= time < MAX_TIME_NS:
        raise Refusal(Code.INVALID_TIME_RANGE, "time out of bounds")


def point_width(width: int, what: str = "point width") -> None:
    """A power of two of nanoseconds."""
    if width > MAX_POINT_WIDTH:
        raise Refusal(Code.INVALID_POINT_WIDTH, f"{what} must not exceed {MAX_POINT_WIDTH}")


def window_width(width: int, depth: int) -> None:
    """Of Windows, in nanoseconds; zero has no meaning, more than 2^63 no window."""
    if not 0 < width <= 1 << 63:
        raise Refusal(Code.INVALID_POINT_WIDTH, "window width is absurd")
    point_width(depth, "depth")


def merge_policy(policy: int) -> None:
    """proto3 lets any number through."""
    if policy not in pb.MergePolicy.values():
        raise Refusal(Code.WRONG_ARGUMENTS, "unknown merge policy")
