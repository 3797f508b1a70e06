"""Triggers that wait for streams without holding a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class StreamExistsTrigger(BaseTrigger):
    """Fires when the condition of a `StreamExistsSensor` holds; see there for the arguments.

    Events are `{"status": "success", "found": int}`, `{"status": "timeout", "message": str}` once `end_time` (seconds
    since 1970) is past, or `{"status": "error", "message": str}`. A server that is away for a while is waited for.
    """

    def __init__(
        self,
        *,
        streams: Sequence[str],
        collection: str | None,
        tags: Mapping[str, str | None] | None,
        annotations: Mapping[str, str | None] | None,
        min_count: int,
        btrdb_conn_id: str,
        poll_interval: float,
        end_time: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it unannotated
        self.streams = list(streams)
        self.collection = collection
        self.tags = tags
        self.annotations = annotations
        self.min_count = min_count
        self.btrdb_conn_id = btrdb_conn_id
        self.poll_interval = poll_interval
        self.end_time = end_time

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, as JSON can carry them."""
        return (
            "airflow_provider_btrdb.triggers.streams.StreamExistsTrigger",
            {
                "streams": self.streams,
                "collection": self.collection,
                "tags": self.tags,
                "annotations": self.annotations,
                "min_count": self.min_count,
                "btrdb_conn_id": self.btrdb_conn_id,
                "poll_interval": self.poll_interval,
                "end_time": self.end_time,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look once per interval. The sensor has just looked, so the first look comes after one interval."""
        from airflow_provider_btrdb.client.errors import BTrDBError
        from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

        while (left := self.end_time - time.time()) > 0:
            await asyncio.sleep(min(self.poll_interval, left))
            try:
                async with asyncio.timeout(max(self.end_time - time.time(), self.poll_interval)):
                    found = await self._found(await BTrDBHook(self.btrdb_conn_id).get_async_client())
            except TimeoutError:
                break
            except BTrDBError as error:
                if not error.retryable:
                    yield TriggerEvent({"status": "error", "message": str(error)})
                    return
                self.log.warning("BTrDB does not answer, waiting goes on: %s", error)
                continue
            except Exception as error:  # an event tells the task; an exception here would only kill the trigger
                self.log.exception("the trigger failed")
                yield TriggerEvent({"status": "error", "message": f"{type(error).__name__}: {error}"})
                return
            if found is not None:
                yield TriggerEvent({"status": "success", "found": found})
                return
        yield TriggerEvent({"status": "timeout", "message": "the streams did not appear in time"})

    async def _found(self, db: Any) -> int | None:
        if self.streams:
            return None if await db.missing(self.streams) else len(self.streams)
        count: int = await db.count_streams(self.collection, tags=self.tags, annotations=self.annotations)
        return count if count >= self.min_count else None
