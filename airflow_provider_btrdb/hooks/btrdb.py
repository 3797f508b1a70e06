"""`BTrDBHook`: an Airflow connection -> a BTrDB connection, one per process, endpoint and credentials."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.sql.hooks.lineage import send_sql_hook_lineage
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_provider_btrdb._airflow import (
    AirflowFailException,
    AirflowNotFoundException,
    Connection,
    airflow_errors,
    async_mask_secrets,
    mask_secrets,
)
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM
from airflow_provider_btrdb.hooks import lineage
from airflow_provider_btrdb.hooks.clients import Credentials, SharedClients
from airflow_provider_btrdb.hooks.settings import CONN_TYPE, FIELDS, config_of, secrets_of
from airflow_provider_btrdb.hooks.sql import StreamsSql

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import AsyncBTrDB, BTrDB, ConnectionConfig, CreateResult, Stream, StreamSet
    from airflow_provider_btrdb.client.dbapi import Connection as SqlConnection
    from airflow_provider_btrdb.client.doctor import Diagnosis
    from airflow_provider_btrdb.client.models import StreamSpec

log = logging.getLogger(__name__)

CHECK_SECONDS = 9.0
"""The button "Test" waits for at most ten."""


class BTrDBHook(StreamsSql, DbApiHook):  # type: ignore[misc]  # get_df's parts have narrower types there
    """Talk to BTrDB through the Airflow connection `btrdb_conn_id`.

    Making a hook does no I/O. `get_client()` and `get_async_client()` give the connection, shared by all hooks of
    the process (of the loop, for the asynchronous one); never close it. `get_conn()` gives a PEP 249 connection over
    it, for SQL on the table `streams`, as all of Airflow's SQL operators use it. When the server refuses the API key,
    the Airflow connection is read once more, and a changed key goes on where the old one stopped.

    The calls that BTrDB users know stand here as well, and their errors are Airflow's: AirflowFailException, or
    BTrDBTransientException where a retry has a chance. Calls on what they return (a stream, a client) raise BTrDB's
    own errors; make them inside `with BTrDBHook.airflow_errors():` to have those turned too. SQL through `run` and
    its like raises the errors of PEP 249.
    """

    airflow_errors = staticmethod(airflow_errors)

    conn_name_attr = "btrdb_conn_id"
    default_conn_name = "btrdb_default"
    conn_type = CONN_TYPE
    hook_name = "BTrDB"
    supports_autocommit = False
    supports_executemany = False
    strip_semicolon = True

    def __init__(self, btrdb_conn_id: str = default_conn_name, *, log_sql: bool = True, **_foreign: Any) -> None:
        # Callers such as common-sql hand every extra of the connection to the constructor; they are read from the
        # connection itself, so whatever comes here besides has no meaning.
        super().__init__(btrdb_conn_id, log_sql=log_sql)
        self.btrdb_conn_id: str = btrdb_conn_id
        self._client: tuple[object, BTrDB] | None = None

    # ------------------------------------------------------------ the connection form

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form of Airflow before 3.2; newer ones read the same from the provider's metadata."""
        behaviour: Any = CONNECTION_FORM["ui-field-behaviour"]
        return {
            "hidden_fields": behaviour["hidden-fields"],
            "relabeling": behaviour["relabeling"],
            "placeholders": behaviour["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The extra fields of the form of Airflow before 3.2, which knows text, whole numbers and switches only."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import Optional

        fields: dict[str, Any] = {}
        for name, field in FIELDS.items():
            schema = field["schema"]
            about = {"label": lazy_gettext(field["label"]), "description": field["description"]}
            default = schema.get("default")
            if schema["type"] == "boolean":
                fields[name] = BooleanField(**about, default=default)
            else:
                kind = IntegerField if schema["type"] == "integer" else StringField
                fields[name] = kind(**about, default=default, validators=[Optional()], widget=BS3TextFieldWidget())
        return fields

    def test_connection(self) -> tuple[bool, str]:  # type: ignore[override]  # DbApiHook's is unannotated
        """Behind the button "Test": what the server is, or what is wrong, within ten seconds."""
        try:
            diagnosis = self.diagnose()
        except AirflowFailException as error:
            return False, str(error)
        return diagnosis.ok, diagnosis.sentence

    def diagnose(self, seconds: float = CHECK_SECONDS) -> Diagnosis:
        """Look at the way to the server step by step: name, port, TLS, key, version, streams, SQL.

        Never raises for what it finds. Raises AirflowFailException for settings that make no sense.
        """
        from airflow_provider_btrdb.client.doctor import diagnose

        with airflow_errors():
            return diagnose(self._config(), seconds)

    # ------------------------------------------------------------ connections

    def get_client(self) -> BTrDB:
        """The connection for synchronous code. Raises AirflowFailException for settings that make no sense.

        The Airflow connection is read at the first call, and again when the server refuses its key.
        """
        era = _shared.clients.era  # another one in a forked child, too
        if self._client is None or self._client[0] is not era:
            with airflow_errors():
                client = _shared.clients.get(self.btrdb_conn_id, self._config())
            self._client = (era, client)
        return self._client[1]

    def get_conn(self) -> SqlConnection:
        """A PEP 249 connection over `get_client()`, which it keeps in use until it is closed, and leaves open then."""
        from airflow_provider_btrdb.hooks.columns import ConnectionWithColumns

        return ConnectionWithColumns(self.get_client())

    async def get_async_client(self) -> AsyncBTrDB:
        """The connection for the running event loop, as triggers use it. Raises InputError for senseless settings.

        The Airflow connection is read at every call.
        """
        config = await _async_config(self.btrdb_conn_id)
        return _shared.of_this_loop().get(self.btrdb_conn_id, config)

    # ------------------------------------------------------------ what BTrDB users know

    def info(self) -> dict[str, Any]:
        """See `BTrDB.info`."""
        with airflow_errors():
            return self.get_client().info()

    def query(self, stmt: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """See `BTrDB.query`: the rows of an SQL SELECT on the table `streams`, parameters as $1, $2 ..."""
        with airflow_errors():
            rows = self.get_client().query(stmt, params)
        send_sql_hook_lineage(context=self, sql=stmt, sql_parameters=list(params), row_count=len(rows))
        return rows

    def list_collections(self, starts_with: str = "") -> list[str]:
        """See `BTrDB.list_collections`."""
        with airflow_errors():
            return self.get_client().list_collections(starts_with)

    def collection_metadata(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """See `BTrDB.collection_metadata`: tag counts and annotation key counts below a prefix."""
        with airflow_errors():
            return self.get_client().collection_metadata(prefix)

    def create(
        self,
        uuid: UUID | str,
        collection: str,
        tags: Mapping[str, str] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> Stream:
        """See `BTrDB.create`."""
        with airflow_errors():
            stream = self.get_client().create(uuid, collection, tags, annotations)
        self.report_lineage(outputs=[collection])
        return stream

    def create_many(
        self,
        specs: Iterable[StreamSpec | Mapping[str, Any]],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[CreateResult]:
        """See `BTrDB.create_many`: one result for each specification, in their order."""
        with airflow_errors():
            results = self.get_client().create_many(specs, progress=progress)
        self.report_lineage(outputs=[result.spec.collection for result in results if result.error is None])
        return results

    def stream_from_uuid(self, uuid: UUID | str) -> Stream:
        """See `BTrDB.stream_from_uuid`."""
        with airflow_errors():
            return self.get_client().stream_from_uuid(uuid)

    def streams(
        self,
        *identifiers: UUID | str | Iterable[UUID | str],
        versions: int | Sequence[int] | None = None,
        is_collection_prefix: bool = False,
    ) -> StreamSet:
        """See `BTrDB.streams`."""
        with airflow_errors():
            found = self.get_client().streams(
                *identifiers, versions=versions, is_collection_prefix=is_collection_prefix
            )
        self.report_lineage(inputs=[stream.collection for stream in found])
        return found

    def streams_in_collection(
        self,
        *collection: str,
        is_collection_prefix: bool = True,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> list[Stream]:
        """See `BTrDB.streams_in_collection`."""
        with airflow_errors():
            found = self.get_client().streams_in_collection(
                *collection, is_collection_prefix=is_collection_prefix, tags=tags, annotations=annotations
            )
        self.report_lineage(inputs=[stream.collection for stream in found])
        return found

    def report_lineage(self, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
        """Tell Airflow's lineage which collections were read and written; for calls on clients and streams.

        The calls of the hook itself do so already.
        """
        lineage.report(self, self.get_client().config.endpoint, inputs=inputs, outputs=outputs)

    # ------------------------------------------------------------ settings

    def _config(self) -> ConnectionConfig:
        """What the Airflow connection says now. Raises InputError, or AirflowFailException if there is none."""
        connection = self._found_connection()
        config = config_of(connection, connection.extra_dejson)
        mask_secrets(_shared.unmasked(config))
        return config

    def _found_connection(self) -> Connection:
        try:
            found: Connection = self.get_connection(self.btrdb_conn_id)
            return found
        except AirflowNotFoundException:
            raise AirflowFailException(
                f"there is no Airflow connection {self.btrdb_conn_id!r}: add one of type btrdb, for example with "
                f"airflow connections add {self.btrdb_conn_id} --conn-type btrdb --conn-host HOST --conn-password KEY"
            ) from None


def end_calls() -> None:
    """End every call of this process that is under way, for a task that is killed; the next one connects anew."""
    for client in _shared.clients.drain():
        client.close()


# ---------------------------------------------------------------- shared connections, and keys that change


class _Shared:
    """The connections of this process. They are opened when first used, never before a fork."""

    def __init__(self) -> None:
        self.clients: SharedClients[BTrDB] = SharedClients(_open)
        self._of_loops: dict[asyncio.AbstractEventLoop, SharedClients[AsyncBTrDB]] = {}
        self._guard = threading.Lock()
        self._masked: set[str] = set()

    def unmasked(self, config: ConnectionConfig) -> set[str]:
        """The secrets that Airflow has not been told yet to hide in logs; from now on it has."""
        with self._guard:
            secrets = secrets_of(config) - self._masked
            self._masked |= secrets
            return secrets

    def of_this_loop(self) -> SharedClients[AsyncBTrDB]:
        """Those of the running loop; what closed loops left behind is dropped."""
        with self._guard:
            for loop in [loop for loop in self._of_loops if loop.is_closed()]:
                del self._of_loops[loop]
            return self._of_loops.setdefault(asyncio.get_running_loop(), SharedClients(_open_async))


def _open(config: ConnectionConfig, credentials: Credentials) -> BTrDB:
    from airflow_provider_btrdb.client import BTrDB

    def new_api_key() -> str | None:
        return credentials.newest({conn_id: _reread(conn_id) for conn_id in sorted(credentials.conn_ids)})

    return BTrDB(config, new_api_key=new_api_key)


def _open_async(config: ConnectionConfig, credentials: Credentials) -> AsyncBTrDB:
    from airflow_provider_btrdb.client import AsyncBTrDB

    reading: asyncio.Task[str | None] | None = None

    async def read() -> str | None:
        return credentials.newest({conn_id: await _async_reread(conn_id) for conn_id in sorted(credentials.conn_ids)})

    async def new_api_key() -> str | None:
        # Many triggers are refused at once; one reading of the Airflow connection is enough for all of them.
        nonlocal reading
        task = reading = reading or asyncio.create_task(read())
        try:
            return await asyncio.shield(task)
        finally:
            if reading is task:
                reading = None

    return AsyncBTrDB(config, new_api_key=new_api_key)


def _reread(conn_id: str) -> ConnectionConfig | None:
    """What the connection says now; None, with a word in the log, if it cannot be read: the key counts as unchanged."""
    try:
        return BTrDBHook(conn_id)._config()
    except Exception:
        log.warning(_NOT_READ, conn_id, exc_info=True)
        return None


async def _async_reread(conn_id: str) -> ConnectionConfig | None:
    try:
        return await _async_config(conn_id)
    except Exception:
        log.warning(_NOT_READ, conn_id, exc_info=True)
        return None


_NOT_READ = "BTrDB refused the API key, and the Airflow connection %r cannot be read for a newer one"


async def _async_config(conn_id: str) -> ConnectionConfig:
    connection = await get_async_connection(conn_id)
    config = config_of(connection, await get_async_extra_dejson(connection))
    if secrets := _shared.unmasked(config):
        await async_mask_secrets(secrets)
    return config


_shared = _Shared()
_of_parents: list[_Shared] = []
"""Connections from before forks: never used, never closed, and kept, because gRPC may not end them in a child."""


def _forget_parent() -> None:
    global _shared  # noqa: PLW0603 - connections of another process, and locks that one held, can only be replaced
    _of_parents.append(_shared)
    _shared = _Shared()


os.register_at_fork(after_in_child=_forget_parent)
