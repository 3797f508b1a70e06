"""Triggers that wait for streams without holding a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class StreamExistsTrigger(BaseTrigger):
    """Fires when the condition of a `StreamExistsSensor` holds; see there for the arguments.

    Events are `{"status": "success", "found": int}` or `{"status": "error", "message": str}`. A server that is away
    for a while is waited for: the sensor's timeout ends that.
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
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it unannotated
        self.streams = list(streams)
        self.collection = collection
        self.tags = tags
        self.annotations = annotations
        self.min_count = min_count
        self.btrdb_conn_id = btrdb_conn_id
        self.poll_interval = poll_interval

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
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look once per interval. The sensor has just looked, so the first look comes after one interval."""
        from airflow_provider_btrdb.client.errors import BTrDBError
        from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

        while True:
            await asyncio.sleep(self.poll_interval)
            try:
                found = await self._found(await BTrDBHook(self.btrdb_conn_id).get_async_client())
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

    async def _found(self, db: Any) -> int | None:
        if self.streams:
            return None if await db.missing(self.streams) else len(self.streams)
        count: int = await db.count_streams(self.collection, tags=self.tags, annotations=self.annotations)
        return count if count >= self.min_count else None
