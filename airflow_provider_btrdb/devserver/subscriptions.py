"""Followers of streams: every committed insert goes to those who asked for its stream, as it was received."""

from __future__ import annotations

import asyncio
import uuid as uuidlib
from collections import deque
from collections.abc import Iterable

import grpc

from airflow_provider_btrdb.devserver import arrow
from airflow_provider_btrdb.devserver.errors import StatusError
from airflow_provider_btrdb.devserver.merge import Points
from airflow_provider_btrdb.protocol import Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


class Subscriber:
    """One Subscribe call: what it follows, and what waits for it."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._waiting: deque[pb.SubscriptionResp] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._error: BaseException | None = None
        self.uuids: set[uuidlib.UUID] = set()

    def push(self, message: pb.SubscriptionResp) -> None:
        """Hand over a message; too slow a reader is cut off, because points must not be lost silently."""
        self._size += len(message.arrow_bytes)
        if self._size > self._most:
            self.fail(
                StatusError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "the subscriber does not keep up: subscribe again and close the gap with Changes",
                )
            )
        else:
            self._waiting.append(message)
            self._news.set()

    def fail(self, error: BaseException) -> None:
        """End the call once it comes for more."""
        self._error = error
        self._waiting.clear()
        self._news.set()

    async def next(self) -> pb.SubscriptionResp:
        """The next message, in the order of commits of each stream."""
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        message = self._waiting.popleft()
        self._size -= len(message.arrow_bytes)
        return message


class Hub:
    """Who follows what."""

    def __init__(self) -> None:
        self._followers: dict[uuidlib.UUID, set[Subscriber]] = {}

    def follow(self, subscriber: Subscriber, uuids: Iterable[uuidlib.UUID]) -> None:
        """From the next commit on."""
        for uuid in uuids:
            subscriber.uuids.add(uuid)
            self._followers.setdefault(uuid, set()).add(subscriber)

    def leave(self, subscriber: Subscriber, uuids: Iterable[uuidlib.UUID]) -> None:
        """No more of these; those that it does not follow are ignored."""
        for uuid in list(uuids):
            subscriber.uuids.discard(uuid)
            followers = self._followers.get(uuid, set())
            followers.discard(subscriber)
            if not followers:
                self._followers.pop(uuid, None)

    def inserted(self, uuid: uuidlib.UUID, points: Points) -> None:
        """Tell the followers of a stream; called right after the commit, before the next one of the stream."""
        followers = self._followers.get(uuid)
        if followers:
            message = pb.SubscriptionResp(
                uuid=uuid.bytes, arrow_bytes=arrow.page(arrow.RAW_SCHEMA, [points.t, points.v])
            )
            for subscriber in followers:
                subscriber.push(message)

    def obliterated(self, uuid: uuidlib.UUID) -> None:
        """There will be nothing to follow any more."""
        gone = pb.Status(code=Code.NO_SUCH_STREAM, msg="stream does not exist")
        for subscriber in self._followers.pop(uuid, set()):
            subscriber.push(pb.SubscriptionResp(stat=gone, uuid=uuid.bytes))
