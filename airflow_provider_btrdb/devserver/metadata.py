"""Reading and changing metadata: plain SQL over the `stream` table, page by page."""

from __future__ import annotations

import uuid as uuidlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from psycopg import errors

from airflow_provider_btrdb.devserver import checks
from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.descriptors import COLUMNS, descriptor, hstore
from airflow_provider_btrdb.devserver.errors import Refusal, no_such_stream
from airflow_provider_btrdb.devserver.points import Allow
from airflow_provider_btrdb.protocol import TAG_KEYS, Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class Metadata:
    """Metadata of one database. `prefixes` are the collection prefixes that the caller may read."""

    def __init__(self, database: Database, *, page: int) -> None:
        self._database = database
        self._page = page

    async def info(self, uuid: uuidlib.UUID, allow: Allow) -> tuple[int, pb.StreamDescriptor]:
        """Data version and descriptor of a stream."""
        rows = await self._database.fetch(f"SELECT version, {COLUMNS} FROM btrdb.stream WHERE uuid = %s", [uuid])  # noqa: S608
        if not rows:
            raise no_such_stream()
        allow(rows[0][2])
        return rows[0][0], descriptor(rows[0][1:])

    async def lookup(
        self, request: pb.LookupStreamsParams, prefixes: Sequence[str]
    ) -> AsyncIterator[list[pb.StreamDescriptor]]:
        """Pages of matching streams by collection, name, uuid. A page is one snapshot, the listing is not."""
        conditions, params = _conditions(request, prefixes)
        last: list[Any] | None = None
        while True:
            where = [*conditions, "(collection, name, uuid) > (%s, %s, %s)"] if last else conditions
            rows = await self._database.fetch(
                f"SELECT {COLUMNS} FROM btrdb.stream WHERE {' AND '.join(where)} "  # noqa: S608
                f"ORDER BY collection, name, uuid LIMIT {self._page}",
                [*params, *(last or [])],
            )
            for page in _pages(descriptor(row) for row in rows):
                yield page
            if len(rows) < self._page:
                return
            last = [rows[-1][1], rows[-1][2], rows[-1][0]]

    async def collections(self, prefix: str, prefixes: Sequence[str]) -> AsyncIterator[list[str]]:
        """Pages of collections with at least one stream, sorted."""
        checks.searched(prefix)
        last = ""
        while True:
            rows = await self._database.fetch(
                "SELECT DISTINCT collection FROM btrdb.stream "  # noqa: S608
                "WHERE collection > %s AND starts_with(collection, %s)"
                f" AND {_READABLE} ORDER BY collection LIMIT {self._page}",
                [last, prefix, list(prefixes)],
            )
            if rows:
                yield [row[0] for row in rows]
            if len(rows) < self._page:
                return
            last = rows[-1][0]

    async def usage(self, prefix: str, prefixes: Sequence[str]) -> pb.MetadataUsageResponse:
        """Annotation keys with the number of streams that have them; tags count 0, as the documentation shows."""
        rows = await self._database.fetch(
            "SELECT key, count(*) FROM btrdb.stream, skeys(annotations) AS key "  # noqa: S608
            f"WHERE starts_with(collection, %s) AND {_READABLE} GROUP BY key ORDER BY key",
            [checks.searched(prefix), list(prefixes)],
        )
        return pb.MetadataUsageResponse(
            tags=[pb.KeyCount(key=key, count=0) for key in TAG_KEYS],
            annotations=[pb.KeyCount(key=key, count=count) for key, count in rows],
        )

    async def set_tags(self, uuid: uuidlib.UUID, request: pb.SetStreamTagsParams, allow: Allow) -> None:
        """Tags that are not named stay; an empty collection means the present one."""
        if request.collection:
            checks.collection(request.collection)
        for key in request.remove:
            checks.tag_key(key)
        tags = checks.tags_of(request.tags) | dict.fromkeys(request.remove, "")
        async with self._database.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "SELECT sid, collection, property_version FROM btrdb.stream WHERE uuid = %s FOR UPDATE", [uuid]
            )
            row = await cursor.fetchone()
            if row is None:
                raise no_such_stream()
            sid, collection, property_version = row
            allow(collection)
            allow(request.collection or collection)
            _same_version(request.expected_property_version, property_version)
            assignments = [
                "collection = %s",
                "property_version = property_version + 1",
                *(f"{key} = %s" for key in tags),
            ]
            try:
                await connection.execute(
                    f"UPDATE btrdb.stream SET {', '.join(assignments)} WHERE sid = %s".encode(),  # noqa: S608
                    [request.collection or collection, *tags.values(), sid],
                )
            except errors.UniqueViolation:
                raise Refusal(
                    Code.AMBIGUOUS_STREAM, "a stream already exists in that collection with identical tags"
                ) from None

    async def set_annotations(self, uuid: uuidlib.UUID, request: pb.SetStreamAnnotationsParams, allow: Allow) -> None:
        """Changes first, then removals; a change without a value stores null."""
        changes = checks.annotations_of(request.changes)
        removals = [checks.searched(key) for key in request.removals]
        async with self._database.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                "SELECT sid, collection, property_version, akeys(annotations), avals(annotations)"
                " FROM btrdb.stream WHERE uuid = %s FOR UPDATE",
                [uuid],
            )
            row = await cursor.fetchone()
            if row is None:
                raise no_such_stream()
            sid, collection, property_version, keys, values = row
            allow(collection)
            _same_version(request.expected_property_version, property_version)
            annotations = dict(zip(keys, values, strict=True)) | changes
            for key in removals:
                annotations.pop(key, None)
            checks.annotations_size(annotations)
            await connection.execute(
                "UPDATE btrdb.stream SET annotations = %s::text::public.hstore, property_version = property_version + 1"
                " WHERE sid = %s",
                [hstore(annotations), sid],
            )


PAGE_BYTES = 3 << 20
"""Below what gRPC clients take by default, however large the annotations are."""
_READABLE = "collection ^@ ANY(%s::text[])"


def _conditions(request: pb.LookupStreamsParams, prefixes: Sequence[str]) -> tuple[list[str], list[Any]]:
    """SQL of a lookup: all conditions must hold; a key without a value only has to exist."""
    conditions = ["starts_with(collection, %s)" if request.is_collection_prefix else "collection = %s", _READABLE]
    params: list[Any] = [checks.searched(request.collection), list(prefixes)]
    for pair in request.tags:
        checks.tag_key(pair.key)
        if pair.HasField("val"):
            conditions.append(f"{pair.key} = %s")
            params.append(checks.searched(pair.val.value))
    for pair in request.annotations:
        conditions.append("annotations ? %s::text")
        params.append(checks.searched(pair.key))
        if pair.HasField("val"):
            conditions.append("annotations @> hstore(%s::text, %s::text)")
            params += [pair.key, checks.searched(pair.val.value)]
    return conditions, params


def _pages(descriptors: Iterable[pb.StreamDescriptor]) -> Iterator[list[pb.StreamDescriptor]]:
    page: list[pb.StreamDescriptor] = []
    size = 0
    for one in descriptors:
        length = one.ByteSize()
        if page and size + length > PAGE_BYTES:
            yield page
            page, size = [], 0
        page.append(one)
        size += length
    if page:
        yield page


def _same_version(expected: int, actual: int) -> None:
    """The caller's compare-and-set; 0 means any version."""
    if expected and expected != actual:
        raise Refusal(Code.PROPERTY_VERSION_MISMATCH, "stream annotation version does not match")
