"""A trigger of this package that ends its task by itself: hundreds of tasks can wait without hundreds of workers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger


class EndingTrigger(StreamExistsTrigger):
    async def run(self) -> AsyncIterator[TriggerEvent]:
        async for event in super().run():
            yield TaskSuccessEvent() if event.payload["status"] == "success" else TaskFailedEvent()
