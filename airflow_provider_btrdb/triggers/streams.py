"""Triggers that wait for streams without holding a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_btrdb._airflow import worth_a_retry
from airflow_provider_btrdb.triggers.conditions import Condition, NewestYounger, StreamsExist, VersionPast
from airflow_provider_btrdb.triggers.poller import poller_for


class StreamTrigger(BaseTrigger):
    """Fires when a condition holds; the arguments besides the three named are the condition's.

    Events are `{"status": "success", ...}` with the sensor's result, `{"status": "timeout", "message": str}` once
    `end_time` (seconds since 1970) is past, or `{"status": "error", "message": str}`. A server that is away for a while
    is waited for. All triggers of one connection and interval are served by one poll; the first look comes after one
    to two intervals, the last one at `end_time`.

    There is no `cleanup` and no `on_kill`: a trigger holds nothing of its own, and nothing runs for it outside of the
    triggerer. One that is cancelled, for whatever reason, just leaves the poll, which ends with the last of them.
    """

    condition_type: ClassVar[Any]

    def __init__(self, *, btrdb_conn_id: str, poll_interval: float, end_time: float, **condition: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it unannotated
        self.condition: Condition = self.condition_type(**condition)
        self.btrdb_conn_id = btrdb_conn_id
        self.poll_interval = poll_interval
        self.end_time = end_time

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, as JSON can carry them."""
        condition: Any = self.condition
        return f"{type(self).__module__}.{type(self).__name__}", {
            **asdict(condition),
            "btrdb_conn_id": self.btrdb_conn_id,
            "poll_interval": self.poll_interval,
            "end_time": self.end_time,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, then the end."""
        try:
            yield TriggerEvent(await self._outcome())
        except Exception as error:  # an event tells the task; an exception here would only kill the trigger
            self.log.exception("the trigger failed")
            yield TriggerEvent({"status": "error", "message": f"{type(error).__name__}: {error}"})

    async def _outcome(self) -> dict[str, Any]:
        from airflow_provider_btrdb.client.errors import BTrDBError

        clock = asyncio.get_running_loop().time
        end = clock() + self.end_time - time.time()
        ready = clock() + self.poll_interval
        poller, questions = poller_for(self.btrdb_conn_id, self.poll_interval), self.condition.questions()
        while clock() < end:
            try:
                # A look that began in time may end later, but not much. Not wait_for: up to Python 3.11 it forgets a
                # cancellation that meets an answer, and the trigger would wait on after its task is gone.
                async with asyncio.timeout_at(end + self.poll_interval):
                    answers = await poller.ask(questions, not_before=ready, no_later=end)
            except TimeoutError:
                break
            try:
                if isinstance(answers, Exception):
                    raise answers.with_traceback(None)
                result = self.condition.verdict(answers)
            except BTrDBError as error:
                if not worth_a_retry(error):
                    return {"status": "error", "message": str(error)}
                self.log.warning("BTrDB does not answer, waiting goes on: %s", error)
                result = None
            if result is not None:
                return {"status": "success", **result}
            ready = clock()
        return {"status": "timeout", "message": "what was waited for did not come in time"}


class StreamExistsTrigger(StreamTrigger):
    """The asyncio half of `StreamExistsSensor`."""

    condition_type = StreamsExist


class StreamVersionTrigger(StreamTrigger):
    """The asyncio half of `StreamVersionSensor`."""

    condition_type = VersionPast


class StreamFreshnessTrigger(StreamTrigger):
    """The asyncio half of `StreamFreshnessSensor`."""

    condition_type = NewestYounger
