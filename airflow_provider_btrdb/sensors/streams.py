"""Sensors that wait for streams."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    airflow_errors,
    default_deferrable,
    worth_a_retry,
)
from airflow_provider_btrdb.hooks.task import HasBTrDBHook

TRIGGER_SLACK = 60.0
"""Seconds that a trigger may be late."""


class StreamExistsResult(TypedDict):
    """What `StreamExistsSensor` leaves in XCom."""

    found: int
    """Streams named, or streams counted."""


class StreamExistsSensor(HasBTrDBHook, BaseSensorOperator):
    """Wait until streams exist: those named, or at least `min_count` in a collection.

    BTrDB hides streams that an API key may not read, so "does not exist" always means "is absent, or invisible to
    this key". Poke, reschedule and deferrable mode give the same answer; a server that is away is waited for.

    :param stream: a uuid or `collection/name`, or a list of them; all must exist. (templated)
    :param collection: instead of `stream`: a prefix of collections to count streams in; "" is all. (templated)
    :param tags: with `collection`: tags that the streams have; None as a value means any. (templated)
    :param annotations: with `collection`: annotations that the streams have; None as a value means any. (templated)
    :param min_count: with `collection`: how many streams are enough. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :param deferrable: wait in the triggerer instead of on a worker.
    :return: :class:`StreamExistsResult`
    """

    template_fields: Sequence[str] = ("stream", "collection", "tags", "annotations", "min_count", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "stream": "json",
        "tags": "json",
        "annotations": "json",
    }
    ui_color = "#f1e8d9"

    def __init__(
        self,
        *,
        stream: str | Sequence[str] | None = None,
        collection: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
        min_count: int | str = 1,
        btrdb_conn_id: str = "btrdb_default",
        deferrable: bool = default_deferrable(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self.collection = collection
        self.tags = tags
        self.annotations = annotations
        self.min_count = min_count
        self.btrdb_conn_id = btrdb_conn_id
        self.deferrable = deferrable

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        found = self._look()
        return PokeReturnValue(is_done=found is not None, xcom_value=None if found is None else {"found": found})

    def execute(self, context: Context) -> StreamExistsResult:
        """Look first, and defer only when that was not enough."""
        if not self.deferrable:
            result: StreamExistsResult = super().execute(context)
            return result
        try:
            found = self._look()
        except AirflowFailException as error:
            if self.soft_fail:
                raise AirflowSkipException(f"skipped because of soft_fail: {error}") from error
            raise
        if found is not None:
            return {"found": found}
        from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger

        self.defer(
            trigger=StreamExistsTrigger(
                streams=self._streams(),
                collection=self.collection,
                tags=self.tags,
                annotations=self.annotations,
                min_count=self._count_wanted(),
                btrdb_conn_id=self.btrdb_conn_id,
                poll_interval=self.poke_interval,
                end_time=time.time() + self.timeout,
            ),
            method_name="execute_complete",
            # The trigger ends by itself; this is for one that cannot.
            timeout=timedelta(seconds=self.timeout + 2 * self.poke_interval + TRIGGER_SLACK),
        )

    def execute_complete(self, context: Context, event: Any = None) -> StreamExistsResult:
        """Take the trigger's event; anything else than its three shapes fails the task."""
        kind = event.get("status") if isinstance(event, Mapping) else None
        if kind == "success" and isinstance(event.get("found"), int):
            return {"found": event["found"]}
        if kind == "timeout":
            raise AirflowSensorTimeout(str(event.get("message")))
        if kind == "error":
            raise AirflowFailException(str(event.get("message")))
        raise AirflowFailException(f"the trigger sent an event of unknown shape: {event!r}")

    def _look(self) -> int | None:
        """How many streams were found, or None when that is not enough yet or the server is away just now."""
        from airflow_provider_btrdb.client.errors import BTrDBError

        streams, wanted = self._streams(), self._count_wanted()
        with airflow_errors():
            db = self.hook.get_client()
            try:
                if streams:
                    return self._found_all(streams, db.missing(streams))
                count = db.count_streams(self.collection or "", tags=self.tags, annotations=self.annotations)
            except BTrDBError as error:
                if not worth_a_retry(error):
                    raise
                self.log.warning("BTrDB does not answer, waiting goes on: %s", error)
                return None
        self.log.info("%d streams that this key may see, %d wanted", count, wanted)
        return count if count >= wanted else None

    def _found_all(self, streams: list[str], missing: list[str]) -> int | None:
        if not missing:
            return len(streams)
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        self.log.info("%d of %d are absent, or invisible to this key: %s", len(missing), len(streams), shown)
        return None

    def _count_wanted(self) -> int:
        try:
            return int(self.min_count)
        except (TypeError, ValueError):
            raise AirflowFailException(f"min_count is {self.min_count!r} and must be a whole number") from None

    def _streams(self) -> list[str]:
        """The streams named. Raises AirflowFailException unless exactly one of `stream` and `collection` is given."""
        if (self.stream is None) == (self.collection is None):
            raise AirflowFailException("give either stream or collection: what should be waited for?")
        if self.stream is None:
            return []
        if self.tags or self.annotations or self._count_wanted() != 1:
            raise AirflowFailException("tags, annotations and min_count go with collection, not with stream")
        names = [self.stream] if isinstance(self.stream, str) else [str(name) for name in self.stream]
        if not names:
            raise AirflowFailException("the list of streams to wait for is empty")
        return names
