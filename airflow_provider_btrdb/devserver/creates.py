"""Creating streams: calls that arrive together are committed together, each with its own answer."""

from __future__ import annotations

import asyncio
import json
import uuid as uuidlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_btrdb.devserver.database import Connection, Database
from airflow_provider_btrdb.devserver.descriptors import hstore, tag_values
from airflow_provider_btrdb.devserver.errors import Refusal
from airflow_provider_btrdb.protocol import Code

BATCH = 256

# One JSON text is several times cheaper to make and to read than an array of each column.
_INSERT = b"""
INSERT INTO btrdb.stream (uuid, collection, name, unit, ingress, distiller, annotations)
SELECT (row ->> 0)::uuid, row ->> 1, row ->> 2, row ->> 3, row ->> 4, row ->> 5, (row ->> 6)::public.hstore
FROM json_array_elements(%s::json) AS fresh (row)
WHERE NOT EXISTS (SELECT FROM btrdb.tombstone WHERE uuid = (row ->> 0)::uuid)
ON CONFLICT DO NOTHING
RETURNING uuid
"""
_WHY = """
SELECT
    (SELECT uuid FROM btrdb.stream
     WHERE (collection, name, unit, ingress, distiller) = (%s::text, %s::text, %s::text, %s::text, %s::text)),
    EXISTS (SELECT FROM btrdb.stream WHERE uuid = %s),
    EXISTS (SELECT FROM btrdb.tombstone WHERE uuid = %s)
"""


@dataclass(slots=True, eq=False)
class _Wanted:
    uuid: uuidlib.UUID
    tags: tuple[str, ...]
    """Collection and the four tags."""
    annotations: str
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Creator:
    """Gathers creates while a commit is under way; nothing waits for company.

    `finish` runs commits to their end; a caller that goes away meanwhile is only not answered.
    """

    def __init__(self, database: Database, finish: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._database = database
        self._finish = finish
        self._waiting: list[_Wanted] = []
        self._worker: asyncio.Task[None] | None = None

    async def create(
        self, uuid: uuidlib.UUID, collection: str, tags: Mapping[str, str], annotations: Mapping[str, str | None]
    ) -> None:
        """Commit one stream, or refuse: 417 uuid taken, 418 tags taken, 429 uuid spent."""
        wanted = _Wanted(uuid, (collection, *tag_values(tags)), hstore(annotations))
        self._waiting.append(wanted)
        if self._worker is None or self._worker.done():
            self._worker = self._finish(self._work())
        await wanted.done

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._commit(batch)
            except Exception as error:  # every caller must hear of it
                for wanted in batch:
                    if not wanted.done.done():
                        wanted.done.set_exception(error)

    async def _commit(self, batch: list[_Wanted]) -> None:
        # Of two that collide within the batch the first wins; the second is asked about after the commit.
        uuids: set[uuidlib.UUID] = set()
        tags: set[tuple[str, ...]] = set()
        first = []
        for wanted in batch:
            if wanted.uuid not in uuids and wanted.tags not in tags:
                first.append(wanted)
                uuids.add(wanted.uuid)
                tags.add(wanted.tags)
        rows = json.dumps(
            [[str(wanted.uuid), *wanted.tags, wanted.annotations] for wanted in first], ensure_ascii=False
        )
        async with self._database.connection() as connection:
            made = {row[0] for row in await (await connection.execute(_INSERT, [rows], binary=True)).fetchall()}
            accepted = {id(wanted) for wanted in first if wanted.uuid in made}
            for wanted in batch:
                error = None if id(wanted) in accepted else await _why_not(connection, wanted)
                if wanted.done.done():  # its caller has gone
                    continue
                if error:
                    wanted.done.set_exception(error)
                else:
                    wanted.done.set_result(None)


async def _why_not(connection: Connection, wanted: _Wanted) -> Refusal:
    """Which rule a stream that was not made has broken; the tags are looked at first, as the v4 server does."""
    row = await (await connection.execute(_WHY, [*wanted.tags, wanted.uuid, wanted.uuid])).fetchone()
    owner, exists, spent = row or (None, False, False)
    if owner is not None and owner != wanted.uuid:
        return Refusal(Code.AMBIGUOUS_STREAM, "a stream already exists in that collection with identical tags")
    if exists:
        return Refusal(Code.STREAM_EXISTS, "a stream already exists with that uuid")
    if spent:
        return Refusal(Code.RECYCLED_UUID, f'uuid "{wanted.uuid}" has been used before with a (now deleted) stream')
    return Refusal(Code.CONCURRENT_MODIFICATION, "the stream in the way has just gone")
