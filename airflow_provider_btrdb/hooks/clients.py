"""Which hooks share a BTrDB connection, and what becomes of it when the API key is changed. Imports no client.

Hooks share one for each server, set of settings and API key: in a process, or for asyncio in a loop. When the key of
an Airflow connection was changed, its BTrDB connection goes on with the new one: no second channel is opened, and
none is left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import ConnectionConfig


class Client(Protocol):
    """What BTrDB and AsyncBTrDB have in common."""

    def use_api_key(self, api_key: str | None) -> None:
        """Send this key from the next call on."""


C = TypeVar("C", bound=Client)


@dataclass(eq=False, slots=True, kw_only=True)
class Credentials:
    """The key of one shared connection, and the Airflow connections that it comes from."""

    place: ConnectionConfig
    """Server and settings, without the key."""
    api_key: str | None
    conn_ids: set[str]
    former: set[str | None] = field(default_factory=set)
    """Keys that were replaced: whoever still comes with one has read the Airflow connection before the change."""

    def adopt(self, api_key: str | None) -> None:
        """Go on with another key."""
        self.former.add(self.api_key)
        self.former.discard(api_key)
        self.api_key = api_key

    def newest(self, now: Mapping[str, ConnectionConfig | None]) -> str | None:
        """The key to go on with after the present one was refused; `now` is what the Airflow connections say now.

        A key is taken only from a connection that still means this server with these settings: it must not be sent
        elsewhere. Connections that did not change with the others no longer belong here.
        """
        keys = {conn_id: config.api_key for conn_id, config in now.items() if config and place_of(config) == self.place}
        changed = [key for key in keys.values() if key != self.api_key]
        if changed:
            self.adopt(changed[0])
            self.conn_ids = {conn_id for conn_id, key in keys.items() if key == changed[0]}
        return self.api_key


def place_of(config: ConnectionConfig) -> ConnectionConfig:
    """The configuration without its key."""
    return replace(config, api_key=None)


class SharedClients(Generic[C]):
    """The connections of one process or loop. `make` opens one; its credentials may change later."""

    def __init__(self, make: Callable[[ConnectionConfig, Credentials], C]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._all: list[tuple[Credentials, C]] = []
        self.era = object()
        """Another one after `drain`: connections of an earlier era are closed."""

    def drain(self) -> list[C]:
        """Forget all connections and hand them out to be closed; whoever comes next has another opened."""
        with self._lock:
            ended = [client for _, client in self._all]
            self._all, self.era = [], object()
        return ended

    def get(self, conn_id: str, config: ConnectionConfig) -> C:
        """The connection for what the Airflow connection `conn_id` says."""
        place = place_of(config)
        with self._lock:
            here = [(credentials, client) for credentials, client in self._all if credentials.place == place]
            mine = next((pair for pair in here if conn_id in pair[0].conn_ids), None)
            if mine is not None:
                credentials, client = mine
                if config.api_key == credentials.api_key or config.api_key in credentials.former:
                    return client
                credentials.conn_ids.remove(conn_id)
            for credentials, client in here:
                if credentials.api_key == config.api_key:
                    credentials.conn_ids.add(conn_id)
                    if mine is not None and not mine[0].conn_ids:
                        self._all.remove(mine)  # whoever still uses it keeps it alive
                    return client
            if mine is not None and not mine[0].conn_ids:  # nobody else uses it, so its key was changed
                credentials, client = mine
                credentials.adopt(config.api_key)
                credentials.conn_ids.add(conn_id)
                client.use_api_key(config.api_key)
                return client
            credentials = Credentials(place=place, api_key=config.api_key, conn_ids={conn_id})
            client = self._make(config, credentials)
            self._all.append((credentials, client))
            return client
