"""What all sensors share: look, defer, and take the trigger's event. Knows no particular condition."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from airflow_provider_btrdb._airflow import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    airflow_errors,
    worth_a_retry,
)
from airflow_provider_btrdb.hooks.facets import TellsLineage, Touched, of_streams

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import BTrDB
    from airflow_provider_btrdb.triggers.conditions import Condition
    from airflow_provider_btrdb.triggers.streams import StreamTrigger

TRIGGER_SLACK = 60.0
"""Seconds that a trigger may be late."""


class WaitsForCondition(TellsLineage, BaseSensorOperator):
    """A sensor that is a condition. Poke, reschedule and deferrable mode ask the same and give the same answer."""

    result_type: ClassVar[type]
    """The TypedDict that the sensor leaves in XCom; its values are int and str."""
    deferrable: bool

    def condition(self, db: BTrDB) -> Condition:
        """What is waited for. Raises AirflowFailException and BTrDBError for arguments that make no sense."""
        raise NotImplementedError

    def trigger_type(self) -> type[StreamTrigger]:
        """The class of the trigger that takes the condition."""
        raise NotImplementedError

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        _, result = self._look()
        return PokeReturnValue(is_done=result is not None, xcom_value=result)

    def execute(self, context: Context) -> Any:
        """Look first, and defer only when that was not enough."""
        if not self.deferrable:
            return super().execute(context)
        try:
            condition, result = self._look()
            end = time.time() + self._seconds()
            while condition is None:  # the server is away, and without it a name has no uuid to wait for
                if time.time() >= end:
                    raise self._timed_out("BTrDB did not answer in time")
                time.sleep(self.poke_interval)
                condition, result = self._look()
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"skipped because of soft_fail or never_fail: {error}") from error
            raise
        if result is not None:
            return result
        self.defer(
            trigger=self.trigger_type()(
                btrdb_conn_id=self.btrdb_conn_id,
                poll_interval=self.poke_interval,
                end_time=end,
                **vars(condition),
            ),
            method_name="execute_complete",
            kwargs={"endpoint": self.hook.get_client().config.endpoint},
            # The trigger ends by itself; this is for one that cannot.
            timeout=timedelta(seconds=self._seconds() + 2 * self.poke_interval + TRIGGER_SLACK),
        )

    def execute_complete(self, context: Context, event: Any = None, endpoint: str = "") -> Any:
        """Take the trigger's event; anything else than its three shapes fails the task.

        `endpoint` is where the sensor looked before it was deferred: lineage names it without asking anybody.
        """
        kind = event.get("status") if isinstance(event, Mapping) else None
        if kind == "success":
            hints = get_type_hints(self.result_type)
            result = {key: value for key, value in event.items() if key != "status"}
            if result.keys() == hints.keys() and all(isinstance(result[key], hint) for key, hint in hints.items()):
                self._tell(endpoint, result)
                return result
        elif kind == "timeout":
            raise self._timed_out(str(event.get("message")))
        elif kind == "error":
            raise AirflowFailException(str(event.get("message")))
        raise AirflowFailException(f"the trigger sent an event of unknown shape: {event!r}")

    def _look(self) -> tuple[Condition | None, dict[str, Any] | None]:
        """The condition and the result; None for what is not there yet or not known while the server is away."""
        from airflow_provider_btrdb.client.errors import BTrDBError

        condition = None
        with airflow_errors():
            db = self.hook.get_client()
            try:
                condition = self.condition(db)
                answers = db.ask_many(condition.questions())
                result = condition.verdict(answers)
            except BTrDBError as error:
                if not worth_a_retry(error):
                    raise
                self.log.warning("BTrDB does not answer, waiting goes on: %s", error)
                return condition, None
        if result is None:
            self.log.info("%s", condition.lacking(answers))
        else:
            self._tell(db.config.endpoint, result)
        return condition, result

    def _tell(self, endpoint: str, result: Mapping[str, Any]) -> None:
        """Lineage has streams by their uuids, which not every sensor knows."""
        if "uuid" in result:
            seen = Touched(uuid=result["uuid"], version=result.get("version"))
            self.tell(inputs=of_streams(endpoint, [seen]))

    def _seconds(self) -> float:
        """Airflow does not watch `execution_timeout` while a task is deferred, so the trigger does."""
        limit = self.execution_timeout
        return float(self.timeout) if limit is None else min(float(self.timeout), limit.total_seconds())

    def _timed_out(self, message: str) -> BaseException:
        by_sensor = self._seconds() == self.timeout
        return AirflowSensorTimeout(message) if by_sensor else AirflowTaskTimeout(message)
