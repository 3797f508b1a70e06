"""Sensors that wait for streams."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import AirflowFailException, default_deferrable
from airflow_provider_btrdb.sensors.base import WaitsForCondition

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import BTrDB
    from airflow_provider_btrdb.triggers.conditions import NewestYounger, StreamsExist, VersionPast
    from airflow_provider_btrdb.triggers.streams import StreamTrigger


class StreamExistsResult(TypedDict):
    """What `StreamExistsSensor` leaves in XCom."""

    found: int
    """Streams named, or streams counted."""


class StreamExistsSensor(WaitsForCondition):
    """Wait until streams exist: those named, or at least `min_count` in a collection.

    BTrDB hides streams that an API key may not read, so "does not exist" always means "is absent, or invisible to
    this key"; `require_visible_prefix` finds out early that a key sees nothing at all. Poke, reschedule and deferrable
    mode give the same answer; a server that is away is waited for.

    :param stream: a uuid or `collection/name`, or a list of them; all must exist. (templated)
    :param collection: instead of `stream`: a prefix of collections to count streams in; "" is all. (templated)
    :param tags: with `collection`: tags that the streams have; None as a value means any. (templated)
    :param annotations: with `collection`: annotations that the streams have; None as a value means any. (templated)
    :param min_count: with `collection`: how many streams are enough. (templated)
    :param require_visible_prefix: fail at once when this key sees no stream in collections with this prefix.
        (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :param deferrable: wait in the triggerer instead of on a worker.
    :return: :class:`StreamExistsResult`
    """

    template_fields: Sequence[str] = (
        "stream", "collection", "tags", "annotations", "min_count", "require_visible_prefix", "btrdb_conn_id",
    )  # fmt: skip
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "stream": "json",
        "tags": "json",
        "annotations": "json",
    }
    ui_color = "#f1e8d9"
    result_type = StreamExistsResult

    def __init__(
        self,
        *,
        stream: str | Sequence[str] | None = None,
        collection: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
        min_count: int | str = 1,
        require_visible_prefix: str | None = None,
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
        self.require_visible_prefix = require_visible_prefix
        self.btrdb_conn_id = btrdb_conn_id
        self.deferrable = deferrable

    def condition(self, db: BTrDB) -> StreamsExist:
        """Exactly one of `stream` and `collection` says what is waited for."""
        from airflow_provider_btrdb.triggers.conditions import StreamsExist

        if (self.stream is None) == (self.collection is None):
            raise AirflowFailException("give either stream or collection: what should be waited for?")
        min_count = _whole(self.min_count, "min_count")
        if self.stream is not None and (self.tags or self.annotations or min_count != 1):
            raise AirflowFailException("tags, annotations and min_count go with collection, not with stream")
        streams = [self.stream] if isinstance(self.stream, str) else [str(name) for name in self.stream or ()]
        if self.stream is not None and not streams:
            raise AirflowFailException("the list of streams to wait for is empty")
        return StreamsExist(
            streams=streams,
            collection=self.collection,
            tags=self.tags,
            annotations=self.annotations,
            min_count=min_count,
            require_visible_prefix=self.require_visible_prefix,
        )

    def trigger_type(self) -> type[StreamTrigger]:
        """See WaitsForCondition."""
        from airflow_provider_btrdb.triggers.streams import StreamExistsTrigger

        return StreamExistsTrigger


class StreamVersionResult(TypedDict):
    """What `StreamVersionSensor` leaves in XCom."""

    uuid: str
    from_version: int
    version: int


class StreamVersionSensor(WaitsForCondition):
    """Wait until the data of a stream has a version greater than `version`: somebody inserted or deleted points.

    The stream must exist; a stream that is absent, or invisible to this key, fails the task. An insert that the server
    still buffers makes no version yet.

    :param stream: a uuid or `collection/name`. (templated)
    :param version: the version to get past, such as one that an earlier task has seen. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :param deferrable: wait in the triggerer instead of on a worker.
    :return: :class:`StreamVersionResult`
    """

    template_fields: Sequence[str] = ("stream", "version", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    ui_color = "#f1e8d9"
    result_type = StreamVersionResult

    def __init__(
        self,
        *,
        stream: str,
        version: int | str,
        btrdb_conn_id: str = "btrdb_default",
        deferrable: bool = default_deferrable(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self.version = version
        self.btrdb_conn_id = btrdb_conn_id
        self.deferrable = deferrable

    def condition(self, db: BTrDB) -> VersionPast:
        """Finds the stream's uuid, which its name may not keep."""
        from airflow_provider_btrdb.triggers.conditions import VersionPast

        version = _whole(self.version, "version")
        return VersionPast(uuid=_uuid(db, self.stream), version=version)

    def trigger_type(self) -> type[StreamTrigger]:
        """See WaitsForCondition."""
        from airflow_provider_btrdb.triggers.streams import StreamVersionTrigger

        return StreamVersionTrigger


class StreamFreshnessResult(TypedDict):
    """What `StreamFreshnessSensor` leaves in XCom."""

    uuid: str
    newest_ns: int
    """The newest point's time."""


class StreamFreshnessSensor(WaitsForCondition):
    """Wait until the newest point of a stream is younger than a limit.

    A stream without points is waited for; one that is absent, or invisible to this key, fails the task. So does a
    newest point in the future: with it a stream would look fresh for as long as that time has not come.

    :param stream: a uuid or `collection/name`. (templated)
    :param younger_than: the limit, a timedelta or seconds. (templated)
    :param clock_skew: how far in the future the newest point may be, a timedelta or seconds, since clocks differ.
        (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :param deferrable: wait in the triggerer instead of on a worker.
    :return: :class:`StreamFreshnessResult`
    """

    template_fields: Sequence[str] = ("stream", "younger_than", "clock_skew", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    ui_color = "#f1e8d9"
    result_type = StreamFreshnessResult

    def __init__(
        self,
        *,
        stream: str,
        younger_than: timedelta | float | str,
        clock_skew: timedelta | float | str = 5.0,
        btrdb_conn_id: str = "btrdb_default",
        deferrable: bool = default_deferrable(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stream = stream
        self.younger_than = younger_than
        self.clock_skew = clock_skew
        self.btrdb_conn_id = btrdb_conn_id
        self.deferrable = deferrable

    def condition(self, db: BTrDB) -> NewestYounger:
        """Finds the stream's uuid, which its name may not keep."""
        from airflow_provider_btrdb.triggers.conditions import NewestYounger

        younger_than = _seconds(self.younger_than, "younger_than")
        clock_skew = _seconds(self.clock_skew, "clock_skew")
        return NewestYounger(uuid=_uuid(db, self.stream), younger_than=younger_than, clock_skew=clock_skew)

    def trigger_type(self) -> type[StreamTrigger]:
        """See WaitsForCondition."""
        from airflow_provider_btrdb.triggers.streams import StreamFreshnessTrigger

        return StreamFreshnessTrigger


def _uuid(db: BTrDB, stream: Any) -> str:
    """The uuid; only a name is looked up. Raises StreamNotFoundError, AmbiguousStreamError, InputError."""
    from airflow_provider_btrdb.client.lookups import parse_identifier

    uuid, _, _ = parse_identifier(stream)
    return str(db.streams(stream)[0].uuid if uuid is None else uuid)


def _whole(value: Any, name: str) -> int:
    """A whole number, or its text."""
    try:
        return int(value if isinstance(value, int) else str(value))
    except ValueError:
        raise AirflowFailException(f"{name} is {value!r} and must be a whole number") from None


def _seconds(value: Any, name: str) -> float:
    """A timedelta's seconds, a number, or its text."""
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise AirflowFailException(f"{name} is {value!r} and must be a timedelta or a number of seconds")
    return float(seconds)
