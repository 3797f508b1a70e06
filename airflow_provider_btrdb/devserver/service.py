"""The handlers of metadata and of the server itself, and the table of all handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import grpc

from airflow_provider_btrdb.devserver import checks
from airflow_provider_btrdb.devserver.creates import Creator
from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.dispatch import Call, Handlers
from airflow_provider_btrdb.devserver.errors import Refusal, StatusError
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.metadata import Metadata
from airflow_provider_btrdb.devserver.read_service import ReadService
from airflow_provider_btrdb.devserver.sql import SqlRunner
from airflow_provider_btrdb.devserver.write_service import WriteService
from airflow_provider_btrdb.protocol import Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

MAJOR, MINOR = 5, 30
BUILD = f"{MAJOR}.{MINOR}.0-dev"

T = TypeVar("T")


class Finisher:
    """Runs writes to their end, also when the caller goes away in the middle."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Set going what nobody's leaving may stop."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which goes on if the waiting for it is cancelled."""
        return await asyncio.shield(self.start(work))

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody else shall be warned

    async def finished(self) -> None:
        """Wait for every write."""
        while self._running:
            await asyncio.wait(self._running)


class Service:
    """The whole BTrDB service over one database."""

    def __init__(self, database: Database, sql: SqlRunner | None, limits: Limits, endpoint: str) -> None:
        self._metadata = Metadata(database, page=limits.descriptor_page)
        self.finisher = Finisher()
        self._creator = Creator(database, self.finisher.start)
        self._sql = sql
        self._endpoint = endpoint
        self._reads = ReadService(database, limits)
        self._writes = WriteService(database, limits, self.finisher.run)

    def handlers(self) -> Handlers:
        """Everything that can be called."""
        return Handlers(
            unary={
                "Info": self.info,
                "FaultInject": self.fault_inject,
                "Create": self.create,
                "StreamInfo": self.stream_info,
                "SetStreamTags": self.set_stream_tags,
                "SetStreamAnnotations": self.set_stream_annotations,
                "GetMetadataUsage": self.get_metadata_usage,
                **self._reads.unary(),
                **self._writes.unary(),
            },
            streams={
                "LookupStreams": self.lookup_streams,
                "ListCollections": self.list_collections,
                "SQLQuery": self.sql_query,
                **self._reads.streams(),
                **self._writes.streams(),
            },
            raw=frozenset({"Insert"}),
        )

    async def info(self, _: Call, __: pb.InfoParams) -> pb.InfoResponse:
        """A proxied cluster: clients then keep to the address they know."""
        return pb.InfoResponse(
            major_version=MAJOR, minor_version=MINOR, build=BUILD, proxy=pb.ProxyInfo(proxy_endpoints=[self._endpoint])
        )

    async def fault_inject(self, _: Call, __: pb.FaultInjectParams) -> pb.FaultInjectResponse:
        """Never over the wire."""
        raise Refusal(Code.FAULT_INJECTION_DISABLED, "fault injection is disabled")

    async def create(self, call: Call, request: pb.CreateParams) -> pb.CreateResponse:
        """Checks in the order of the v4 server, then one commit."""
        checks.collection(request.collection)
        tags = checks.tags_of(request.tags)
        annotations = checks.annotations_of(request.annotations)
        checks.annotations_size(annotations)
        uuid = checks.stream_uuid(request.uuid)
        call.grant.require("insert", request.collection)
        await self._creator.create(uuid, request.collection, tags, annotations)
        return pb.CreateResponse()

    async def stream_info(self, call: Call, request: pb.StreamInfoParams) -> pb.StreamInfoResponse:
        """Without its descriptor an answer still names the uuid."""
        if request.omit_descriptor and request.omit_version:
            raise Refusal(Code.WRONG_ARGUMENTS, "you cannot omit descriptor and version")
        uuid = checks.stream_uuid(request.uuid)
        version, descriptor = await self._metadata.info(uuid, call.may("read"))
        if request.omit_descriptor:
            descriptor = pb.StreamDescriptor(uuid=request.uuid)
        return pb.StreamInfoResponse(version_major=0 if request.omit_version else version, descriptor=descriptor)

    async def set_stream_tags(self, call: Call, request: pb.SetStreamTagsParams) -> pb.SetStreamTagsResponse:
        """One property version for the whole call, also if nothing changed."""
        uuid = checks.stream_uuid(request.uuid)
        await self.finisher.run(self._metadata.set_tags(uuid, request, call.may("insert")))
        return pb.SetStreamTagsResponse()

    async def set_stream_annotations(
        self, call: Call, request: pb.SetStreamAnnotationsParams
    ) -> pb.SetStreamAnnotationsResponse:
        """One property version for the whole call, also if nothing changed."""
        uuid = checks.stream_uuid(request.uuid)
        await self.finisher.run(self._metadata.set_annotations(uuid, request, call.may("insert")))
        return pb.SetStreamAnnotationsResponse()

    async def get_metadata_usage(self, call: Call, request: pb.MetadataUsageParams) -> pb.MetadataUsageResponse:
        """Only of streams that the caller may read."""
        return await self._metadata.usage(request.prefix, call.grant.read)

    async def lookup_streams(
        self, call: Call, request: pb.LookupStreamsParams
    ) -> AsyncIterator[pb.LookupStreamsResponse]:
        """Only streams that the caller may read; one empty message if there are none."""
        empty = True
        async for page in self._metadata.lookup(request, call.grant.read):
            empty = False
            yield pb.LookupStreamsResponse(results=page)
        if empty:
            yield pb.LookupStreamsResponse()

    async def list_collections(
        self, call: Call, request: pb.ListCollectionsParams
    ) -> AsyncIterator[pb.ListCollectionsResponse]:
        """Only collections that the caller may read; one empty message if there are none."""
        empty = True
        async for page in self._metadata.collections(request.prefix, call.grant.read):
            empty = False
            yield pb.ListCollectionsResponse(collections=page)
        if empty:
            yield pb.ListCollectionsResponse()

    async def sql_query(self, call: Call, request: pb.SQLQueryParams) -> AsyncIterator[pb.SQLQueryResponse]:
        """Only for callers who may read everything: SQL cannot be held to prefixes safely."""
        if self._sql is None:
            raise StatusError(grpc.StatusCode.UNIMPLEMENTED, "method SQLQuery not implemented")
        call.grant.require("read", "")
        empty = True
        async for rows in self._sql.query(request.query, list(request.params)):
            empty = False
            yield pb.SQLQueryResponse(rows=rows)
        if empty:
            yield pb.SQLQueryResponse()
