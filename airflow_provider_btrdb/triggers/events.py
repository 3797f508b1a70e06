"""The trigger of asset watchers: a run for what happens to a stream's data."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_btrdb.triggers.poller import poller_for

if TYPE_CHECKING:
    from uuid import UUID

STORE_KEY = "btrdb_version"


class BTrDBStreamEventTrigger(BaseEventTrigger):
    """Fires whenever the data of a stream has a new version: somebody inserted or deleted points.

    For `AssetWatcher(name, trigger=BTrDBStreamEventTrigger(stream=...))`, from Airflow 3.0 on. The payload of an event
    is `{"uuid": str, "from_version": int, "version": int}`; several versions between two looks are one event, and
    Airflow may make one run of several events, so a DAG reads `from_version` and `version` of all its events.

    The first look only remembers the version, unless `from_version` says from where to report. From Airflow 3.3 on the
    last reported version is kept in the asset's state store: a change made while everything was down is reported after
    the start, and a change may be reported twice when the triggerer ends right after reporting it. Before 3.3, and
    where several assets have triggers with equal arguments, the version is kept in memory only. A stream that is
    absent, or invisible to this key, is waited for, as is a server that is away or refuses the key.

    :param stream: a uuid or `collection/name`.
    :param btrdb_conn_id: the Airflow connection.
    :param poll_interval: seconds between two looks. All triggers and sensors of one connection and interval are served
        by one poll.
    :param from_version: report from this version on, where nothing is remembered; 10 is a stream just created.
    """

    def __init__(
        self,
        *,
        stream: str,
        btrdb_conn_id: str = "btrdb_default",
        poll_interval: float = 60.0,
        from_version: int | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it unannotated
        self._store: Any = None
        self.stream = stream
        self.btrdb_conn_id = btrdb_conn_id
        self.poll_interval = poll_interval
        self.from_version = from_version

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, as JSON can carry them."""
        return "airflow_provider_btrdb.triggers.events.BTrDBStreamEventTrigger", {
            "stream": self.stream,
            "btrdb_conn_id": self.btrdb_conn_id,
            "poll_interval": self.poll_interval,
            "from_version": self.from_version,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Never ends by itself."""
        clock = asyncio.get_running_loop().time
        known, uuid, ready = await self._remembered(), None, clock()
        while True:
            try:
                uuid = uuid or await self._uuid()
                version = await self._version(uuid, ready)
            except Exception as error:  # one that left this loop would end the watcher for good
                self.log.warning("stream %s cannot be looked at, watching goes on: %s", self.stream, error)
                await asyncio.sleep(self.poll_interval)
                continue
            ready = clock()
            if known is not None and version > known:
                # Remembered after Airflow has taken the event: twice is better than never.
                yield TriggerEvent({"uuid": str(uuid), "from_version": known, "version": version})
            if known is None or version > known:
                known = version
                await self._remember(known)

    async def _uuid(self) -> UUID:
        from airflow_provider_btrdb.client.lookups import parse_identifier
        from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

        uuid, _, _ = parse_identifier(self.stream)
        if uuid is not None:
            return uuid
        db = await BTrDBHook(self.btrdb_conn_id).get_async_client()
        return (await db.streams(self.stream))[0].uuid

    async def _version(self, uuid: UUID, ready: float) -> int:
        from airflow_provider_btrdb.client.questions import VersionOf

        question = VersionOf(uuid)
        poller = poller_for(self.btrdb_conn_id, self.poll_interval)
        answers = await poller.ask([question], not_before=ready, no_later=math.inf)
        version = answers if isinstance(answers, Exception) else answers[question]
        if isinstance(version, Exception):
            raise version.with_traceback(None)
        return int(version)

    async def _remembered(self) -> int | None:
        self._store = getattr(self, "asset_state_store", None)
        if self._store is None:
            return self.from_version
        try:
            stored = await self._store.aget(STORE_KEY)
        except ValueError as error:  # Airflow's word for a trigger that serves several assets
            self.log.warning("the version of stream %s is kept in memory only: %s", self.stream, error)
            self._store = None
            return self.from_version
        return self.from_version if stored is None else int(stored)

    async def _remember(self, version: int) -> None:
        if self._store is not None:
            await self._store.aset(STORE_KEY, version)
