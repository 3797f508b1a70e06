"""The connection: what `btrdb.conn.BTrDB` offers, over one channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from airflow_provider_btrdb.client import bulk, codec, creates, identity, lookups, questions, rpcs, writes
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client._aio.streamset import AsyncStreamSet
from airflow_provider_btrdb.client._aio.subscription import subscription
from airflow_provider_btrdb.client.config import ConnectionConfig, NewApiKey
from airflow_provider_btrdb.client.errors import (
    AmbiguousStreamError,
    InputError,
    NotSupportedError,
    PermissionDeniedError,
    ServerUnavailableError,
    StreamExistsError,
    StreamNotFoundError,
)
from airflow_provider_btrdb.client.models import (
    CreateResult,
    MergePolicy,
    Points,
    Progress,
    StreamSpec,
    WriteResult,
    checked_annotations,
    checked_tags,
)
from airflow_provider_btrdb.client.trust import tls_problem
from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

T = TypeVar("T")

SUPPORTED_MAJOR = 5
"""Older servers speak another protocol."""


class AsyncBTrDB:
    """A connection to a BTrDB server; close it, or use it as a context manager.

    Opening one does no I/O. Every call has a deadline and is repeated only where that is safe; all raise the
    classes of `airflow_provider_btrdb.client.errors`.
    """

    def __init__(self, config: ConnectionConfig, *, new_api_key: NewApiKey | None = None) -> None:
        self._calls = AsyncCalls(config, new_api_key=new_api_key)
        self._bulk = bulk.AsyncBulk(self._calls)
        self._serves_sql: bool | None = None

    @property
    def config(self) -> ConnectionConfig:
        """How the server is talked to, with the key in use."""
        return self._calls.config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.endpoint}>"

    async def __aenter__(self) -> AsyncBTrDB:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel. Closing twice is harmless."""
        await self._bulk.close()
        await self._calls.close()

    def use_api_key(self, api_key: str | None) -> None:
        """Send this key from the next call on; calls under way end with the one that they have."""
        self._calls.use_key(api_key)

    # ------------------------------------------------------------ the server

    async def info(self) -> dict[str, Any]:
        """What the server says of itself: majorVersion, minorVersion, build, proxy."""
        return _as_dict(await self._calls.info())

    async def check(self) -> dict[str, Any]:
        """`info()` within `connect_timeout`, and an error for a server that speaks an older protocol."""
        try:
            reply = await self._calls.info(self.config.connect_timeout)
        except ServerUnavailableError as error:
            problem = None if self.config.tls is None else await asyncio.to_thread(tls_problem, self.config)
            if problem is not None:
                error.message = f"{error.message}; {problem}"
            raise
        if reply.major_version < SUPPORTED_MAJOR:
            raise NotSupportedError(
                f"the server is BTrDB {reply.major_version}.{reply.minor_version} ({reply.build}); "
                f"version {SUPPORTED_MAJOR} or newer is needed",
                endpoint=self.config.endpoint,
            )
        return _as_dict(reply)

    # ------------------------------------------------------------ streams

    async def create(
        self,
        uuid: UUID | str,
        collection: str,
        tags: Mapping[str, str] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> AsyncStream:
        """Make a stream with this uuid. Raises StreamExistsError, AmbiguousStreamError, RecycledUuidError and others.

        When a reply was lost and the repeated call finds the stream there, with the same collection, tags and
        annotations, it is the one that was asked for.
        """
        stream_uuid = identity.parse_uuid(uuid)
        all_tags = {**dict.fromkeys(TAG_KEYS, ""), **checked_tags(tags or {})}
        wanted = codec.create_request(stream_uuid, collection, all_tags, checked_annotations(annotations or {}))
        try:
            await self._calls.unary(rpcs.CREATE, wanted, uuid=stream_uuid)
        except (StreamExistsError, AmbiguousStreamError) as error:
            if not error.reply_lost:
                raise
            found = AsyncStream(self._calls, stream_uuid)
            if not await found.exists() or not lookups.same_stream(found._loaded(), wanted):
                raise
            return found
        return self._stream(
            pb.StreamDescriptor(
                uuid=wanted.uuid,
                collection=wanted.collection,
                tags=wanted.tags,
                annotations=wanted.annotations,
                property_version=1,
            )
        )

    async def create_many(
        self,
        specs: Iterable[StreamSpec | Mapping[str, Any]],
        *,
        namespace: UUID = identity.DEFAULT_NAMESPACE,
        progress: Progress | None = None,
        seconds: float | None = None,
    ) -> list[CreateResult]:
        """Make sure that many streams exist; results in the order given, each created, existed or failed.

        A specification without uuid is looked up by collection and name first: one such stream is adopted whatever
        its uuid, two or more are ambiguous, none is created with the derived uuid. One with a uuid is created as
        asked. Calling again does only what is left. `progress(done, total)` is called as results come in; what is
        not begun after `seconds` fails. Raises InputError before anything is sent when a row is malformed or two
        rows mean one stream.
        """
        return await self._bulk.run(creates.create_many(lookups.checked_specs(specs, namespace), progress, seconds))

    async def update_many(
        self,
        items: Iterable[tuple[AsyncStream | UUID | str, Mapping[str, Any]]],
        *,
        settle: bool = False,
        progress: Progress | None = None,
        seconds: float | None = None,
    ) -> list[WriteResult]:
        """`Stream.update` for many: pairs of a stream and the arguments of its update. Results in the order given.

        With `settle` every stream is read first: one that already is as wanted is "unchanged", and one that somebody
        else changes in between is read and changed again, a few times.
        """
        return await self._bulk.run(writes.update_many(items, progress, seconds, settle=settle))

    async def insert_many(
        self,
        items: Iterable[tuple[AsyncStream | UUID | str, Points | Iterable[tuple[Any, float]]]],
        merge: MergePolicy | str = MergePolicy.NEVER,
        *,
        progress: Progress | None = None,
        seconds: float | None = None,
    ) -> list[WriteResult]:
        """`Stream.insert` for many: pairs of a stream and its points. Results in the order given."""
        return await self._bulk.run(writes.insert_many(items, merge, progress, seconds))

    async def stream_from_uuid(self, uuid: UUID | str) -> AsyncStream:
        """A handle, without asking the server whether there is such a stream."""
        return AsyncStream(self._calls, identity.parse_uuid(uuid))

    async def streams(
        self,
        *identifiers: UUID | str | Iterable[UUID | str],
        versions: int | Sequence[int] | None = None,
        is_collection_prefix: bool = False,
    ) -> AsyncStreamSet:
        """Streams by uuid, uuid text in any case, or `collection/name`, in the order given.

        `versions` pins one version for each identifier. Raises StreamNotFoundError or AmbiguousStreamError naming
        the identifier; nothing is left out silently.
        """
        found = [
            await self._identified(identifier, is_collection_prefix) for identifier in lookups.flattened(identifiers)
        ]
        return AsyncStreamSet(self._bulk, found, [versions] if isinstance(versions, int) else versions)

    async def streams_in_collection(
        self,
        *collection: str,
        is_collection_prefix: bool = True,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> list[AsyncStream]:
        """The streams of these collections (none given: of all) that have these tags and annotations.

        A prefix is plain text: "foo" also matches "foobar". A value of None means that the key exists, with any
        value. Names are case-sensitive.
        """
        return [
            self._stream(descriptor)
            for request in lookups.lookup_requests(collection, is_collection_prefix, tags, annotations)
            for descriptor in await self._calls.listing(rpcs.LOOKUP_STREAMS, request, lambda page: page.results)
        ]

    async def lookup_iter(
        self,
        *collection: str,
        is_collection_prefix: bool = True,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> AsyncIterator[AsyncStream]:
        """`streams_in_collection` page by page, in bounded memory. Raises StreamInterruptedError if it breaks off."""
        for request in lookups.lookup_requests(collection, is_collection_prefix, tags, annotations):
            # Closing this must end the call now, not when the collector finds what it reads from; so below.
            async with aclosing(self._calls.pages(rpcs.LOOKUP_STREAMS, request)) as pages:
                async for page in pages:
                    for descriptor in page.results:
                        yield self._stream(descriptor)

    async def missing(self, *identifiers: UUID | str | Iterable[UUID | str]) -> list[str]:
        """Those of the identifiers (see `streams`) for which there is no stream that this key may see, as text."""
        return [
            str(identifier) for identifier in lookups.flattened(identifiers) if not await self._is_there(identifier)
        ]

    async def count_streams(
        self,
        *collection: str,
        is_collection_prefix: bool = True,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> int:
        """How many streams `streams_in_collection` would return, without keeping them."""
        return sum(
            [
                count
                for request in lookups.lookup_requests(collection, is_collection_prefix, tags, annotations)
                for count in await self._calls.listing(rpcs.LOOKUP_STREAMS, request, lambda page: [len(page.results)])
            ]
        )

    async def ask_many(self, asked: Iterable[questions.Question]) -> questions.Answers:
        """Answers to many questions of `client.questions` with few calls; equal questions are asked once."""
        return await self._bulk.run(questions.ask_many(asked))

    async def run(self, work: bulk.Work[T]) -> T:
        """Run what another module makes of this connection's calls, such as `provision.make_plan(spec)`."""
        return await self._bulk.run(work)

    # ------------------------------------------------------------ metadata

    async def list_collections(self, starts_with: str = "") -> list[str]:
        """Collections that begin with the text and have at least one stream that this key may see, sorted."""
        request = codec.request(pb.ListCollectionsParams, prefix=starts_with)
        return sorted(await self._calls.listing(rpcs.LIST_COLLECTIONS, request, lambda page: page.collections))

    async def collection_metadata(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """How many streams in collections with this prefix have each tag, and each annotation key."""
        reply = await self._calls.unary(rpcs.METADATA_USAGE, codec.request(pb.MetadataUsageParams, prefix=prefix))
        return ({item.key: item.count for item in reply.tags}, {item.key: item.count for item in reply.annotations})

    async def query(self, stmt: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of an SQL SELECT on the table `streams`, as dictionaries. Raises BadSqlError.

        Parameters stand as $1, $2 ... in the statement and travel as text: cast where the database cannot tell the
        type (`$1::bigint`).
        """
        request = codec.request(pb.SQLQueryParams, query=stmt, params=codec.to_sql_parameters(params))
        return await self._calls.listing(rpcs.SQL_QUERY, request, lambda page: codec.from_sql_rows(page.rows))

    async def query_iter(self, stmt: str, params: Sequence[Any] = ()) -> AsyncIterator[dict[str, Any]]:
        """`query` row by row, in bounded memory. Raises StreamInterruptedError if it breaks off after the first row."""
        async with aclosing(self.query_pages(stmt, params)) as pages:
            async for page in pages:
                for row in codec.from_sql_rows(page):
                    yield row

    async def query_pages(self, stmt: str, params: Sequence[Any] = ()) -> AsyncGenerator[Sequence[bytes], None]:
        """`query` page by page as the server sends it: every row one JSON object in UTF-8."""
        request = codec.request(pb.SQLQueryParams, query=stmt, params=codec.to_sql_parameters(params))
        async with aclosing(self._calls.pages(rpcs.SQL_QUERY, request)) as pages:
            async for page in pages:
                yield page.rows

    def _stream(self, descriptor: pb.StreamDescriptor) -> AsyncStream:
        return AsyncStream(self._calls, None, descriptor)

    async def subscribe(self, *streams: AsyncStream | UUID | str) -> AsyncIterator[tuple[UUID, Points]]:
        """Points of these streams as they are inserted, from now on: pairs of a uuid and points in the order received.

        Never ends by itself; close the iterator. A call that breaks is made again, and every five minutes a fresh
        one replaces it; what was inserted in between is read and handed out then. No point is lost; around such a
        change one may come twice. Raises StreamNotFoundError, and MissingExtraError without pyarrow.
        """
        uuids = [stream.uuid if isinstance(stream, AsyncStream) else identity.parse_uuid(stream) for stream in streams]
        if not uuids:
            raise InputError("there is nothing to subscribe to: name at least one stream")
        async with aclosing(subscription(self._calls, uuids)) as items:
            async for item in items:
                yield item

    # ------------------------------------------------------------ what there is

    async def serves_sql(self) -> bool:
        """Does the server answer SQL? Asked once; production servers may have it switched off."""
        if self._serves_sql is None:
            try:
                await self.query("SELECT 1 AS one")
            except (NotSupportedError, PermissionDeniedError):
                self._serves_sql = False
            else:
                self._serves_sql = True
        return self._serves_sql

    async def list_unique_names(self, collection: str = "") -> list[str]:
        """The names of streams in collections with this prefix, each once, sorted."""
        return await self._unique("name", collection)

    async def list_unique_units(self, collection: str = "") -> list[str]:
        """The units of streams in collections with this prefix, each once, sorted."""
        return await self._unique("unit", collection)

    async def list_unique_annotations(self, collection: str = "") -> list[str]:
        """The annotation keys of streams in collections with this prefix, each once, sorted."""
        _, annotations = await self.collection_metadata(collection)
        return sorted(annotations)

    async def _unique(self, tag: str, collection: str) -> list[str]:
        if await self.serves_sql():
            statement = f"SELECT DISTINCT {tag} AS value FROM streams WHERE starts_with(collection, $1)"  # noqa: S608 - our word
            return sorted(row["value"] for row in await self.query(statement, [collection]))
        request = pb.LookupStreamsParams(collection=collection, is_collection_prefix=True)
        values = await self._calls.listing(
            rpcs.LOOKUP_STREAMS,
            request,
            lambda page: {codec.from_key_values(stream.tags).get(tag) or "" for stream in page.results},
        )
        return sorted(set(values))

    async def _is_there(self, identifier: UUID | str) -> bool:
        try:
            await self._identified(identifier, False)
        except StreamNotFoundError:
            return False
        except AmbiguousStreamError:
            return True
        return True

    async def _identified(self, identifier: UUID | str, is_collection_prefix: bool) -> AsyncStream:
        uuid, collection, name = lookups.parse_identifier(identifier)
        if uuid is not None:
            stream = AsyncStream(self._calls, uuid)
            await stream.refresh()
            return stream
        found = await self.streams_in_collection(
            collection, is_collection_prefix=is_collection_prefix, tags={"name": name}
        )
        if not found:
            raise StreamNotFoundError(
                f"no stream is called {identifier}, or this key may not see it", endpoint=self.config.endpoint
            )
        if len(found) > 1:
            raise AmbiguousStreamError(
                f"{len(found)} streams are called {identifier}: name one by uuid, "
                f"such as {lookups.shown(stream.uuid for stream in found)}",
                endpoint=self.config.endpoint,
            )
        return found[0]


def _as_dict(reply: pb.InfoResponse) -> dict[str, Any]:
    """The keys that are always there, and what else the server sent; MessageToDict alone leaves out zeros."""
    from google.protobuf.json_format import MessageToDict  # a large module for one small call

    numbers = {"majorVersion": reply.major_version, "minorVersion": reply.minor_version, "build": reply.build}
    return {**numbers, **MessageToDict(reply)}
