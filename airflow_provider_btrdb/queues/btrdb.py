"""`MessageQueueTrigger(scheme="btrdb", ...)` is `BTrDBStreamEventTrigger(...)`. Needs the extra `messaging`."""

from __future__ import annotations

from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider

from airflow_provider_btrdb.triggers.events import BTrDBStreamEventTrigger


class BTrDBMessageQueueProvider(BaseMessageQueueProvider):
    """Airflow makes one of it for each process that imports `MessageQueueTrigger`."""

    scheme = "btrdb"

    def trigger_class(self) -> type[BTrDBStreamEventTrigger]:
        """The trigger that takes the other arguments of `MessageQueueTrigger`."""
        return BTrDBStreamEventTrigger
